"""Pointing game on boxes: whether the most relevant place lies in the box of an object. Zhang et al. 2016."""

import torch
from jaxtyping import Bool
from torch import Tensor

from vitreous.core.frame import Box
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
    needs=("boxes",),
)
def pointing_game_boxes(case: Case, tolerance: float = 0.0) -> PerImage:
    """Give 1 if the maximum of the map lies inside any box, 0 if not; of several maxima, the share that does.

    tolerance  how far from the boxes still counts, in pixels of the model's input. The paper allows 15

    A pixel is inside where its centre is. As `pointing_game` in all else: interpolated, ties shared, void left out. A
    constant map gets the share of the image that the boxes cover, and since boxes cover much of most photographs, good
    maps hardly differ from it: compare with the method `random`, and prefer masks. NaN without boxes that
    hold a pixel which is not void. Raises InputError for a negative tolerance.
    """
    check_tolerance(tolerance)
    height, width = case.trace.vit.preprocessing.size
    found = [
        share_of_hits(pixels, _inside(truth.boxes, height, width), truth, tolerance) if truth.boxes else float("nan")
        for pixels, truth in zip(case.per_pixel, case.truth, strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)


def _inside(boxes: tuple[Box, ...], height: int, width: int) -> Bool[Tensor, "H W"]:
    """Say which pixels have their centre in any of the boxes."""
    down, across = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    inside = torch.zeros(height, width, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        inside |= (left <= across) & (across < right) & (top <= down) & (down < bottom)
    return inside
