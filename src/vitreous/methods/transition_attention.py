"""Transition attention maps: the last attention carried down through the blocks, times integrated gradients.

Yuan et al., "Explaining information flow inside vision transformers using Markov chain", NeurIPS 2021 workshop.
"""

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.methods._path import first_block, follow_rows, last_block_graph
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper=None,
    class_specific=True,
    signed=False,
    unit="attention x integrated gradient",
    cost="1F + 20 x 1F and backward of one block",
    gradient=False,
    repeats=True,
    held=last_block_graph,
)
def transition_attention(trace: Trace, start: int = 0, points: int = 20) -> PatchMap:
    """Carry the class token's row of the last attention down as a state, and multiply it by integrated gradients.

    The state starts as s = E_h[A_L] in the row that is read; each block below turns it into s <- s E_h[A_l] + s. It
    is multiplied by E_h[(mean over points from zero to the image of dA_L)+] in the same row.

    start   index of the first block the state goes through; the last block always counts. The official class has
            0, its scripts 4. A number behind the last block stands for the last, with a remark
    points  how many points the path has, both ends among them; 20, as published

    The path lies in normalised space: zero is the mean colour. Ignores values and MLPs, except through the gradient.
    Deviation: none; in models without a class token, which the paper does not treat, the rows are averaged as the
    head reads them. Raises InputError for `start` before the first block or less than two points.
    """
    first = first_block(trace, start)
    *below, last = [attention.mean(1) for attention in trace.attention[first:]]
    return follow_rows(trace, last[:, trace.readout.rows], below, points)
