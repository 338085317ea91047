"""Mean attention: what the class token attends to, averaged over heads and blocks."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of
from vitreous.methods._method import method
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
    block_range=("first", "last"),
)
def mean_attention(
    trace: Trace, head: int | None = None, first: int = 0, last: int = -1, outliers: Outliers = "keep"
) -> PatchMap:
    """Average the row that the prediction reads over the heads of every block: a cheap baseline.

    head         the only head that is read in each block, counted from 0, or from the end if negative; None
                 averages them all. Heads of different blocks have nothing in common but their number
    first, last  the blocks that are read, both included, counted likewise
    outliers     "mask" replaces what goes to patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Ignores values, MLPs, the order of the blocks and the target. In models without a class token the rows
    are averaged as the head reads them. Raises InputError for blocks or a head outside the model.
    """
    blocks, matrices = attention_between(trace, first, last, head)
    rows = [read_rows(trace, attention.mean(1)) for attention in matrices]
    return map_of(trace, torch.stack(rows).mean(0), blocks, outliers)
