"""Head relevance: one head's attention times the gradient of the score, in one block."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, map_of, one_head
from vitreous.methods._method import captured, method
from vitreous.methods._reading import weigh_rows
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper=None,
    class_specific=True,
    signed=True,
    unit="logit gradient x attention",
    cost="1F + backward of one block",
    only_block="block",
)
def head_relevance(trace: Trace, block: int = -1, head: int | None = None, outliers: Outliers = "keep") -> PatchMap:
    """Multiply the attention of a head by its gradient, A * dA, and take the row that the prediction reads.

    R = alpha (A * dA) for block l and head h, with alpha = 1: to first order, what the score would lose if the head
    stopped attending there.

    block     the block that is read, counted from 0, or from the end if negative
    head      the head that is read, counted likewise; None adds all heads of the block up
    outliers  "mask" replaces the values of patches whose token has an outlying norm where the block takes it in by the
              median of their neighbours, see `vit.outliers`; "keep" does not

    Signed, without a ReLU. The maps of a block's heads add up to that of head=None. Ignores all other blocks, and what
    other tokens read. Models without a class token: rows are averaged as the head of the model reads them. Raises
    InputError for a block or a head outside the model.
    """
    index = captured(trace, block)
    rows = trace.readout.rows
    attention, gradient = (
        one_head(found[index], head)[:, :, rows] for found in (trace.attention, trace.attention_grad)
    )
    here = trace.first + index
    return map_of(trace, weigh_rows(trace, attention * gradient).sum(1), range(here, here + 1), outliers)
