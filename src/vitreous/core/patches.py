"""Patches of a model's input: where their centres lie, and how much of each a mask covers."""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vitreous.core.errors import InputError


def patch_centres(grid: tuple[int, int], patch: tuple[int, int]) -> Float64[Tensor, "p 2"]:
    """Give the centres (down, across) of all patches, row by row, in pixels of the model's input.

    >>> patch_centres((1, 2), (4, 4)).tolist()
    [[2.0, 2.0], [2.0, 6.0]]
    """
    down, across = (
        (torch.arange(count, dtype=torch.float64) + 0.5) * size for count, size in zip(grid, patch, strict=True)
    )
    return torch.stack([part.flatten() for part in torch.meshgrid(down, across, indexing="ij")], 1)


def patch_coverage(
    masks: Bool[Tensor, "k H W"], grid: tuple[int, int], patch: tuple[int, int]
) -> Float64[Tensor, "k p"]:
    """Give the share of the pixels of each patch, row by row, that each mask covers.

    Pixels beyond the last whole patch are of none. Raises InputError for masks that are smaller than the patches.
    """
    (rows, columns), (high, wide) = grid, patch
    if masks.shape[1] < rows * high or masks.shape[2] < columns * wide:
        raise InputError(
            f"Masks are {tuple(masks.shape[1:])} pixels (height, width), and the patches cover "
            f"{(rows * high, columns * wide)}.",
            "Give them on the pixels of the model's input.",
        )
    covered = masks.cpu().double()[:, : rows * high, : columns * wide]
    return covered.reshape(len(masks), rows, high, columns, wide).mean((2, 4)).flatten(1)
