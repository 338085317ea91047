"""Sentences below a table: how it was tested, what was left out and why, and what is marked as best."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from vitreous.bench._section import Cell
from vitreous.bench.row import Row
from vitreous.bench.statistics import FEWEST, Comparison, Image, Ranking
from vitreous.metrics._metric import Metric

MOST = 8  # names or reasons in a row
TESTED = (
    "Tests are two-sided Wilcoxon signed-rank tests on the images that both methods have; differences of zero are "
    "ranked and then left out (Pratt)."
)
TESTED_POOLED = (
    "The value belongs to all images together and single images have none, so there are no ranks. Tests are not "
    "Wilcoxon's but paired bootstraps: images are resampled, and the difference is held against its standard error. "
    "With fewer than about 50 images they find differences too easily."
)


def counts(row: Row) -> bool:
    """Whether the row has a value; an infinite one counts as undefined, as there is no mean of it."""
    return row.status == "ok" and all(math.isfinite(part) for part in row.parts)


def notes_on(
    cells: Sequence[Cell],
    rows: Sequence[Row],
    metric: Metric,
    control: str,
    pairs: Sequence[Comparison],
    ranking: Ranking,
    rivals: Sequence[str] | None,
) -> Iterator[str]:
    """Say what the numbers of one metric's table are, and what they are not.

    cells    in the order of the table, the best first
    rows     all of this metric, those without a value too: their reasons are told
    pairs    all comparisons of methods; those without a p-value are no tests
    ranking  of the methods that have a value
    rivals   the methods that cannot be told apart from the first; None if there is nothing to compare

    Each note is one sentence or a few, and stands by itself, as formats put them in a list or a paragraph.
    """
    if not cells:
        yield "There are no rows of this metric."
        return
    yield from _left_out(rows)
    if len({frozenset(_images(rows, cell.method)) for cell in cells}) > 1:
        yield "Not all methods have a value on the same images: values are over each one's own, tests over common ones."
    kind = "percentile" if metric.pool else "BCa"
    if metric.tuned:
        yield "A threshold is chosen on the images that are judged: values and intervals are too high for few images."
    yield f"Intervals are 95 % bootstrap intervals ({kind}) over images."
    for reason in sorted({cell.note for cell in cells if cell.note}):
        without = [cell.method for cell in cells if cell.note == reason]
        yield f"No interval, {reason}: {_listed(without, len(cells))}."
    if metric.better == "neither":
        yield "Neither direction is better: nothing is tested or ranked, and no value is marked as best."
        return
    yield TESTED_POOLED if metric.pool else TESTED
    yield from _compared(cells, control, pairs)
    if ranking.images:
        yield _ranked(ranking)
    yield _marked(cells, rivals)


def _images(rows: Sequence[Row], method: str) -> Iterator[Image]:
    """Go through the images on which the method has a value."""
    return ((row.sample, row.image_digest) for row in rows if row.method == method and counts(row))


def _left_out(rows: Sequence[Row]) -> Iterator[str]:
    """Say for each reason on how many images of which methods it left out a value.

    The most frequent come first, and only so many are told: each error of a failed run may have words of its own.
    """
    methods = sorted({row.method for row in rows})
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        if not counts(row):
            why = ("undefined", "infinite or not a number") if row.status == "ok" else (row.status, row.reason)
            reasons.setdefault(why, Counter())[row.method] += 1
    images = {(row.sample, row.image_digest) for row in rows}
    held = Counter(row.method for row in rows)
    short = {method: len(images) - held[method] for method in methods if held[method] < len(images)}
    if short:
        each = ", ".join(f"{method} {number}" for method, number in sorted(short.items())[:MOST])
        yield f"Not evaluated on all {_many(len(images), 'image')}; rows that are missing: {each}."
    elif not reasons:
        yield "No image was left out."
    common = sorted(reasons.items(), key=lambda item: (-item[1].total(), item[0]))
    for (status, reason), by_method in common[:MOST]:
        said = f"{status} ({reason})" if reason else status
        if len(set(by_method.values())) == 1:
            left = _many(by_method[min(by_method)], "image")
            yield f"Left out as {said}: {left} of {_listed(sorted(by_method), len(methods))}."
        else:
            each = ", ".join(f"{method} {number}" for method, number in sorted(by_method.items())[:MOST])
            rest = f" and {len(by_method) - MOST} more methods" if len(by_method) > MOST else ""
            yield f"Left out as {said}, images of each method: {each}{rest}."
    if len(common) > MOST:
        yield f"Left out for {len(common) - MOST} more reasons: see the counts."


def _compared(cells: Sequence[Cell], control: str, pairs: Sequence[Comparison]) -> Iterator[str]:
    """Say how many tests each of the two corrections is for, or that there is none."""
    tests = sum(cell.control is not None and not math.isnan(cell.control.p) for cell in cells)
    among = sum(not math.isnan(each.p) for each in pairs)
    if control not in {cell.method for cell in cells if cell.n}:
        yield f"The control {control!r} has no value here: nothing is tested against it."
    elif tests:
        yield f"p against {control!r} is corrected by Holm's procedure for {_many(tests, 'test')} of this metric."
    elif pairs:
        yield f"Too few images for a test against {control!r}."
    if among:
        yield f"Which methods differ from one another is corrected by Holm's procedure for {_many(among, 'pair')}."


def _ranked(ranking: Ranking) -> str:
    """Say on how many images ranks are, and what they show by themselves: Friedman's test and Nemenyi's."""
    said = (
        f"Ranks, 1 the best, are averages over the {_many(ranking.images, 'image')} that all methods with a value have."
    )
    if ranking.images < FEWEST:
        return f"{said} Fewer than {FEWEST} are too few for Friedman's test."
    if not math.isnan(ranking.p):
        shown = "p < 0.001" if ranking.p < 0.001 else f"p = {ranking.p:.3f}"
        said = f"{said} That all methods are alike has {shown} (Friedman)."
    if not math.isnan(ranking.critical):
        said = f"{said} Ranks further apart than {ranking.critical:.2f} differ (Nemenyi, 5 %)."
    return said


def _marked(cells: Sequence[Cell], rivals: Sequence[str] | None) -> str:
    """Say which value is marked as best, or why none is: a best one that could be chance is not."""
    if rivals is None:
        return "No value is marked as best: there is no other to compare with."
    if rivals:
        others = _listed(rivals, len(cells))
        return f"No value is marked as best: {cells[0].method} is not shown to be better than {others}."
    return f"Marked as best: {cells[0].method} differs significantly from each other method."


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _listed(methods: Sequence[str], of: int) -> str:
    """Name some methods, or say that it is all there are."""
    if len(methods) == of and of > 1:
        return "all methods"
    rest = f" and {len(methods) - MOST} more" if len(methods) > MOST else ""
    return ", ".join(methods[:MOST]) + rest
