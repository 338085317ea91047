"""Resampling: from the patch grid to the pixels of the photograph, with the exact geometry of the frame.

Resizing the grid to the size of the photograph, as is often done, is right only if nothing was cropped or
padded. Here every pixel of the photograph asks the frame where its own centre lies on the grid, so that a
value is drawn where the model saw it. A patch's value belongs to its centre.

Values stay raw: no step here scales them, and interpolation never leaves the range of the values that it
lies between.
"""

from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from vitreous.core.errors import UnknownNameError, near_matches
from vitreous.core.frame import Frame
from vitreous.core.heatmap import Heatmap

Interpolation: TypeAlias = Literal["bilinear", "nearest"]

_ROWS_AT_ONCE = 256  # bounds the scratch memory of a 12-megapixel photograph to a few megabytes


def to_photo_pixels(heatmap: Heatmap, interpolation: str = "bilinear") -> Float32[np.ndarray, "height width"]:
    """Give the raw relevance at every pixel of the photograph. NaN where the model saw nothing.

    bilinear  straight lines between the centres of neighbouring patches, constant beyond the outermost
    nearest   the value of the patch that the pixel's centre lies in

    Units stay those of the heatmap. Raises UnknownNameError for another interpolation.
    """
    return resample(heatmap.relevance, heatmap.frame, interpolation)


def resample(
    values: Float[np.ndarray, "rows columns"],
    frame: Frame,
    interpolation: str = "bilinear",
    size: tuple[int, int] | None = None,
) -> Float32[np.ndarray, "height width"]:
    """Resample values on the patch grid (or on the model input) to the photograph, drawn at `size`.

    values         (rows, columns): one for each patch of the frame, or one for each pixel of the model
                   input
    frame          where the patches lie
    interpolation  as in `to_photo_pixels`
    size           (height, width) in which the photograph is drawn; its own if not given

    Each output pixel is sampled at its centre, nothing is averaged: a picture smaller than the grid leaves
    values out. The values may be any transform of a heatmap. Gives float32 of that size; NaN stands for
    what was not seen. Raises UnknownNameError for another interpolation.
    """
    known = get_args(Interpolation)
    if interpolation not in known:
        raise UnknownNameError(
            f"interpolation={interpolation!r} is unknown. {near_matches(interpolation, known)}".strip(),
            "Use 'bilinear' or 'nearest'.",
        )
    down, across = _grid_positions(values.shape, frame, size or frame.photo_size)
    pick = _bilinear if interpolation == "bilinear" else _nearest
    pixels = pick(values.astype(np.float32, copy=False), down, across)
    seen_down, seen_across = seen_lines(frame, size)
    pixels[~seen_down, :] = np.nan
    pixels[:, ~seen_across] = np.nan
    return pixels


def seen_lines(
    frame: Frame, size: tuple[int, int] | None = None
) -> tuple[Bool[np.ndarray, " height"], Bool[np.ndarray, " width"]]:
    """Say for each pixel row and each pixel column whether its centre lies in the part that the model saw.

    A pixel was seen if both its row and its column were, since that part is a rectangle.
    """
    left, top, right, bottom = frame.seen
    down, across = _pixel_centres(frame, size or frame.photo_size)
    return (down >= top) & (down < bottom), (across >= left) & (across < right)


def describe_resampling(shape: tuple[int, int], frame: Frame, interpolation: str) -> str:
    """Say in one sentence how a map of `shape` was brought to the photograph.

    Part of every picture's record, with the number of cells: a smooth picture hides how few they are.
    """
    cells = "patches" if shape == frame.grid else "pixels of the model input"
    way = "interpolated (bilinear) between" if interpolation == "bilinear" else "drawn as the exact (nearest)"
    return f"Values {way} {shape[0]} by {shape[1]} {cells}."


def _pixel_centres(
    frame: Frame, size: tuple[int, int]
) -> tuple[Float[np.ndarray, " height"], Float[np.ndarray, " width"]]:
    """Positions on the photograph of the centres of pixel rows and columns, when it is drawn at `size`."""
    high, wide = frame.photo_size[0] / size[0], frame.photo_size[1] / size[1]
    return (np.arange(size[0]) + 0.5) * high, (np.arange(size[1]) + 0.5) * wide


def _grid_positions(
    shape: tuple[int, ...], frame: Frame, size: tuple[int, int]
) -> tuple[Float[np.ndarray, " height"], Float[np.ndarray, " width"]]:
    """Where the centres of the pixel rows and columns lie on the map, in cells from its upper left corner.

    The frame has no rotation, so rows and columns can be mapped apart.
    """
    high, wide = frame.patch if shape == frame.grid else (1, 1)
    down, across = _pixel_centres(frame, size)
    return (
        np.array([frame.to_input(0.0, float(y))[1] / high for y in down]),
        np.array([frame.to_input(float(x), 0.0)[0] / wide for x in across]),
    )


def _nearest(
    values: Float32[np.ndarray, "rows columns"],
    down: Float[np.ndarray, " height"],
    across: Float[np.ndarray, " width"],
) -> Float32[np.ndarray, "height width"]:
    """Take the cell that each position lies in; positions beyond the map take its outermost cell."""
    rows = np.clip(np.floor(down), 0, values.shape[0] - 1).astype(np.intp)
    columns = np.clip(np.floor(across), 0, values.shape[1] - 1).astype(np.intp)
    return np.asarray(values[:, columns][rows])


def _bilinear(
    values: Float32[np.ndarray, "rows columns"],
    down: Float[np.ndarray, " height"],
    across: Float[np.ndarray, " width"],
) -> Float32[np.ndarray, "height width"]:
    """Interpolate along the rows first, while the map is still small, then down the columns.

    The second step goes some rows at a time, so that its scratch arrays stay small beside the result.
    """
    before, after, weight = _neighbours(across, values.shape[1])
    wide = values[:, before] + (values[:, after] - values[:, before]) * weight
    before, after, weight = _neighbours(down, values.shape[0])
    pixels = np.empty((len(down), len(across)), np.float32)
    for start in range(0, len(down), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        upper = wide[before[some]]
        pixels[some] = upper + (wide[after[some]] - upper) * weight[some, None]
    return pixels


def _neighbours(
    positions: Float[np.ndarray, " n"], cells: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """The two cells whose centres enclose each position, and the weight of the second one.

    Beyond the outermost centres both are the outermost cell, which makes the map constant there.
    """
    index = np.clip(positions - 0.5, 0, cells - 1)  # the centre of cell i lies at i + 0.5
    before = np.floor(index).astype(np.intp)
    return before, np.minimum(before + 1, cells - 1), (index - before).astype(np.float32)
