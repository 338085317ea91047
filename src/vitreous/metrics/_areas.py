"""Regions: the most relevant patches of a map and what was annotated, as patches and as pixels."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import Better
from vitreous.metrics._rank import descending
from vitreous.vit.coalitions import patches_to_pixels

Region: TypeAlias = Literal["map", "mask"]


def direction(parameters: Mapping[str, Any]) -> Better:
    """Say what is good: to lose much without what the map names. About the mask, no map has a say."""
    return "higher" if parameters["region"] == "map" else "neither"


def top_patches(case: Case, share: float) -> Bool[Tensor, "b p"]:
    """Give the patches of each image that are the most relevant `share` of all: rounded, one at least.

    Raises InputError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"share={share} is no share.", "Give a number in (0, 1].")
    places = descending(case).argsort(1)
    return places < max(1, int(share * places.shape[1] + 0.5))


def annotated(case: Case) -> Bool[Tensor, "b H W"]:
    """Give the annotated mask of each image without what is void; empty where there is none."""
    masks = []
    for truth in case.truth:
        mask = torch.zeros(case.images.shape[2:], dtype=torch.bool) if truth.mask is None else truth.mask
        masks.append(mask if truth.void is None else mask & ~truth.void)
    return torch.stack(masks)


def half_covered(case: Case, mask: Bool[Tensor, "b H W"]) -> Bool[Tensor, "b p"]:
    """Give the patches of which the mask covers half or more."""
    (rows, columns), (high, wide) = case.trace.vit.grid, case.trace.vit.patch
    covered = mask[:, : rows * high, : columns * wide].double()
    return covered.reshape(-1, rows, high, columns, wide).mean((2, 4)).flatten(1) >= 0.5


def to_pixels(case: Case, patches: Bool[Tensor, "b p"]) -> Bool[Tensor, "b H W"]:
    """Give the pixels of sets of patches; each pixel is of one patch."""
    return patches_to_pixels(case.trace, patches).bool().cpu()


def nan_where_empty(values: Float[Tensor, " b"], region: Bool[Tensor, "b *n"]) -> PerImage:
    """Leave out images without a region."""
    return values.masked_fill(~region.flatten(1).any(1), torch.nan)
