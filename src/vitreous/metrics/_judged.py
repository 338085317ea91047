"""Judging: one image's relevance and mask at the pixels that count, and what measures of them share."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case, Truth

Numbers: TypeAlias = Float[np.ndarray, " m"]
Row: TypeAlias = Float[np.ndarray, " s"]
Inside: TypeAlias = Bool[np.ndarray, " m"]

_ROUNDING = 1e-12
"""What interpolating a constant may add to it, as a share of its size. Maps are float32, and coarser by far."""


class Judged(NamedTuple):
    """The pixels of one image that are not void, in any order: their relevance, and whether they are in the mask."""

    relevance: Numbers
    inside: Inside


def judged(case: Case) -> list[Judged | None]:
    """Give the pixels of each image that count; None for an image without a mask, or with nothing but void."""
    found: list[Judged | None] = []
    for pixels, truth in zip(case.per_pixel, case.truth, strict=True):
        counts = seen(truth, pixels)
        if truth.mask is None or not bool(counts.any()):
            found.append(None)
        else:
            found.append(Judged(pixels[counts].numpy(), truth.mask[counts].numpy()))
    return found


def seen(truth: Truth, like: Float[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """Say which pixels are not void."""
    return torch.ones_like(like, dtype=torch.bool) if truth.void is None else ~truth.void


def each_image(case: Case, measure: Callable[[Numbers, Inside], float]) -> PerImage:
    """Measure each image's relevance against its mask; NaN where there is nothing to measure."""
    return each_row(case, lambda relevance, inside: np.array([measure(relevance, inside)]), 1)[:, 0]


def each_row(case: Case, measure: Callable[[Numbers, Inside], Row], width: int) -> Float[Tensor, "b s"]:
    """As `each_image`, for measures that give `width` numbers."""
    rows = [np.full(width, np.nan) if pixels is None else measure(*pixels) for pixels in judged(case)]
    return torch.from_numpy(np.stack(rows).astype(np.float64))


def is_constant(values: Numbers) -> bool:
    """Say whether values are all the same but for the rounding of the interpolation."""
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


def stretched(values: Numbers) -> Numbers:
    """Bring the lowest value to 0 and the highest to 1. Constant values, which have neither, become 1/2."""
    if is_constant(values):
        return np.full_like(values, 0.5)
    return np.asarray((values - values.min()) / np.ptp(values))


def average_precision(values: Numbers, inside: Inside) -> float:
    """Give the area under the steps of precision over recall; equal values are marked together. NaN without positives.

    Sum over the distinct values, from the highest down, of (recall gained) x (precision).
    """
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)  # of each group of equal values
    return precision_area(np.cumsum(inside[order])[last], last + 1)


def precision_area(hits: Num[np.ndarray, " t"], marked: Num[np.ndarray, " t"]) -> float:
    """Give the average precision from how many pixels are marked at falling thresholds, and how many rightly."""
    if not hits[-1]:
        return float("nan")
    precision = hits / np.maximum(marked, 1)
    return float(np.sum(precision * np.diff(hits, prepend=0)) / hits[-1])


def check_levels(levels: int) -> None:
    """Raise InputError for fewer than one level."""
    if levels < 1:
        raise InputError(f"levels={levels} are no thresholds.", "Give 1 or more; the paper's 1000 take long.")
