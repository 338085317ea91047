"""Beyond Intuition, by heads: attention perceived through important heads, times integrated gradients.

Chen et al., TMLR 2023 (BT-H).
"""

import torch
from torch import Tensor

from vitreous.core.shapes import Attention, PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of, of_blocks, one_head
from vitreous.methods._method import method
from vitreous.methods._path import follow_from_identity, last_block_graph, published_first
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper=None,
    class_specific=True,
    signed=False,
    unit="attention x integrated gradient",
    cost="1F1B + 20 x 1F and backward of one block",
    repeats=True,
    held=last_block_graph,
    block_range=("first", "last"),
)
def beyond_intuition_heads(
    trace: Trace,
    points: int = 20,
    head: int | None = None,
    first: int | None = None,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Multiply attention perception P by reasoning feedback F, entry by entry, and take the row that is read.

    "Beyond Intuition: Rethinking Token Attributions inside Transformers". P = (I + A_L) … (I + A_first), where A_l
    is the sum of the block's heads weighted by theta_h ~ mean |A_h^T dA_h|, summing to 1. F = E_h[(mean over
    points from zero to the image of dA_L)+].

    points       how many points the path has, both ends among them; 20, as published
    head         the only head of P and of F, counted from 0, or from the end if negative; theta_h is then 1. None
                 weighs all heads in P, and averages them in F
    first, last  the blocks of P, both included, counted likewise; F is that of the model's last block in any case. A
                 `first` of None stands for block 3, the official code's default, its "start_layer" 4; where `last`
                 comes before it, block `last` is taken alone, with a remark
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    The path lies in normalised space: zero is the mean colour. Ignores MLPs and, in P, values. Deviation: none
    from the official code. In models without a class token rows of P * F are averaged as the head reads them, as
    that code does for mean pooling. Raises InputError for blocks or a head outside the model, and for less than two
    points.
    """
    blocks, matrices = attention_between(trace, published_first(trace, first, last, published=3), last, head)
    pairs = zip(matrices, of_blocks(trace, blocks, trace.attention_grad), strict=True)
    mixing = [_weigh_heads(attention, one_head(gradient, head)) for attention, gradient in pairs]
    return map_of(trace, follow_from_identity(trace, mixing, points, head), blocks, outliers)


def _weigh_heads(attention: Attention, gradient: Attention) -> Tensor:
    """Add the heads up, "b n n", each with its share theta. Without any gradient no head has a share."""
    theta = (attention.transpose(-2, -1) @ gradient).abs_().mean((-2, -1))
    theta = theta / theta.sum(1, keepdim=True).clamp(min=torch.finfo(theta.dtype).tiny)
    return (theta.unsqueeze(1) @ attention.flatten(2)).reshape(attention[:, 0].shape)
