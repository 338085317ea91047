"""Regions of a map on the model's input, as pictures draw them on the photograph; see `show.regions`."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.regions import Part, choose_threshold, parts_above
from vitreous.metrics._case import Case


def regions_of(case: Case, threshold: str | float, least_share: float) -> list[tuple[list[Part], int]]:
    """Give each image's connected regions of positive relevance above a threshold, and how many pixels are judged.

    threshold    "otsu", "mean" or a quantile from 0 to 1, of the patches' positive relevance (a negative one counts as
                 0), over the patches with a pixel that is not void
    least_share  regions with less of the positive relevance are left out

    Pixel maps are summed over each patch; then values are interpolated by straight lines between centres of patches,
    and pixels that are not void are held against the threshold. A map that is constant has no regions.

    Raises UnknownNameError or InputError for a threshold that is none, and for a share outside 0 to 1.
    """
    if not 0 <= least_share <= 1:
        raise InputError(f"least_share={least_share} is out of range.", "Give a share from 0 to 1.")
    grid = case.trace.vit.grid
    coarse = case.per_patch
    fine = replace(case, relevance=coarse.reshape(-1, *grid)).per_pixel.clamp(min=0).numpy()
    found = []
    for patches, pixels, truth in zip(coarse, fine, case.truth, strict=True):
        judged = np.ones(pixels.shape, np.bool_) if truth.void is None else ~truth.void.numpy()
        value, _ = choose_threshold(patches.clamp(min=0)[_touched(case, judged)].numpy(), threshold)
        counted = np.where(judged, pixels, 0.0)
        informative = bool(patches.min() < patches.max()) and bool(counted.any())
        found.append((parts_above(counted, counted > value, least_share) if informative else [], int(judged.sum())))
    return found


def _touched(case: Case, judged: Bool[np.ndarray, "H W"]) -> Bool[Tensor, " p"]:
    """Say which patches have a pixel that is judged; all if none has, since a threshold there has to be."""
    (rows, columns), (high, wide) = case.trace.vit.grid, case.trace.vit.patch
    cut = judged[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
    touched = torch.from_numpy(cut.any((1, 3)).reshape(-1))
    return touched if bool(touched.any()) else torch.ones_like(touched)
