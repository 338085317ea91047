"""Beyond Intuition, by heads: attention perceived through important heads, times integrated gradients.

Chen et al., TMLR 2023 (BT-H).
"""

import torch
from torch import Tensor

from vitreous.core.shapes import Attention, PatchMap
from vitreous.methods._method import method
from vitreous.methods._path import first_block, follow_from_identity, last_block_graph
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
)
def beyond_intuition_heads(trace: Trace, start: int = 3, points: int = 20) -> PatchMap:
    """Multiply attention perception P by reasoning feedback F, entry by entry, and take the row that is read.

    "Beyond Intuition: Rethinking Token Attributions inside Transformers". P = (I + A_L) … (I + A_start), where A_l
    is the sum of the block's heads weighted by theta_h ~ mean |A_h^T dA_h|, summing to 1. F = E_h[(mean over
    points from zero to the image of dA_L)+].

    start   index of the first block of P. The official code's default, its "start_layer" 4, is block 3. In a model
            with fewer blocks the last is taken alone, with a remark
    points  how many points the path has, both ends among them; 20, as published

    The path lies in normalised space: zero is the mean colour. Ignores MLPs and, in P, values. Deviation: none
    from the official code. In models without a class token rows of P * F are averaged as the head reads them, as
    that code does for mean pooling. Raises InputError for `start` before the first block or less than two points.
    """
    first = first_block(trace, start)
    pairs = zip(trace.attention[first:], trace.attention_grad[first:], strict=True)
    return follow_from_identity(trace, [_weigh_heads(attention, gradient) for attention, gradient in pairs], points)


def _weigh_heads(attention: Attention, gradient: Attention) -> Tensor:
    """Add the heads up, "b n n", each with its share theta. Without any gradient no head has a share."""
    theta = (attention.transpose(-2, -1) @ gradient).abs_().mean((-2, -1))
    theta = theta / theta.sum(1, keepdim=True).clamp(min=torch.finfo(theta.dtype).tiny)
    return (theta.unsqueeze(1) @ attention.flatten(2)).reshape(attention[:, 0].shape)
