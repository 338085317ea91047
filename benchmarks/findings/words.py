"""Words for numbers: every sentence of the page chooses its verb by the interval, so that it cannot say otherwise."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Found: TypeAlias = dict[str, Any]

MODELS = {"deit": "DeiT-tiny", "scenes": "scenes model"}
DATA = {
    "chosen": "ImageNet validation, the 64 photographs that thresholds were chosen on",
    "other": "ImageNet validation, 64 other photographs",
    "coco": "COCO",
    "packaged": "packaged scenes, on which thresholds were chosen",
    "held": "60 held-out scenes",
    "sod": "salient objects (SOD)",
    "pets": "Oxford pets",
    "coco128": "COCO",
    "held-out scenes": "held-out scenes",
    "packaged scenes": "packaged scenes",
}


@dataclass(frozen=True)
class Row:
    """One line of the first table.

    finding    what was found, in a few words that are chosen by the number
    number     with its interval
    count      of images, and of objects if those are what was counted
    data       where it was found
    against    the control, the chance level or the threshold it is held against
    not_shown  what it does not show
    """

    finding: str
    number: str
    count: str
    data: str
    against: str
    not_shown: str


@dataclass(frozen=True)
class Section:
    """One part of the page: its lines of the first table, and its paragraphs in Markdown."""

    title: str
    rows: list[Row] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


def number(found: Found, digits: int = 2, sign: bool = False) -> str:
    """Write a number with its interval.

    >>> number({"value": 0.294, "low": 0.261, "high": 0.33, "n": 150})
    '0.29 (0.26 to 0.33)'
    """
    if found["value"] is None:
        return "none"
    form = f"{'+' if sign else ''}.{digits}f"
    value, low, high = (format(_tidy(found[name], digits), form) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def plain(value: float, digits: int = 2) -> str:
    """Write a number without an interval, and never a negative zero.

    >>> plain(-0.001)
    '0.00'
    """
    return format(_tidy(value, digits), f".{digits}f")


def percent(found: Found) -> str:
    """Write a share in percent.

    >>> percent({"value": 0.06, "low": 0.029, "high": 0.102, "n": 180})
    '6 % (3 to 10)'
    """
    value, low, high = (f"{100 * found[name]:.0f}" for name in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def counted(found: Found, of: int) -> str:
    """Write how many of so many there are, with the interval of that count.

    >>> counted({"value": 13, "low": 12.0, "high": 13.0, "n": 64}, 36)
    '13 of 36 (12 to 13)'
    """
    return f"{found['value']} of {of} ({found['low']:.0f} to {found['high']:.0f})"


def moves(found: Found, up: str = "rises", down: str = "falls", neither: str = "does not change for certain") -> str:
    """Choose a verb by where the interval of a difference or of a slope lies."""
    return against(found, 0.0, up, down, neither)


def against(
    found: Found, level: float, above: str = "above", below: str = "below", neither: str = "not told from"
) -> str:
    """Choose a word by where the interval lies beside a level."""
    if found["value"] is None:
        return neither
    if found["low"] > level:
        return above
    return below if found["high"] < level else neither


def apart(one: Found, other: Found) -> bool:
    """Whether two intervals have nothing in common."""
    return bool(one["low"] > other["high"] or one["high"] < other["low"])


def head_name(head: list[int]) -> str:
    """Name a head by its block and its own number, both from 0.

    >>> head_name([3, 1])
    '3.1'
    """
    return f"{head[0]}.{head[1]}"


def listed(names: list[str]) -> str:
    """Put names in a row.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def largest(series: list[Found]) -> int:
    return max(range(len(series)), key=lambda place: series[place]["value"])


def smallest(series: list[Found]) -> int:
    return min(range(len(series)), key=lambda place: series[place]["value"])


def by_block(name: str, series: list[Found], digits: int = 2) -> str:
    """Write one line of a table of blocks, without intervals."""
    return f"| {name} | {' | '.join(format(_tidy(each['value'], digits), f'.{digits}f') for each in series)} |"


def block_heads(count: int) -> str:
    return f"| block | {' | '.join(str(block) for block in range(count))} |\n|---|{'--:|' * count}"


def _tidy(value: float, digits: int) -> float:
    """Round, and give no negative zero."""
    return round(value, digits) + 0.0
