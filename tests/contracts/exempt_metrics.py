"""What the contract of metrics makes of single ones, each for a reason that is written down."""

from typing import Any

CHEAP_METRICS: dict[str, dict[str, Any]] = {
    "max_box_acc": {"levels": 10},
    # the planted model is sure of nothing: two of its three logits are alike
    **{f"otsu_{of}": {"confidence": 0.0} for of in ("pixel_accuracy", "f1", "jaccard")},
    # The planted model looks for the darkest patch too: black in the place of pixels would answer another question.
    "positive_perturbation": {"unit": "patch", "fill": "drop"},
    "negative_perturbation": {"unit": "patch", "fill": "drop"},
}
"""Parameters under which a metric is quick enough on the planted model, or means something to it."""

BLIND: dict[str, str] = {
    "parameter_randomisation": "none of the three maps depends on the model",
    "random_logit": "none of the three maps depends on the target",
    "target_sensitivity": "none of the three maps depends on the target",
    "repeatability": "all three maps are the same again",
    "max_sensitivity": "the random map does not depend on the image, so it cannot move",
    "stress_consistency": "the random map does not depend on the image, so it cannot move",
    "background_independence": "a property of the model: no map is read",
    "human_kl": "compares densities, not orders: the true map is the exponential of what people saw",
    "human_sim": "compares densities, not orders: the true map is the exponential of what people saw",
    "completeness_error": "the true map of the planted model ranks patches by brightness; it is not in logits",
    "negative_perturbation": "the contract's random maps happen to keep the brightest patch longer than the darkest in "
    "all three images, and so get the highest value as well",
}
"""Metrics for which the true map of the planted model need not be best, and why."""

TIED: dict[str, str] = {
    "pointing_game_boxes": "as the pointing game: the box is that of one patch of twelve",
    "relevance_rank_accuracy": "with one patch as the object, it is the pointing game of that patch's pixels",
    "pointing_game": "a random map of twelve patches hits the one that is right hardly more often than never",
    "region_masking": "a random fifth of twelve patches, two of them, hardly ever holds the one that matters",
    "region_attenuation": "a random fifth of twelve patches, two of them, hardly ever holds the one that matters",
}
"""Metrics that may find the reversed map of the planted model as bad as a random one, and why."""
