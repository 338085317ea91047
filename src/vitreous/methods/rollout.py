"""Attention rollout: how much of each patch reaches the class token through all blocks. Abnar & Zuidema 2020."""

from typing import Literal

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import Attention, PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of
from vitreous.methods._discard import drop_smallest
from vitreous.methods._method import method
from vitreous.methods._reading import follow_down
from vitreous.vit.trace import Trace


@method(
    family="attention",
    paper="arXiv:2005.00928",
    class_specific=False,
    signed=False,
    unit="attention mass",
    cost="1F",
    gradient=False,
    block_range=("first", "last"),
)
def rollout(
    trace: Trace,
    fusion: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    residual: float = 0.5,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Multiply head-fused attention through the blocks, with `residual` of the identity for the skip connection.

    Section 3 of the paper: rows of (1 - residual) A + residual I are normalised to 1, and R = A_L … A_1.
    Ignores values, MLPs and the target: two classes give the same map. Models without a class token start
    from the rows that the head reads.

    fusion       how heads become one matrix: "mean", as in the paper, "max" or "min"
    discard      share of each image's matrix that is set to zero before normalising, smallest entries
                 first, 0 <= discard < 1. Not in the paper; after a public implementation
                 (jacobgil/vit-explain), done right: per image, rows sum to 1 afterwards, and rows and
                 columns of class, distillation and register tokens are kept
    residual     share of the skip connection, between 0 and 1
    head         the only head that is followed in each block, counted from 0, or from the end if negative;
                 None fuses them all
    first, last  the blocks that are multiplied, both included, counted likewise: with `first` above 0, the
                 relevance of what enters that block stands at each token's place
    outliers     "mask" replaces what reaches patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Raises InputError for values outside these ranges, and for residual=0 where discarding leaves nothing of
    some token's attention.
    """
    if not 0 <= residual <= 1 or not 0 <= discard < 1:
        raise InputError(
            f"rollout got residual={residual} and discard={discard}.",
            "Expected 0 <= residual <= 1 and 0 <= discard < 1.",
        )
    blocks, matrices = attention_between(trace, first, last, head)
    mixing = []
    for attention in matrices:
        fused = drop_smallest(trace, _fuse(attention, fusion), discard)
        total = (1 - residual) * fused.sum(-1, keepdim=True) + residual
        if residual == 0 and not bool((total > 0).all()):
            raise InputError(
                f"rollout got residual=0 and discard={discard}, which leaves nothing of some token's attention.",
                "Discard less, or keep a residual.",
            )
        mixing.append((1 - residual) * fused / total + torch.diag_embed(residual / total.squeeze(-1)))
    return map_of(trace, follow_down(trace, mixing, residual=[0.0] * len(mixing)), blocks, outliers)


def _fuse(attention: Attention, fusion: str) -> torch.Tensor:
    """Make one matrix "b n n" of the heads' "b h n n".

    Only the mean keeps rows that sum to 1; `rollout` normalises afterwards.
    """
    fused = {
        "mean": lambda: attention.mean(1),
        "max": lambda: attention.amax(1),
        "min": lambda: attention.amin(1),
    }
    if fusion not in fused:
        raise InputError(f"rollout got fusion={fusion!r}.", "Use 'mean', 'max' or 'min'.")
    return fused[fusion]()
