"""How alike distributions and orders are: what methods, metrics and analyses all compare by.

The last axis holds the items that are compared, which are mostly patches; axes before it are many questions at once.
Everything is computed in the precision of what is given, and at least in float32.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def jensen_shannon(one: Float[Tensor, "*#axes n"], other: Float[Tensor, "*#axes n"]) -> Float[Tensor, "*axes"]:
    """Give the Jensen-Shannon divergence in bits: 0 for equal distributions, 1 for ones that share no item.

    The mean of the Kullback-Leibler divergences of both from their mean (Lin 1991, "Divergence measures based on the
    Shannon entropy"). It is no distance; its square root is. Both have to sum to 1 over the last axis, which is not
    checked. NaN where one of them holds NaN.

    >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [0.0, 1.0]
    """
    one, other = _precise(one), _precise(other)
    total = one + other
    # With one = total (1 + lean) / 2 and other = total (1 - lean) / 2, what an item adds is never negative, and no
    # logarithm is taken of a ratio near 1: distributions that almost agree keep their digits. Halving the total would
    # not do: the smallest floats round, and the lean would leave the range from -1 to 1.
    lean = torch.where(total == 0, 0.0, (one - other) / total)
    bits = torch.special.xlog1py(1 + lean, lean) + torch.special.xlog1py(1 - lean, -lean)
    divergence: Tensor = (total * bits).sum(-1) / (4 * math.log(2))
    return divergence.clamp(0, 1)


def centred_ranks(values: Float[Tensor, "*axes n"]) -> Float[Tensor, "*axes n"]:
    """Give the rank of each item less the mean rank; items of equal value share the mean of their ranks.

    NaN where an item among the n is NaN.

    >>> centred_ranks(torch.tensor([5.0, 7.0, 7.0, 1.0])).tolist()
    [-0.5, 1.0, 1.0, -1.5]
    """
    values = _precise(values).contiguous()
    ordered = values.sort(-1).values
    below, not_above = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    ranks = (below + not_above - values.shape[-1]).to(values.dtype) / 2
    return ranks.masked_fill(values.isnan().any(-1, keepdim=True), torch.nan)


def unit_ranks(values: Float[Tensor, "*axes n"]) -> Float[Tensor, "*axes n"]:
    """Give the centred ranks as vectors of length 1, whose products are Spearman's correlations; NaN for constants."""
    ranks = centred_ranks(values)
    return ranks / ranks.square().sum(-1, keepdim=True).sqrt()


def spearman(one: Float[Tensor, "*#axes n"], other: Float[Tensor, "*#axes n"]) -> Float[Tensor, "*axes"]:
    """Give Spearman's correlation of ranks, ties sharing their mean rank; from -1 to 1.

    NaN if either is constant, or there is only one item.
    """
    ranks, others = centred_ranks(one), centred_ranks(other)
    lengths = ranks.square().sum(-1) * others.square().sum(-1)
    return (ranks * others).sum(-1) / lengths.sqrt()


def kendall_w(values: Float[Tensor, "*axes m n"]) -> Float[Tensor, "*axes"]:
    """Give Kendall's coefficient of concordance of m raters over n items: 1 for one order, 0 for no agreement at all.

    W = |sum over raters of r|² / (m · sum over raters of |r|²), r being the centred ranks of a rater. It is the usual
    12 S / (m² (n³ - n) - m T) with the correction T for ties, because |r|² is (n³ - n - the rater's sum of t³ - t) / 12
    (Kendall 1948, "Rank correlation methods"). Without ties (m W - 1) / (m - 1) is the mean Spearman correlation of
    two raters. Raters who rank by chance have a mean W of 1 / m: compare no values of different m.

    A rater who finds all items alike agrees with nobody. NaN for a single rater, or if all find all items alike.
    """
    ranks = centred_ranks(values)
    raters = ranks.shape[-2]
    if raters < 2:
        return torch.full_like(ranks[..., 0, 0], torch.nan)
    return ranks.sum(-2).square().sum(-1) / (raters * ranks.square().sum((-2, -1)))


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
