"""Faithfulness correlation: whether sets of patches matter to the prediction as much as their relevance adds up to.

Bhatt, Weller & Moura, IJCAI 2020.
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity
from vitreous.metrics._metric import metric
from vitreous.metrics._random_sets import correlation, draw_sets, relevance_and_loss, sizes_of_sets
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="correlation",
    cost="sets forwards, shared with sensitivity-n and infidelity where they have sets of this size",
    paper="arXiv:2005.00631",
    random=True,
)
def faithfulness_correlation(
    case: Case, sets: int = 50, share: float = 0.3, fill: AnyFill = "drop", of: Quantity = "logit"
) -> PerImage:
    """Correlate, over random sets S of one size, the relevance of S with what the prediction loses without S.

    Pearson's correlation of sum_S relevance and f(x) - f(x without S); in [-1, 1], higher is better, 0
    in expectation for a map that says nothing. Does not change if the map is scaled by a positive factor or shifted.
    NaN for a constant map, where no set changes the prediction, and where `of` is not defined.

    sets   how many sets; the value of one image has a standard error of about 1 / sqrt(sets)
    share  of the patches in each set, in (0, 1)
    fill   what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of     "logit", the score of the target, or its class's probability

    The sets are those of the image's seed, the same for all methods. Deviation: patches in place of pixels, and a good
    share of them; with a few hundred pixels out of 150,000 the value is near 0 for every map. Raises InputError for
    fewer than two sets, and for a share outside (0, 1).
    """
    (size,) = sizes_of_sets(case.per_patch.shape[1], share, share, 1)
    return correlation(*relevance_and_loss(case, draw_sets(case, sets, size), fill, of))
