"""Tags: marks printed over a corner of the finished picture."""

import numpy as np

from vitreous.worlds.rendered.scene import Tag

CELL = 3  # pixels of a 96-pixel picture; grows with the picture
PATTERNS = (  # nine cells, white or black, three to a row: any two differ in at least three cells
    "111000000", "000111000", "000000111", "100100100", "010010010", "001001001", "110011000", "011000110", "101010101",
    "111111111",
)  # fmt: skip


def print_tag(image: np.ndarray, tag: Tag | None) -> np.ndarray:
    """Give a copy of a picture with its tag in the corner, framed in grey; without a tag the picture itself."""
    if tag is None:
        return image
    cell = max(CELL * image.shape[0] // 96, 1)
    cells = np.array([char == "1" for char in PATTERNS[tag.number]]).reshape(3, 3)
    mark = np.full((4 * cell, 4 * cell, 3), 128, dtype=np.uint8)
    edge = cell // 2
    mark[edge : edge + 3 * cell, edge : edge + 3 * cell] = np.kron(cells, np.full((cell, cell), 255))[..., None]
    side = image.shape[0]
    size = len(mark)
    top = 0 if tag.corner < 2 else side - size
    left = 0 if tag.corner % 2 == 0 else side - size
    result = image.copy()
    result[top : top + size, left : left + size] = mark
    return result
