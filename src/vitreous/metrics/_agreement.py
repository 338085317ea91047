"""Agreement: how alike two maps of one image are. What sanity and robustness are judged by."""

from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from skimage.metrics import structural_similarity
from torch import Tensor

from vitreous.core import alike
from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage

Similarity: TypeAlias = Literal["spearman", "ssim"]

WINDOW = 7
"""Patches on a side of the window of SSIM, as scikit-image has it; the largest odd number that fits a smaller grid."""


def check_similarity(similarity: str, grid: tuple[int, int]) -> None:
    """Raise InputError for SSIM on a grid on which it means nothing."""
    if similarity == "ssim" and min(grid) < 3:
        raise InputError(f"A grid of {grid} patches is too small for SSIM.", "Use similarity='spearman'.")


def agreement(
    maps: Float[Tensor, "b p"], others: Float[Tensor, "b p"], similarity: str, grid: tuple[int, int]
) -> PerImage:
    """Compare each image's map with another of the same image, patch by patch; from -1 to 1, and 1 for equal ones.

    spearman  the correlation of ranks, ties sharing their mean rank. Sees nothing but the order
    ssim      structural similarity in windows of 7 x 7 patches, mean over all windows, after either map is divided by
              the largest of its absolute values (so that data_range is 2), as the sanity checks of Adebayo et al. do

    A first map that is constant can be compared with nothing: NaN. If only the other is, nothing is left of what
    the first says: 0.
    """
    found = [
        _one(one.numpy(), other.numpy(), similarity, grid)
        for one, other in zip(maps.double().cpu(), others.double().cpu(), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)


def spearman(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    """Give Spearman's correlation of ranks; NaN if either is constant, or there is only one number."""
    return float(alike.spearman(*(torch.tensor(values, dtype=torch.float64) for values in (one, other))))


def _one(one: Float[np.ndarray, " p"], other: Float[np.ndarray, " p"], similarity: str, grid: tuple[int, int]) -> float:
    if np.ptp(one) == 0:
        return float("nan")
    if np.ptp(other) == 0:
        return 0.0
    if similarity == "spearman":
        return spearman(one, other)
    scaled = [(values / np.abs(values).max()).reshape(grid) for values in (one, other)]
    side = min(WINDOW, *grid)
    return float(structural_similarity(*scaled, data_range=2.0, win_size=side - 1 + side % 2))
