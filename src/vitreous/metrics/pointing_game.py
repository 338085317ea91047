"""Pointing game: whether the most relevant place lies on the object. Zhang et al. 2016."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._pointing import check_tolerance, share_of_hits


@metric(
    category="localisation",
    better="higher",
    unit="share of images",
    cost="none",
    paper="arXiv:1608.00507",
    needs=("mask",),
)
def pointing_game(case: Case, tolerance: float = 0.0) -> PerImage:
    """Give 1 if the maximum of the map lies inside the mask, 0 if not; of several maxima, the share that does.

    tolerance  how far from the mask still counts, in pixels of the model's input. The paper allows 15

    The map is looked at as pictures show it, interpolated between patches. Ties are shared and not broken, so that a
    map that is constant gets the share of the image that the mask covers, which is what pointing blindly gets. A
    maximum is looked for where pixels are not void; if all are, or if none of the others is inside the mask, the value
    is NaN. Images with boxes alone have `pointing_game_boxes`: a box is hit far more easily, so one mean over both
    would say little. Raises InputError for a negative tolerance.
    """
    check_tolerance(tolerance)
    found = [
        float("nan") if truth.mask is None else share_of_hits(pixels, truth.mask, truth, tolerance)
        for pixels, truth in zip(case.per_pixel, case.truth, strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)
