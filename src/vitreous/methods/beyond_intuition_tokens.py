"""Beyond Intuition, by tokens: attention scaled by how much each token's value grows, times integrated gradients.

Chen et al., TMLR 2023 (BT-T).
"""

import torch
from torch import Tensor

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.methods._path import first_block, follow_from_identity, last_block_graph
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
def beyond_intuition_tokens(trace: Trace, start: int = 5, points: int = 20) -> PatchMap:
    """Multiply attention perception P by reasoning feedback F, entry by entry, and take the row that is read.

    "Beyond Intuition: Rethinking Token Attributions inside Transformers". P = (I + A_L) … (I + A_start), where A_l =
    E_h[A] diag(|x_j W_v W_o| / |x_j|): the length of what token j hands over, as a share of its own, x_j being the
    token that enters the block. F = E_h[(mean over points from zero to the image of dA_L)+].

    start   index of the first block of P. The official code's default, its "start_layer" 6, is block 5; its
            perturbation test has block 6. In a model with fewer blocks the last is taken alone, with a remark
    points  how many points the path has, both ends among them; 20, as published

    The path lies in normalised space: zero is the mean colour. Ignores MLPs. As in the official code the values have
    the bias of W_v, and no bias of W_o. Deviation: none from that code. In models without a class token rows of P * F
    are averaged as the head reads them, as that code does for mean pooling. Raises InputError for `start` before the
    first block or less than two points, and MethodNotApplicableError where the output projection of an attention
    cannot be seen.
    """
    first = first_block(trace, start)
    return follow_from_identity(
        trace, [_scale_tokens(trace, block) for block in range(first, len(trace.attention))], points
    )


def _scale_tokens(trace: Trace, block: int) -> Tensor:
    """Scale the columns of the heads' mean attention by the tokens' growth, "b n n"."""
    handed = trace.values[block].transpose(1, 2).flatten(2) @ trace.projections[block].weight.T
    growth: Tensor = torch.linalg.vector_norm(handed, dim=-1) / torch.linalg.vector_norm(trace.tokens[block], dim=-1)
    return trace.attention[block].mean(1) * growth.unsqueeze(1)
