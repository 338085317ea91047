"""Critical differences: the average ranks of methods on one metric, and which of them differ."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitreous.bench.statistics import Ranking
from vitreous.core.errors import InputError
from vitreous.show.words import safe_text

BETTER, WORSE, ALIKE = "#0072B2", "#D55E00", "#767676"  # Okabe & Ito's blue and vermilion, and grey
ROW, AXIS, LETTER = 0.24, 5.0, 0.095  # inches: of a row, of the axis at least, of a letter at most, about
LONGEST = 60  # letters of a name


def draw_critical_difference(ranking: Ranking, metric: str, control: str = "random") -> Figure:
    """Draw each method's average rank, best on top, with a bar half a critical difference long to either side.

    ranking  of one metric, from `vitreous.bench.statistics.rank_methods` or a section of a table
    metric   label of the metric, for the title
    control  the method that others are held against, if it is there: blue triangles that point to the left are better,
             orange ones that point to the right worse, grey dots are not told apart, and a band shows its bar

    Two methods differ by Nemenyi's test at 5 % if and only if their bars do not overlap. Demšar (2006) puts methods on
    one line and joins those that do not differ; with bars the same is said by as many rows as there are methods, and
    no name covers another. Without a critical difference, for lack of images, there are no bars, and the title says so.

    Gives a figure that stands by itself, outside pyplot: `figure.savefig("ranks.pdf")` writes PNG, SVG or PDF. Raises
    InputError for a ranking without ranks, such as that of a pooled metric.
    """
    if not ranking.ranks or any(math.isnan(rank) for rank in ranking.ranks):
        raise InputError(
            f"The ranking of {metric!r} has no ranks.",
            "Give one of a metric with a direction and a value for each image, on images that all methods have.",
        )
    order = sorted(range(len(ranking.ranks)), key=lambda place: (ranking.ranks[place], ranking.methods[place]))
    names = [safe_text(ranking.methods[place], LONGEST).replace("$", r"\$") for place in order]
    ranks = [ranking.ranks[place] for place in order]
    held = ranking.methods.index(control) if control in ranking.methods else None
    against = None if held is None else ranking.ranks[held]
    wide = max(8.5, AXIS + LETTER * max(len(name) for name in names))
    figure = Figure(figsize=(wide, 1.5 + ROW * (len(names) + 1)), layout="constrained")
    axes = figure.add_subplot()
    _draw_rows(axes, ranks, against, ranking.critical)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    for place, label in zip(order, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if place == held else "normal")
    _frame(axes, len(names), ranks, ranking.critical)
    # Above the whole figure, not the axes, which long names make narrow.
    figure.suptitle(_title(ranking, metric, control if held is not None else None), fontsize=9, x=0.01, ha="left")
    return figure


def _draw_rows(axes: Axes, ranks: Sequence[float], against: float | None, critical: float) -> None:
    """Draw bars and marks, and the control's band behind them."""
    half = 0.0 if math.isnan(critical) else critical / 2
    if against is not None and half:
        axes.axvspan(against - half, against + half, color=ALIKE, alpha=0.15, linewidth=0)
    for row, rank in enumerate(ranks):
        told = against is not None and not math.isnan(critical) and abs(rank - against) > critical
        better = told and against is not None and rank < against
        colour, marker = (BETTER, "<") if better else (WORSE, ">") if told else (ALIKE, "o")
        if half:
            axes.plot([rank - half, rank + half], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([rank], [row], color=colour, marker=marker, markersize=6, linestyle="none")


def _frame(axes: Axes, count: int, ranks: Sequence[float], critical: float) -> None:
    """Set limits, ticks and lines of the axes: all ranks that there can be, and each bar whole."""
    half = 0.0 if math.isnan(critical) else critical / 2
    low, high = min(1.0, ranks[0] - half), max(float(count), ranks[-1] + half)
    room = 0.02 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(count - 0.4, -0.6)  # the best on top
    axes.set_xlabel("Average rank (1 is best)", fontsize=9)
    axes.tick_params(axis="x", labelsize=9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _title(ranking: Ranking, metric: str, control: str | None) -> str:
    """Say of what the ranks are and how to read them, so that the picture can stand without its text."""
    images = f"{ranking.images} image{'s' if ranking.images != 1 else ''}"
    lines = [f"{safe_text(metric, LONGEST)}: average ranks over {images}"]
    if math.isnan(ranking.critical):
        lines.append("Too few images or methods for a critical difference: which methods differ is not known.")
    else:
        apart = f"{ranking.critical:.2f} ranks apart"
        lines.append(f"Two methods differ (Nemenyi, 5 %) if their bars do not overlap: more than {apart}")
    if control is not None and not math.isnan(ranking.critical):
        lines.append(
            f"Grey band: {safe_text(control, LONGEST)}. Than that: \u25c0 better   \u25b6 worse   \u25cf not told apart"
        )
    return "\n".join(lines).replace("$", r"\$")
