"""Raw attention: what the class token attends to in one block, averaged over heads."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import captured, method
from vitreous.methods._reading import read_rows
from vitreous.vit.trace import Trace


@method(
    family="attention",
    paper=None,
    class_specific=False,
    signed=False,
    unit="attention mass",
    cost="1F",
    gradient=False,
    only_block="block",
)
def raw_attention(trace: Trace, block: int = -1) -> PatchMap:
    """Average the heads of one block and take the row that the prediction reads.

    block  the block that is read, counted from 0, or from the end if negative

    A computation the model performs, not an estimate of influence: it ignores values, MLPs, other blocks
    and the target. What goes to class, distillation and register tokens is not on the map, so it sums to
    less than 1 where there are any.

    Models without a class token: the rows are averaged as the head reads them. Raises InputError for a
    block outside the model.
    """
    attention = trace.attention[captured(trace, block)].mean(1)
    return trace.to_grid(read_rows(trace, attention))
