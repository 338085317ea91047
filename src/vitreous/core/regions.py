"""Regions of an array: the threshold that tells relevance from the rest, and the connected parts above it.

What `show.regions` draws on photographs and what metrics count on the model's input are the same regions.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from vitreous.core.errors import InputError, UnknownNameError, near_matches


class Part(NamedTuple):
    """One connected part of an array.

    window  the rows and columns of its box
    inside  which pixels of the box belong to it
    area    how many they are
    share   their share of the array's sum
    """

    window: tuple[slice, slice]
    inside: Bool[np.ndarray, "rows columns"]
    area: int
    share: float


def choose_threshold(values: Float[np.ndarray, " values"], threshold: str | float) -> tuple[float, str]:
    """Give the threshold and its name, for the sentence that states it.

    values     none below zero
    threshold  'otsu': Otsu's threshold, between the two groups of values that differ most; 'mean'; a number q,
               0 <= q < 1: the q-th quantile

    Raises UnknownNameError or InputError for another.
    """
    if isinstance(threshold, str):
        if threshold == "mean":
            return float(values.mean(dtype=np.float64)), "the mean"
        if threshold == "otsu":
            return _otsu(values), "Otsu's threshold"
        raise UnknownNameError(
            f"threshold={threshold!r} is unknown. {near_matches(threshold, ('otsu', 'mean'))}".strip(),
            "Use 'otsu', 'mean', or a quantile from 0 to 1.",
        )
    if not 0 <= threshold < 1:
        raise InputError(f"threshold={threshold} is no quantile.", "Give a number q with 0 <= q < 1, 'otsu' or 'mean'.")
    return float(np.quantile(values.astype(np.float64), threshold)), f"the {threshold:g} quantile"


def _otsu(values: Float[np.ndarray, " values"]) -> float:
    """Give Otsu's threshold, set halfway between the two groups.

    The distinct values are the bins of the histogram, so nothing is rounded. Every value in the gap between
    the groups separates them equally well; scikit-image returns its lower end, which after interpolation
    would count nearly the whole slope of an isolated patch.
    """
    distinct, counts = np.unique(values.astype(np.float64), return_counts=True)
    if len(distinct) == 1:
        return float(distinct[0])
    last_below = int(np.searchsorted(distinct, threshold_otsu(hist=(counts, distinct))))
    return float(distinct[last_below] + distinct[last_below + 1]) / 2


def parts_above(
    pixels: Float[np.ndarray, "height width"], above: Bool[np.ndarray, "height width"], least_share: float
) -> list[Part]:
    """Give the connected parts of `above` that hold at least `least_share` of the sum of `pixels`, in reading order.

    Pixels that touch at a corner are connected. Sums are in float64, since a photograph has millions of pixels.
    """
    total = float(pixels.sum(dtype=np.float64))
    found = []
    for part in regionprops(label(above, connectivity=2)):
        share = float(pixels[part.slice][part.image].sum(dtype=np.float64)) / total
        if share >= least_share:
            found.append(Part(part.slice, part.image, int(part.area), share))
    return found
