"""Many small maps as one picture: far sooner drawn than axes of their own, and pixel for pixel what was computed."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from vitreous.show.colour import Scale
from vitreous.show.paint import Coat, blend

SIDE = 84  # pixels of a panel's longer side, about


def mosaic(
    maps: Float[np.ndarray, "l h gh gw"],
    shown: list[tuple[int, int]],
    places: list[tuple[int, int]],
    shape: tuple[int, int],
    photo: UInt8[np.ndarray, "H W 3"] | None,
    scale: Scale,
    coat: Coat,
    captions: bool,
) -> tuple[UInt8[np.ndarray, "high wide 3"], tuple[int, int], tuple[int, int]]:
    """Put all maps on one picture, which is drawn far sooner than axes of their own.

    Gives the picture, the step from one panel to the next, and the size of a panel, both down and across in pixels.
    """
    gh, gw = maps.shape[2:]
    times = max(1, round(SIDE / max(gh, gw)))
    high, wide = gh * times, gw * times
    step = (high + (22 if captions else 8), wide + 8)
    ground = ground_of(photo, high, wide)
    picture = np.full((shape[0] * step[0] - 8, shape[1] * step[1] - 8, 3), 255, np.uint8)
    if captions:
        picture = np.pad(picture, ((0, 8), (0, 0), (0, 0)), constant_values=255)
    for (block, head), (row, column) in zip(shown, places, strict=True):
        panel = blend(ground, enlarge(maps[block, head].astype(np.float64), times), scale, coat)
        top, left = row * step[0], column * step[1]
        picture[top : top + high, left : left + wide] = panel
    return picture, step, (high, wide)


def enlarge(values: Float[np.ndarray, "gh gw"], times: int) -> Float[np.ndarray, "high wide"]:
    """Repeat each value in a square of pixels, so that a patch is a patch and nothing is smoothed."""
    return np.asarray(values.repeat(times, 0).repeat(times, 1))


def ground_of(photo: UInt8[np.ndarray, "H W 3"] | None, high: int, wide: int) -> UInt8[np.ndarray, "high wide 3"]:
    """Bring the photograph to a size; a plain mid-grey if there is none."""
    if photo is None:
        return np.full((high, wide, 3), 128, np.uint8)
    return np.asarray(Image.fromarray(photo).resize((wide, high), Image.Resampling.LANCZOS))
