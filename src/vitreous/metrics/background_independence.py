"""Background independence: whether the model needs things beside the target. A property of the model, not of the map.

FunnyBirds' BI (Hesse, Schaub-Meyer & Roth 2023), for the things of rendered scenes.
"""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._things import known_things, unimportant


@metric(
    category="known truth",
    better="neither",
    unit="share of things",
    cost="one forward for each thing, shared",
    paper="arXiv:2308.06248",
    needs=("scene",),
)
def background_independence(case: Case, tolerance: float = 0.05) -> PerImage:
    """Give the share of the things beside the target which the prediction does not need.

    From 0 to 1. No map is read: all methods get the same value, so none is better by it. It says how much of
    `distractibility` there is to be had, and how far `mass_on_target` can be asked for.

    tolerance  a thing is not needed if the score falls by less than this share of itself when it is taken out, or rises

    NaN for an image that is no scene, and a scene with nothing beside the target. Deviations: the paper counts the
    things of all scenes together, here each scene counts the same; and floor and wall are never taken out. Raises
    InputError for a negative tolerance.
    """
    found = [
        float("nan") if known is None else float(unimportant(case, image, known, tolerance)[1:].double().mean())
        for image, known in enumerate(known_things(case))
    ]
    return torch.tensor(found, dtype=torch.float64)
