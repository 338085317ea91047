"""AttCAT: features times gradients of each block's tokens, weighted by the attention they get. Qiang et al. 2022."""

from typing import Literal

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of, of_blocks
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper=None,
    class_specific=True,
    signed=True,
    unit="attention x logit gradient x feature",
    cost="1F1B",
    tokens=True,
    block_range=("first", "last"),
)
def attcat(
    trace: Trace,
    side: Literal["leaving", "entering"] = "leaving",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Sum over blocks the mean attention that each token gets, times the inner product of the token and its gradient.

    AttCAT = sum_l E_h,i[A_l]_ij * CAT_j with CAT_j = sum_d x_jd dx_jd ("AttCAT: Explaining Transformers via Attentive
    Class Activation Tokens", NeurIPS 2022). E_h,i is the mean over heads and all query tokens.

    side         which tokens of the block x are: "leaving" it, as in the paper, or "entering" it, as in the official
                 code
    head         the only head whose attention weighs the tokens, counted from 0, or from the end if negative; None
                 averages them all. Tokens and their gradients belong to no head
    first, last  the blocks that are summed, both included, counted likewise
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Where a class token is read, patches leaving the last block have no gradient, and those entering it, behind whose
    LayerNorm length does not matter, have one at right angles to them: both count for nothing. A model of two blocks
    has nothing else leaving its blocks, and gives rounding. Ignores where the attention goes: a token that all others
    look at weighs much, whoever they are.

    Deviation: none from the formula; the paper is about text, and patches take the place of words. Raises InputError
    for another side, and for blocks or a head outside the model.
    """
    if side not in {"leaving", "entering"}:
        raise InputError(f"attcat got side={side!r}.", "Use 'leaving' or 'entering'.")
    blocks, matrices = attention_between(trace, first, last, head)
    chosen = slice(1, None) if side == "leaving" else slice(-1)
    streams = of_blocks(trace, blocks, trace.tokens[chosen])
    gradients = of_blocks(trace, blocks, trace.tokens_grad[chosen])
    total = torch.zeros((), device=trace.logits.device)
    for attention, tokens, gradient in zip(matrices, streams, gradients, strict=True):
        total = total + attention.mean((1, 2)) * (tokens * gradient).sum(-1)
    return map_of(trace, total, blocks, outliers)
