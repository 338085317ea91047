"""Whether heads agree about where to look: within a block, between blocks, and at which patches."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from scipy.stats import binom
from torch import Tensor

from vitreous.core.alike import jensen_shannon, kendall_w, unit_ranks
from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap, PerImage
from vitreous.vit.reading import read_rows
from vitreous.vit.trace import Trace

TIMES = 3.0
"""A head is outlying above this many median absolute deviations, each scaled by 1.4826 to be a standard deviation where
numbers are normal. As in `vit.outliers`, a convention and not a test: of 100 heads that differ by chance, some will be.
"""


@dataclass(frozen=True)
class OutlyingHead:
    """A head that looks elsewhere than the others of its block.

    block, head  its place in the model, counted from 0
    excess       its mean divergence in bits from the others of its block, less the median of those of its block
    limit        the excess above which a head is outlying, from all heads of all captured blocks
    """

    block: int
    head: int
    excess: float
    limit: float


@dataclass(frozen=True, eq=False)
class HeadAgreement:
    """How alike the heads of the captured blocks are, for each image, in what the reading attends to among patches.

    divergence         "b l h h", Jensen-Shannon divergence between heads of a block, in bits: 0 alike, 1 nothing shared
    correlation        "b l h h", Spearman's correlation between them: of the order of patches alone
    concordance        "b l", Kendall's W of the heads of a block, from 0 to 1; 1 / h by chance. NaN for a single head
    overall            "b", the same of all heads of all captured blocks
    block_divergence   "b l l", Jensen-Shannon divergence between blocks, each the mean of its heads
    block_correlation  "b l l", Spearman's correlation between them
    isolation          "b l h", mean divergence of a head from the others of its block. NaN for a single head
    converging         share of all heads that have the patch among the `top` that they attend to most. Patches that tie
                       for the last places share them
    top                how many patches that is
    agreed             the share at the patch on which most heads agree, for each image
    chance             at most the probability of a share as high at any patch, if each head drew its `top` patches at
                       random and alone: the binomial tail at one patch, exactly, times the number of patches, and no
                       more than 1. The mean share is top / patches, always
    first              the block in the model that is the first here

    All are NaN where a head attends to no patch at all, except that it has no part in `converging` and in the means of
    `isolation` and of blocks.
    """

    divergence: Float[Tensor, "b l h h"]
    correlation: Float[Tensor, "b l h h"]
    concordance: Float[Tensor, "b l"]
    overall: PerImage
    block_divergence: Float[Tensor, "b l l"]
    block_correlation: Float[Tensor, "b l l"]
    isolation: Float[Tensor, "b l h"]
    converging: PatchMap
    top: int
    agreed: PerImage
    chance: PerImage
    first: int

    def outlying(self, times: float = TIMES) -> list[tuple[OutlyingHead, ...]]:
        """Name the outlying heads of each image, those farthest off first; see `outlying_heads`."""
        return [outlying_heads(each, self.first, times) for each in self.isolation]


def head_agreement(trace: Trace, top: float = 0.1) -> HeadAgreement:
    """Compare what the heads of every captured block attend to.

    top  share of the patches that count as those a head attends to most; at least one patch

    What is compared is the attention of the tokens that the prediction reads (the class token, or all patches in equal
    parts), in earlier blocks as well, without what goes to class and register tokens, and scaled to sum to 1. Heads
    that agree look at the same places; they need not take the same from there. Nor do heads that agree matter more.
    All heads see one image, so that some agreement is no wonder: `chance` is small almost always, and a small one says
    no more than that heads are not independent. `agreed` itself is the number to compare.

    Raises InputError for a share outside 0 to 1, and MethodNotApplicableError for models without plain attention over
    one set of tokens.
    """
    return agreement_of(patch_attention(trace), trace.vit.grid, top, trace.first)


def agreement_of(
    looks: Float[Tensor, "b l h p"], grid: tuple[int, int], top: float = 0.1, first: int = 0
) -> HeadAgreement:
    """Compare heads by what they attend to among patches, each summing to 1, however that was measured.

    For attention that was read by rows, see `vit.row_wise`. Arguments and errors as in `head_agreement`.
    """
    if not 0 < top < 1:
        raise InputError(f"top={top} is no share of the patches.", "Give a number above 0 and below 1, such as 0.1.")
    divergence = torch.stack([_every_pair(block) for block in looks.unbind(1)], 1)
    ranks = unit_ranks(looks)
    blocks = looks.nanmean(2)
    block_ranks = unit_ranks(blocks)
    every = looks.flatten(1, 2)
    count = max(1, math.floor(top * looks.shape[-1] + 0.5))
    share = _among_most(every, count).mean(1)
    agreed = share.amax(-1)
    return HeadAgreement(
        divergence=divergence,
        correlation=ranks @ ranks.transpose(-1, -2),
        concordance=kendall_w(looks),
        overall=kendall_w(every),
        block_divergence=_every_pair(blocks),
        block_correlation=block_ranks @ block_ranks.transpose(-1, -2),
        isolation=_mean_of_others(divergence),
        converging=share.reshape(-1, *grid),
        top=count,
        agreed=agreed,
        chance=_by_chance(agreed, every.shape[1], count, looks.shape[-1]),
        first=first,
    )


def patch_attention(trace: Trace) -> Float[Tensor, "b l h p"]:
    """Give what the reading attends to among patches, in every captured block and head, each scaled to sum to 1."""
    _ = trace.readout  # raises where there are no plain tokens
    rows = [trace.patches(read_rows(trace, attention.detach()).float()) for attention in trace.attention]
    looks = torch.stack(rows, 1)
    return looks / looks.sum(-1, keepdim=True)


def outlying_heads(isolation: Float[Tensor, "l h"], first: int = 0, times: float = TIMES) -> tuple[OutlyingHead, ...]:
    """Name the heads that differ more from the others of their block than heads do in this model, farthest first.

    isolation  of one image, or averaged over images: then the heads are outlying on the whole
    first      the block in the model that comes first
    times      how many scaled median absolute deviations above the median an excess has to be

    From the mean divergence of each head, the median of its block is taken first: some blocks have heads of many kinds,
    and all of those would be outlying in a model whose other blocks have heads of one kind. The head that is the median
    itself has an excess of 0 by this, and has no part in the limit. With two heads in a block, either is as far from
    the other: none is named. Nor is a single head.

    Chosen on 64 ImageNet photographs with DeiT-tiny. Without the median of the block taken first, heads of block 1 and
    of blocks 7 to 9 were named by turns, which is a matter of the blocks, and none on the average of all photographs.
    With it, head 1 of blocks 7, 8 and 9 is on average, and that of block 8 in 19 photographs. In `bundled:scenes` none
    is on the average of 60 scenes. That was on photographs squashed to the model's input; cropped, the head of block 9
    is not named, and on 64 others none: it describes these pictures more than the model (docs/findings.md).
    """
    excess = isolation - isolation.nanmedian(-1, keepdim=True).values
    known = excess[~excess.isnan() & (excess != 0)].double()
    if not len(known):
        return ()
    middle = known.quantile(0.5)
    limit = middle + times * 1.4826 * (known - middle).abs().quantile(0.5)
    beyond = _beyond(excess, limit.item())
    found = [
        OutlyingHead(first + block, head, excess[block, head].item(), limit.item())
        for block, head in beyond.nonzero().tolist()
    ]
    return tuple(sorted(found, key=lambda each: -each.excess))


def _beyond(excess: Float[Tensor, "l h"], limit: float) -> Bool[Tensor, "l h"]:
    """Tell which are above the limit, by more than rounding: where all heads are alike the limit is 0."""
    return excess > limit + 1e-6


def _every_pair(looks: Float[Tensor, "b m p"]) -> Float[Tensor, "b m m"]:
    # Row by row: all pairs at once hold m times as much.
    return torch.stack([jensen_shannon(one.unsqueeze(1), looks) for one in looks.unbind(1)], 1)


def _mean_of_others(divergence: Float[Tensor, "b l h h"]) -> Float[Tensor, "b l h"]:
    itself = torch.eye(divergence.shape[-1], dtype=torch.bool, device=divergence.device)
    return divergence.masked_fill(itself, torch.nan).nanmean(-1)


def _among_most(looks: Float[Tensor, "b m p"], count: int) -> Float[Tensor, "b m p"]:
    """Mark the `count` patches of the largest values with 1; those that tie for the last places share them."""
    last = looks.topk(count, -1).values[..., -1:]
    above, tied = (looks > last).float(), (looks == last).float()
    left = count - above.sum(-1, keepdim=True)
    return above + tied * left / tied.sum(-1, keepdim=True).clamp(min=1)


def _by_chance(agreed: PerImage, heads: int, count: int, patches: int) -> PerImage:
    """Bound the probability that at any patch as many heads agree, if each draws its patches alone."""
    needed = [math.ceil(share * heads - 1e-4) for share in agreed.tolist()]
    tails = [min(1.0, patches * float(binom.sf(number - 1, heads, count / patches))) for number in needed]
    return torch.tensor(tails, dtype=agreed.dtype, device=agreed.device)
