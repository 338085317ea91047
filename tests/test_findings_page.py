"""The page of findings: sentences say what the numbers say, whatever those are."""

import doctest
import sys
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "findings"
MODULES = ("words", "page", "page_heads", "page_blocks", "page_factors", "page_objects")


@pytest.fixture
def written(monkeypatch):
    """The modules of the page, which are no package; none stays loaded under its short name."""
    monkeypatch.syspath_prepend(FOLDER)
    yield {name: import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


def number(value, low, high, n=10):
    return {"value": value, "low": low, "high": high, "n": n}


RISING, FALLING, UNSURE = number(0.2, 0.1, 0.3), number(-0.2, -0.3, -0.1), number(0.2, -0.1, 0.5)


def focus_of(first, last, entropy):
    some = [number(0.1, 0.0, 0.2), number(0.4, 0.3, 0.5), number(0.2, 0.1, 0.3)]
    common = dict.fromkeys(("lift", "control", "beyond", "overlap", "spread", "entropy", "prefix"), some)
    steps = {"peak_minus_first": first, "peak_minus_last": last, "entropy_last_minus_first": entropy}
    rest = {"peak": 1, "tightest": 0, "tightest_minus_first": UNSURE, "chance": some[0], "even_spread": 1.0, "n": 10}
    return {**common, **steps, **rest, "data": "sod"}


def sentences(written, first, last, entropy):
    part = focus_of(first, last, entropy)
    section = written["page_blocks"].focus({"focus-deit": part, "focus-scenes": part})
    return section.rows[0].finding, section.text[0]


def test_a_verb_follows_the_interval(written):
    words = written["words"]
    assert [words.moves(each) for each in (RISING, FALLING, UNSURE)] == [
        "rises",
        "falls",
        "does not change for certain",
    ]
    assert words.moves({"value": None, "low": None, "high": None, "n": 0}) == "does not change for certain"
    assert [words.against(each, 0.25) for each in (RISING, FALLING, UNSURE)] == [
        "not told from",
        "below",
        "not told from",
    ]
    assert words.apart(RISING, FALLING)
    assert not words.apart(RISING, UNSURE)


def test_the_examples_hold(written):
    for name in ("words", "page_heads"):
        found = doctest.testmod(written[name])
        assert found.attempted
        assert not found.failed


def test_the_focus_moves_as_measured(written):
    row, text = sentences(written, RISING, RISING, FALLING)
    assert row.endswith("is largest in block 1, and less in block 2")
    assert "beyond its area rises from 0.10" in text
    assert "then falls to 0.20" in text
    assert "The entropy falls from" in text
    row, text = sentences(written, FALLING, FALLING, RISING)
    assert row.endswith("and more in block 2")
    assert "beyond its area falls from" in text
    assert "then rises to" in text
    assert "The entropy rises from" in text
    row, text = sentences(written, UNSURE, UNSURE, UNSURE)
    assert row.endswith("and not told from that in block 2")
    assert "does not change for certain from" in text
    assert "then stays near" in text


def test_attention_goes_with_distance_only_where_the_tests_say_so(written):
    objects = written["page_objects"]
    falling, rising, unsure = (
        number(value, value - 0.1, value + 0.1) | {"corrected": p, "null": 0.0}
        for value, p in ((-0.5, 0.01), (0.5, 0.01), (-0.5, 0.2))
    )
    unknown = number(0.0, 0.0, 0.0) | {"corrected": float("nan")}
    assert [objects.settled(each) for each in (falling, rising, unsure, unknown)] == [
        "falls",
        "rises",
        "not told",
        "not told",
    ]
    assert [objects.both(falling, each) for each in (falling, rising, unsure)] == ["falls", "not told", "not told"]


def test_what_was_not_measured_is_named(written):
    part = focus_of(RISING, RISING, FALLING) | {"quick": False, "seconds": 1.0, "seed": 0}
    part["versions"] = {"vitreous": "1", "torch": "2"}
    page = written["page"].page({"focus-deit": part, "focus-scenes": part})
    assert "## How the focus shifts" in page
    assert "## What heads look at" not in page
    assert "Not measured yet: roles (heads-deit-other)" in page
    assert "trial" not in page
