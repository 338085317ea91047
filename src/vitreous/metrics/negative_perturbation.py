"""Negative perturbation: how accurate the model stays while the least relevant pixels are blackened first.

Chefer, Gur & Wolf, CVPR 2021.
"""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._removal import Unit, still_right
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="area up to 0.9; published figures are 100 times as large",
    cost="9 forwards",
    paper="arXiv:2012.09838",
    needs=("label",),
    classes=True,
)
def negative_perturbation(case: Case, unit: Unit = "pixel", fill: AnyFill = "black") -> PerImage:
    """Give the area under the curve of being right over the share of pixels removed, 0 to 0.9, least relevant first.

    Removed are 0, 10, 20 … 90 % of the pixels, by rank in the map as pictures show it, and set to black. At each step
    the image counts 1 if the predicted class is the true one and 0 if not; the area is that of the trapezoid rule, not
    divided by its width. So it lies in [0, 0.9], higher is better, and the mean over images is the area under the curve
    of the data set's accuracy. An image that the model gets wrong to begin with is counted as it is.

    unit  "pixel" as published, or "patch", ranked by the map on the grid
    fill  what takes the place of what is removed: see `vitreous.vit.coalitions.AnyFill`. "drop" only for patches

    NaN for an image whose class is not known. Ties are broken at random by the image's seed. Ignores everything but the
    order. Deviations: none in the area as the authors computed it (their script saves the curve alone, and other
    repositories take plain means or add a point at 1); whether the map explains the predicted or the true class is up
    to the trace's target. Raises InputError for fill="drop" with pixels.
    """
    return torch.trapezoid(still_right(case, "least", unit, fill), dx=0.1, dim=1)
