"""Numbers: which thing is seen at each point of a grid finer than the picture. 0 is the background, k + 1 thing k."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from vitreous.core.frame import Box


def coverage_of(numbers: UInt8[np.ndarray, "fine fine"], thing: int, side: int) -> Float32[np.ndarray, "side side"]:
    """Give the share of each pixel of a picture of `side` in which a thing is seen."""
    finer = len(numbers) // side
    seen = (numbers == thing + 1).reshape(side, finer, side, finer)
    return np.asarray(seen.mean((1, 3), dtype=np.float32))


def mask_of(numbers: UInt8[np.ndarray, "fine fine"], thing: int, side: int) -> Bool[np.ndarray, "side side"]:
    """Give the pixels of which a thing covers half or more."""
    return coverage_of(numbers, thing, side) >= 0.5


def box_of(numbers: UInt8[np.ndarray, "fine fine"], thing: int, side: int) -> Box | None:
    """Give the box around all that is seen of a thing, in pixels of the picture; None if nothing is seen."""
    rows, columns = np.nonzero(numbers == thing + 1)
    if len(rows) == 0:
        return None
    finer = len(numbers) / side
    return (
        float(columns.min() / finer),
        float(rows.min() / finer),
        float((columns.max() + 1) / finer),
        float((rows.max() + 1) / finer),
    )
