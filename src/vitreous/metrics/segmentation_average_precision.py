"""Segmentation average precision: how well the scaled map tells object from background, both counted as classes.

The mAP of the ImageNet-Segmentation protocol. Chefer, Gur & Wolf, CVPR 2021.
"""

import numpy as np

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._judged import Inside, Numbers, average_precision, each_image, stretched
from vitreous.metrics._metric import metric


@metric(
    category="localisation",
    better="higher",
    unit="average precision",
    cost="none",
    paper="arXiv:2012.09838",
    needs=("mask",),
)
def segmentation_average_precision(case: Case) -> PerImage:
    """Scale the map R to 0..1; average precision of (1 - R, R) against (background, object), stacked into one list.

    From 0 to 1; a map that says nothing, constant ones included, gets 1/2 in expectation if its values lie evenly
    around 1/2. Not only the order counts: a pixel of the background competes with 1 - R against the object's R, so
    a map that is low almost everywhere is rewarded where the object is small. The plain measure is
    `pixel_average_precision`.

    The map is interpolated between patches and scaled over the pixels that are not void. NaN without a mask. The value
    of a data set is the mean over images. Deviation: a constant map, which has no scale, counts as 1/2 everywhere.
    """
    return each_image(case, _of_both)


def _of_both(relevance: Numbers, inside: Inside) -> float:
    values = stretched(relevance)
    both = np.concatenate([1 - values, values]).round(12)  # what is R here and 1 - R there has to tie
    return average_precision(both, np.concatenate([~inside, inside]))
