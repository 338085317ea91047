"""Input x gradient: what each pixel contributes to a straight-line reading of the score. Shrikumar et al. 2016."""

from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper="arXiv:1605.01713",
    class_specific=True,
    signed=True,
    unit="logit, to first order",
    cost="1F1B",
    level="pixel",
    pixels=True,
)
def input_x_gradient(trace: Trace) -> PixelMap:
    """Multiply the normalised input by the gradient of the score, and add up the colour channels with their signs.

    Gives "b H W" of the model input, in logits: were the model linear without bias, the map would sum to the
    score. It is not, and the sum says nothing (Integrated Gradients repairs this).

    The value of a pixel is counted from the mean colour, which normalisation turns into zero: a pixel of
    that colour gets nothing, however much it matters. Noisy on ViTs. Needs no attention, so it applies to any
    differentiable model. Has no parameters. Deviation: none.
    """
    return (trace.inputs * trace.input_grad).sum(1)
