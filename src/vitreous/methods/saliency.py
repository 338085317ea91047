"""Saliency: how strongly the score reacts to a small change of each pixel. Simonyan et al. 2014."""

from typing import Literal

from vitreous.core.errors import InputError
from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper="arXiv:1312.6034",
    class_specific=True,
    signed=False,
    unit="change of logit per unit of normalised input",
    cost="1F1B",
    level="pixel",
    pixels=True,
)
def saliency(trace: Trace, channels: Literal["max", "sum"] = "max") -> PixelMap:
    """Take the absolute gradient of the score at each pixel of the normalised input, reduced over colour channels.

    channels  "max" takes the largest of the three, as section 3 of the paper does; "sum" adds them

    Gives "b H W" of the model input, not of the photograph. Normalisation divides by the deviation of each
    channel, so the unit is not that of [0, 1] values.

    Ignores everything but the local slope, and is noisy on ViTs. Needs no attention, so it applies to any
    differentiable model. Deviation: none. Raises InputError for another reduction.
    """
    gradient = trace.input_grad.abs()
    if channels == "max":
        return gradient.amax(1)
    if channels == "sum":
        return gradient.sum(1)
    raise InputError(f"saliency got channels={channels!r}.", "Use 'max' or 'sum'.")
