"""Otsu F1: how well what Otsu's threshold marks on the map and the object's mask cover each other, as F1 (Dice)."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._marked import above_otsu, unsure
from vitreous.metrics._metric import metric


@metric(
    category="localisation", better="higher", unit="F1", cost="none", needs=("mask",), classes=True, excludes=unsure
)
def otsu_f1(case: Case, confidence: float = 0.85) -> PerImage:
    """Mark the pixels above Otsu's threshold as object; 2 TP / (2 TP + FP + FN), from 0 to 1.

    confidence  images to whose likeliest class the model gives a smaller probability are excluded: NaN

    The map is interpolated between patches; void pixels count neither for the threshold nor for the score. A map that
    is constant marks nothing and gets 0. NaN too where the mask is empty. Marking everything gets 2 a / (1 + a) where
    the object covers the share a. Raises InputError for a confidence outside 0 to 1.
    """
    right, wrong, missed, _ = above_otsu(case, confidence).unbind(1)
    return torch.where(right + missed > 0, 2 * right / (2 * right + wrong + missed), torch.nan)
