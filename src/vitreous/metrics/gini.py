"""Gini: how unequally relevance is spread over the patches. Chalasani et al. 2020."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric


@metric(category="form", better="neither", unit="share", cost="none", paper="arXiv:1810.06583")
def gini(case: Case) -> PerImage:
    """Give the Gini coefficient of the patches' absolute relevance, G = sum_i (2 i - p - 1) |phi|_(i) / (p sum |phi|).

    |phi|_(i) are the p values in ascending order, i from 1. 0 if all are equal, (p - 1) / p if a single patch has all.
    The literature counts sparse as good; here neither is better, because a map can be sparse and wrong, and evidence
    can be spread out.

    Signs and places are ignored, pixel maps are summed over each patch. NaN for a map that is zero everywhere.
    Deviation: the paper measures input features, here patches.
    """
    ordered = case.per_patch.abs().sort(1).values
    patches = ordered.shape[1]
    weights = 2 * torch.arange(1, patches + 1, dtype=torch.float64) - patches - 1
    total = ordered.sum(1)
    return torch.where(total > 0, (ordered @ weights) / (patches * total), torch.nan)
