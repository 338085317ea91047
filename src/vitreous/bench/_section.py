"""What a table is made of: cells of one method and one metric, sections of one metric."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from vitreous.bench.statistics import Comparison, Ranking
from vitreous.metrics._metric import Better

Record: TypeAlias = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class Cell:
    """One method on one metric.

    value                        of the data set: mean, or pooled; NaN if no image has one
    low, high, note              95 % interval; NaN where there is none, and why
    n                            images with a value, over which all other numbers are taken
    excluded, undefined, failed  images without one: see `Row`
    control                      the test against the control; None for the control itself and where there is none
    rank                         average over the images that all methods have, 1 being best; NaN if not ranked
    seconds, forwards, backwards  means over images
    best                         whether it is the best and differs significantly from all others
    """

    method: str
    value: float
    low: float
    high: float
    note: str
    n: int
    excluded: int
    undefined: int
    failed: int
    control: Comparison | None
    rank: float
    seconds: float
    forwards: float
    backwards: float
    best: bool


@dataclass(frozen=True)
class Section:
    """One metric: its cells, best first, and what has to be said about them.

    metric       label: name, or name with parameters
    comparisons  of all pairs of methods, corrected together; empty for metrics without a direction
    ranking      of all methods that have a value; without ranks for pooled metrics and those without a direction
    notes        sentences: how it was tested, what was left out and why
    """

    metric: str
    title: str
    unit: str
    better: Better
    pooled: bool
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...]
    ranking: Ranking
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """All metrics of an evaluation. `facts` are what a reader has to know of it, by name: data, model, seeds."""

    sections: tuple[Section, ...]
    control: str
    facts: Mapping[str, str]

    def records(self) -> list[Record]:
        """Give one flat record for each metric and method, with full precision; NaN where there is no number."""
        return [_record(section, cell, self.control) for section in self.sections for cell in section.cells]


def _record(section: Section, cell: Cell, control: str) -> Record:
    test = cell.control
    winner = test.winner(section.better) if test else ""
    return {
        "metric": section.metric,
        "unit": section.unit,
        "better": section.better,
        "method": cell.method,
        "is_control": cell.method == control,
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "no_interval": cell.note,
        "n": cell.n,
        "excluded": cell.excluded,
        "undefined": cell.undefined,
        "failed": cell.failed,
        "difference": test.difference if test else math.nan,
        "p": test.p if test else math.nan,
        "p_holm": test.corrected if test else math.nan,
        "against_control": "" if not winner else "better" if winner == cell.method else "worse",
        "common_images": test.images if test else 0,
        "rank": cell.rank,
        "ranked_images": section.ranking.images,
        "seconds": cell.seconds,
        "forwards": cell.forwards,
        "backwards": cell.backwards,
        "best": cell.best,
    }
