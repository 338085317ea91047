"""SmoothGrad: the gradient at each pixel, averaged over noisy copies of the image. Smilkov et al. 2017."""

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.methods._repeat import fused_graph, gradient_at
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper="arXiv:1706.03825",
    class_specific=True,
    signed=lambda parameters: parameters["signed"],
    unit="mean change of logit per unit of normalised input",
    cost="copies x 1F1B",
    level="pixel",
    gradient=False,
    random=True,
    repeats=True,
    held=fused_graph,
)
def smoothgrad(trace: Trace, copies: int = 25, sigma: float = 0.15, signed: bool = False) -> PixelMap:
    """Average the gradient of the score over copies of the normalised input with Gaussian noise.

    The average has a sign at each pixel and channel. The paper leaves open how it is shown, and takes absolute
    values for photographs; they are taken of the average, not averaged.

    copies  noisy copies of each image; the paper finds little change beyond 50
    sigma   standard deviation of the noise as a share of each image's own range, largest minus smallest value
            of the normalised input; the paper finds 0.1 to 0.2 best
    signed  False gives the absolute value of the average, largest of the three channels, as `saliency` does;
            True adds the averages of the channels with their signs

    One copy of each image is run at a time, so memory does not grow with `copies`. Noise is drawn for each
    image from a generator of its own. An image of one colour has no range, and gets its plain gradient.
    Deviation: none. Raises InputError for copies below 1 or a negative sigma.
    """
    if copies < 1 or sigma < 0:
        raise InputError(f"smoothgrad got copies={copies} and sigma={sigma}.", "Expected copies >= 1 and sigma >= 0.")
    inputs, generators = trace.inputs.detach(), trace.generators("smoothgrad")
    deviation = sigma * (inputs.amax((1, 2, 3)) - inputs.amin((1, 2, 3))).reshape(-1, 1, 1, 1)
    total = torch.zeros_like(inputs)
    for _ in range(copies):
        noise = torch.stack([torch.randn(inputs.shape[1:], generator=generator) for generator in generators])
        total = total + gradient_at(trace, inputs + deviation * noise.to(inputs))
    average = total / copies
    return average.sum(1) if signed else average.abs().amax(1)
