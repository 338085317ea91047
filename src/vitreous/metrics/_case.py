"""Case: what a metric is given. One batch, one method's maps of it, and what is known to be true about its images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.frame import Box
from vitreous.core.shapes import Images, PixelMap
from vitreous.metrics._rounding import without_rounding
from vitreous.vit.trace import Trace

Relevance: TypeAlias = Float[Tensor, "b rows columns"]
Explain: TypeAlias = Callable[[Trace], Relevance]


@dataclass(frozen=True, eq=False)
class HumanTruth:
    """Where people looked or what they found informative, at each pixel of the model's input, unscaled.

    name   what was asked of them, in the words of the data set
    judge  who answered, where single people's answers are known; empty for a map of all of them
    """

    name: str
    values: Float[Tensor, "H W"] = field(repr=False)
    judge: str = ""


@dataclass(frozen=True, eq=False)
class SceneTruth:
    """What taking things out of a rendered scene gives. Pictures are model inputs in [0, 1], the target's first.

    removed   the scene without each of its things in turn
    coverage  the share of each pixel that each thing covers
    names     what the things are; the first is the class of the scene
    """

    removed: Float[Tensor, "t 3 H W"] = field(repr=False)
    coverage: Float[Tensor, "t H W"] = field(repr=False)
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about one image, on the pixels of the model's input. What is not known is None or empty.

    Padding, and whatever the annotators could not decide, is `void`: metrics that hold a map against a truth count it
    neither for nor against. Causal metrics and those of form see the whole map, as the model sees the whole input.

    label     index of the true class among the model's outputs
    mask      pixels of the annotated objects
    void      pixels that are not to be judged
    boxes     (left, top, right, bottom) of the annotated objects in pixels, clipped to the input
    human     human relevance maps
    scene     gives the counterfactuals of a rendered scene; a function, because rendering may take a while
    stressed  gives the image under a stress axis at a level, "3 H W" in [0, 1]
    """

    label: int | None = None
    mask: Bool[Tensor, "H W"] | None = field(default=None, repr=False)
    void: Bool[Tensor, "H W"] | None = field(default=None, repr=False)
    boxes: tuple[Box, ...] = ()
    human: tuple[HumanTruth, ...] = ()
    scene: Callable[[], SceneTruth] | None = None
    stressed: Callable[[str, int], Float[Tensor, "3 H W"]] | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """One batch, one method's maps of it, and the truth about its images.

    trace      of the unchanged images, open, with its resolved target and its master seed. Metrics ask it for further
               passes, which it counts
    relevance  the maps, raw: "b gh gw", or "b H W" of a pixel method
    explain    the same method on another trace: of changed images, or of a model with random weights
    truth      one for each image
    """

    trace: Trace
    relevance: Relevance
    explain: Explain
    truth: tuple[Truth, ...]

    def __post_init__(self) -> None:
        """Refuse maps that are neither on the grid nor on the pixels, and another number of truths than images."""
        shape, vit = tuple(self.relevance.shape[1:]), self.trace.vit
        if shape not in {vit.grid, vit.preprocessing.size} or len(self.relevance) != len(self.trace.images):
            raise InputError(
                f"relevance has shape {tuple(self.relevance.shape)}.",
                f"Expected {len(self.trace.images)} maps of {vit.grid} patches or {vit.preprocessing.size} pixels.",
            )
        if len(self.truth) != len(self.trace.images):
            raise InputError(f"truth is about {len(self.truth)} images.", f"The trace has {len(self.trace.images)}.")

    @property
    def images(self) -> Images:
        """The images, in [0, 1]."""
        return self.trace.images

    @cached_property
    def per_patch(self) -> Float[Tensor, "b p"]:
        """Relevance of each patch, row by row, in float64 on the CPU; for a pixel map the sum over the patch."""
        maps = self.relevance.detach().double().cpu()
        if tuple(maps.shape[1:]) == self.trace.vit.grid:
            return maps.flatten(1)
        (rows, columns), (high, wide) = self.trace.vit.grid, self.trace.vit.patch
        covered = maps[:, : rows * high, : columns * wide]
        return covered.reshape(-1, rows, high, columns, wide).sum((2, 4)).flatten(1)

    @cached_property
    def per_pixel(self) -> PixelMap:
        """Relevance at each pixel of the model's input, float64 on the CPU: straight lines between centres of patches.

        As pictures show it (`show.resample`), raw; so the sum over pixels is not the sum over patches. Constant beyond
        the outermost centres.
        """
        maps = self.relevance.detach().double().cpu()
        height, width = self.trace.vit.preprocessing.size
        if tuple(maps.shape[1:]) == (height, width):
            return maps
        (rows, columns), (high, wide) = self.trace.vit.grid, self.trace.vit.patch
        covered = F.interpolate(maps[:, None], size=(rows * high, columns * wide), mode="bilinear")[:, 0]
        # The weights of 14 pixels are no binary fractions: a constant map would have a single highest pixel.
        covered = without_rounding(covered, maps.abs().amax((1, 2), keepdim=True))
        return F.pad(covered, (0, width - columns * wide, 0, height - rows * high), mode="replicate")

    def generators(self, name: str) -> list[torch.Generator]:
        """One CPU generator for each image, fixed by the master seed, the image and `name` alone.

        What a metric draws thus does not depend on the method: all methods are held against the same draws.
        """
        return self.trace.generators("metric", name)
