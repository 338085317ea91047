"""Block series: how numbers change with depth, with intervals where they were measured."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.core.errors import InputError
from vitreous.show.plots._canvas import STYLES, TEXT, block_ticks, broken, line_frame, number_words, plain, sheet
from vitreous.show.plots.numbers import BlockSeries


def draw_block_series(series: Mapping[str, BlockSeries], first: int = 0, title: str = "Through the blocks") -> Figure:
    """Draw each number as a line over the blocks, on axes of its own, with its unit; shaded bands are intervals.

    How to read it: depth runs to the right. A band is the 95 % interval that its line's name tells; without a band
    none was measured, and small wiggles mean nothing.

    Raises InputError if there is no series.
    """
    if not series:
        raise InputError("There is no series to draw.", "Give at least one.")
    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    figure = sheet(max(7.5, 3.7 * columns), 2.5 * rows + 0.7, title, "Depth runs to the right.")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, each) in zip(panels, series.items(), strict=False):
        draw_series(axes, name, each, first)
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    return figure


def draw_series(axes: Axes, name: str, series: BlockSeries, first: int) -> None:
    """Draw one series into given axes: the line with its marks, its band, its name and unit."""
    colour, dash, mark = STYLES[0]
    blocks = np.arange(len(series.values))
    if series.low is not None and series.high is not None:
        axes.fill_between(blocks, series.low, series.high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(blocks, series.values, color=colour, linestyle=dash, marker=mark, markersize=3.5)
    line_frame(axes, "\n".join(broken(series.unit, 26)))
    block_ticks(axes, len(blocks), first)
    axes.set_xlabel("Block", fontsize=TEXT - 1)
    band = f" (band: {series.interval})" if series.low is not None else ""
    axes.set_title("\n".join(broken(f"{plain(name)}{band}", 44)), fontsize=TEXT, loc="left")


def block_series_text(series: Mapping[str, BlockSeries], first: int = 0) -> str:
    """Say for each series what it means and its value in every block, with its interval."""
    lines = []
    for name, each in series.items():
        lines.append(f"{name} ({each.unit}): {each.meaning}")
        told = []
        for block, value in enumerate(each.values):
            around = ""
            if each.low is not None and each.high is not None and np.isfinite(each.low[block]):
                around = f" ({number_words(float(each.low[block]))} to {number_words(float(each.high[block]))})"
            told.append(f"{first + block}: {number_words(float(value))}{around}")
        interval = f", in brackets the {each.interval}" if each.low is not None else ""
        lines.append(f"By block{interval}: {', '.join(told)}.")
    return "\n".join(lines)
