"""Factor chart: how well each head tells each factor of a scene, and whether that is more than chance."""

import numpy as np
from matplotlib.figure import Figure

from vitreous.show.colour import Scale, colourise
from vitreous.show.plots._canvas import TEXT, broken, colour_bar, ink_on, number_words, plain, sheet
from vitreous.show.plots.numbers import FactorScores
from vitreous.show.words import format_value

ABOVE = "\N{BLACK CIRCLE}"


def draw_factor_chart(scores: FactorScores, most: int = 36, title: str = "What each head tells apart") -> Figure:
    """Draw one row for each head and one column for each factor, every score with its value, on one scale from 0 to 1.

    most  how many heads are drawn: those with the largest score that is above the control, best first; how many are
          left out is in the title

    How to read it: a dot before a value means that the score is above what shuffled labels give. A value without a dot
    is not told apart from chance, however large it looks. That a factor can be read from a head does not mean that the
    model uses it.
    """
    order = factor_order(scores)
    shown = order[:most]
    left = f" The best {most} heads of {len(order)} are shown." if len(order) > most else ""
    reading = f"{ABOVE} before a value: above the shuffled control.{left}"
    figure = sheet(max(7.5, 1.15 * len(scores.factors) + 2.5), 0.22 * len(shown) + 2.4, title, reading)
    axes, bar = figure.subplots(2, 1, height_ratios=[max(3, len(shown)), 0.8])
    scale = factor_scale(scores)
    values = scores.score[shown].astype(np.float64)
    colours = colourise(values, scale)
    colours[np.isnan(values)] = 255
    axes.imshow(colours, aspect="auto", interpolation="none")
    for (row, column), value in np.ndenumerate(values):
        dot = f"{ABOVE} " if scores.above[shown[row], column] else ""
        ink = ink_on(colours[row, column])
        axes.text(column, row, f"{dot}{_short(float(value))}", ha="center", va="center", fontsize=TEXT - 2, color=ink)
    names = []
    for place, factor in enumerate(scores.factors):
        chance = "" if scores.chance is None else f"\nchance {format_value(float(scores.chance[place]))}"
        names.append("\n".join(broken(factor, 16)) + chance)
    axes.set_xticks(range(len(names)), names, fontsize=TEXT - 1)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(shown)), [plain(scores.heads[place], 30) for place in shown], fontsize=TEXT - 1)
    axes.tick_params(length=0)
    colour_bar(bar, scale)
    return figure


def factor_chart_text(scores: FactorScores, told: int = 3) -> str:
    """Say for each factor how many heads are above the control, and which are best, with their scores.

    told  how many heads are named for each factor
    """
    lines = [f"Scores of {len(scores.heads)} heads, in {scores.unit}: {scores.meaning}"]
    for place, factor in enumerate(scores.factors):
        column = np.where(np.isnan(scores.score[:, place]), -np.inf, scores.score[:, place])
        best = [int(head) for head in np.argsort(-column, kind="stable")[:told]]
        named = [
            f"{scores.heads[head]} {number_words(float(scores.score[head, place]))}"
            f" ({'above' if scores.above[head, place] else 'not above'} the control)"
            for head in best
        ]
        chance = "" if scores.chance is None else f"; chance is {format_value(float(scores.chance[place]))}"
        above = int(scores.above[:, place].sum())
        lines.append(f"{factor}: {above} heads above the control{chance}. Best: {', '.join(named)}.")
    return "\n".join(lines)


def factor_order(scores: FactorScores) -> list[int]:
    """Order heads by their largest score that is above the control, then by their largest score at all."""
    filled = np.where(np.isnan(scores.score), -np.inf, scores.score)
    sure = np.where(scores.above, filled, -np.inf).max(1)
    return [int(place) for place in np.lexsort((-filled.max(1), -sure))]


def factor_scale(scores: FactorScores) -> Scale:
    """Give the scale of every such chart: from 0 to 1, so that charts can be compared."""
    return Scale(0.0, 1.0, scores.unit, "cividis", rule="from 0 to 1 by definition")


def _short(value: float) -> str:
    """Write a score with two decimals, for a cell."""
    return "\N{MULTIPLICATION SIGN}" if np.isnan(value) else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
