"""Segmentation mIoU: intersection over union of what lies above the map's mean, averaged over object and background.

The mIoU of the ImageNet-Segmentation protocol. Chefer, Gur & Wolf, CVPR 2021.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitreous.metrics._case import Case
from vitreous.metrics._marked import above_mean
from vitreous.metrics._metric import metric


def _pool(counts: Float[np.ndarray, "n 4"]) -> float:
    """Average over the two classes, as far as they occur; the published code counts one that does not occur as 0."""
    right, wrong, missed, rest = counts.sum(0)
    unions = np.array([right + wrong + missed, rest + wrong + missed])
    return float(np.mean(np.array([right, rest])[unions > 0] / unions[unions > 0]))


@metric(
    category="localisation",
    better="higher",
    unit="intersection / union",
    cost="none",
    paper="arXiv:2012.09838",
    needs=("mask",),
    pool=_pool,
)
def segmentation_miou(case: Case) -> Float[Tensor, "b 4"]:
    """Mark the pixels above the mean of the map as object; mean of TP / (TP + FP + FN) and TN / (TN + FP + FN).

    Counts are pooled over the pixels of all images before dividing. Gives TP, FP, FN and TN of each image, in pixels;
    NaN without a mask. The map is interpolated between patches. Void pixels are not counted, nor in the mean. A map
    that is constant marks nothing, which gets half the share of background.

    Deviation: where all images together have no pixel of a class, neither true nor marked, the other's value stands
    alone. It matters for single images only.
    """
    return above_mean(case)
