"""Segmentation pixel accuracy: the share of all pixels that the map's mean sorts rightly into object and background.

The pixAcc of the ImageNet-Segmentation protocol. Chefer, Gur & Wolf, CVPR 2021.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitreous.metrics._case import Case
from vitreous.metrics._marked import above_mean
from vitreous.metrics._metric import metric


def _pool(counts: Float[np.ndarray, "n 4"]) -> float:
    right, wrong, missed, rest = counts.sum(0)
    return float((right + rest) / (right + wrong + missed + rest))


@metric(
    category="localisation",
    better="higher",
    unit="share of pixels",
    cost="none",
    paper="arXiv:2012.09838",
    needs=("mask",),
    pool=_pool,
)
def segmentation_pixel_accuracy(case: Case) -> Float[Tensor, "b 4"]:
    """Mark the pixels above the mean of the map as object; (TP + TN) / pixels, pooled over the pixels of all images.

    Gives TP, FP, FN and TN of each image, in pixels; NaN without a mask. The map is interpolated between patches. Void
    pixels are not counted, nor in the mean. A map that is constant marks nothing. Marking nothing scores the share of
    background: read it beside `segmentation_miou`.

    In the protocol the map is of the predicted class, whether it is in the mask or not, and photographs are squashed
    to the input. Its scaling to 0..1 does not move what is above the mean.
    """
    return above_mean(case)
