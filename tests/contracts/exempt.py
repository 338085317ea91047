"""Where the contract of methods does not hold, each with the reason. Nothing is left out of it anywhere else."""

from oracles.planted import BRIGHTEST, DARKEST

INAPPLICABLE: dict[str, tuple[str, ...]] = {
    # Their heads read a class token, that and the mean, or a pooling attention; CAM is about the mean alone.
    "cam": (
        "timm",
        "timm distilled",
        "timm registers",
        "timm map",
        "timm registers, map",
        "eva rope registers",
        "transformers eager",
        "transformers sdpa",
        "dinov2 registers",
        "torchvision",
        "handwritten",
    ),
}
"""Families of models that a method refuses, by the method's name; a test proves that it refuses just these."""

PLANTED: dict[str, str] = {
    "atman": "turns all patches down together, whose tokens but for one channel are the same",
    "score_cam": "its weights are a softmax over channels, never negative nor zero, and brightness is the only channel "
    "that differs between patches: every target gets the map of brightness",
    "vit_cx": "its masks are the channels that differ between patches, and brightness is the only one: no mask shows "
    "the darkest patch and hides the brightest, and probabilities tie the third output to the other two",
    "tis": "it keeps the patches with the largest features, and brightness is the only one that differs: no mask shows "
    "the darkest patch and hides the brightest, and probabilities tie the third output to the other two",
    "attcat": "what leaves the only block at the patches is not read any more, or read in equal parts",
    "token_transformation": "where patches are averaged, the skip connection keeps the lengths of tokens in the map",
    "cam": "It splits what leaves the last block, where the planted attention has written what it read into all patch "
    "tokens alike: the map is constant. And with prefix tokens the planted model has no mean to split.",
    "gradcam_plus_plus": "It weighs by positive gradients alone. The score of the darkest patch falls with brightness, "
    "and rises only with the flag 'I am a patch', which is the same everywhere: the map is constant.",
    "full_lrp": "z^B measures from the image's lowest value: pixels at that value, as the darkest patch has, get nothing",
}
"""Methods that cannot find the planted patch in a planted model, with the property of either that is to blame.

The planted model is extreme: one block, features that are constant but for one channel, saturated attention. A method
whose own definition divides by what is zero there says nothing about it, and still has to find what real models read.
"""

MISLEADING: dict[tuple[str, object, int], str] = {
    ("fill", "black", DARKEST): "a patch that is painted black is the darkest, whichever it is",
    ("show", "agreement", BRIGHTEST): "methods also agree about patches that are not read",
    ("show", "agreement", DARKEST): "methods also agree about patches that are not read",
}
"""Values of a parameter that make a question about the planted model meaningless: name, value, output, reason."""

SILENT: dict[str, str] = {}
"""Methods whose map may be constant on some small random model, with the reason."""

CANCELS: dict[str, float] = {"attcat": 1e-6}
"""Absolute rounding allowed to methods whose map can cancel to nothing.

AttCAT multiplies tokens by their gradients. Behind a LayerNorm the length of a token does not matter, so that product is
zero for the patches entering the last block of a model with a class token; on two blocks nothing else is left.
"""
ROUGH: dict[str, float] = {
    # Both divide by sums of features with signs, which come near zero, and so enlarge the rounding of their inputs.
    # The figures are by how much the float32 maps of pytorch-grad-cam differ from its float64 maps on a real model.
    "gradcam_plus_plus": 8.5e-4,
    "xgradcam": 2.6e-4,
    # With precision="mixed" linear layers hand relevance on in float32, on the way to a map that a ReLU cuts to little.
    "partial_lrp": 2e-5,
}
"""Rounding, relative to a map's peak, of methods whose own definition makes it larger than that of others."""

ILL_CONDITIONED: dict[tuple[str, object], str] = {
    (
        "precision",
        "single",
    ): "the Add rule divides sums that nearly cancel: in float32 the official maps of Transformer "
    "Attribution and LRP differ from those in float64 by up to half of their peak, which is why double is the default",
}
"""Values of a parameter, with its name, for which two runs of one definition need not agree in their numbers."""
