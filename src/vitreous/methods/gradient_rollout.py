"""Gradient attention rollout: rollout of the attention that the score depends on. J. Gildenblat, 2020."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._discard import check_discard, drop_smallest
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper=None,
    class_specific=True,
    signed=False,
    unit="share of gradient-weighted attention",
    cost="1F1B",
)
def gradient_rollout(trace: Trace, discard: float = 0.9) -> PatchMap:
    """Multiply (M + I) / 2 with rows divided by their sums through the blocks, M = (E_h[A * dA])+ of each block.

    From "Exploring Explainability for Vision Transformers" (a blog post of 2020) and its code, vit-explain. E_h is
    the mean over heads, + the positive part behind it. Only the row that the prediction reads is followed.

    discard  share of each image's M that is set to zero, smallest entries first; 0 <= discard < 1. 0.9 is the
             published value

    Ignores values and MLPs, except through the gradient. The share of the skip connection depends on the gradient's
    size: a model that is scaled up gives another map.

    Deviations, all of them corrections of that code: a block's attention meets its own gradient, not that of the
    block as far from the other end; rows sum to 1, not columns divided by the sums of rows; every image of a batch
    loses its own smallest entries; rows and columns of class, distillation and register tokens lose none. Models
    without a class token start from the rows that the head reads. Raises InputError for `discard` out of range.
    """
    check_discard("gradient_rollout", discard)
    row = trace.reading.to(trace.attention[0].dtype).unsqueeze(1)
    for attention, gradient in zip(reversed(trace.attention), reversed(trace.attention_grad), strict=True):
        mixing = drop_smallest(trace, (attention * gradient).mean(1).clamp_(min=0), discard)
        row = row / (1 + mixing.sum(-1)).unsqueeze(1)
        row = torch.baddbmm(row, row, mixing)
    return trace.to_grid(row.squeeze(1))
