"""Transition attention maps: the last attention carried down through the blocks, times integrated gradients.

Yuan et al., "Explaining information flow inside vision transformers using Markov chain", NeurIPS 2021 workshop.
"""

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of
from vitreous.methods._method import method
from vitreous.methods._path import follow_rows, last_block_graph
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
    block_range=("first", "last"),
)
def transition_attention(
    trace: Trace,
    points: int = 20,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Carry the class token's row of the last attention down as a state, and multiply it by integrated gradients.

    The state starts as s = E_h[A_L] in the row that is read; each block below turns it into s <- s E_h[A_l] + s. It
    is multiplied by E_h[(mean over points from zero to the image of dA_L)+] in the same row.

    points       how many points the path has, both ends among them; 20, as published
    head         the only head that is followed, and whose gradient weighs, counted from 0, or from the end if negative;
                 None averages them all
    first, last  the blocks the state goes through, both included, counted likewise: it starts in the last of them. The
                 gradient is that of the model's last block in any case. The official class begins with block 0, its
                 scripts with block 4
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    The path lies in normalised space: zero is the mean colour. Ignores values and MLPs, except through the gradient.
    Deviation: none; in models without a class token, which the paper does not treat, the rows are averaged as the
    head reads them. Raises InputError for blocks or a head outside the model, and for less than two points.
    """
    blocks, matrices = attention_between(trace, first, last, head)
    *below, top = [attention.mean(1) for attention in matrices]
    return map_of(trace, follow_rows(trace, top[:, trace.readout.rows], below, points, head), blocks, outliers)
