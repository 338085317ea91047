"""Head grid: what each head attends to, as small maps of all blocks and heads on one scale."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.core.errors import UnknownNameError, near_matches
from vitreous.show.colour import Scale, scale_over
from vitreous.show.legend import PURE
from vitreous.show.paint import Coat
from vitreous.show.plots._canvas import (
    INK,
    TEXT,
    colour_bar,
    number_words,
    place_words,
    sheet,
)
from vitreous.show.plots._mosaic import mosaic
from vitreous.show.plots.numbers import HeadNumber
from vitreous.show.words import percent

OVER_PHOTO = Coat(opacity=0.8)


def draw_head_grid(
    maps: Float[np.ndarray, "l h gh gw"],
    unit: str,
    *,
    photo: UInt8[np.ndarray, "H W 3"] | None = None,
    numbers: Mapping[str, HeadNumber] | None = None,
    by: str | None = None,
    first: int = 0,
    title: str = "Attention of each head",
) -> Figure:
    """Draw one small map for each block and head, all on one scale, so that equal colours are equal values.

    maps     of the heads of blocks `first` and after
    unit     of the values
    photo    the model's input, drawn in grey below the maps; without it the colours are pure
    numbers  by name, what the maps may be ordered by
    by       one of these names: maps are ordered by it, largest first, read line by line, with its value below each.
             Without it blocks run from left to right and heads from top to bottom

    How to read it: bright patches get much of the head's attention. A bright map shows where a head looks, not that the
    prediction depends on it. The scale ends at the 99th percentile of all values, and its legend says so.

    Raises UnknownNameError for a name that is not among the numbers.
    """
    scale = head_scale(maps, unit)
    order = None if by is None else head_order(chosen(numbers, by).values)
    blocks, heads = maps.shape[:2]
    columns = blocks if order is None else min(12, blocks * heads)
    places = [divmod(place, columns) for place in range(blocks * heads)]
    shown = [(down, along) if order is None else order[place] for place, (along, down) in enumerate(places)]
    rows = -(-blocks * heads // columns)
    coat = PURE if photo is None else OVER_PHOTO
    picture, step, corner = mosaic(maps, shown, places, (rows, columns), photo, scale, coat, by is not None)
    wide = max(7.5, 0.82 * columns + 0.8)
    said = f"Ordered by {by}, largest first, line by line; its value stands below each map." if by else ""
    reading = "Every map is on the same scale: equal colours are equal values."
    figure = sheet(wide, 0.82 * rows * step[0] / step[1] + 1.9, title, f"{said} {reading}".strip())
    axes, bar = figure.subplots(2, 1, height_ratios=[max(1.0, rows * step[0]), 0.2 * step[1]])
    axes.imshow(picture, interpolation="none")
    if by is None:
        _name_axes(axes, blocks, heads, first, step, corner)
    else:
        values = chosen(numbers, by).values
        axes.set_axis_off()
        for (block, head), (row, column) in zip(shown, places, strict=True):
            words = f"b{first + block} h{head}: {number_words(float(values[block, head]))}"
            below = row * step[0] + corner[0] + 2
            axes.text(column * step[1], below, words, fontsize=6, va="top", color=INK)
    colour_bar(bar, scale, coat, f"{scale.describe()} {coat.describe() if photo is not None else ''}".strip())
    return figure


def head_grid_text(
    maps: Float[np.ndarray, "l h gh gw"],
    unit: str,
    *,
    numbers: Mapping[str, HeadNumber] | None = None,
    by: str | None = None,
    first: int = 0,
    most: int | None = None,
) -> str:
    """Say for each head where its map peaks and how much lies there, in the order of the figure.

    most  how many heads are told; all of them if None. What is left out is counted
    """
    blocks, heads = maps.shape[:2]
    order = [(block, head) for block in range(blocks) for head in range(heads)]
    if by is not None:
        order = head_order(chosen(numbers, by).values)
    ordered = f", by {by}, largest first" if by else ""
    lines = [f"Maps of {blocks} blocks with {heads} heads each, in {unit}{ordered}."]
    for block, head in order[:most]:
        each = maps[block, head]
        if np.isnan(each).all():
            lines.append(f"Block {first + block} head {head}: no values.")
            continue
        row, column = np.unravel_index(int(np.nanargmax(each)), each.shape)
        where = place_words(row + 0.5, column + 0.5, each.shape)
        value = "" if by is None else f", {by} {number_words(float(chosen(numbers, by).values[block, head]))}"
        share = f", {percent(float(each.max() / each.sum()))} of the map" if each.sum() > 0 and each.min() >= 0 else ""
        lines.append(
            f"Block {first + block} head {head}{value}: largest in row {row}, column {column}"
            f" ({where}) with {number_words(float(each.max()))}{share}."
        )
    if most is not None and most < len(order):
        lines.append(f"{len(order) - most} more heads are not told here.")
    return "\n".join(lines)


def head_scale(maps: Float[np.ndarray, "l h gh gw"], unit: str) -> Scale:
    """Choose the one scale of all maps: from zero to the 99th percentile, signed if any value is below zero."""
    flat = maps.reshape(-1, maps.shape[-1])
    return scale_over([flat], unit, bool((maps < 0).any()), "robust")


def head_order(values: Float[np.ndarray, "l h"]) -> list[tuple[int, int]]:
    """Order heads by their numbers, largest first; ties stay in the order of blocks, and NaN comes last."""
    flat = np.where(np.isnan(values), -np.inf, values).ravel()
    return [(int(place) // values.shape[1], int(place) % values.shape[1]) for place in np.argsort(-flat, kind="stable")]


def chosen(numbers: Mapping[str, HeadNumber] | None, by: str) -> HeadNumber:
    """Give the number of that name."""
    if numbers is None or by not in numbers:
        known = tuple(numbers or ())
        raise UnknownNameError(
            f"by={by!r} is unknown. {near_matches(by, known)}".strip(), f"Use one of {', '.join(known) or 'none'}."
        )
    return numbers[by]


def _name_axes(axes: Axes, blocks: int, heads: int, first: int, step: tuple[int, int], corner: tuple[int, int]) -> None:
    """Number blocks along the top and heads along the side."""
    axes.set_xticks([column * step[1] + corner[1] / 2 for column in range(blocks)])
    axes.set_xticklabels([str(first + column) for column in range(blocks)], fontsize=TEXT - 1)
    axes.set_yticks([row * step[0] + corner[0] / 2 for row in range(heads)])
    axes.set_yticklabels([str(row) for row in range(heads)], fontsize=TEXT - 1)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Block (depth runs to the right)", fontsize=TEXT)
    axes.set_ylabel("Head", fontsize=TEXT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
