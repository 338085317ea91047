"""Full LRP: one unit of relevance, propagated from the target to the pixels. Bach et al. 2015, Chefer et al. 2021."""

from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.methods._zplus import Precision, computes_again, propagate, require_pixels
from vitreous.vit.trace import Trace


@method(
    family="relevance propagation",
    paper="arXiv:2012.09838",
    class_specific=True,
    signed=True,
    unit="relevance",
    cost="2F + 1B by rules",
    level="pixel",
    gradient=False,
    repeats=True,
    linears=computes_again,
)
def full_lrp(trace: Trace, precision: Precision = "double") -> PixelMap:
    """Propagate relevance through the whole model, and add it up over the channels of each pixel.

    The rules are those of `vit/rules/zplus.py`; at the patch embedding z^B, whose bounds are each image's own lowest
    and highest input, if it is a convolution (an embedding by a linear layer gets the rule of linear layers). The sum
    of a map is what is left of the 1 at the target: class tokens and position embeddings take the rest.

    precision  of the pass: "double"; "mixed", which is faster and as exact but for the last digits (measured: 4e-6 of
               the peak); or "single", which is seldom right: the published float32 maps can differ from those in
               float64 by several times the peak. See `transformer_attribution`. How much cancelled is noted

    Deviations: as in `transformer_attribution`, the residual rule goes by image, and a contrast is the difference of
    two propagations. Raises MethodNotApplicableError if the model computes with an operator without a rule, or cuts its
    pixels off.
    """
    pixels = propagate(trace, 0, precision).pixels
    return require_pixels(trace, pixels).to(trace.score.dtype)
