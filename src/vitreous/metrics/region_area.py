"""Region area: how much of the image the regions of a map cover."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._regions import regions_of


@metric(category="form", better="neither", unit="share of the pixels", cost="none")
def region_area(case: Case, threshold: str | float = "otsu", least_share: float = 0.01) -> PerImage:
    """Give the area of the regions of positive relevance above a threshold, as a share of all pixels that are judged.

    From 0 to 1; neither is better. A map that is constant, or has nothing above the threshold, has 0. Takes the
    regions, parameters and errors of `region_count`.

    Void pixels count neither as regions nor as pixels; if all are void, the value is NaN. From no paper.
    """
    found = [
        sum(part.area for part in parts) / judged if judged else float("nan")
        for parts, judged in regions_of(case, threshold, least_share)
    ]
    return torch.tensor(found, dtype=torch.float64)
