"""Beyond Intuition, by tokens: attention scaled by how much each token's value grows, times integrated gradients.

Chen et al., TMLR 2023 (BT-T).
"""

import torch
from torch import Tensor

from vitreous.core.shapes import Attention, PatchMap
from vitreous.methods._attention import Outliers, attention_between, handed_over, map_of
from vitreous.methods._method import method
from vitreous.methods._path import follow_from_identity, last_block_graph, published_first
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
def beyond_intuition_tokens(
    trace: Trace,
    points: int = 20,
    head: int | None = None,
    first: int | None = None,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Multiply attention perception P by reasoning feedback F, entry by entry, and take the row that is read.

    "Beyond Intuition: Rethinking Token Attributions inside Transformers". P = (I + A_L) … (I + A_first), where A_l =
    E_h[A] diag(|x_j W_v W_o| / |x_j|): the length of what token j hands over, as a share of its own, x_j being the
    token that enters the block. F = E_h[(mean over points from zero to the image of dA_L)+].

    points       how many points the path has, both ends among them; 20, as published
    head         the only head of P and of F, counted from 0, or from the end if negative; what a token hands over is
                 then what it hands over through that head. None averages them all, W_v and W_o being those of all
    first, last  the blocks of P, both included, counted likewise; F is that of the model's last block in any case. A
                 `first` of None stands for block 5, the official code's default, its "start_layer" 6; its perturbation
                 test has block 6. Where `last` comes before it, block `last` is taken alone, with a remark
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    The path lies in normalised space: zero is the mean colour. Ignores MLPs. As in the official code the values have
    the bias of W_v, and no bias of W_o. Deviation: none from that code. In models without a class token rows of P * F
    are averaged as the head reads them, as that code does for mean pooling. Raises InputError for blocks or a head
    outside the model and for less than two points, and MethodNotApplicableError where the output projection of an
    attention cannot be seen.
    """
    blocks, matrices = attention_between(trace, published_first(trace, first, last, published=5), last, head)
    pairs = zip(blocks, matrices, strict=True)
    mixing = [_scale_tokens(trace, block - trace.first, attention, head) for block, attention in pairs]
    return map_of(trace, follow_from_identity(trace, mixing, points, head), blocks, outliers)


def _scale_tokens(trace: Trace, index: int, attention: Attention, head: int | None) -> Tensor:
    """Scale the columns of the heads' mean attention by the tokens' growth, "b n n"."""
    handed = handed_over(trace, index, head)
    growth: Tensor = torch.linalg.vector_norm(handed, dim=-1) / torch.linalg.vector_norm(trace.tokens[index], dim=-1)
    return attention.mean(1) * growth.unsqueeze(1)
