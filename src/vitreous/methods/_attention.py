"""What methods that show attention share: which heads and blocks they read, and what becomes of outlying patches."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import Attention, PatchMap, PerToken, Tokens
from vitreous.methods._method import blocks_between, captured
from vitreous.vit.outliers import outlying_patches
from vitreous.vit.trace import Trace

Outliers: TypeAlias = Literal["keep", "mask"]


def attention_between(trace: Trace, first: int, last: int, head: int | None) -> tuple[range, list[Attention]]:
    """Give the blocks `first` to `last`, both included, and the probabilities of each: of all heads, or of one.

    The probabilities are views. Raises InputError for a block or head outside the model, for a range with
    nothing in it, and for a block that was not captured.
    """
    blocks = blocks_between(first, last, len(trace.vit.blocks))
    return blocks, [one_head(matrix, head) for matrix in of_blocks(trace, blocks, trace.attention)]


def of_blocks(trace: Trace, blocks: range, sequence: Sequence[Tensor]) -> Sequence[Tensor]:
    """Cut `blocks` out of one of the trace's sequences, which has a tensor for each captured block."""
    start = captured(trace, blocks.start, "first")
    return sequence[start : start + len(blocks)]


def one_head(matrix: Tensor, head: int | None) -> Tensor:
    """Keep one head of "b h …" as "b 1 …", counted from 0, or from the end if negative; all of them for None.

    Raises InputError for a head that the block does not have.
    """
    if head is None:
        return matrix
    heads = matrix.shape[1]
    if not -heads <= head < heads:
        raise InputError(f"head={head} is outside the model.", f"It has heads 0 to {heads - 1} (or -1 to -{heads}).")
    return matrix[:, head % heads].unsqueeze(1)


def handed_over(trace: Trace, index: int, head: int | None) -> Tokens:
    """What each token hands to those that attend to it: its values through the output projection, without its bias.

    index  place of the block in the trace's sequences
    head   the only head through which it is handed, counted as in `one_head`; None for all of them together

    Raises MethodNotApplicableError where the output projection cannot be seen.
    """
    values, weight = one_head(trace.values[index], head), trace.projections[index].weight
    if head is not None:
        heads, width = trace.values[index].shape[1], values.shape[-1]
        weight = weight[:, head % heads * width :][:, :width]
    return values.transpose(1, 2).flatten(2) @ weight.T


def map_of(trace: Trace, per_token: PerToken, blocks: range, outliers: Outliers) -> PatchMap:
    """Keep the patch tokens of a number per token, on their grid, and treat what `blocks` take in as outlying.

    With outliers="mask", the relevance of such a patch is replaced: see `bridge`.
    """
    if outliers not in {"keep", "mask"}:
        raise InputError(f"outliers={outliers!r} is unknown.", "Use 'keep' or 'mask'.")
    relevance = trace.to_grid(per_token)
    return bridge(relevance, outlying_patches(trace, blocks)) if outliers == "mask" else relevance


def bridge(relevance: PatchMap, outlying: Bool[Tensor, "b gh gw"]) -> PatchMap:
    """Replace the relevance of each outlying patch by the median of those of its eight neighbours that are not.

    Of an even number of neighbours, the mean of the two in the middle. A patch without such a neighbour is
    given the median of all patches that are not outlying; where all are, the map stays as it is.
    """
    known = relevance.masked_fill(outlying, torch.nan)
    edged = F.pad(known, (1, 1, 1, 1), value=torch.nan)
    around = edged.unfold(1, 3, 1).unfold(2, 3, 1).flatten(3)  # the patch itself is unknown where it matters
    instead = around.nanquantile(0.5, dim=-1)
    overall = known.flatten(1).nanquantile(0.5, dim=1)[:, None, None]
    instead = torch.where(instead.isnan(), overall, instead)
    return torch.where(outlying & ~instead.isnan(), instead, relevance)
