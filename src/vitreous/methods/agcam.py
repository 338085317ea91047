"""Attention-guided CAM: where attention is high and its increase would raise the score. Leem & Seo 2024."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.methods._reading import weigh_rows
from vitreous.vit.trace import Trace


@method(
    paper="arXiv:2402.04563",
    class_specific=True,
    signed=False,
    unit="logit gradient x sigmoid of score",
    cost="1F1B",
    attention=True,
)
def agcam(trace: Trace, detach: bool = True) -> PatchMap:
    """Sum the positive gradient of the class token's attention times the sigmoid of its scores over heads and blocks.

    The sigmoid of the scores before the softmax takes the place of the probabilities, whose peaks it evens
    out. No product over blocks: each contributes by itself.

    detach  True is the published behaviour: the official code cuts the input of every attention module off,
            so the gradient travels by the residual stream and the MLPs alone. False takes the ordinary
            gradient, which gives another map

    Gives a sum, so values grow with the number of heads and blocks. Ignores values and everything that
    other tokens do. In models without a class token the rows are averaged as the head reads them, which the
    paper does not treat.
    """
    rows = trace.readout.rows
    gradients = trace.attention_grad_cut if detach else trace.attention_grad
    total = torch.zeros((), device=trace.logits.device)
    for block, gradient in enumerate(gradients):
        guided = gradient[:, :, rows].clamp(min=0) * trace.scores(block, rows).sigmoid()
        total = total + weigh_rows(trace, guided).sum(1)
    return trace.to_grid(total)
