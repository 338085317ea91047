"""Things of a rendered scene: what a map gives each, and what the model loses when it is really taken out.

The same as `worlds.rendered.truth` computes for single heatmaps, for batches, and shared by metrics and methods.
"""

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PixelMap
from vitreous.core.target import ResolvedTarget
from vitreous.metrics._case import Case
from vitreous.vit.coalitions import logits_of

Things = Float[Tensor, " t"]


class Known(NamedTuple):
    """What is known about the t things of one scene, the target's first.

    logits    all outputs for the scene without each thing
    coverage  the share of each pixel that each thing covers
    """

    logits: Float[Tensor, "t k"]
    coverage: Float[Tensor, "t H W"]


def known_things(case: Case) -> list[Known | None]:
    """Give what is known about each image's things; None for an image that is no rendered scene.

    All scenes of a batch are run together, and only once, whichever metric asks about whichever method's map. Images
    may have different numbers of things.
    """
    kept: dict[object, Known] = case.trace.once(("things",), dict)
    places = [(image, truth.scene) for image, truth in enumerate(case.truth)]
    new = [(image, scene) for image, scene in places if scene is not None and (image, scene) not in kept]
    if new:
        scenes = [scene() for _, scene in new]
        counts = [len(scene.removed) for scene in scenes]
        owner = torch.tensor([image for image, _ in new]).repeat_interleave(torch.tensor(counts))
        logits = logits_of(case.trace, torch.cat([scene.removed for scene in scenes]), owner).double().cpu()
        starts = [0, *accumulate(counts)]
        for place, scene, (start, stop) in zip(new, scenes, pairwise(starts), strict=True):
            kept[place] = Known(logits[start:stop], scene.coverage.double().cpu())
    return [kept.get(place) for place in places]


def drops(case: Case, image: int, known: Known, target: ResolvedTarget | None = None) -> Things:
    """Give by how much the score falls when each thing is taken out, negative where it rises.

    target  of the batch; the case's own if not given
    """
    return score(case, image, target) - _score(known.logits, image, target or case.trace.target)


def score(case: Case, image: int, target: ResolvedTarget | None = None) -> Float[Tensor, " 1"]:
    """Give the score of one unchanged image, in float64."""
    whole = case.trace.logits[image : image + 1].detach().double().cpu()
    return _score(whole, image, target or case.trace.target)


def _score(logits: Float[Tensor, "t k"], image: int, target: ResolvedTarget) -> Things:
    chosen = target.select(torch.full((len(logits),), image))
    if chosen.direction is not None:  # of an embedding; it is where the model is
        chosen = replace(chosen, direction=chosen.direction.double().cpu())
    return chosen.score(logits)


def density(case: Case) -> PixelMap:
    """Give the relevance at each pixel, every patch's for each of its pixels: nothing is interpolated across edges.

    Zero where a pixel is void: padding is no part of the scene.
    """
    maps = case.relevance.detach().double().cpu()
    height, width = case.trace.vit.preprocessing.size
    if tuple(maps.shape[1:]) != (height, width):
        high, wide = case.trace.vit.patch
        spread = maps.repeat_interleave(high, 1).repeat_interleave(wide, 2)
        maps = F.pad(spread, (0, width - spread.shape[2], 0, height - spread.shape[1]))
    void = [torch.zeros(height, width, dtype=torch.bool) if truth.void is None else truth.void for truth in case.truth]
    return maps.masked_fill(torch.stack(void), 0.0)


def relevance_on(pixels: Float[Tensor, "H W"], known: Known) -> Things:
    """Add up the relevance on each thing: that of every pixel times the share of the pixel which the thing covers."""
    return torch.einsum("hw,thw->t", pixels, known.coverage)


def unimportant(case: Case, image: int, known: Known, tolerance: float) -> Tensor:
    """Say which things the prediction hardly needs: without them the score falls by less than a share of itself.

    A thing without which the score rises is one of them, as in FunnyBirds. Raises InputError for a negative tolerance.
    """
    if tolerance < 0:
        raise InputError(f"tolerance={tolerance} is negative.", "Give a share of the score, 0 or more.")
    return drops(case, image, known) < tolerance * score(case, image).abs()
