"""LeGrad: which attention would raise the score of each block's tokens, read as if the block were the last.

Bousselham et al., ICCV 2025.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vitreous.core.shapes import PatchMap, Tokens
from vitreous.methods._attention import Outliers, attention_between, map_of, of_blocks, one_head
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
    block_range=("first", "last"),
)
def legrad(
    trace: Trace, head: int | None = None, first: int = 0, last: int = -1, outliers: Outliers = "keep"
) -> PatchMap:
    """Sum over blocks the positive gradient of the block's own score s_l, averaged over heads and query tokens.

    E_l = E_h E_i (d s_l / d A_l)+, where s_l is the score of the mean of all tokens leaving block l, sent through
    the final norm and the head. The gradient alone is the signal: attention is not multiplied in.

    head         the only head whose gradient is read in each block, counted from 0, or from the end if negative; None
                 averages them all
    first, last  the blocks that are summed, both included, counted likewise. All of them, as in the paper; the
                 official code's default is the last two, first=-2
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Records count the reading of all blocks as a forward and a backward, and each block as a backward; together they
    cost less than one backward pass. Ignores how a block's attention acts through later blocks. Scores are linear, or
    whatever the model's outputs are; the official code, written for CLIP, takes cosines, which a model that puts out
    cosines gives here too.

    Deviations: the sum over blocks, as in the official code, where the paper has their mean: a factor. In models with
    pooling attention the paper differentiates the pooling itself; here their blocks are treated like all others.
    Raises InputError for blocks or a head outside the model, and MethodNotApplicableError without gradients.
    """
    blocks, matrices = attention_between(trace, first, last, head=None)
    leaving = of_blocks(trace, blocks, trace.tokens[1:])
    total = torch.zeros((), device=trace.logits.device)
    for attention, tokens, slope in zip(matrices, leaving, _slopes(trace, leaving), strict=True):
        with own_graph():
            # Linear in the tokens, with the gradient that s_l has: nothing but block l lies between it and A_l. That
            # of a sum is one row for all tokens, which saves half of the MLP's backward; a mean would copy it.
            score = (tokens.sum(1) * (slope / tokens.shape[1])).sum(1)
        (gradient,) = trace.grad([attention], of=score)
        total = total + one_head(gradient, head).clamp_(min=0).mean((1, 2))
    return map_of(trace, total, blocks, outliers)


def _slopes(trace: Trace, leaving: Sequence[Tokens]) -> tuple[Tensor, ...]:
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
