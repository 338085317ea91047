"""AttCAT: features times gradients of each block's tokens, weighted by the attention they get. Qiang et al. 2022."""

from typing import Literal

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
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
)
def attcat(trace: Trace, side: Literal["leaving", "entering"] = "leaving") -> PatchMap:
    """Sum over blocks the mean attention that each token gets, times the inner product of the token and its gradient.

    AttCAT = sum_l E_h,i[A_l]_ij * CAT_j with CAT_j = sum_d x_jd dx_jd ("AttCAT: Explaining Transformers via Attentive
    Class Activation Tokens", NeurIPS 2022). E_h,i is the mean over heads and all query tokens.

    side  which tokens of the block x are: "leaving" it, as in the paper, or "entering" it, as in the official code

    Where a class token is read, patches leaving the last block have no gradient, and those entering it, behind whose
    LayerNorm length does not matter, have one at right angles to them: both count for nothing. A model of two blocks
    has nothing else leaving its blocks, and gives rounding. Ignores where the attention goes: a token that all others
    look at weighs much, whoever they are.

    Deviation: none from the formula; the paper is about text, and patches take the place of words. Raises InputError
    for another side.
    """
    if side not in {"leaving", "entering"}:
        raise InputError(f"attcat got side={side!r}.", "Use 'leaving' or 'entering'.")
    chosen = slice(1, None) if side == "leaving" else slice(-1)
    total = torch.zeros((), device=trace.logits.device)
    for attention, tokens, gradient in zip(
        trace.attention, trace.tokens[chosen], trace.tokens_grad[chosen], strict=True
    ):
        total = total + attention.mean((1, 2)) * (tokens * gradient).sum(-1)
    return trace.to_grid(total)
