"""MaxBoxAccV2: the share of images where a box round what the map marks fits the object's, at the best threshold.

Choe et al., TPAMI 2022: the second version of the measure of their CVPR 2020 paper.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import find_objects
from skimage.measure import label
from torch import Tensor

from vitreous.core.frame import Box
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._judged import check_levels, seen, stretched
from vitreous.metrics._metric import metric

_OVERLAPS = np.array([0.3, 0.5, 0.7])


def _pool(hits: Float[np.ndarray, "n s"]) -> float:
    """Take the best threshold of the data set for each overlap, then the mean over the overlaps."""
    accuracy = hits.mean(0).reshape(len(_OVERLAPS), -1)
    return float(accuracy.max(1).mean())


@metric(
    category="localisation",
    better="higher",
    unit="share of images",
    cost="none",
    paper="arXiv:2007.04178",
    needs=("boxes",),
    tuned=True,
    pool=_pool,
)
def max_box_acc(case: Case, levels: int = 100) -> Float[Tensor, "b s"]:
    """Scale the map to 0..1, mark what is above a threshold, and draw a box round each connected region.

    An image is right if one of these boxes and one true box have an intersection over union of at least d. The share
    of right images is that at the best threshold for the whole data set; averaged over d = 0.3, 0.5 and 0.7.

    levels  how many thresholds: 0, 1/levels, 2/levels, … below 1

    Gives for each image and each (d, threshold), thresholds fastest, 1 if it is right and 0 if not; NaN without boxes,
    or where all is void. Pixels touching at corners are connected. Void pixels belong to no region. The map is
    interpolated between patches; a constant one counts as 1/2, so that its box is the whole image. The threshold is
    chosen on the images that are judged, so that few images give high values, and boxes of random maps fit large
    objects rather often: compare with the method `random`.

    Deviations: the paper has 1000 thresholds of a map of 8 bits; there a region's holes give boxes as well, and boxes
    are rounded to whole pixels. Raises InputError for fewer than one threshold.
    """
    check_levels(levels)
    rows = [_hits(pixels, truth, levels) for pixels, truth in zip(case.per_pixel, case.truth, strict=True)]
    return torch.from_numpy(np.stack(rows))


def _hits(pixels: Float[Tensor, "H W"], truth: Truth, levels: int) -> Float[np.ndarray, " s"]:
    counts = seen(truth, pixels).numpy()
    if not truth.boxes or not counts.any():
        return np.full(len(_OVERLAPS) * levels, np.nan)
    values = np.full(counts.shape, -1.0)
    values[counts] = stretched(pixels.numpy()[counts])
    best = np.array([_best_overlap(values > step / levels, truth.boxes) for step in range(levels)])
    return (best >= _OVERLAPS[:, None]).astype(np.float64).ravel()


def _best_overlap(marked: Bool[np.ndarray, "H W"], boxes: tuple[Box, ...]) -> float:
    """Give the largest intersection over union of any region's box with any true box."""
    regions = find_objects(label(marked, connectivity=2))
    if not regions:
        return 0.0
    found = np.array([(across.start, down.start, across.stop, down.stop) for down, across in regions], dtype=float)
    true = np.array(boxes)
    corner = np.minimum(found[:, None, 2:], true[None, :, 2:]) - np.maximum(found[:, None, :2], true[None, :, :2])
    shared = np.clip(corner, 0, None).prod(2)
    union = _area(found)[:, None] + _area(true)[None] - shared
    return float((shared / union).max())


def _area(boxes: Float[np.ndarray, "k 4"]) -> Float[np.ndarray, " k"]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(1))
