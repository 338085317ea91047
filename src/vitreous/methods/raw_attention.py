"""Raw attention: what the class token attends to in one block, averaged over heads or in one of them."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, map_of, one_head
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
def raw_attention(trace: Trace, block: int = -1, head: int | None = None, outliers: Outliers = "keep") -> PatchMap:
    """Average the heads of one block and take the row that the prediction reads.

    block     the block that is read, counted from 0, or from the end if negative
    head      the only head that is read, counted likewise; None averages them all
    outliers  "mask" replaces what goes to patches whose token has an outlying norm where the block takes it
              in by the median of their neighbours, see `vit.outliers`; "keep" leaves the map as it is

    A computation the model performs, not an estimate of influence: it ignores values, MLPs, other blocks
    and the target. What goes to class, distillation and register tokens is not on the map, so it sums to
    less than 1 where there are any.

    Models without a class token: the rows are averaged as the head reads them. Raises InputError for a
    block or head outside the model.
    """
    index = captured(trace, block)
    attention = one_head(trace.attention[index], head).mean(1)
    here = trace.first + index
    return map_of(trace, read_rows(trace, attention), range(here, here + 1), outliers)
