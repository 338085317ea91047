"""PxAP: average precision of all images' pixels in one list, each map scaled to 0..1 and cut at common thresholds.

Choe et al., CVPR 2020.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitreous.metrics._case import Case
from vitreous.metrics._judged import Inside, Numbers, Row, check_levels, each_row, precision_area, stretched
from vitreous.metrics._metric import metric


def _pool(counts: Float[np.ndarray, "n s"]) -> float:
    """Sum the histograms of object and background over the images; thresholds fall from 1 to 0."""
    inside, outside = np.split(counts.sum(0), 2)
    hits = np.cumsum(inside[::-1])
    return precision_area(hits, hits + np.cumsum(outside[::-1]))


@metric(
    category="localisation",
    better="higher",
    unit="average precision",
    cost="none",
    paper="arXiv:2001.07437",
    needs=("mask",),
    pool=_pool,
)
def pxap(case: Case, levels: int = 100) -> Float[Tensor, "b s"]:
    """Scale each map to 0..1 and pool all pixels; area under the steps of precision over recall at the thresholds.

    levels  how many thresholds: 0, 1/levels, 2/levels, …; and 1. Values between two of them tie

    Gives two histograms for each image, of the object's pixels and of the others', with levels + 1 bins each, the last
    for the value 1 alone. Void pixels, the ignore regions of the paper, are in neither. NaN without a mask.

    Since one threshold serves all images, a method is held to the same scale everywhere: unlike
    `pixel_average_precision`, more than each map's order counts. The map is interpolated between patches; a constant
    one counts as 1/2. Chance is the share of all pixels that objects cover. Deviation: the paper has 1000 thresholds.
    Raises InputError for fewer than one.
    """
    check_levels(levels)

    def histograms(relevance: Numbers, inside: Inside) -> Row:
        bins = np.floor((stretched(relevance) * levels).round(9)).astype(np.int64)
        return np.concatenate([np.bincount(bins[side], minlength=levels + 1) for side in (inside, ~inside)]) * 1.0

    return each_row(case, histograms, 2 * (levels + 1))
