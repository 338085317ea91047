"""Text stays inside its width, pieces beside one another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitreous.show.typeset import beside, filled_to, font, stack, text_block, with_margin, wrap
from vitreous.show.words import format_value, percent, safe_text


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=120), width=st.integers(40, 400), bold=st.booleans())
def test_no_line_is_wider_than_the_block(text, width, bold):
    lines = wrap(text, 15, width, bold)
    assert all(font(15, bold).getlength(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == safe_text(text).replace(" ", "")


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_becomes_one_printable_line(text):
    safe = safe_text(text)
    assert safe.isprintable() or not safe
    assert len(safe) <= 200
    safe.encode("utf-8")


def test_pieces_are_placed_without_overlap():
    red, blue = Image.new("RGB", (4, 3), "red"), Image.new("RGB", (6, 2), "blue")
    tall = np.asarray(stack([red, blue], gap=1, align="right"))
    assert tall.shape == (6, 6, 3)
    assert (tall[:3, 2:] == (255, 0, 0)).all()
    assert (tall[:3, :2] == 255).all()
    assert (tall[3] == 255).all()
    assert (tall[4:] == (0, 0, 255)).all()
    wide = np.asarray(beside([red, blue], gap=2))
    assert wide.shape == (3, 12, 3)
    assert (wide[:2, 6:] == (0, 0, 255)).all()
    assert with_margin(red, 5).size == (14, 13)
    assert filled_to(red, 9).size == (4, 9)


def test_alignment_moves_the_ink():
    columns = {}
    for align in ("left", "centre", "right"):
        ink = np.asarray(text_block("zero", 200, 15, align=align)).min(axis=(0, 2)) < 128
        columns[align] = np.flatnonzero(ink)
    assert columns["left"].min() < 4
    assert columns["right"].max() > 195
    assert abs((columns["centre"].min() + columns["centre"].max()) / 2 - 100) < 3


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0 %"), (0.004, "less than 1 %"), (0.41, "41 %"), (1, "100 %")],
)
def test_percent(share, words):
    assert percent(float(share)) == words


def test_small_percentages_with_digits():
    assert percent(0.0104, 1) == "1.0 %"
    assert percent(0.0004, 1) == "less than 0.1 %"


def test_format_value():
    assert format_value(-0.0123456) == "\N{MINUS SIGN}0.0123"
    assert format_value(1e-7) == "1e\N{MINUS SIGN}07"
    assert format_value(0.0) == "0"


def test_a_word_that_is_too_long_is_broken_inside():
    lines = wrap("on " + "W" * 100, 15, 70)
    assert lines[0] == "on"
    assert len(lines) > 10
    assert all(font(15).getlength(line) <= 70 for line in lines)
