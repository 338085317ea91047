"""Counterfactual top: whether the map's most relevant thing is the one that the prediction needs most."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._things import density, drops, known_things, relevance_on


@metric(
    category="known truth",
    better="higher",
    unit="share of images",
    cost="one forward for each thing, shared",
    needs=("scene",),
)
def counterfactual_top(case: Case) -> PerImage:
    """Give 1 if the thing with most relevance is the one whose removal lowers the score most, 0 if not.

    Of several things with most relevance, the share that are. Higher is better; a map that gives all things the same
    gets one over their number, as guessing does. Says less than `counterfactual_rank`, and is not troubled by the
    order of things that hardly matter.

    NaN for an image that is no scene, a scene of one thing, and one in which no removal lowers the score: then none
    is needed. Relevance on a thing is that of `counterfactual_rank`. From no paper; FunnyBirds' single deletion is
    the other one.
    """
    found = []
    for image, (pixels, known) in enumerate(zip(density(case), known_things(case), strict=True)):
        lost = None if known is None else drops(case, image, known)
        if known is None or lost is None or len(lost) < 2 or float(lost.max()) <= 0:
            found.append(float("nan"))
            continue
        relevance = relevance_on(pixels, known)
        found.append(float((lost == lost.max())[relevance == relevance.max()].double().mean()))
    return torch.tensor(found, dtype=torch.float64)
