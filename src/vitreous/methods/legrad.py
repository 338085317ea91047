"""LeGrad: which attention would raise the score of each block's tokens, read as if the block were the last.

Bousselham et al., ICCV 2025.
"""

import torch
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap, Tokens
from vitreous.methods._method import method
from vitreous.vit.ambient import own_graph
from vitreous.vit.entering import read_out
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper="arXiv:2404.03214",
    class_specific=True,
    signed=False,
    unit="gradient of a block's own score",
    cost="1F + backward of each block by itself",
)
def legrad(trace: Trace, last: int = 0) -> PatchMap:
    """Sum over blocks the positive gradient of the block's own score s_l, averaged over heads and query tokens.

    E_l = E_h E_i (d s_l / d A_l)+, where s_l is the score of the mean of all tokens leaving block l, sent through
    the final norm and the head. The gradient alone is the signal: attention is not multiplied in.

    last  how many of the last blocks are summed; 0 takes all, as the paper does. The official code's default is 2

    Records count the reading of all blocks as a forward and a backward, and each block as a backward; together they
    cost less than one backward pass. Ignores how a block's attention acts through later blocks. Scores are linear, or
    whatever the model's outputs are; the official code, written for CLIP, takes cosines, which a model that puts out
    cosines gives here too.

    Deviations: the sum over blocks, as in the official code, where the paper has their mean: a factor. In models with
    pooling attention the paper differentiates the pooling itself; here their blocks are treated like all others.
    Raises InputError for `last` outside the model, and MethodNotApplicableError without gradients.
    """
    blocks = len(trace.attention)
    if not 0 <= last <= blocks:
        raise InputError(f"legrad got last={last}.", f"Expected 0 (all) to {blocks}, the number of blocks.")
    first = blocks - last if last else 0
    leaving = trace.tokens[first + 1 :]
    total = torch.zeros((), device=trace.logits.device)
    for attention, tokens, slope in zip(trace.attention[first:], leaving, _slopes(trace, leaving), strict=True):
        with own_graph():
            # Linear in the tokens, with the gradient that s_l has: nothing but block l lies between it and A_l. That
            # of a sum is one row for all tokens, which saves half of the MLP's backward; a mean would copy it.
            score = (tokens.sum(1) * (slope / tokens.shape[1])).sum(1)
        (gradient,) = trace.grad([attention], of=score)
        total = total + gradient.clamp_(min=0).mean((1, 2))
    return trace.to_grid(total)


def _slopes(trace: Trace, leaving: tuple[Tokens, ...]) -> tuple[Tensor, ...]:
    """Gradient of each block's score by its mean token, "b d" for each block; all are read in one go.

    Every token is the mean token, so that it does not matter which of them the head reads.
    """
    images, tokens, _ = leaving[0].shape
    trace.forwards += 1
    with own_graph():
        means = torch.cat([block.detach().mean(1) for block in leaving]).requires_grad_()
        logits = read_out(trace.vit.body, trace.inputs, means.unsqueeze(1).expand(-1, tokens, -1))
        scores = torch.cat([trace.target.score(part) for part in torch.split(logits, images)])
    (slopes,) = trace.grad([means], of=scores)
    return torch.split(slopes, images)
