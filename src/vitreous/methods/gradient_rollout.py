"""Gradient attention rollout: rollout of the attention that the score depends on. J. Gildenblat, 2020."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of, of_blocks, one_head
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
    block_range=("first", "last"),
)
def gradient_rollout(
    trace: Trace,
    discard: float = 0.9,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Multiply (M + I) / 2 with rows divided by their sums through the blocks, M = (E_h[A * dA])+ of each block.

    From "Exploring Explainability for Vision Transformers" (a blog post of 2020) and its code, vit-explain. E_h is
    the mean over heads, + the positive part behind it. Only the row that the prediction reads is followed.

    discard      share of each image's M that is set to zero, smallest entries first; 0 <= discard < 1. 0.9 is the
                 published value
    head         the only head that is followed in each block, counted from 0, or from the end if negative; None
                 averages them all
    first, last  the blocks that are multiplied, both included, counted likewise
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Ignores values and MLPs, except through the gradient. The share of the skip connection depends on the gradient's
    size: a model that is scaled up gives another map.

    Deviations, all of them corrections of that code: a block's attention meets its own gradient, not that of the
    block as far from the other end; rows sum to 1, not columns divided by the sums of rows; every image of a batch
    loses its own smallest entries; rows and columns of class, distillation and register tokens lose none. Models
    without a class token start from the rows that the head reads. Raises InputError for `discard` out of range,
    and for blocks or a head outside the model.
    """
    check_discard("gradient_rollout", discard)
    blocks, matrices = attention_between(trace, first, last, head)
    gradients = of_blocks(trace, blocks, trace.attention_grad)
    row = trace.reading.to(trace.attention[0].dtype).unsqueeze(1)
    for attention, gradient in zip(reversed(matrices), reversed(gradients), strict=True):
        mixing = drop_smallest(trace, (attention * one_head(gradient, head)).mean(1).clamp_(min=0), discard)
        row = row / (1 + mixing.sum(-1)).unsqueeze(1)
        row = torch.baddbmm(row, row, mixing)
    return map_of(trace, row.squeeze(1), blocks, outliers)
