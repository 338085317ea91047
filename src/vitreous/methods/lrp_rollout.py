"""Rollout of relevance: positive relevance of attention, through all blocks, without gradients. Chefer et al. 2021."""

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
    unit="relevance",
    cost="2F + 1B by rules",
    gradient=False,
    repeats=True,
    linears=computes_again,
)
def lrp_rollout(trace: Trace, start: int = 0, precision: Precision = "double") -> PatchMap:
    """Multiply I + E_h (relevance of attention)+ through the blocks: Transformer Attribution without its gradient.

    An ablation of that paper. The relevance is that of `vit/rules/zplus.py`, started with 1 at the target; rows are not
    normalised. Models without a class token start from the rows that the head reads.

    start      the first block of the product, counted from 0, or from the end if negative
    precision  of the relevance pass: "double"; "mixed", which is faster and as exact but for the last digits (measured:
               2e-6 of the peak); or "single", in which rounding shows, as in the published float32 maps: by up to 55 %
               of the peak. See `transformer_attribution`. How much cancelled is measured and noted

    Deviations: as in `transformer_attribution`, the residual rule goes by image, and a contrast is the difference of
    two propagations. Raises InputError for a block outside the model, and MethodNotApplicableError if the model
    computes with an operator without a rule.
    """
    relevances = propagate(trace, trace.first + captured(trace, start), precision).attention
    mixing = [relevance.clamp(min=0).mean(1) for relevance in relevances]
    return trace.to_grid(follow_down(trace, mixing)).to(trace.score.dtype)
