"""Stress consistency: whether the map stays in place when the scene is rendered under harder conditions."""

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._agreement import agreement
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._rerun import maps_of, patches_of


@metric(
    category="robustness",
    better="higher",
    unit="rank correlation",
    cost="the method on one other image, which is rendered",
    needs=("stressed",),
    reruns=True,
)
def stress_consistency(case: Case, axis: str = "light_intensity", level: int = 2) -> PerImage:
    """Correlate the ranks of the map with those of the map of the same scene under stress, patch by patch (Spearman).

    From -1 to 1, higher is better. The target stays, whatever the model now predicts. A map that ignores the image gets
    1; and a model that looks elsewhere under stress deserves a map that says so. It describes method and model
    together.

    axis   what is made harder: "light_intensity", "light_direction", "light_colour", "sensor_noise", "occlusion" or
           "clutter". The last two put things into the scene, where relevance may rightly go
    level  how much, 1 to 5

    NaN for an image that cannot be rendered under stress, and for a map that is constant; one that is constant under
    stress counts as 0. From no paper. Raises InputError for a camera's axis, which moves everything to other patches;
    other axes and levels are refused by the world that renders.
    """
    if axis.startswith("camera"):
        raise InputError(
            f"axis={axis!r} moves everything to other patches.",
            "Use an axis of light or noise, or 'occlusion', 'clutter'.",
        )
    images = case.images
    known = torch.tensor([truth.stressed is not None for truth in case.truth])
    if not bool(known.any()):
        return torch.full((len(images),), torch.nan, dtype=torch.float64)
    changed = [
        image if truth.stressed is None else truth.stressed(axis, level).to(image)
        for image, truth in zip(images, case.truth, strict=True)
    ]
    stressed = patches_of(case, maps_of(case, torch.stack(changed)))
    found = agreement(case.per_patch, stressed, "spearman", case.trace.vit.grid)
    return torch.where(known, found, torch.nan)
