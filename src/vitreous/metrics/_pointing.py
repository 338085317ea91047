"""Pointing: whether the most relevant place lies within an area."""

import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.metrics._case import Truth


def share_of_hits(pixels: Float[Tensor, "H W"], area: Bool[Tensor, "H W"], truth: Truth, tolerance: float) -> float:
    """Give the share of the maxima, among pixels that are not void, at most `tolerance` pixels away from the area.

    NaN if all pixels are void, or none is inside: nobody could have pointed there.
    """
    judged = torch.ones_like(area) if truth.void is None else ~truth.void
    highest = (pixels == pixels[judged].max()) & judged if bool(judged.any()) else judged
    if not bool(highest.any() and (area & judged).any()):
        return float("nan")
    return float(_grown(area, tolerance)[highest].double().mean())


def check_tolerance(tolerance: float) -> None:
    """Raise InputError for a negative tolerance."""
    if tolerance < 0:
        raise InputError(f"tolerance={tolerance} is negative.", "Give pixels of the model's input, 0 or more.")


def _grown(area: Bool[Tensor, "H W"], by: float) -> Bool[Tensor, "H W"]:
    """Add all pixels whose centres are at most `by` away from the centre of one that is inside."""
    if by == 0 or not bool(area.any()):
        return area
    distance = distance_transform_edt(~area.numpy())
    return torch.from_numpy(distance <= by)
