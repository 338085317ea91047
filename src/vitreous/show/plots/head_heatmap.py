"""Head heatmap: numbers of all blocks and heads as tables of coloured cells."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.core.errors import InputError
from vitreous.show.colour import Scale, colourise, scale_over
from vitreous.show.plots._canvas import FAINT, TEXT, block_ticks, colour_bar, ink_on, number_words, plain, sheet
from vitreous.show.plots.head_grid import head_order
from vitreous.show.plots.numbers import HeadNumber
from vitreous.show.words import format_value

PRINTED = 16  # heads and blocks up to which values are printed in their cells


def draw_head_heatmap(
    numbers: Mapping[str, HeadNumber], first: int = 0, title: str = "Numbers of each block and head"
) -> Figure:
    """Draw one table of coloured cells for each number, blocks from left to right, heads from top to bottom.

    numbers  by name; each has its own unit, and therefore its own scale, which stands below it
    first    index, from 0, of the first block

    How to read it: compare cells within one table; colours of different tables have different meanings. Values are
    printed in the cells where there is room. An empty cell with a cross has no value.

    Raises InputError if there are no numbers.
    """
    if not numbers:
        raise InputError("There is no number to draw.", "Give at least one.")
    blocks, heads = next(iter(numbers.values())).values.shape[:2]
    columns = 1 if len(numbers) == 1 or blocks > 14 else 2
    rows = -(-len(numbers) // columns)
    each = max(1.9, 0.26 * heads + 1.3)
    reading = "Each table has a scale of its own, below it."
    figure = sheet(max(7.5, columns * max(4.6, 0.46 * blocks + 0.8)), rows * each + 0.6, title, reading)
    panels = figure.subplots(rows * 2, columns, squeeze=False, height_ratios=[max(2, heads), 0.45] * rows)
    for place in range(rows * columns):
        down, across = divmod(place, columns)
        axes, bar = panels[2 * down, across], panels[2 * down + 1, across]
        if place >= len(numbers):
            axes.set_axis_off()
            bar.set_axis_off()
            continue
        name, number = list(numbers.items())[place]
        scale = number_scale(number)
        _table(axes, number, scale, first)
        axes.set_title(plain(name, 50), fontsize=TEXT, loc="left", fontweight="bold")
        colour_bar(bar, scale)
    return figure


def head_heatmap_text(numbers: Mapping[str, HeadNumber], first: int = 0) -> str:
    """Say for each number what it means, its range, its largest and smallest head, and its mean in each block."""
    lines = []
    for name, number in numbers.items():
        lines.append(f"{name} ({number.unit}): {number.meaning}")
        order = [place for place in head_order(number.values) if np.isfinite(number.values[place])]
        if not order:
            lines.append("No head has a value.")
            continue
        for word, (block, head) in (("Largest", order[0]), ("Smallest", order[-1])):
            value = format_value(float(number.values[block, head]))
            lines.append(f"{word}: block {first + block} head {head} with {value}.")
        means = [row[np.isfinite(row)] for row in number.values]
        told = [
            f"{first + place}: {number_words(row.mean() if row.size else np.nan)}" for place, row in enumerate(means)
        ]
        lines.append(f"Mean over heads, by block: {', '.join(told)}.")
    return "\n".join(lines)


def number_scale(number: HeadNumber) -> Scale:
    """Choose the scale of one number: from zero, or symmetric about zero if signed, to its largest value.

    Numbers that are unsigned by nature and yet below zero extend the scale; see `show.colour.scale_over`.
    """
    return scale_over([number.values], number.unit, number.signed)


def _table(axes: Axes, number: HeadNumber, scale: Scale, first: int) -> None:
    """Draw the cells, and the values in them where they can be read."""
    values = number.values.T.astype(np.float64)
    colours = colourise(values, scale)
    colours[np.isnan(values)] = 255
    axes.imshow(colours, aspect="auto", interpolation="none")
    block_ticks(axes, values.shape[1], first)
    axes.set_yticks(range(values.shape[0]), [str(head) for head in range(values.shape[0])], fontsize=TEXT - 1)
    axes.tick_params(length=0)
    axes.set_xlabel("Block", fontsize=TEXT - 1)
    axes.set_ylabel("Head", fontsize=TEXT - 1)
    axes.spines[:].set_color(FAINT)
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.text(
                column, row, "\N{MULTIPLICATION SIGN}", ha="center", va="center", fontsize=TEXT - 1, color="#555555"
            )
        elif max(values.shape) <= PRINTED:
            ink = ink_on(colours[row, column])
            axes.text(column, row, _short(float(value)), ha="center", va="center", fontsize=6.5, color=ink)


def _short(value: float) -> str:
    """Write a value with two significant digits, or as a whole number, to fit into a cell."""
    written = f"{value:.0f}" if 10 <= abs(value) < 10_000 else f"{value:.2g}"
    return written.replace("-", "\N{MINUS SIGN}").replace("e\N{MINUS SIGN}0", "e\N{MINUS SIGN}")
