"""Binding: do the patches of an object attend to each other more than their shape and nearness alone would make."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.analysis.relation_statistics import FEWEST, RESAMPLES
from vitreous.analysis.relations import check_objects, object_weights
from vitreous.core.errors import InputError
from vitreous.core.shapes import Mask
from vitreous.vit.trace import Trace


@dataclass(frozen=True, eq=False)
class Binding:
    """How much one object attends to itself, against the same shape laid elsewhere on the same attention.

    image, number  which object, both counted from 0
    lift           "l", as in `Relations.lift`, what a patch gives to itself left out
    elsewhere      "l m", the same at each other place: nearness and shape are the same, only the object is missing
    """

    image: int
    number: int
    lift: Float[Tensor, " l"]
    elsewhere: Float[Tensor, "l m"]

    @property
    def excess(self) -> Float[Tensor, " l"]:
        """Lift minus its mean over the other places, in bits."""
        return self.lift - self.elsewhere.mean(1)


@dataclass(frozen=True, eq=False)
class BindingStatistics:
    """What a data set says, for each block "l".

    excess     mean over images of the mean excess of their objects, in bits
    low, high  95 % bootstrap interval over images (percentile); NaN for fewer than ten images
    p          two-sided; null hypothesis: each object could as well stand at any place of the grid where it fits. Each
               draw puts every object at one such place
    corrected  the same for the largest of all blocks, each in units of its spread over draws (single-step maxT)
    """

    excess: Float[np.ndarray, " l"]
    low: Float[np.ndarray, " l"]
    high: Float[np.ndarray, " l"]
    p: Float[np.ndarray, " l"]
    corrected: Float[np.ndarray, " l"]
    images: int
    objects: int


def binding(trace: Trace, objects: Sequence[Mask]) -> list[Binding]:
    """Hold each object's attention to itself against that of its shape at all other places, in every captured block.

    objects  as for `relate`. Objects on a single patch, or that fit nowhere else on the grid, are left out

    Any compact set of patches attends to itself where attention is local, so that lift on its own shows nothing.
    Moved, the shape meets background, parts of the same object and other objects, whole or cut: that makes the
    difference smaller. What is left over may be the object, or the places where photographers put objects. Raises as
    `relate`.
    """
    _ = trace.readout  # raises where there are no plain tokens
    found = []
    for image, masks in enumerate(check_objects(trace, objects)):
        attention = [trace.patches(each[image]).detach().cpu().double().mean(0) for each in trace.attention]
        between = [each[trace.vit.patch_tokens] for each in attention]
        for number, weights in enumerate(object_weights(trace, image, masks)):
            own, moved = shape_places(weights.reshape(trace.vit.grid))
            if len(moved) > 1 and (weights > 0).sum() > 1:
                lifts = torch.stack([_lift(each, moved) for each in between])
                others = torch.arange(len(moved)) != own
                found.append(Binding(image, number, lifts[:, own], lifts[:, others]))
    return found


def shape_places(weights: Float[Tensor, "gh gw"]) -> tuple[int, Float[Tensor, "m p"]]:
    """Lay the shape at all places where it fits, row by row, and say which is its own."""
    down, across = weights.sum(1).nonzero()[:, 0], weights.sum(0).nonzero()[:, 0]
    top, left = int(down[0]), int(across[0])
    shape = weights[top : int(down[-1]) + 1, left : int(across[-1]) + 1]
    rows, columns = (side - extent + 1 for side, extent in zip(weights.shape, shape.shape, strict=True))
    moved = weights.new_zeros(rows, columns, *weights.shape)
    for row in range(rows):
        for column in range(columns):
            moved[row, column, row : row + shape.shape[0], column : column + shape.shape[1]] = shape
    return top * columns + left, moved.reshape(rows * columns, -1)


def _lift(among: Float[Tensor, "p p"], moved: Float[Tensor, "m p"]) -> Float[Tensor, " m"]:
    """Give the lift of a shape onto itself at each place; what even attention would give is the same everywhere."""
    others = among - torch.diag(among.diagonal())
    size, squares = moved[0].sum(), (moved[0] ** 2).sum()
    expected = (size**2 - squares) / (among.shape[0] - 1)
    return torch.log2(((moved @ others) * moved).sum(1) / (moved @ others.sum(1)) / expected * size)


def binding_statistics(found: Sequence[Sequence[Binding]], draws: int = 9999, seed: int = 0) -> BindingStatistics:
    """Put together what `binding` found on the images of a data set.

    found  for each image what `binding` gave for its objects; images without any are left out
    """
    used = [image for image in found if len(image)]
    if not used:
        raise InputError("There is no object that fits elsewhere on the grid.", "Give smaller objects.")
    generator = np.random.default_rng(seed)
    lifts = [[torch.cat([each.lift[:, None], each.elsewhere], 1).numpy() for each in image] for image in used]
    # What every object adds to the mean, whichever of its places is taken for its own.
    excess = [[_against_others(each) for each in image] for image in lifts]
    value = np.mean([np.mean([each[:, 0] for each in image], 0) for image in excess], 0)
    drawn = np.zeros((draws, len(value)))
    for image in excess:
        for each in image:
            drawn += each[:, generator.integers(each.shape[1], size=draws)].T / (len(image) * len(excess))
    per_image = np.array([np.mean([each[:, 0] for each in image], 0) for image in excess])
    low, high = _interval(per_image, generator)
    slack = 1e-9 * (1 + np.abs(value))
    above, below = (drawn >= value - slack).sum(0), (drawn <= value + slack).sum(0)
    spread = np.vstack([value, drawn]).std(0) + 1e-12  # the data are one of the draws
    largest = np.abs(drawn / spread).max(1)[:, None]
    return BindingStatistics(
        value, low, high,
        p=np.minimum(1.0, 2 * (1 + np.minimum(above, below)) / (1 + draws)),
        corrected=(1 + (largest >= (np.abs(value) - slack) / spread).sum(0)) / (1 + draws),
        images=len(used), objects=sum(map(len, used)),
    )  # fmt: skip


def _interval(
    per_image: Float[np.ndarray, "n l"], generator: np.random.Generator
) -> tuple[Float[np.ndarray, " l"], Float[np.ndarray, " l"]]:
    """Give the percentile interval of the mean over images drawn with replacement; NaN for too few of them."""
    count = len(per_image)
    if count < FEWEST:
        nothing = np.full(per_image.shape[1], math.nan)
        return nothing, nothing
    times = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    low, high = np.quantile(times @ per_image, [0.025, 0.975], axis=0)
    return low, high


def _against_others(lifts: Float[np.ndarray, "l m"]) -> Float[np.ndarray, "l m"]:
    """Take from the lift at each place the mean over all other places."""
    count = lifts.shape[1]
    found: Float[np.ndarray, "l m"] = (lifts - lifts.mean(1, keepdims=True)) * count / (count - 1)
    return found
