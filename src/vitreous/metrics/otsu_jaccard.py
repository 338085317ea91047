"""Otsu Jaccard: the overlap of what Otsu's threshold marks on the map with the object's mask, over their union."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._marked import above_otsu, unsure
from vitreous.metrics._metric import metric


@metric(
    category="localisation",
    better="higher",
    unit="intersection / union",
    cost="none",
    needs=("mask",),
    classes=True,
    excludes=unsure,
)
def otsu_jaccard(case: Case, confidence: float = 0.85) -> PerImage:
    """Mark the pixels above Otsu's threshold as object; TP / (TP + FP + FN), from 0 to 1.

    confidence  images to whose likeliest class the model gives a smaller probability are excluded: NaN

    The map is interpolated between patches; void pixels count neither for the threshold nor for the score. A map that
    is constant marks nothing and gets 0. NaN too where the mask is empty. Marking everything gets the share that the
    object covers. Raises InputError for a confidence outside 0 to 1.
    """
    right, wrong, missed, _ = above_otsu(case, confidence).unbind(1)
    return torch.where(right + missed > 0, right / (right + wrong + missed), torch.nan)
