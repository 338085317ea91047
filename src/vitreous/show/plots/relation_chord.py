"""Relation chord: objects around a circle, joined by ribbons as wide as the attention that one gives the other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Wedge
from matplotlib.path import Path

from vitreous.core.errors import InputError
from vitreous.show.plots._canvas import INK, STYLES, TEXT, number_words, plain, sheet
from vitreous.show.plots.numbers import Relations
from vitreous.show.plots.relation_matrix import mean_mass, relation_text
from vitreous.show.words import percent

GAP = 0.08  # radians between neighbouring objects
SHORT = 0.86  # radius at which a ribbon ends at the object that is attended to: short of its arc


@dataclass(frozen=True)
class Chord:
    """One ribbon: from one object's stretch of the circle to another's, in radians, and the mass it carries."""

    source: int
    target: int
    start: tuple[float, float]
    end: tuple[float, float]
    mass: float


def draw_relation_chord(
    relations: Relations, block: int | None = None, first: int = 0, title: str = "Attention between objects"
) -> Figure:
    """Draw one block, or the mean over blocks, as a circle of objects with ribbons between them.

    block  index among the blocks given, from 0; the mean if None

    How to read it: a ribbon begins on the arc of the object that attends, has its colour, and stops short of the arc of
    the object that is attended to. Width is mass, on one scale for the whole circle. What an object gives to itself is
    not drawn, and stands beside its name. The same numbers are in the matrix, which is easier to read exactly.

    Raises InputError for masses below zero, which have no width.
    """
    mass = mean_mass(relations) if block is None else relations.mass[block]
    chords = chords_of(mass)
    which = "mean over blocks" if block is None else f"block {first + block}"
    reading = (
        f"{relations.unit[:1].upper()}{relations.unit[1:]}, {which}. A ribbon begins on the arc of the object that"
        f" attends and stops short of the one attended to; its width is the mass.{_widest(relations, chords)}"
    )
    figure = sheet(7.5, 6.6, title, reading)
    axes = figure.subplots()
    for chord in sorted(chords, key=lambda each: -each.mass):
        axes.add_patch(_ribbon(chord))
    _arcs(axes, relations, mass, chords)
    axes.set_xlim(-1.75, 1.75)
    axes.set_ylim(-1.35, 1.35)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure


def relation_chord_text(relations: Relations, first: int = 0, told: int = 6) -> str:
    """Say the same as the matrix does in words, since both show the same numbers."""
    return relation_text(relations, first, told)


def chords_of(mass: Float[np.ndarray, "k k"]) -> list[Chord]:
    """Lay the ribbons around the circle: each object has a stretch for each ribbon that begins or ends there.

    A stretch is as long as its ribbon's mass, by one factor for the whole circle. NaN counts as no relation.
    """
    given = np.where(np.isfinite(mass), mass, 0.0)
    if (given < 0).any():
        raise InputError("A relation is below zero.", "Draw the matrix, which has a signed scale.")
    np.fill_diagonal(given, 0.0)
    objects = len(given)
    total = 2 * float(given.sum())
    if not total:
        return []
    factor = (2 * np.pi - GAP * objects) / total
    stretches: dict[tuple[int, int, bool], tuple[float, float]] = {}
    at = 0.0
    for place in range(objects):
        others = [(place - step) % objects for step in range(1, objects)]  # in an order that crosses ribbons least
        for other in others:
            for leaves in (True, False):
                length = factor * float(given[place, other] if leaves else given[other, place])
                stretches[place, other, leaves] = (at, at + length)
                at += length
        at += GAP
    return [
        Chord(
            int(source),
            int(target),
            stretches[int(source), int(target), True],
            stretches[int(target), int(source), False],
            float(given[source, target]),
        )
        for source, target in np.argwhere(given > 0)
    ]


def _widest(relations: Relations, chords: list[Chord]) -> str:
    """Say what the widest ribbon carries: the scale by which the others are read."""
    if not chords:
        return ""
    most = max(chords, key=lambda each: each.mass)
    names = relations.names[most.source], relations.names[most.target]
    return f" The widest, from {names[0]} to {names[1]}, is {number_words(most.mass)}."


def _point(angle: float, radius: float = 1.0) -> tuple[float, float]:
    """Give a point of the circle: angles run clockwise from the top."""
    return radius * float(np.sin(angle)), radius * float(np.cos(angle))


def _ribbon(chord: Chord) -> PathPatch:
    """Draw one ribbon through the middle of the circle, its colour and edge those of the object that attends."""
    colour = STYLES[chord.source % len(STYLES)][0]
    along = np.linspace(*chord.start, 12)
    back = np.linspace(*chord.end, 12)
    points = [_point(float(angle), 0.97) for angle in along]
    codes = [Path.MOVETO] + [Path.LINETO] * 11
    points += [(0.0, 0.0), _point(float(back[0]), SHORT)]
    codes += [Path.CURVE3, Path.CURVE3]
    points += [_point(float(angle), SHORT) for angle in back[1:]]
    codes += [Path.LINETO] * 11
    points += [(0.0, 0.0), points[0]]
    codes += [Path.CURVE3, Path.CURVE3]
    return PathPatch(Path(points, codes), facecolor=colour, edgecolor=colour, alpha=0.55, linewidth=0.6)


def _arcs(axes: Axes, relations: Relations, mass: Float[np.ndarray, "k k"], chords: list[Chord]) -> None:
    """Draw each object's arc and its name; objects without any ribbon have no arc and are named below."""
    silent = []
    for place, name in enumerate(relations.names):
        ends = [chord.start for chord in chords if chord.source == place]
        ends += [chord.end for chord in chords if chord.target == place]
        own = float(mass[place, place])
        share = percent(own) if "share" in relations.unit and np.isfinite(own) else number_words(own)
        words = f"{plain(name, 24)}\n(itself: {share})"
        if not ends:
            silent.append(plain(name, 24))
            continue
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        colour = STYLES[place % len(STYLES)][0]
        axes.add_patch(Wedge((0, 0), 1.06, 90 - np.degrees(high), 90 - np.degrees(low), width=0.07, color=colour))
        x, y = _point((low + high) / 2, 1.12)
        align = "center" if abs(x) < 0.15 else "left" if x > 0 else "right"
        upright = "bottom" if y > 0.9 else "top" if y < -0.9 else "center"
        axes.text(x, y, words, ha=align, va=upright, fontsize=TEXT - 1, color=INK)
    if silent:
        axes.text(0, -1.33, f"Without relations: {', '.join(silent)}", ha="center", fontsize=TEXT - 1)
