"""Head relevance: one head's attention times the gradient of the score, in one block."""

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
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
def head_relevance(trace: Trace, block: int = -1, head: int = -1) -> PatchMap:
    """Multiply the attention of a head by its gradient, A * dA, and take the row that the prediction reads.

    R = alpha (A * dA) for block l and head h, with alpha = 1: to first order, what the score would lose if the head
    stopped attending there.

    block  the block that is read, counted from 0, or from the end if negative
    head   the head that is read, counted from 0; -1 adds all heads of the block up

    Signed, without a ReLU. The maps of a block's heads add up to that of head=-1. Ignores all other blocks, and what
    other tokens read. Models without a class token: rows are averaged as the head of the model reads them. Raises
    InputError for a block or a head outside the model.
    """
    index = captured(trace, block)
    rows = trace.readout.rows
    attention, gradient = trace.attention[index], trace.attention_grad[index]
    heads = attention.shape[1]
    if not -1 <= head < heads:
        raise InputError(f"head_relevance got head={head}.", f"Expected 0 to {heads - 1}, or -1 for all heads.")
    chosen = slice(None) if head == -1 else slice(head, head + 1)
    relevance = attention[:, chosen, rows] * gradient[:, chosen, rows]
    return trace.to_grid(weigh_rows(trace, relevance).sum(1))
