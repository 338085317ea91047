"""The plot of critical differences: what it draws is what the ranking says, and no text covers another."""

import itertools
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vitreous.bench.statistics import Ranking, rank_methods
from vitreous.core.errors import InputError
from vitreous.show.critical_difference import ALIKE, BETTER, WORSE, draw_critical_difference

NAN = math.nan


def ranking_of(methods, images=40, seed=0):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(images, len(methods))) + np.linspace(0, 2, len(methods))
    return rank_methods(methods, values, "higher")


def drawn(figure):
    """Marks as {name: (rank, colour, marker)} and bars as {name: (left, right)}, from the figure itself."""
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    marks, bars = {}, {}
    for line in axes.get_lines():
        x, y = line.get_xdata(), line.get_ydata()
        if len(x) == 1:
            marks[names[y[0]]] = (x[0], line.get_color(), line.get_marker())
        else:
            bars[names[y[0]]] = tuple(x)
    return names, marks, bars


def test_bars_overlap_unless_ranks_differ_by_the_critical_difference():
    ranking = ranking_of([f"m{place}" for place in range(9)] + ["random"])
    names, marks, bars = drawn(draw_critical_difference(ranking, "srg"))
    ranks = dict(zip(ranking.methods, ranking.ranks, strict=True))
    assert names == sorted(ranks, key=ranks.get)
    assert {name: mark[0] for name, mark in marks.items()} == ranks
    told = 0
    for one, other in itertools.combinations(names, 2):
        apart = bars[one][1] < bars[other][0] or bars[other][1] < bars[one][0]
        assert apart == (abs(ranks[one] - ranks[other]) > ranking.critical)
        told += apart
    assert 0 < told < 45


def test_colour_and_shape_tell_better_and_worse_than_the_control():
    ranking = Ranking(("random", "good", "bad", "like"), (2.5, 1.2, 3.8, 2.5), 40, 0.01, 0.74)
    _, marks, _ = drawn(draw_critical_difference(ranking, "srg"))
    assert marks["good"][1:] == (BETTER, "<")
    assert marks["bad"][1:] == (WORSE, ">")
    assert marks["like"][1:] == marks["random"][1:] == (ALIKE, "o")
    _, marks, _ = drawn(draw_critical_difference(ranking, "srg", control="absent"))
    assert {mark[1:] for mark in marks.values()} == {(ALIKE, "o")}


@pytest.mark.parametrize(
    "methods",
    [
        ["random", *(f"gradcam(layer={place}, plus=True, reduction='mean')" for place in range(49))],
        ["random", "m" * 80, "W" * 59],
        ["random", "a"],
        [f"m{place:02}" for place in range(50)],
    ],
    ids=["fifty long names", "widest names", "two", "no control"],
)
def test_no_text_covers_another_or_leaves_the_picture(methods):
    figure = draw_critical_difference(
        ranking_of(methods), "a_metric_with_a_long_name(steps=20, fill='drop', of='logit')"
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    (axes,) = figure.axes
    texts = [*axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label, figure._suptitle]
    low, high = axes.get_xlim()
    shown = [text for text in texts if text not in axes.get_xticklabels() or low <= text.get_position()[0] <= high]
    boxes = [text.get_window_extent(renderer) for text in shown if text.get_text()]
    width, height = canvas.get_width_height()
    for box in boxes:
        assert -1 <= box.x0 <= box.x1 <= width + 1
        assert -1 <= box.y0 <= box.y1 <= height + 1
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert axes.get_window_extent(renderer).width > 2 * figure.dpi  # two inches of axis are left


def test_names_are_not_read_as_mathematics():
    ranking = Ranking(("$x$", "a\nb", "random"), (1.0, 2.0, 3.0), 40, 0.5, 0.5)
    names, _, _ = drawn(draw_critical_difference(ranking, "$y"))
    assert names == [r"\$x\$", "a b", "random"]


def test_without_a_critical_difference_there_are_no_bars_and_it_is_said():
    ranking = rank_methods(["random", "a", "b"], np.arange(9.0).reshape(3, 3), "higher")
    figure = draw_critical_difference(ranking, "srg")
    _, marks, bars = drawn(figure)
    assert not bars
    assert {mark[1] for mark in marks.values()} == {ALIKE}
    assert "not known" in figure._suptitle.get_text()


def test_one_method_can_be_drawn():
    names, _, _ = drawn(draw_critical_difference(Ranking(("one",), (1.0,), 20, NAN, NAN), "srg"))
    assert names == ["one"]


@pytest.mark.parametrize("ranking", [Ranking((), (), 0, NAN, NAN), Ranking(("a", "b"), (NAN, NAN), 0, NAN, NAN)])
def test_no_ranks_are_refused(ranking):
    with pytest.raises(InputError, match="has no ranks"):
        draw_critical_difference(ranking, "srg")


def test_files_are_written(tmp_path):
    figure = draw_critical_difference(ranking_of(["a", "b", "random"]), "srg")
    for form in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"ranks.{form}")
    assert np.asarray(Image.open(tmp_path / "ranks.png").convert("RGB")).std() > 0
