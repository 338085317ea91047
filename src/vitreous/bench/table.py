"""Tables: for each metric, what each method reached, how sure that is, what was left out and what it took.

    table = summarise(rows, {"srg": METRICS["srg"]}, facts={"Model": "deit_tiny_patch16_224"})
    FORMATS["html"](table)

What a method reached is one number for each image, or one for all images of a metric that pools. Every table says of
how many images, and which were left out and why; a value without that cannot be compared with another.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np

from vitreous.bench._html import html
from vitreous.bench._notes import counts, notes_on
from vitreous.bench._section import Cell, Section, Table
from vitreous.bench._text import comma_separated, json_text, latex, markdown, plain
from vitreous.bench.row import Row
from vitreous.bench.statistics import (
    FEWEST,
    FEWEST_TUNED,
    Comparison,
    Image,
    Measured,
    Ranking,
    compare,
    corrected_together,
    interval,
    rank_methods,
)
from vitreous.core.errors import InputError
from vitreous.core.seed import image_seed
from vitreous.metrics._metric import Better, Metric

FORMATS: dict[str, Callable[[Table], str]] = {
    "text": plain,
    "markdown": markdown,
    "latex": latex,
    "html": html,
    "csv": comma_separated,
    "json": json_text,
}
"""What writes a table in which form."""


def summarise(
    rows: Iterable[Row],
    metrics_by_label: Mapping[str, Metric],
    control: str = "random",
    seed: int = 0,
    facts: Mapping[str, str] | None = None,
) -> Table:
    """Make the table of an evaluation's rows, in any order: one section for each metric, in the order of the mapping.

    metrics_by_label  the metric behind each label that rows carry
    control           label of the method against which the others are tested
    seed              of the bootstraps; the same rows and seed give the same table
    facts             what else a reader has to know; the seeds are added

    Each metric's tests against the control are one family for Holm's correction, and those of all pairs another;
    nothing is corrected for the number of metrics. Raises InputError for a metric that the mapping lacks, for two rows
    of the same image, method and metric, and for rows whose parts do not fit together.
    """
    ordered = sorted(rows, key=lambda row: (row.metric, row.method, row.sample, row.image_digest))
    _check(ordered, metrics_by_label)
    sections = tuple(
        _section(label, metric, [row for row in ordered if row.metric == label], control, seed)
        for label, metric in metrics_by_label.items()
    )
    seeds = ", ".join(str(number) for number in sorted({row.seed for row in ordered})) or "none"
    return Table(sections, control, {**(facts or {}), "Seed of the evaluation": seeds, "Seed of resampling": str(seed)})


def _check(ordered: Sequence[Row], metrics: Mapping[str, Metric]) -> None:
    """Refuse what no honest number can be made of; rows of the same image stand next to one another."""
    for row in ordered:
        if row.metric not in metrics:
            raise InputError(f"There are rows of the metric {row.metric!r}.", f"Expected: {', '.join(metrics)}.")
    for one, next_one in pairwise(ordered):
        if _key(one) == _key(next_one):
            raise InputError(
                f"There are two rows of {one.metric!r} for {one.method!r} on {one.sample!r}.",
                "Give one row for each image, method and metric, such as those of one seed.",
            )
    widths = {(row.metric, len(row.parts)) for row in ordered if row.status == "ok"}
    for label, width in sorted(widths):
        pooled = metrics[label].pool is not None
        if width == 0 or (width > 1 and not pooled) or sum(each == label for each, _ in widths) > 1:
            raise InputError(
                f"Rows of {label!r} have {width} parts.",
                "Expected as many for each image, one or more." if pooled else "Expected one, as it does not pool.",
            )


def _key(row: Row) -> tuple[str, str, str, str]:
    return row.metric, row.method, row.sample, row.image_digest


def _section(label: str, metric: Metric, rows: Sequence[Row], control: str, seed: int) -> Section:
    """Make the section of one metric from its rows.

    The control is put last of the methods, so that it is the second of each pair that it is in. Methods share the
    draws of images, as the seed is of the metric alone: their intervals err together, and differences less.
    """
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    measured: dict[str, dict[Image, tuple[float, ...]]] = {
        method: {(row.sample, row.image_digest): row.parts for row in own if counts(row)}
        for method, own in by_method.items()
    }
    drawn = image_seed(seed, "bootstrap", label)
    valued = sorted((method for method in measured if measured[method]), key=lambda method: method == control)
    pairs = compare(measured, combinations(valued, 2) if metric.better != "neither" else (), metric.pool, drawn)
    against = {each.first: each for each in corrected_together([each for each in pairs if each.second == control])}
    ranking = _rank(valued, measured, metric)
    ranks = dict(zip(ranking.methods, ranking.ranks, strict=True))
    cells = sorted(
        (
            _cell(by_method[method], measured[method], metric, drawn, against.get(method), ranks.get(method, math.nan))
            for method in by_method
        ),
        key=lambda cell: _order(cell, metric.better),
    )
    rivals = _rivals(cells, pairs, metric.better)
    if rivals == []:
        cells[0] = replace(cells[0], best=True)
    return Section(
        metric=label,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        pooled=metric.pool is not None,
        cells=tuple(cells),
        comparisons=tuple(pairs),
        ranking=ranking,
        notes=tuple(notes_on(cells, rows, metric, control, pairs, ranking, rivals)),
    )


def _cell(
    rows: Sequence[Row],
    values: Mapping[Image, tuple[float, ...]],
    metric: Metric,
    seed: int,
    against: Comparison | None,
    rank: float,
) -> Cell:
    """Make the cell of one method.

    rows    all of this method and metric, those without a value too
    values  the parts of those that have one, by image
    seed    of the bootstrap
    """
    parts = np.array(list(values.values()) or np.zeros((0, 1)), dtype=np.float64)
    found = interval(parts, metric.pool, seed, FEWEST_TUNED if metric.tuned else FEWEST)
    counted = [row for row in rows if counts(row)]
    statuses = Counter("undefined" if row.status == "ok" else row.status for row in rows if not counts(row))
    return Cell(
        method=rows[0].method,
        value=metric.value(parts if metric.pool else parts[:, 0]) if len(parts) else math.nan,
        low=found.low,
        high=found.high,
        note=found.note,
        n=len(counted),
        excluded=statuses["excluded"],
        undefined=statuses["undefined"],
        failed=statuses["failed"],
        control=against,
        rank=rank,
        seconds=_mean([row.seconds for row in counted]),
        forwards=_mean([row.forwards for row in counted]),
        backwards=_mean([row.backwards for row in counted]),
        best=False,
    )


def _mean(numbers: Sequence[int] | Sequence[float]) -> float:
    """Average; NaN for none. The sum is exact, so that the order does not matter."""
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _rank(methods: Sequence[str], measured: Measured, metric: Metric) -> Ranking:
    """Rank on the images that all methods with any value have; not at all where images have no value of their own."""
    everywhere = [frozenset(measured[method]) for method in methods]
    shared = sorted(frozenset.intersection(*everywhere)) if everywhere else []
    if metric.pool is not None or not shared:
        return Ranking(tuple(methods), (math.nan,) * len(methods), 0, math.nan, math.nan)
    values = np.array([[measured[method][image][0] for method in methods] for image in shared], dtype=np.float64)
    return rank_methods(methods, values, metric.better)


def _order(cell: Cell, better: Better) -> tuple[bool, float, str]:
    """Best first, those without a value last, and where there is no better one, by name."""
    size = {"higher": -cell.value, "lower": cell.value, "neither": 0.0}[better]
    return math.isnan(cell.value), 0.0 if math.isnan(cell.value) else size, cell.method


def _rivals(cells: Sequence[Cell], pairs: Sequence[Comparison], better: Better) -> list[str] | None:
    """Name the methods that the first is not shown to be better than; None if there is nothing to compare."""
    valued = [cell.method for cell in cells if not math.isnan(cell.value)]
    if better == "neither" or len(valued) < 2:
        return None
    beaten = {name for each in pairs if each.winner(better) == valued[0] for name in (each.first, each.second)}
    return [method for method in valued[1:] if method not in beaten]
