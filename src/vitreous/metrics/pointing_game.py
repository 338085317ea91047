"""Pointing game: whether the most relevant place lies on the object. Zhang et al. 2016."""

import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import metric


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
    maximum is looked for where pixels are not void; if all are, the value is NaN. Raises InputError for a negative
    tolerance.
    """
    if tolerance < 0:
        raise InputError(f"tolerance={tolerance} is negative.", "Give pixels of the model's input, 0 or more.")
    found = [_hit(pixels, truth, tolerance) for pixels, truth in zip(case.per_pixel, case.truth, strict=True)]
    return torch.tensor(found, dtype=torch.float64)


def _hit(pixels: Float[Tensor, "H W"], truth: Truth, tolerance: float) -> float:
    if truth.mask is None:
        return float("nan")
    judged = torch.ones_like(truth.mask) if truth.void is None else ~truth.void
    highest = (pixels == pixels[judged].max()) & judged if bool(judged.any()) else judged
    if not bool(highest.any()):
        return float("nan")
    return float(_grown(truth.mask, tolerance)[highest].double().mean())


def _grown(mask: Bool[Tensor, "H W"], by: float) -> Bool[Tensor, "H W"]:
    """Add all pixels whose centres are at most `by` away from the centre of one that is inside."""
    if by == 0 or not bool(mask.any()):
        return mask
    distance = distance_transform_edt(~mask.numpy())
    return torch.from_numpy(distance <= by)
