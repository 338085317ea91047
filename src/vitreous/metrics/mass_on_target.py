"""Mass on target: how much of the relevance lies on the thing that gives a rendered scene its class."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._things import density, known_things


@metric(
    category="known truth",
    better="higher",
    unit="share of the positive relevance",
    cost="one forward for each thing, shared",
    needs=("scene",),
)
def mass_on_target(case: Case) -> PerImage:
    """Give the share of the positive relevance that lies on the target: sum of phi+ times coverage / sum of phi+.

    From 0 to 1, higher is better, as far as the model looks at the target; whether it does, `background_independence`
    and `counterfactual_rank` tell. A map that says nothing gets the share of the picture that the target covers.
    Coverage is the share of a pixel that the thing covers, and a patch's value counts for each of its pixels: where a
    patch is partly on the target, only that part counts.

    NaN for an image that is no scene, and a map without positive relevance. This is the relevance mass accuracy of
    CLEVR-XAI (Arras, Osman & Samek 2022) with a soft mask.
    """
    found = [
        float("nan") if known is None else float((positive * known.coverage[0]).sum() / positive.sum())
        for positive, known in zip(density(case).clamp(min=0), known_things(case), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)
