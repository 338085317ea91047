"""SaCo: whether of any two groups of patches the one of more relevance also matters more to the prediction.

Salience-guided faithfulness coefficient. Wu et al., CVPR 2024.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity, removal_counts
from vitreous.metrics._metric import metric
from vitreous.metrics._rank import descending
from vitreous.metrics._rounding import without_rounding
from vitreous.metrics._sets import answers
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="coefficient",
    cost="groups forwards",
    paper="arXiv:2404.01415",
)
def saco(case: Case, groups: int = 10, fill: AnyFill = "mean", of: Quantity = "probability") -> PerImage:
    """Hold all pairs of groups against each other: does what has more relevance take more of the prediction with it?

    Patches are ranked and cut into K groups, G_1 of the most relevant. With s_i the mean relevance in group i and d_i
    what the prediction loses when group i alone is replaced, over all pairs i < j:

        F = sum ±(s_i - s_j) / sum |s_i - s_j|,   + where d_i >= d_j, - where not

    In [-1, 1], higher is better. For a map that says nothing it is 0 in expectation if no two groups lose the same;
    equal losses count as agreement, as in the paper, so that where few patches matter such a map gets far more: read it
    beside the random control. Not cumulative: each group is looked at with all others in place. Does not change if the
    map is scaled by a positive factor, or a constant is added. NaN where all groups have the same relevance, and where
    `of` is not defined.

    groups  K; a model with fewer patches has groups of one
    fill    what takes the place of a group: "mean", the image's mean colour, as in the paper, or another of
            `vitreous.vit.coalitions.AnyFill`
    of      "probability" of the target's class, as in the paper, or "logit", the target's score

    Ties are broken at random by the image's seed. Deviations: patches in place of pixels; groups that differ by one
    patch where K does not divide their number, for which s_i is a mean and not a sum, that no group is relevant for its
    size (with equal groups F is the same). Raises InputError for fewer than two groups.
    """
    patches = case.per_patch.shape[1]
    if groups < 2:
        raise InputError(f"groups={groups} leaves no pair.", "Give 2 or more.")
    member = _groups(case, min(groups, patches))
    whole = torch.ones_like(member[:, :1])
    found = answers(case, torch.cat([whole, ~member], 1), fill).of(of)
    salience = (member * case.per_patch[:, None]).sum(2) / member.sum(2)
    # Means of equal values differ in their last digits, by which a map that says nothing would be judged.
    salience = without_rounding(salience, salience.abs().amax(1, keepdim=True))
    return _coefficient(salience, found[:, :1] - found[:, 1:])


def _groups(case: Case, count: int) -> Bool[Tensor, "b k p"]:
    """Say which patches are in which group, from the most to the least relevant."""
    places = descending(case).argsort(1)[:, None]
    ends = removal_counts(places.shape[2], count)
    return (places >= ends[:-1, None]) & (places < ends[1:, None])


def _coefficient(salience: Float[Tensor, "b k"], lost: Float[Tensor, "b k"]) -> PerImage:
    first, second = torch.triu_indices(salience.shape[1], salience.shape[1], offset=1)
    apart = salience[:, first] - salience[:, second]
    agreed = torch.where(lost[:, first] >= lost[:, second], apart, -apart).sum(1) / apart.abs().sum(1)
    return agreed.where(lost.isfinite().all(1), torch.nan)
