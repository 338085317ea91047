"""On the input: what is known about a photograph, brought to the pixels of the model's input along a frame.

A pixel of the input takes what lies at its centre; nothing is averaged.
"""

import numpy as np
from jaxtyping import Bool, Float

from vitreous.core.frame import Box, Frame


def pixel_centres(frame: Frame) -> tuple[Float[np.ndarray, " H"], Float[np.ndarray, " W"]]:
    """Give where the centres of the input's pixel rows and columns lie on the photograph, in its pixels."""
    height, width = frame.input_size
    return (
        np.array([frame.to_photo(0.0, row + 0.5)[1] for row in range(height)]),
        np.array([frame.to_photo(column + 0.5, 0.0)[0] for column in range(width)]),
    )


def shows_photo(frame: Frame, down: np.ndarray, across: np.ndarray) -> Bool[np.ndarray, "H W"]:
    """Say which pixels of the input show the photograph, and which padding."""
    height, width = frame.photo_size
    return np.outer((down >= 0) & (down < height), (across >= 0) & (across < width))


def sampled(values: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Take from a picture of the photograph's size the pixel in which each centre lies; beyond it, the nearest."""
    rows = np.clip(np.floor(down), 0, values.shape[0] - 1).astype(np.intp)
    columns = np.clip(np.floor(across), 0, values.shape[1] - 1).astype(np.intp)
    return values[np.ix_(rows, columns)]


def box_on_input(box: Box, frame: Frame) -> list[Box]:
    """Move a box to the input and clip it there; nothing if no part of it is seen."""
    left, top = frame.to_input(box[0], box[1])
    right, bottom = frame.to_input(box[2], box[3])
    height, width = frame.input_size
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
    return [(left, top, right, bottom)] if left < right and top < bottom else []
