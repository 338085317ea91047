"""Sensitivity-n: whether sets of n patches matter as much as their relevance adds up to, over several n.

Ancona et al., ICLR 2018.
"""

import torch

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
    cost="sets x sizes forwards, shared with infidelity and faithfulness correlation",
    paper="arXiv:1711.06104",
    random=True,
)
def sensitivity_n(
    case: Case,
    sets: int = 50,
    sizes: int = 5,
    fewest: float = 0.1,
    most: float = 0.5,
    fill: AnyFill = "drop",
    of: Quantity = "logit",
) -> PerImage:
    """Correlate the relevance of sets of n patches with what the prediction loses without them; mean over n.

    For each n Pearson's correlation over random sets of n patches; in [-1, 1], higher is better, 0 in
    expectation for a map that says nothing. Sets of different n are never compared with each other: that more patches
    matter more is no merit of a map. An n of which nothing varies is left out; NaN where none is left, as for a
    constant map, and where `of` is not defined. Does not change if the map is scaled by a positive factor or shifted.

    sets          how many sets of each n
    sizes         how many n, equally spaced
    fewest, most  the smallest and the largest n, as shares of the patches
    fill          what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of            "logit", the score of the target, or its class's probability

    The sets are those of the image's seed, the same for all methods. Deviations: patches in place of pixels; one number
    in place of a curve over n, which the paper spaces by its logarithm; 50 sets in place of 100. Raises InputError for
    fewer than two sets, no size, and shares that are out of order or outside (0, 1).
    """
    found = [
        correlation(*relevance_and_loss(case, draw_sets(case, sets, size), fill, of))
        for size in sizes_of_sets(case.per_patch.shape[1], fewest, most, sizes)
    ]
    return torch.stack(found).nanmean(0)
