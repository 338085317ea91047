"""One map of patches over a photograph, with its scale and in words."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from vitreous.show.colour import Scale, scale_over
from vitreous.show.legend import PURE
from vitreous.show.paint import blend
from vitreous.show.plots._canvas import colour_bar, number_words, place_words, sheet
from vitreous.show.plots._mosaic import SIDE, enlarge, ground_of
from vitreous.show.plots.head_grid import OVER_PHOTO


def draw_patch_map(
    values: Float[np.ndarray, "gh gw"], unit: str, title: str, photo: UInt8[np.ndarray, "H W 3"] | None = None
) -> Figure:
    """Draw one number for each patch, patch by patch and unsmoothed, on a scale from zero that stands below."""
    times = max(1, 4 * round(SIDE / max(values.shape)))
    scale, coat = patch_scale(values, unit), PURE if photo is None else OVER_PHOTO
    ground = ground_of(photo, values.shape[0] * times, values.shape[1] * times)
    figure = sheet(4.2, 4.2 * values.shape[0] / values.shape[1] + 1.1, title)
    panel, bar = figure.subplots(2, 1, height_ratios=[12, 0.6])
    panel.imshow(blend(ground, enlarge(values.astype(np.float64), times), scale, coat), interpolation="none")
    panel.set_axis_off()
    colour_bar(bar, scale, coat)
    return figure


def patch_scale(values: Float[np.ndarray, "gh gw"], unit: str) -> Scale:
    """Give the scale of such a map: from zero to its largest value."""
    return scale_over([values.astype(np.float64)], unit, signed=False)


def patch_map_text(values: Float[np.ndarray, "gh gw"], unit: str, told: int = 5) -> str:
    """Name the patches with the largest values, rows and columns counted from 0."""
    order = np.argsort(-np.nan_to_num(values.ravel(), nan=-np.inf), kind="stable")[:told]
    places = [divmod(int(place), values.shape[1]) for place in order]
    named = [
        f"row {row}, column {column} ({place_words(row + 0.5, column + 0.5, values.shape)}) with "
        f"{number_words(float(values[row, column]))}"
        for row, column in places
    ]
    return f"In {unit}: {'; '.join(named)}. Mean {number_words(float(np.nanmean(values)))}."
