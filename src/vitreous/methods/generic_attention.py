"""Generic attention: gradient-weighted attention, gathered through the blocks. Chefer, Gur & Wolf, ICCV 2021."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of, of_blocks, one_head
from vitreous.methods._method import method
from vitreous.methods._reading import follow_down
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper="arXiv:2103.15679",
    class_specific=True,
    signed=False,
    unit="gradient-weighted attention",
    cost="1F1B",
    block_range=("first", "last"),
)
def generic_attention(
    trace: Trace, head: int | None = None, first: int = 0, last: int = -1, outliers: Outliers = "keep"
) -> PatchMap:
    """Start from the identity and add, block by block, the positive part of gradient times attention applied to it.

    Equations 5 and 6 for self-attention: R <- R + E_h[(dA * A)+] R, where E_h is the mean over heads. Only
    the row of R that the prediction reads is computed.

    head         the only head that is read in each block, counted from 0, or from the end if negative; None
                 averages them all, as the paper does
    first, last  the blocks that are gathered, both included, counted likewise
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Ignores values and MLPs, except through the gradient. Deviation: none; models without a class token,
    which the paper does not treat, start from the rows that the head reads. Raises InputError for blocks or
    a head outside the model.
    """
    blocks, matrices = attention_between(trace, first, last, head)
    gradients = of_blocks(trace, blocks, trace.attention_grad)
    mixing = [
        (one_head(gradient, head) * attention).clamp_(min=0).mean(1)
        for gradient, attention in zip(gradients, matrices, strict=True)
    ]
    return map_of(trace, follow_down(trace, mixing), blocks, outliers)
