"""Gaussian at the centre: photographers put things there, so it scores well without looking. A control."""

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="control",
    paper=None,
    class_specific=False,
    signed=False,
    unit="density relative to the centre",
    cost="0F",
    gradient=False,
)
def center_gaussian(trace: Trace, sigma: float = 0.25) -> PatchMap:
    """Give each patch exp(-(y² + x²) / (2 sigma²)), with y and x from the image's centre to the patch's centre.

    Distances are shares of the height and of the width, so the bell is stretched to the shape of the image, as
    benchmarks of human gaze do it (Judd, Durand & Torralba 2012, "A Benchmark of Computational Models of Saliency to
    Predict Human Fixations"). The scale is 1 at the exact centre, where only an odd grid has a patch.

    sigma  width of the bell, as a share of each side; greater than 0

    Ignores image, model and target. Raises InputError for a sigma that is not positive.
    """
    if sigma <= 0:
        raise InputError(f"center_gaussian got sigma={sigma}.", "Expected a number greater than 0.")
    down, across = (((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) ** 2 for count in trace.vit.grid)
    bell = torch.exp(-(down[:, None] + across[None, :]) / (2 * sigma**2))
    return bell.to(trace.logits).repeat(len(trace.images), 1, 1)
