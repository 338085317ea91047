"""Ranking: the order of patches by relevance, with ties broken at random, by each image's own seed."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.metrics._case import Case


def descending(case: Case) -> Int[Tensor, "b p"]:
    """Give the patches of each image from the most to the least relevant.

    Ties are broken by a random order that depends on the image and the master seed alone. To break them by place, as
    sorting does by itself, would hand a map that is constant somewhere the order of the rows of the picture.
    """
    orders = [_order(row, generator) for row, generator in zip(case.per_patch, case.generators("ties"), strict=True)]
    return torch.stack(orders)


def descending_pixels(case: Case) -> Int[Tensor, "b n"]:
    """Give the pixels of each image, row by row, from the most to the least relevant, ties broken in the same way.

    Pixels are ranked as pictures show the map, interpolated between patches.
    """
    maps = case.per_pixel.flatten(1)
    return torch.stack([_order(row, generator) for row, generator in zip(maps, case.generators("ties"), strict=True)])


def _order(relevance: Float[Tensor, " p"], generator: torch.Generator) -> Int[Tensor, " p"]:
    shuffled = torch.randperm(len(relevance), generator=generator)
    return shuffled[relevance[shuffled].argsort(descending=True, stable=True)]
