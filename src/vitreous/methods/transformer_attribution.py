"""Transformer Attribution: attention weighted by its gradient and relevance, through all blocks. Chefer et al. 2021."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import captured, method
from vitreous.methods._reading import follow_down
from vitreous.methods._zplus import Precision, computes_again, propagate
from vitreous.vit.trace import Trace


@method(
    family="relevance propagation",
    paper="arXiv:2012.09838",
    class_specific=True,
    signed=False,
    unit="logit gradient x relevance",
    cost="2F1B + 1B by rules",
    repeats=True,
    linears=computes_again,
)
def transformer_attribution(trace: Trace, start: int = 0, precision: Precision = "mixed") -> PatchMap:
    """Multiply I + E_h (gradient * relevance of attention)+ through the blocks (eq. 13 and 14 of the paper).

    The relevance is that of `vit/rules/zplus.py`, started with 1 at the target. As in the published code, rows are not
    normalised. Models without a class token start from the rows that the head reads.

    start      the first block of the product, counted from 0, or from the end if negative; the paper leaves out block 0
               for segmentation
    precision  of the relevance pass. The rules divide by sums that nearly cancel, so rounding of those sums shows: with
               "single" all is float32, and maps differ by up to 38 % of the peak, as the published ones do. "double" is
               float64 throughout. "mixed" computes the model and all sums in float64, and only distributes relevance
               over the inputs of linear layers in float32: measured on 8 pairs of photograph and class, both are
               within 1.3e-5 of the peak of float64 maps. How much cancelled is noted.
               The gradient is the model's own in all three

    Deviations: sums of the residual rule are those of each image, where the published code adds up the batch. A
    contrast is the difference of two propagations, which the paper does not treat. Raises InputError for a block
    outside the model, and MethodNotApplicableError if the model computes with an operator without a rule.
    """
    index = captured(trace, start)
    relevances = propagate(trace, trace.first + index, precision).attention
    mixing = [
        (gradient * relevance).clamp(min=0).mean(1)
        for gradient, relevance in zip(trace.attention_grad[index:], relevances, strict=True)
    ]
    return trace.to_grid(follow_down(trace, mixing)).to(trace.score.dtype)
