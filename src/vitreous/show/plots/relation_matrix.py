"""Relation matrix: how much attention each object gives to each, on average and block by block."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.show.colour import Scale, colourise, scale_over
from vitreous.show.plots._canvas import INK, TEXT, colour_bar, ink_on, number_words, plain, sheet
from vitreous.show.plots.numbers import Relations
from vitreous.show.words import format_value


def draw_relation_matrix(relations: Relations, first: int = 0, title: str = "Attention between objects") -> Figure:
    """Draw the mean over blocks as a large table with its values, and a small one for each block, all on one scale.

    How to read it: the object of the row attends to the object of the column. Large objects get much attention because
    they are large, unless the unit says that this was divided out; and attention from one object to another does not
    mean that the prediction rests on the pair.
    """
    scale = relation_scale(relations)
    blocks, objects = relations.mass.shape[:2]
    columns = min(6, blocks)
    rows = -(-blocks // columns)
    side = max(3.0, 0.55 * objects + 1.4)
    wide = side + 1.5 * columns
    reading = "Rows attend to columns. The large table is the mean over blocks; all tables have one scale."
    tall = max(side + 0.4, 1.5 * rows)
    figure = sheet(max(7.5, wide), tall + 2.0, title, reading)
    upper, lower = figure.subfigures(2, 1, height_ratios=[tall, 1.15], squeeze=False).ravel()
    left, right = upper.subfigures(1, 2, width_ratios=[side, 1.5 * columns], squeeze=False).ravel()
    _large(left.subplots(), relations, scale)
    for place, axes in enumerate(right.subplots(rows, columns, squeeze=False).ravel()):
        if place < blocks:
            _cells(axes, relations.mass[place], scale)
            axes.set_title(f"block {first + place}", fontsize=TEXT - 1)
            axes.set_xticks([])
            axes.set_yticks([])
        else:
            axes.set_axis_off()
    colour_bar(lower.subplots(), scale, said=scale.describe())
    return figure


def relation_text(relations: Relations, first: int = 0, told: int = 6) -> str:
    """Say what the numbers mean, what each object gives itself, and the largest relations, with their values by block.

    told  how many relations between different objects are named
    """
    lines = [f"Attention between {len(relations.names)} objects, in {relations.unit}: {relations.meaning}"]
    mean = mean_mass(relations)
    own = [f"{name} {number_words(float(mean[place, place]))}" for place, name in enumerate(relations.names)]
    lines.append(f"To itself, mean over blocks: {', '.join(own)}.")
    for source, target in strongest_relations(relations)[:told]:
        values = relations.mass[:, source, target]
        by_block = ", ".join(f"{first + block}: {number_words(float(value))}" for block, value in enumerate(values))
        name = f"{relations.names[source]} to {relations.names[target]}"
        lines.append(f"{name}: {format_value(float(mean[source, target]))} on average; by block {by_block}.")
    return "\n".join(lines)


def mean_mass(relations: Relations) -> Float[np.ndarray, "k k"]:
    """Average over blocks; NaN where no block has a value."""
    there = np.isfinite(relations.mass)
    total = np.where(there, relations.mass, 0.0).sum(0)
    return np.asarray(np.where(there.any(0), total / np.maximum(1, there.sum(0)), np.nan))


def strongest_relations(relations: Relations) -> list[tuple[int, int]]:
    """Order all pairs of different objects by their mean, largest first; pairs without a value are left out."""
    mean = mean_mass(relations)
    pairs = [(int(row), int(column)) for row, column in np.argwhere(np.isfinite(mean)) if row != column]
    return sorted(pairs, key=lambda pair: (-mean[pair], pair))


def relation_scale(relations: Relations) -> Scale:
    """Choose one scale for the mean and all blocks."""
    signed = bool((relations.mass < 0).any())
    return scale_over(list(relations.mass), relations.unit, signed)


def _large(axes: Axes, relations: Relations, scale: Scale) -> None:
    """Draw the mean with names and values."""
    mean = mean_mass(relations)
    colours = _cells(axes, mean, scale)
    names = [plain(name, 18) for name in relations.names]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=TEXT - 1)
    axes.set_yticks(range(len(names)), names, fontsize=TEXT - 1)
    axes.set_xlabel("attended to", fontsize=TEXT)
    axes.set_ylabel("attends", fontsize=TEXT)
    axes.set_title("mean over blocks", fontsize=TEXT, loc="left")
    for (row, column), value in np.ndenumerate(mean):
        words = "\N{MULTIPLICATION SIGN}" if np.isnan(value) else f"{value:.2g}".replace("-", "\N{MINUS SIGN}")
        ink = INK if np.isnan(value) else ink_on(colours[row, column])
        if len(names) <= 12:
            axes.text(column, row, words, ha="center", va="center", fontsize=TEXT - 2, color=ink)


def _cells(axes: Axes, values: Float[np.ndarray, "k k"], scale: Scale) -> np.ndarray:
    """Draw coloured cells and give their colours; white where there is no value."""
    colours = colourise(values.astype(np.float64), scale)
    colours[np.isnan(values)] = 255
    axes.imshow(colours, interpolation="none")
    axes.tick_params(length=0)
    return np.asarray(colours)
