"""Mean attention: what the class token attends to, averaged over all heads and blocks."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.methods._reading import read_rows
from vitreous.vit.trace import Trace


@method(
    family="attention", paper=None, class_specific=False, signed=False, unit="attention mass", cost="1F", gradient=False
)
def mean_attention(trace: Trace) -> PatchMap:
    """Average the row that the prediction reads over the heads of every block: a cheap baseline.

    Ignores values, MLPs, the order of the blocks and the target. In models without a class token the rows
    are averaged as the head reads them.
    """
    rows = [read_rows(trace, attention.mean(1)) for attention in trace.attention]
    return trace.to_grid(torch.stack(rows).mean(0))
