"""Legends: their colours are the map's, their words state ends, zero, unit and sharing."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vitreous.show.colour import FLAT_GREY, Scale, colourise, scale_for
from vitreous.show.legend import _tick_words, bar_colours, draw_bar, draw_legend, sign_words, title_of
from vitreous.show.overlay import check_scale
from vitreous.show.paint import Coat, blend
from vitreous.show.sheet import _on_one_scale


def test_bar_shows_the_colours_of_the_values_it_names():
    scale = Scale(0.0, 8.0, "unit")
    bar = np.asarray(bar_colours(scale, 101, 3))
    for column, value in ((0, 0.0), (25, 2.0), (50, 4.0), (100, 8.0)):
        expected = colourise(np.array([[value]]), scale)[0, 0, :3]
        assert bar[:, column].tolist() == [expected.tolist()] * 3


def test_bar_of_a_signed_scale_is_labelled_with_zero_in_its_middle():
    scale = Scale(-0.25, 0.25, "logits", "RdBu_r")
    assert _tick_words(scale, 400, 15) == [("\N{MINUS SIGN}0.25", "left"), ("0.25", "right"), ("0", "centre")]
    bar = np.asarray(bar_colours(scale, 201, 1))
    assert bar[0, 100].tolist() == colourise(np.array([[0.0]]), scale)[0, 0, :3].tolist()
    drawn = draw_bar(scale, 400, 15)
    assert drawn.size[0] == 400
    assert drawn.height > draw_bar(Scale(0.0, 0.25, "logits"), 400, 15).height  # one more line: against, for


ABOUT_TARGET = [("against", "left"), ("for the target", "right")]
ABOUT_NOTHING = [("negative", "left"), ("positive", "right")]


@pytest.mark.parametrize(
    ("method", "words"),
    [("saw", ABOUT_TARGET), ("eigencam", ABOUT_NOTHING), ("a method of later", ABOUT_TARGET)],
)
def test_only_a_method_that_looks_at_the_target_speaks_for_or_against_it(make, method, words):
    heatmap = make([[-1.0, 2.0]], signed=True, method=method)
    assert sign_words(scale_for([heatmap])) == words
    by_hand = Scale(-2.0, 2.0, heatmap.unit, "RdBu_r")
    assert sign_words(check_scale(heatmap, by_hand)) == words
    (panel,) = _on_one_scale([heatmap], "range")
    assert sign_words(panel.scale) == words


def test_a_scale_of_several_maps_speaks_of_the_target_if_all_of_them_do(make):
    maps = [make([[-1.0, 2.0]], signed=True, method=method) for method in ("saw", "eigencam")]
    assert sign_words(scale_for(maps)) == ABOUT_NOTHING
    assert [sign_words(panel.scale) for panel in _on_one_scale(maps, "range")] == [ABOUT_NOTHING] * 2
    unsigned = make([[1.0, 2.0]], method="rollout")
    assert sign_words(_on_one_scale([maps[0], unsigned], "range")[0].scale) == ABOUT_TARGET


def test_the_words_of_a_bar_are_drawn():
    scale = Scale(-0.25, 0.25, "logits", "RdBu_r")
    assert draw_bar(scale, 400, 15).tobytes() != draw_bar(replace(scale, targeted=False), 400, 15).tobytes()


def test_clipped_ends_say_so():
    one_sided = _tick_words(Scale(0.0, 2.0, "u", clipped=0.01), 400, 15)
    assert {align: words for words, align in one_sided} == {
        "left": "0",
        "centre": "1",
        "right": "≥ 2",
    }
    signed = _tick_words(Scale(-2.0, 2.0, "u", "PuOr", clipped=0.01), 400, 15)
    assert ("≤ \N{MINUS SIGN}2", "left") in signed


def test_middle_label_gives_way_where_room_is_short():
    narrow = _tick_words(Scale(0.0, 0.000123, "u"), 120, 15)
    assert [align for _, align in narrow] == ["left", "right"]


def test_bar_with_a_coat_looks_as_the_map_does_over_mid_grey():
    scale, coat = Scale(0.0, 1.0, "u"), Coat(0.6)
    ground = np.full((1, 2, 3), 128, np.uint8)
    expected = blend(ground, np.array([[0.0, 1.0]]), scale, coat)
    bar = np.asarray(bar_colours(scale, 50, 1, coat))
    assert bar[0, [0, -1]].tolist() == expected[0].tolist()


@pytest.mark.parametrize("width", [200, 480, 1600])
def test_legend_has_the_width_asked_for_and_room_for_every_note(make, width):
    scale = scale_for([make([[0.0, 1.0]])])
    short = draw_legend(scale, title="rollout", width=width)
    long = draw_legend(scale, title="rollout", findings=("one", "two"), notes=("word " * 80,), width=width)
    assert short.width == long.width == width
    assert long.height > short.height
    last_row = np.asarray(long)[-1]
    assert (last_row == 255).all()  # no glyph is cut at the lower edge


def test_legend_of_a_constant_map_is_flat_grey(make):
    legend = np.asarray(draw_legend(None, title="rollout", width=300, value=0.25))
    assert (legend == FLAT_GREY).all(axis=(1, 2)).sum() == round(15 * 1.1)
    coloured = legend.max(axis=-1).astype(int) - legend.min(axis=-1)
    assert coloured.max() == 0


def test_hostile_names_do_not_disturb_the_title(make):
    heatmap = make([[0.0, 1.0]], target="cat\n\u202egnp.exe\x00\udc80" + "x" * 1000, method="rollout")
    title = title_of(heatmap)
    assert title.isprintable()
    assert len(title) <= 200
    drawn = draw_legend(scale_for([heatmap]), title=title, notes=("猫 кошка قطة 🐈",), width=300)
    assert isinstance(drawn, Image.Image)
