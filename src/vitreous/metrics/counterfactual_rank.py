"""Counterfactual rank: whether a map orders the things of a scene as the model does, shown by taking each of them out.

Single deletion of FunnyBirds (Hesse, Schaub-Meyer & Roth 2023), for whole things of rendered scenes.
"""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._agreement import spearman
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._things import density, drops, known_things, relevance_on


@metric(
    category="known truth",
    better="higher",
    unit="rank correlation",
    cost="one forward for each thing, shared",
    paper="arXiv:2308.06248",
    needs=("scene",),
)
def counterfactual_rank(case: Case) -> PerImage:
    """Correlate the ranks of two numbers over the things of one scene: relevance on it, drop of the score without it.

    Spearman's, from -1 to 1, higher is better. A scene without the thing is rendered, shadows and all, so that the
    drop is the thing's whole effect; relevance on a thing is the sum over pixels of relevance times the share of the
    pixel which the thing covers. A large thing gathers more of it, and large things tend to matter more: so chance is a
    little above 0, and a random map has to be measured beside.

    NaN for an image that is no scene, a scene of one thing, and a map that gives all things the same. A scene of two
    can only have -1 or 1. Relevance on floor and wall is ignored: see `mass_on_target`. Deviations from FunnyBirds:
    things in place of a bird's parts, distractors among them; things are not dilated; and the paper's SD is
    (1 + this) / 2.
    """
    found = [
        float("nan")
        if known is None
        else spearman(relevance_on(pixels, known).numpy(), drops(case, image, known).numpy())
        for image, (pixels, known) in enumerate(zip(density(case), known_things(case), strict=True))
    ]
    return torch.tensor(found, dtype=torch.float64)
