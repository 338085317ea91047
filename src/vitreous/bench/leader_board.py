"""Leader board: for each metric what every method reached on every model and data set, and who stands where overall."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from vitreous.bench._section import Cell, Section, Table
from vitreous.bench.benchmark import Outcome
from vitreous.core.errors import InputError
from vitreous.metrics._metric import Better


@dataclass(frozen=True)
class Entry:
    """One metric: its cells by method and by pair of model and data set, methods in the order of their ranks.

    ranks    of each method, averaged over the pairs; NaN for one without a value somewhere, or without a direction
    cells    by method, then by pair; a pair that a method is missing from has no cell
    most     by pair, the most images that any method has a value on
    """

    metric: str
    title: str
    unit: str
    better: Better
    methods: tuple[str, ...]
    ranks: Mapping[str, float]
    cells: Mapping[str, Mapping[str, Cell]]
    most: Mapping[str, int]


@dataclass(frozen=True)
class LeaderBoard:
    """All metrics of a benchmark.

    pairs     names of models and data sets, "MODEL/DATA", that have an evaluation
    overall   methods with their average rank over all metrics with a direction and all pairs, best first; NaN, and
              last, for one that lacks a value where another has one
    counted   how many rankings `overall` averages
    sections  by pair and metric, with everything that is known about it
    problems  pairs that have none, with the reason
    facts     what a reader has to know of each pair, by name
    """

    name: str
    control: str
    pairs: tuple[str, ...]
    entries: tuple[Entry, ...]
    overall: tuple[tuple[str, float], ...]
    counted: int
    sections: Mapping[tuple[str, str], Section]
    problems: Mapping[str, str]
    facts: Mapping[str, Mapping[str, str]]


def leader_board(name: str, outcomes: Sequence[Outcome], seed: int = 0) -> LeaderBoard:
    """Make the board of a benchmark's outcomes.

    seed  of the resampling behind intervals

    Within each pair and metric methods are ranked by their value on the data set, ties sharing the average rank, and
    these ranks are averaged: each pair counts the same, however many images it has, and overall each metric does. An
    average rank depends on which other methods take part, and is no test: those are within each pair. Raises InputError
    if there is no evaluation at all.
    """
    tables = {each.name: each.evaluation.table(seed) for each in outcomes if each.evaluation is not None}
    if not tables:
        reasons = "; ".join(f"{each.name}: {each.problem}" for each in outcomes[:3])
        raise InputError(f"No model was evaluated on any data set. {reasons}", "Mend the first of these.")
    sections = {(pair, section.metric): section for pair, table in tables.items() for section in table.sections}
    entries = tuple(_entry(metric, sections) for metric in dict.fromkeys(metric for _, metric in sections))
    rankings = [found for section in sections.values() if (found := _ranks(section))]
    methods = {cell.method for section in sections.values() for cell in section.cells}
    return LeaderBoard(
        name=name,
        control=next(iter(tables.values())).control,
        pairs=tuple(tables),
        entries=entries,
        overall=tuple(_averages(methods, rankings).items()),
        counted=len(rankings),
        sections=sections,
        problems={each.name: each.problem for each in outcomes if each.evaluation is None},
        facts={pair: _own_facts(table) for pair, table in tables.items()},
    )


def _own_facts(table: Table) -> Mapping[str, str]:
    return dict(table.facts)


def _entry(metric: str, sections: Mapping[tuple[str, str], Section]) -> Entry:
    found = {pair: section for (pair, label), section in sections.items() if label == metric}
    cells: dict[str, dict[str, Cell]] = defaultdict(dict)
    for pair, section in found.items():
        for cell in section.cells:
            cells[cell.method][pair] = cell
    ranks = _averages(cells, [ranking for section in found.values() if (ranking := _ranks(section))])
    first = next(iter(found.values()))
    return Entry(
        metric, first.title, first.unit, first.better, tuple(ranks), ranks, dict(cells),
        {pair: max((cell.n for cell in section.cells), default=0) for pair, section in found.items()},
    )  # fmt: skip


def _ranks(section: Section) -> dict[str, float]:
    """Rank the methods of one pair by one metric; empty without a direction, or with less than two values."""
    valued = [cell for cell in section.cells if not math.isnan(cell.value)]
    if section.better == "neither" or len(valued) < 2:
        return {}
    values = np.array([cell.value for cell in valued])
    largest = float(np.abs(values).max())
    even = values if largest == 0 else np.round(values / largest, 12)  # what differs by rounding alone is a tie
    ranks = rankdata(-even if section.better == "higher" else even)
    return {cell.method: float(rank) for cell, rank in zip(valued, ranks, strict=True)}


def _averages(methods: Iterable[str], rankings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each method's ranks, best first; NaN for one that some ranking lacks, and where there is no ranking."""
    sums = {method: math.fsum(ranking.get(method, math.nan) for ranking in rankings) for method in methods}
    found = {method: ranks / len(rankings) if rankings else math.nan for method, ranks in sums.items()}
    return dict(sorted(found.items(), key=lambda each: (math.isnan(each[1]), each[1], each[0])))
