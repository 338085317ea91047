"""Generic attention: gradient-weighted attention, gathered through the blocks. Chefer, Gur & Wolf, ICCV 2021."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.methods._reading import follow_down
from vitreous.vit.trace import Trace


@method(
    paper="arXiv:2103.15679",
    class_specific=True,
    signed=False,
    unit="gradient-weighted attention",
    cost="1F1B",
    attention=True,
)
def generic_attention(trace: Trace) -> PatchMap:
    """Start from the identity and add, block by block, the positive part of gradient times attention applied to it.

    Equations 5 and 6 for self-attention: R <- R + E_h[(dA * A)+] R, where E_h is the mean over heads. Only
    the row of R that the prediction reads is computed.

    Ignores values and MLPs, except through the gradient. Deviation: none; models without a class token,
    which the paper does not treat, start from the rows that the head reads.
    """
    mixing = [
        (gradient * attention).clamp_(min=0).mean(1)
        for gradient, attention in zip(trace.attention_grad, trace.attention, strict=True)
    ]
    return trace.to_grid(follow_down(trace, mixing))
