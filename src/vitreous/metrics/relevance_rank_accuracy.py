"""Relevance rank accuracy: of as many most relevant pixels as the object has, the share that lies on it.

Arras, Osman & Samek 2022.
"""

import numpy as np

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._judged import Inside, Numbers, each_image
from vitreous.metrics._metric import metric


@metric(
    category="localisation",
    better="higher",
    unit="share of pixels",
    cost="none",
    paper="arXiv:2003.07258",
    needs=("mask",),
)
def relevance_rank_accuracy(case: Case) -> PerImage:
    """Take the K most relevant pixels, K being the size of the mask; the share of them inside it, from 0 to 1.

    Where several pixels tie for the last places, the expectation over all ways to choose among them is given: a
    constant map gets the share of the image that the object covers, as does a random one.

    The map is interpolated between patches; only the order counts. Void pixels are not counted. NaN where the mask is
    missing or empty.
    """
    return each_image(case, _share_of_top)


def _share_of_top(relevance: Numbers, inside: Inside) -> float:
    size = int(inside.sum())
    if not size:
        return float("nan")
    lowest = np.partition(relevance, -size)[-size]
    above, tied = relevance > lowest, relevance == lowest
    return float((inside[above].sum() + (size - above.sum()) * inside[tied].mean()) / size)
