"""What all figures share: a sheet outside pyplot, safe names, colour bars from `show.colour`, words for places."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.show.colour import Scale
from vitreous.show.legend import PURE, bar_colours
from vitreous.show.paint import Coat
from vitreous.show.words import format_value, safe_text

INK, SOFT, FAINT = "#141414", "#555555", "#d8d8d8"
# Okabe & Ito's colours that stand out on white, each with a dash and a mark of its own: none is told by colour alone.
STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#007A5A", "-.", "^"),
    ("#9C4A80", ":", "D"),
    ("#141414", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#7A5C00", (0, (1, 1)), "P"),
)
TEXT = 9  # points


def sheet(wide: float, high: float, title: str, reading: str = "") -> Figure:
    """Make an empty figure of so many inches, with a title and a line that says how to read it.

    The lines are broken to fit the width, since a title that runs out of the picture is no title.
    """
    figure = Figure(figsize=(wide, high), layout="constrained")
    letters = max(24, int(wide * 72 / (TEXT * 0.56)))
    lines = [*broken(title, letters), *broken(reading, letters)]
    figure.suptitle("\n".join(lines), fontsize=TEXT, x=0.01, ha="left", color=INK)
    return figure


def broken(text: str, letters: int) -> list[str]:
    """Break a text into lines of at most so many letters, safe for drawing; none if it is empty."""
    lines: list[str] = []
    for word in safe_text(text, 2000).split():
        if lines and len(lines[-1]) + 1 + len(word) <= letters:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [line.replace("$", r"\$") for line in lines]


def plain(text: str, most: int = 60) -> str:
    """Make a name safe for drawing: one line, cut if long, dollars no mathematics."""
    return safe_text(text, most).replace("$", r"\$")


def colour_bar(axes: Axes, scale: Scale, coat: Coat = PURE, said: str = "") -> None:
    """Turn axes into the legend of a scale: its colours as they look, its ends and middle in numbers, its unit."""
    axes.imshow(np.asarray(bar_colours(scale, 256, 2, coat)), aspect="auto", extent=(scale.low, scale.high, 0, 1))
    ticks = [scale.low, (scale.low + scale.high) / 2, scale.high]
    beyond = scale.clipped > 0
    words = [format_value(tick) for tick in ticks]
    words[-1] = ("≥ " if beyond else "") + words[-1]
    words[0] = ("≤ " if beyond and scale.diverging else "") + words[0]
    axes.set_xticks(ticks, words, fontsize=TEXT - 1)
    axes.set_yticks([])
    axes.set_xlabel("\n".join(broken(f"{scale.unit}. {said}".strip(" ."), 100)), fontsize=TEXT - 1)


def line_frame(axes: Axes, label: str) -> None:
    """Give axes of a line plot the look of all: a label, faint horizontal lines, no box."""
    axes.set_ylabel(label, fontsize=TEXT)
    axes.tick_params(labelsize=TEXT - 1)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def block_ticks(axes: Axes, count: int, first: int) -> None:
    """Number blocks along the horizontal axis, which has them at 0, 1, 2 and so on; every second if many."""
    step = 1 + (count - 1) // 24
    places = range(0, count, step)
    axes.set_xticks(list(places), [str(first + place) for place in places], fontsize=TEXT - 1)


def ink_on(colour: Sequence[float] | UInt8[np.ndarray, " c"]) -> str:
    """Choose black or white for text on a colour given from 0 to 255, whichever has the higher contrast."""
    channels = np.asarray(colour[:3], np.float64) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "#000000" if float(linear @ np.array([0.2126, 0.7152, 0.0722])) > 0.179 else "#ffffff"


def place_words(row: float, column: float, grid: tuple[int, int]) -> str:
    """Say where a point of the grid lies, in thirds: "top left", "middle", "bottom right".

    >>> place_words(0.5, 0.5, (14, 14)), place_words(7, 7, (14, 14)), place_words(13, 7, (14, 14))
    ('top left', 'centre', 'bottom middle')
    """
    down = ("top", "middle", "bottom")[min(2, int(3 * row / grid[0]))]
    across = ("left", "middle", "right")[min(2, int(3 * column / grid[1]))]
    if down == across == "middle":
        return "centre"
    return f"{down} {across}"


def number_words(value: float) -> str:
    """Write a number of a figure; what is not a number is "not defined"."""
    return format_value(value) if np.isfinite(value) else "not defined"
