"""Parallel coordinates: one line for each head or image, across measures or blocks."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.show.plots._canvas import INK, STYLES, TEXT, broken, number_words, plain, sheet
from vitreous.show.plots.numbers import HeadNumber
from vitreous.show.words import format_value

REST = "#9a9a9a"


def draw_parallel_coordinates(
    values: Float[np.ndarray, "lines axes"],
    names: Sequence[str],
    axes: Sequence[tuple[str, str]],
    *,
    highlight: Sequence[str] = (),
    shared: bool = False,
    title: str = "Parallel coordinates",
) -> Figure:
    """Draw one upright axis for each measure and one line through all of them for each head or image.

    values     NaN leaves a gap in the line
    names      of the lines
    axes       name and unit of each axis
    highlight  names of at most 6 lines that are drawn in front, each with its own colour, dash and mark
    shared     one range for all axes, for measures of one unit, such as one measure in all blocks. Otherwise each axis
               runs from its smallest value to its largest, and its ends are printed

    How to read it: lines that run together are alike in these measures; crossings between two neighbouring axes mean
    that what is large in one is small in the other. Slopes mean nothing else, since each axis has its own range.

    Raises InputError for names that do not fit, UnknownNameError for a highlighted name that is not there.
    """
    _check(values, names, axes, highlight)
    low, high = axis_ends(values, shared)
    places = (values - low) / (high - low)
    told = "All axes have one range." if shared else "Each axis has its own range, printed at its ends."
    figure = sheet(max(7.5, 1.25 * len(axes) + 1.5), 4.6, title, f"One line for each of {len(names)}. {told}")
    plot = figure.subplots()
    along = np.arange(len(axes))
    for line in places:
        plot.plot(along, line, color=REST, linewidth=0.7, alpha=0.55, zorder=1)
    for name, (colour, dash, mark) in zip(highlight, STYLES, strict=False):
        line = places[list(names).index(name)]
        plot.plot(along, line, color=colour, linestyle=dash, marker=mark, markersize=5, label=plain(name, 30), zorder=3)
    _frame(plot, axes, low, high)
    if highlight:
        figure.legend(loc="outside lower center", ncols=3, fontsize=TEXT - 1, frameon=False, handlelength=4)
    return figure


def parallel_coordinates_text(
    values: Float[np.ndarray, "lines axes"],
    names: Sequence[str],
    axes: Sequence[tuple[str, str]],
    *,
    highlight: Sequence[str] = (),
) -> str:
    """Say the range of each axis and who is at its ends, and all values of the highlighted lines."""
    _check(values, names, axes, highlight)
    lines = []
    for place, (name, unit) in enumerate(axes):
        column = values[:, place]
        if np.isnan(column).all():
            lines.append(f"{name} ({unit}): no values.")
            continue
        least, most = int(np.nanargmin(column)), int(np.nanargmax(column))
        lines.append(
            f"{name} ({unit}): from {format_value(float(column[least]))} ({names[least]})"
            f" to {format_value(float(column[most]))} ({names[most]})."
        )
    for name in highlight:
        row = values[list(names).index(name)]
        told = ", ".join(f"{axis} {number_words(float(value))}" for (axis, _), value in zip(axes, row, strict=True))
        lines.append(f"{name}: {told}.")
    return "\n".join(lines)


def heads_as_lines(
    numbers: Mapping[str, HeadNumber], first: int = 0
) -> tuple[Float[np.ndarray, "lines axes"], list[str], list[tuple[str, str]]]:
    """Turn numbers of heads into values, names and axes of lines, one line for each head."""
    blocks, heads = next(iter(numbers.values())).values.shape
    names = [f"block {first + block} head {head}" for block in range(blocks) for head in range(heads)]
    values = np.stack([number.values.astype(np.float64).ravel() for number in numbers.values()], 1)
    return values, names, [(name, number.unit) for name, number in numbers.items()]


def axis_ends(
    values: Float[np.ndarray, "lines axes"], shared: bool
) -> tuple[Float[np.ndarray, " axes"], Float[np.ndarray, " axes"]]:
    """Give the low and the high end of each axis; one that has no extent, or no values, is made one unit long."""
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(0)
    high = np.where(finite, values, -np.inf).max(0)
    if shared:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 1.0)
    return low, np.where(high > low, high, low + 1.0)


def _check(
    values: Float[np.ndarray, "lines axes"],
    names: Sequence[str],
    axes: Sequence[tuple[str, str]],
    highlight: Sequence[str],
) -> None:
    """Refuse names that do not fit, and more highlighted lines than can be told apart."""
    if values.shape != (len(names), len(axes)):
        raise InputError(
            f"Values of shape {values.shape} do not fit {len(names)} lines and {len(axes)} axes.",
            "Give one row for each line and one column for each axis.",
        )
    for name in highlight:
        if name not in names:
            raise UnknownNameError(
                f"There is no line {name!r}. {near_matches(name, tuple(names))}".strip(), "Name one."
            )
    if len(highlight) > len(STYLES):
        raise InputError(f"{len(highlight)} lines are to be highlighted.", f"Choose at most {len(STYLES)}.")


def _frame(
    plot: Axes,
    axes: Sequence[tuple[str, str]],
    low: Float[np.ndarray, " axes"],
    high: Float[np.ndarray, " axes"],
) -> None:
    """Draw the upright axes with their ends and names."""
    for place, (name, unit) in enumerate(axes):
        plot.plot([place, place], [0, 1], color=INK, linewidth=0.8, zorder=2)
        plot.text(place, 1.03, format_value(float(high[place])), ha="center", va="bottom", fontsize=TEXT - 1)
        plot.text(place, -0.03, format_value(float(low[place])), ha="center", va="top", fontsize=TEXT - 1)
        words = "\n".join([*broken(name, 16), *broken(unit, 18)])
        plot.text(place, -0.11, words, ha="center", va="top", fontsize=TEXT - 1, color=INK)
    plot.set_xlim(-0.5, len(axes) - 0.5)
    plot.set_ylim(-0.36, 1.1)
    plot.set_axis_off()
