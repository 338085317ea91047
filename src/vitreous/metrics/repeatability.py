"""Repeatability: whether the same question gets the same map again."""

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._agreement import agreement
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._rerun import maps_elsewhere, patches_of


@metric(
    category="sanity",
    better="higher",
    unit="rank correlation",
    cost="the method `runs` times more",
    reruns=True,
)
def repeatability(case: Case, runs: int = 1, reseed: bool = True) -> PerImage:
    """Run the method again; give the mean of Spearman's correlation of ranks between the map and those of the new runs.

    From -1 to 1, higher is better. A method that draws no random numbers gets 1, up to what the arithmetic of the
    device leaves undetermined; one that does gets the less, the more its map is due to the draw. Its square root is
    about the correlation with the mean of endless runs, as with any two measurements of one quantity.

    runs    how many runs more
    reseed  under other master seeds: the next `runs` numbers. False keeps the seed, and asks whether the computation
            itself repeats: what is below 1 then is the device's doing, or a defect

    NaN for a map that is constant. From no paper: repeatability in the sense of measurement. Ranks alone are seen, so
    differences that change no order go unnoticed. Raises InputError for fewer than one run.
    """
    if runs < 1:
        raise InputError(f"runs={runs} are no runs.", "Give 1 or more.")
    found = []
    for run in range(1, runs + 1):
        again = maps_elsewhere(case, seed=case.trace.seed + (run if reseed else 0))
        found.append(agreement(case.per_patch, patches_of(case, again), "spearman", case.trace.vit.grid))
    return torch.stack(found).mean(0)
