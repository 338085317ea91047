"""Columns of a table in words and numbers, the same in every format; each format only escapes and frames them."""

import math
from dataclasses import dataclass
from statistics import median

from vitreous.bench._section import Cell, Section

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Column:
    """One column: its heading, and its text for each cell of the section, best method first."""

    heading: str
    texts: tuple[str, ...]


def caption(section: Section) -> str:
    """Name the metric, its meaning, unit and direction."""
    direction = {"higher": "higher is better", "lower": "lower is better", "neither": "no direction is better"}
    return one_line(f"{section.metric}. {section.title}. Unit: {section.unit}; {direction[section.better]}.")


def columns(section: Section, control: str) -> list[Column]:
    """Give the columns, the method first and its value second; tests and ranks only where there are any.

    All values and interval ends of a section have the same number of decimals, so that they stand below one another.
    """
    cells = section.cells
    places = places_of(section)
    found = [
        Column("Method", tuple(one_line(cell.method) for cell in cells)),
        Column("Value", tuple(number(cell.value, places) for cell in cells)),
        Column("95 % interval", tuple(_interval(cell, places) for cell in cells)),
        Column("n", tuple(str(cell.n) for cell in cells)),
        Column("Excluded", tuple(str(cell.excluded) for cell in cells)),
        Column("Undefined", tuple(str(cell.undefined) for cell in cells)),
        Column("Failed", tuple(str(cell.failed) for cell in cells)),
    ]
    if any(cell.control for cell in cells):
        heading = f"p against {one_line(control)} (Holm)"
        found.append(Column(heading, tuple(_against(cell, section, control) for cell in cells)))
    if not all(math.isnan(cell.rank) for cell in cells):
        found.append(Column("Rank", tuple(number(cell.rank, 2) for cell in cells)))
    return [
        *found,
        Column("Seconds per image", tuple(_short(cell.seconds) for cell in cells)),
        Column("Forwards", tuple(_short(cell.forwards) for cell in cells)),
        Column("Backwards", tuple(_short(cell.backwards) for cell in cells)),
    ]


def one_line(text: str) -> str:
    """Make any text printable on one line: what cannot be printed becomes a space."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def number(value: float, places: int) -> str:
    """Write a number with so many decimals and a true minus sign; a dash for NaN.

    One that would be all zeros, or has more than six digits before the point, gets a power of ten.

    >>> number(0.12345, 3), number(0.00001, 3), number(float("nan"), 3)
    ('0.123', '1.0e-05', '\N{EN DASH}')
    """
    if math.isnan(value):
        return NONE
    written = f"{value + 0.0:.{places}f}"  # + 0.0: minus zero has no sign
    if abs(value) >= 1e6 or (value != 0 and float(written) == 0):
        written = f"{value:.1e}"
    return MINUS + written[1:] if written.startswith("-") else written


def places_of(section: Section) -> int:
    """Choose decimals so that half an interval has two digits; three digits of the values where none has one."""
    halves = [(cell.high - cell.low) / 2 for cell in section.cells if not math.isnan(cell.low)]
    values = [abs(cell.value) for cell in section.cells if not math.isnan(cell.value)]
    if halves:
        return _decimals(median(halves), 2)
    return _decimals(max(values, default=0.0), 3)


def _decimals(size: float, digits: int) -> int:
    """Count the decimals that show so many digits of a number of this size; at most six.

    >>> _decimals(0.034, 2), _decimals(34.0, 2)
    (3, 0)
    """
    if not 0 < size < math.inf:
        return digits
    return min(6, max(0, digits - 1 - math.floor(math.log10(size))))


def _interval(cell: Cell, places: int) -> str:
    """Write both ends with "to" between them, as a dash could be a minus; a dash alone for none."""
    return NONE if math.isnan(cell.low) else f"{number(cell.low, places)} to {number(cell.high, places)}"


def _against(cell: Cell, section: Section, control: str) -> str:
    """Give the p-value, and which of the two is better where it tells them apart."""
    if cell.method == control:
        return "control"
    test = cell.control
    if test is None or math.isnan(test.corrected):
        return NONE
    shown = "< 0.001" if test.corrected < 0.001 else f"{test.corrected:.3f}"
    winner = test.winner(section.better)
    if not winner:
        return f"{shown}, ranks lean the other way" if test.significant and test.higher else shown
    return f"{shown}, {'better' if winner == cell.method else 'worse'}"


def _short(value: float) -> str:
    """Write a cost with three digits; a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"{value:.3g}" if 0 < abs(value) < 1000 else f"{value:.0f}"
