"""Distractibility: whether a map leaves alone the things that the prediction does not need.

FunnyBirds' D (Hesse, Schaub-Meyer & Roth 2023), for whole things of rendered scenes.
"""

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._things import density, known_things, relevance_on, unimportant


@metric(
    category="known truth",
    better="higher",
    unit="share of things",
    cost="one forward for each thing, shared",
    paper="arXiv:2308.06248",
    needs=("scene",),
)
def distractibility(case: Case, tolerance: float = 0.05, share: float = 0.05) -> PerImage:
    """Give the share of the things which the prediction does not need that the map does not name either.

    From 0 to 1, higher is better: the paper's name is that of what is measured, its value that of the lack of it.

    tolerance  a thing is not needed if the score falls by less than this share of itself when it is taken out, or rises
    share      the map names a thing that holds more than this share of all positive relevance of the picture

    A map that puts nothing on any thing gets 1, and a random map a high value, so this means little without
    `counterfactual_rank` beside it. NaN for an image that is no scene, a scene whose every thing is needed, and a map
    without positive relevance.

    Deviations: the paper chooses `share` for each method, so that several of its scores are best, from 0.01 to 0.5; it
    takes shares of the sum of signed relevance, which may be 0; it counts a bird's parts beside the things around it,
    and dilates both. Raises InputError for a tolerance or share below 0.
    """
    if share < 0:
        raise InputError(f"share={share} is negative.", "Give a share of the positive relevance, 0 or more.")
    found = []
    for image, (pixels, known) in enumerate(zip(density(case), known_things(case), strict=True)):
        total = float(pixels.clamp(min=0).sum())
        if known is None or total == 0:
            found.append(float("nan"))
            continue
        left_alone = relevance_on(pixels, known) <= share * total
        # The mean over no thing at all is NaN.
        found.append(float(left_alone[unimportant(case, image, known, tolerance)].double().mean()))
    return torch.tensor(found, dtype=torch.float64)
