"""Layer trajectory: how the centre of attention moves over the photograph with depth, and how far it spreads."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from vitreous.show.colour import Scale, colourise
from vitreous.show.plots._canvas import INK, TEXT, ink_on, number_words, place_words, sheet
from vitreous.show.plots.block_series import block_series_text, draw_series
from vitreous.show.plots.numbers import BlockSeries, Focus


def draw_trajectory(
    focus: Focus,
    grid: tuple[int, int],
    *,
    photo: UInt8[np.ndarray, "H W 3"] | None = None,
    series: Mapping[str, BlockSeries] | None = None,
    first: int = 0,
    title: str = "How the focus moves through the blocks",
) -> Figure:
    """Draw the centre of attention in each block as a numbered mark, at its place and enlarged, beside line plots.

    focus   centre and spread for each block
    grid    rows and columns of patches
    photo   the model's input, drawn in pale grey
    series  numbers for each block, each drawn as a line with its interval

    How to read it: numbers are blocks, joined by a line in their order; circles have the spread as radius. The second
    panel enlarges the dashed box, since centres are often close together. A centre in the middle with a large circle
    means attention everywhere, not attention to the middle.
    """
    shown = list((series or {}).items())
    rows = max(1, -(-len(shown) // 2))
    reading = "Numbers are blocks; circles show the spread; the second panel enlarges the dashed box."
    figure = sheet(10.5, 4.4 + (2.3 * rows if shown else 0), title, reading)
    parts = figure.subfigures(2 if shown else 1, 1, height_ratios=[4.2, 2.4 * rows] if shown else [1], squeeze=False)
    top, *below = parts.ravel()
    whole, near = top.subplots(1, 2)
    box = _box(focus.centre, grid)
    for axes, large in ((whole, False), (near, True)):
        _ground(axes, photo, grid)
        _path(axes, focus, first, numbered=large)
    for place in range(len(focus.spread)):
        whole.add_patch(_circle(focus, place, len(focus.spread)))
    left, up, wide, high = box
    whole.add_patch(Rectangle((left, up), wide, high, fill=False, linestyle="--", linewidth=1.2, edgecolor=INK))
    whole.set_title(f"Whole image, {grid[0]} x {grid[1]} patches", fontsize=TEXT, loc="left")
    near.set_xlim(left, left + wide)
    near.set_ylim(up + high, up)
    near.set_title(f"Enlarged: {wide:.2g} x {high:.2g} patches", fontsize=TEXT, loc="left")
    if shown:
        panels = below[0].subplots(rows, 2, squeeze=False).ravel()
        for axes, (name, each) in zip(panels, shown, strict=False):
            draw_series(axes, name, each, first)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
    return figure


def trajectory_text(
    focus: Focus, grid: tuple[int, int], *, series: Mapping[str, BlockSeries] | None = None, first: int = 0
) -> str:
    """Say for each block where the centre lies and how far attention spreads, how far it moved, then the series."""
    lines = []
    for block, ((row, column), spread) in enumerate(zip(focus.centre, focus.spread, strict=True)):
        if not np.isfinite([row, column]).all():
            lines.append(f"Block {first + block}: no centre.")
            continue
        moved = "" if block == 0 else f", {number_words(_moved(focus.centre, block))} patches from the block before"
        lines.append(
            f"Block {first + block}: centre {row:.1f} patches from the top and {column:.1f} from the left"
            f" ({place_words(float(row), float(column), grid)}), spread {number_words(float(spread))} patches{moved}."
        )
    return "\n".join([*lines, *([block_series_text(series, first)] if series else [])])


def block_colours(blocks: int) -> UInt8[np.ndarray, "blocks 4"]:
    """Give each block a colour, from dark for the first to light for the last; its number is always beside it."""
    scale = Scale(0.0, max(1.0, blocks - 1.0), "block", "cividis")
    return np.asarray(colourise(np.arange(blocks, dtype=np.float64)[None], scale)[0])


def _moved(centre: Float[np.ndarray, "l 2"], block: int) -> float:
    """Give the distance from the centre of the block before, in patches."""
    return float(np.hypot(*(centre[block] - centre[block - 1])))


def _box(centre: Float[np.ndarray, "l 2"], grid: tuple[int, int]) -> tuple[float, float, float, float]:
    """Give left, top, width and height of a square around all centres, at least two patches wide, inside the grid."""
    found = centre[np.isfinite(centre).all(1)]
    if not len(found):
        return 0.0, 0.0, float(grid[1]), float(grid[0])
    low, high = found.min(0), found.max(0)
    side = min(max(2.0, 1.3 * float((high - low).max())), float(min(grid)))
    middle = (low + high) / 2
    top = float(np.clip(middle[0] - side / 2, 0, grid[0] - side))
    left = float(np.clip(middle[1] - side / 2, 0, grid[1] - side))
    return left, top, side, side


def _ground(axes: Axes, photo: UInt8[np.ndarray, "H W 3"] | None, grid: tuple[int, int]) -> None:
    """Lay the photograph below, in pale grey, with patches as the unit of both directions."""
    axes.set_xlim(0, grid[1])
    axes.set_ylim(grid[0], 0)
    axes.set_xticks([])
    axes.set_yticks([])
    if photo is None:
        axes.set_aspect("equal")
        return
    grey = photo.astype(np.float64).mean(2) / 255 * 0.5 + 0.5
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=(0, grid[1], grid[0], 0))
    axes.set_aspect(photo.shape[0] / grid[0] / (photo.shape[1] / grid[1]))


def _path(axes: Axes, focus: Focus, first: int, *, numbered: bool) -> None:
    """Draw the centres and the line that joins them; numbers where there is room."""
    colours = block_colours(len(focus.spread))
    axes.plot(focus.centre[:, 1], focus.centre[:, 0], color=INK, linewidth=1, zorder=3)
    size = 190 if numbered else 26
    axes.scatter(
        focus.centre[:, 1], focus.centre[:, 0], s=size, c=colours / 255, edgecolors=INK, linewidths=0.8, zorder=4
    )
    for block, (row, column) in enumerate(focus.centre):
        if numbered and np.isfinite([row, column]).all():
            ink = ink_on(colours[block])
            words = str(first + block)
            axes.text(column, row, words, ha="center", va="center", fontsize=8, color=ink, zorder=5, clip_on=True)


def _circle(focus: Focus, block: int, blocks: int) -> Ellipse:
    """Draw the spread of one block; the first and the last stand out, and the others are faint."""
    row, column = (float(each) for each in np.nan_to_num(focus.centre[block]))
    reach = 2 * float(np.nan_to_num(focus.spread[block]))
    outer = block in {0, blocks - 1}
    return Ellipse(
        (column, row),
        reach,
        reach,
        fill=False,
        edgecolor=INK,
        linewidth=1.6 if outer else 0.5,
        linestyle=":" if block == 0 else "-",
        alpha=1.0 if outer else 0.6,
    )
