"""Region count: into how many separate places a map falls."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._regions import regions_of


@metric(category="form", better="neither", unit="regions", cost="none")
def region_count(case: Case, threshold: str | float = "otsu", least_share: float = 0.01) -> PerImage:
    """Count the connected regions of positive relevance above a threshold, those that `Heatmap.regions` finds.

    0 or more; neither many nor few is better. A map that is constant, or has nothing above the threshold, has 0.

    threshold    "otsu", "mean", or a quantile from 0 to 1, of the patches' positive relevance
    least_share  regions with a smaller share of the positive relevance are not counted

    On the pixels of the model's input, interpolated between patches; regions that touch at a corner are one. Void
    pixels are left out. Relevance below zero counts as none. From no paper. Raises UnknownNameError or InputError for
    a threshold or a share that is none.
    """
    return torch.tensor([len(parts) for parts, _ in regions_of(case, threshold, least_share)], dtype=torch.float64)
