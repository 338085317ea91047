"""Completeness error: how far the relevance of all patches together is from what the whole image adds to the score."""

from typing import Literal

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._sets import answers, whole_answers


@metric(
    category="causal",
    better="lower",
    unit="logit",
    cost="one forward, shared; none without a baseline",
    paper="arXiv:1703.01365",
)
def completeness_error(
    case: Case, baseline: Literal["drop", "mean", "blur", "black", "grey", "impute", "none"] = "drop"
) -> PerImage:
    """Give |score - score of the baseline - sum of the relevance|.

    0 is exact, for instance for Shapley values against the filling they were computed with, for integrated gradients
    against their own baseline, or for relevance propagation without a baseline ("none"), which shares out the score
    itself. Only meaningful for methods whose relevance is in logits: a map that is attention, a rank or a share has no
    sum that ought to be the score, and gets a number all the same.

    baseline  the image with all patches replaced: see `vitreous.vit.coalitions.AnyFill`; or "none" for 0

    All of the map is summed, also pixels beyond the last whole patch.
    """
    score = whole_answers(case.trace).score[:, 0]
    if baseline != "none":
        nothing = torch.zeros(*case.per_patch.shape, dtype=torch.bool)[:, None]
        score = score - answers(case, nothing, baseline).score[:, 0]
    return (score - case.relevance.detach().double().cpu().sum((1, 2))).abs()
