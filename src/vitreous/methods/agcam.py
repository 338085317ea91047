"""Attention-guided CAM: where attention is high and its increase would raise the score. Leem & Seo 2024."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, map_of, of_blocks, one_head
from vitreous.methods._method import blocks_between, method
from vitreous.methods._reading import weigh_rows
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper="arXiv:2402.04563",
    class_specific=True,
    signed=False,
    unit="logit gradient x sigmoid of score",
    cost="1F1B",
    block_range=("first", "last"),
)
def agcam(
    trace: Trace,
    detach: bool = True,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Sum the positive gradient of the class token's attention times the sigmoid of its scores over heads and blocks.

    The sigmoid of the scores before the softmax takes the place of the probabilities, whose peaks it evens
    out. No product over blocks: each contributes by itself.

    detach       True is the published behaviour: the official code cuts the input of every attention module
                 off, so the gradient travels by the residual stream and the MLPs alone. False takes the
                 ordinary gradient, which gives another map
    head         the only head that is read in each block, counted from 0, or from the end if negative; None
                 sums over them all
    first, last  the blocks that are summed over, both included, counted likewise
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Gives a sum, so values grow with the number of heads and blocks. Ignores values and everything that
    other tokens do. In models without a class token the rows are averaged as the head reads them, which the
    paper does not treat. Raises InputError for blocks or a head outside the model.
    """
    rows = trace.readout.rows
    blocks = blocks_between(first, last, len(trace.vit.blocks))
    gradients = of_blocks(trace, blocks, trace.attention_grad_cut if detach else trace.attention_grad)
    total = torch.zeros((), device=trace.logits.device)
    for block, gradient in zip(blocks, gradients, strict=True):
        scores = one_head(trace.scores(block - trace.first, rows), head)
        guided = one_head(gradient, head)[:, :, rows].clamp(min=0) * scores.sigmoid()
        total = total + weigh_rows(trace, guided).sum(1)
    return map_of(trace, total, blocks, outliers)
