"""Transforms: the stated, recorded steps between raw relevance and a picture that compares several maps.

Each has a sentence (`SHARE_SENTENCE`, `PATCH_SUM_SENTENCE`) that goes into the record of a sheet in which
it was used. Overlays of a single map show raw values.
"""

import numpy as np
from jaxtyping import Float, Float32

from vitreous.core.heatmap import Heatmap

SHARE_UNIT = "times the uniform share"
SHARE_SENTENCE = (
    "Each map is divided by the sum of its absolute values and multiplied by its number of patches: "
    "1 means as much as if the relevance were spread evenly over the patches."
)
PATCH_SUM_SENTENCE = "Maps of single pixels are first summed over each patch."


def to_patches(heatmap: Heatmap) -> Float32[np.ndarray, "gh gw"]:
    """Give the raw relevance per patch: a pixel-level map is summed over each patch, others stay as they are.

    Gives (gh, gw) in the heatmap's unit. Sums are in float64, and signs cancel within a patch. Pixels of
    the model input beyond the last whole patch belong to no patch and are left out.
    """
    rows, columns = heatmap.frame.grid
    if heatmap.relevance.shape == (rows, columns):
        return heatmap.relevance.astype(np.float32, copy=False)
    high, wide = heatmap.frame.patch
    covered = heatmap.relevance[: rows * high, : columns * wide].astype(np.float64)
    return np.asarray(covered.reshape(rows, high, columns, wide).sum(axis=(1, 3)), np.float32)


def share_of_total(heatmap: Heatmap) -> Float32[np.ndarray, "gh gw"]:
    """Express each patch in multiples of the uniform share, so that different units can be compared.

    The value is relevance / sum of |relevance| * number of patches, on patch sums; its sign is kept. A map
    that is zero everywhere stays zero. The mean of the magnitudes is 1; the largest possible value is the
    number of patches.
    """
    patches = to_patches(heatmap).astype(np.float64)
    total = np.abs(patches).sum()
    if total == 0:
        return np.zeros(patches.shape, np.float32)
    return np.asarray(patches / total * patches.size, np.float32)


def photo_cover(heatmap: Heatmap) -> Float[np.ndarray, "gh gw"]:
    """Give for each patch the share of its area on the photograph; less than 1 only on padding."""
    frame = heatmap.frame
    boxes = np.array(
        [[frame.patch_box(row, column) for column in range(frame.grid[1])] for row in range(frame.grid[0])]
    )
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    height, width = frame.photo_size
    wide = np.clip(np.minimum(right, width) - np.maximum(left, 0), 0, None)
    high = np.clip(np.minimum(bottom, height) - np.maximum(top, 0), 0, None)
    return np.asarray(np.clip(wide * high / ((right - left) * (bottom - top)), 0.0, 1.0))


def share_off_photo(heatmap: Heatmap) -> float:
    """Give the share of the positive relevance on padding, where no picture shows it.

    A patch that lies partly on padding counts by its area there. From 0 to 1; 0 for a map without positive
    relevance.
    """
    positive = np.clip(to_patches(heatmap).astype(np.float64), 0, None)
    total = float(positive.sum())
    return 0.0 if total == 0 else float((positive * (1 - photo_cover(heatmap))).sum()) / total
