"""Figures of the inside of a model: equal values have equal colours, flows keep their mass, words say the same numbers."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.patches import Ellipse

import vitreous.show.plots
from vitreous.core.errors import InputError, UnknownNameError
from vitreous.show.colour import colourise, scale_over
from vitreous.show.plots._canvas import STYLES, ink_on, place_words
from vitreous.show.plots.block_series import block_series_text, draw_block_series
from vitreous.show.plots.factor_chart import ABOVE, draw_factor_chart, factor_chart_text, factor_order
from vitreous.show.plots.flow_map import (
    THICKEST,
    THINNEST,
    attention_flows,
    draw_flow_map,
    drawn_share,
    flow_map_text,
    node_words,
    strongest_flows,
)
from vitreous.show.plots.head_grid import draw_head_grid, head_grid_text, head_order, head_scale
from vitreous.show.plots.head_heatmap import draw_head_heatmap, head_heatmap_text, number_scale
from vitreous.show.plots.numbers import BlockSeries, FactorScores, Focus, HeadNumber, Relations
from vitreous.show.plots.parallel_coordinates import (
    draw_parallel_coordinates,
    heads_as_lines,
    parallel_coordinates_text,
)
from vitreous.show.plots.relation_chord import GAP, chords_of, draw_relation_chord
from vitreous.show.plots.relation_matrix import draw_relation_matrix, mean_mass, relation_scale, relation_text
from vitreous.show.plots.token_query import draw_token_query, query_maps, token_query_text
from vitreous.show.plots.trajectory import draw_trajectory, trajectory_text
from vitreous.show.words import format_value, percent

LONG = "a name of forty letters or more, with $x$ in it and\na line break"


def maps_of(blocks=3, heads=2, grid=(3, 4), seed=0):
    return (
        np.random.default_rng(seed).dirichlet(np.ones(grid[0] * grid[1]), (blocks, heads)).reshape(blocks, heads, *grid)
    )


def numbers_of(blocks=3, heads=2, seed=0):
    generator = np.random.default_rng(seed)
    first = generator.random((blocks, heads))
    first[0, 0] = np.nan
    return {
        "entropy": HeadNumber(first, "share", "Large is even."),
        LONG: HeadNumber(generator.normal(size=(blocks, heads)), "logits", "For or against.", signed=True),
    }


def attention_of(blocks, tokens, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(tokens) * 0.3, (blocks, tokens))


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def written(figure):
    """Give all texts of a figure that are inside it, drawn once."""
    FigureCanvasAgg(figure).draw()
    found = []

    def gather(part):
        for child in part.get_children():
            if hasattr(child, "get_text") and child.get_text():
                found.append(child)
            gather(child)

    gather(figure)
    return found


# --- head grid and heatmap ---


def test_equal_values_have_equal_colours_on_every_map_of_the_grid():
    maps = maps_of()
    maps[2, 1, 0, 0] = maps[0, 0, 2, 3]
    figure = draw_head_grid(maps, "share")
    picture, scale = pixels(figure.axes[0]), head_scale(maps, "share")
    side = 21  # 84 pixels for 4 patches
    for block, head, row, column in np.ndindex(maps.shape):
        top, left = head * (3 * side + 8) + row * side, block * (4 * side + 8) + column * side
        cell = picture[top : top + side, left : left + side].reshape(-1, 3)
        expected = colourise(np.array([[maps[block, head, row, column]]]), scale)[0, 0, :3]
        assert (cell == expected).all()


def test_ordered_maps_begin_with_the_largest_number_and_say_it():
    maps, numbers = maps_of(), numbers_of()
    figure = draw_head_grid(maps, "share", numbers=numbers, by="entropy")
    best = np.unravel_index(np.nanargmax(numbers["entropy"].values), (3, 2))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[0] == f"b{best[0]} h{best[1]}: {format_value(float(numbers['entropy'].values[best]))}"
    assert words[-1] == "b0 h0: not defined"
    corner = colourise(maps[best][:1, :1], head_scale(maps, "share"))[0, 0, :3]
    assert (pixels(figure.axes[0])[0, 0] == corner).all()


def test_heads_are_ordered_with_ties_in_place_and_nan_last():
    values = np.array([[1.0, np.nan], [3.0, 1.0], [-np.inf, 2.0]])
    assert head_order(values) == [(1, 0), (2, 1), (0, 0), (1, 1), (0, 1), (2, 0)]


def test_an_unknown_number_is_refused_with_near_matches():
    with pytest.raises(UnknownNameError, match="entropy"):
        draw_head_grid(maps_of(), "share", numbers=numbers_of(), by="entropi")


def test_the_photograph_is_below_the_maps():
    photo = np.zeros((30, 40, 3), np.uint8)
    bright, dark = (draw_head_grid(maps_of(), "share", photo=photo + each) for each in (np.uint8(255), np.uint8(0)))
    assert pixels(bright.axes[0]).mean() > pixels(dark.axes[0]).mean() + 40


def test_head_grid_text_names_peak_and_share():
    maps = np.full((1, 2, 2, 2), 0.1)
    maps[0, 1, 1, 0] = 0.7
    text = head_grid_text(maps, "share", first=4)
    assert "Block 4 head 1: largest in row 1, column 0 (bottom left) with 0.7, 70 % of the map." in text
    assert head_grid_text(maps, "share", most=1).endswith("1 more heads are not told here.")


def test_cells_of_a_heatmap_have_the_colours_of_their_own_scale():
    numbers = numbers_of()
    figure = draw_head_heatmap(numbers, first=2)
    for axes, number in zip((figure.axes[0], figure.axes[1]), numbers.values(), strict=True):
        shown, scale = pixels(axes), number_scale(number)
        for (block, head), value in np.ndenumerate(number.values):
            wanted = [255] * 4 if np.isnan(value) else colourise(np.array([[value]]), scale)[0, 0]
            assert (shown[head, block] == wanted).all()
        assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3", "4"]
    assert number_scale(numbers[LONG]).low == -number_scale(numbers[LONG]).high
    text = head_heatmap_text(numbers, 2)
    assert format_value(float(np.nanmax(numbers["entropy"].values))) in text
    assert "Large is even." in text


@pytest.mark.parametrize("colours", ["viridis", "cividis", "RdBu_r"])
def test_ink_on_every_colour_of_the_scales_has_enough_contrast(colours):
    signed = colours == "RdBu_r"
    scale = scale_over([np.array([[-1.0, 1.0]]) if signed else np.array([[0.0, 1.0]])], "", signed, colours=colours)
    for colour in colourise(np.linspace(scale.low, scale.high, 256)[None], scale)[0]:
        ink = 0.0 if ink_on(colour) == "#000000" else 1.0
        channels = colour[:3] / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        light = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
        assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5


# --- flows ---


@pytest.mark.parametrize(("prefix", "suffix", "cell"), [(1, 0, 1), (0, 0, 2), (2, 1, 2), (5, 0, 3)])
def test_flows_keep_their_mass_in_every_block_and_at_every_node(prefix, suffix, cell):
    grid, others = (3, 5), prefix + suffix
    tokens = others + 15
    reading = np.random.default_rng(1).dirichlet(np.ones(tokens))
    names = [f"t{place}" for place in range(others)]
    flows = attention_flows(attention_of(4, tokens), reading, grid, names=names, suffix=suffix, cell=cell)
    assert flows.steps.shape[1] == others + -(-3 // cell) * -(-5 // cell)
    np.testing.assert_allclose(flows.mass.sum(1), 1.0, atol=1e-12)
    np.testing.assert_allclose(flows.steps.sum(2), flows.mass[1:], atol=1e-12)  # what leaves a node is what it had
    np.testing.assert_allclose(flows.steps.sum(1), flows.mass[:-1], atol=1e-12)  # and arrives below


def test_flows_are_those_of_rollout_by_plain_loops():
    attention, tokens = attention_of(3, 7), 7
    reading = np.eye(tokens)[0]
    flows = attention_flows(attention, reading, (2, 3), names=("class",), cell=1)
    mass = list(reading)
    for block in (2, 1, 0):
        below = [0.0] * tokens
        for query, key in itertools.product(range(tokens), range(tokens)):
            moved = mass[query] * (0.5 * attention[block, query, key] + (0.5 if query == key else 0.0))
            assert flows.steps[block, query, key] == pytest.approx(moved, abs=1e-14)
            below[key] += moved
        mass = below
    np.testing.assert_allclose(flows.mass[0], mass, atol=1e-14)


def test_cells_gather_the_patches_that_lie_in_them_and_the_suffix_stays_apart():
    reading = np.zeros(8)
    reading[[1, 6, 7]] = 0.2, 0.3, 0.5  # prefix, 2 x 3 patches, suffix
    flows = attention_flows(np.eye(8)[None], reading, (2, 3), names=("class", "end"), suffix=1, cell=2)
    # nodes: class, end, the left square, the right column
    np.testing.assert_allclose(flows.mass, [[0.0, 0.5, 0.2, 0.3]] * 2)
    assert node_words(flows, 1) == "end"
    assert node_words(flows, 3).startswith("cell 0,1")


def test_the_drawn_share_is_what_the_ribbons_carry():
    flows = attention_flows(attention_of(3, 10), np.eye(10)[0], (3, 3), names=("class",), cell=1)
    everything = strongest_flows(flows, 100)
    np.testing.assert_allclose(drawn_share(flows, everything), 1.0)
    few = strongest_flows(flows, 4)
    moves = sorted((flow.share for flow in few if flow.block == 1 and flow.source != flow.target), reverse=True)
    other = sorted(flows.steps[1][~np.eye(10, dtype=bool)], reverse=True)
    np.testing.assert_allclose(moves, other[:4])
    stays = np.trace(flows.steps[1])
    assert drawn_share(flows, few)[1] == pytest.approx(sum(moves) + stays)
    text = flow_map_text(flows, most=4, reads="the class token")
    assert f"{percent(float(drawn_share(flows, few)[1]))}" in text.split("\n")[2]
    assert f"Block 1: {percent(float(stays))} of the mass stays" in text
    figure = draw_flow_map(flows, most=4, reads="class token")
    words = [each.get_text() for each in figure.axes[0].texts]
    assert f"block 1\n{percent(float(drawn_share(flows, few)[1]))} drawn" in words


def test_ribbons_are_as_wide_as_their_share():
    flows = attention_flows(attention_of(2, 5), np.eye(5)[0], (2, 2), names=("class",), cell=1)
    figure = draw_flow_map(flows, most=3)
    stays, moves = (each for each in figure.axes[0].collections if isinstance(each, LineCollection))
    for group, same in ((stays, True), (moves, False)):
        shares = sorted(
            (flow.share for flow in strongest_flows(flows, 3) if (flow.source == flow.target) == same), reverse=True
        )
        np.testing.assert_allclose(group.get_linewidths(), [max(THINNEST, THICKEST * share) for share in shares])


def test_a_range_of_blocks_can_be_drawn():
    flows = attention_flows(attention_of(5, 5), np.eye(5)[0], (2, 2), names=("class",), first=3)
    assert {flow.block for flow in strongest_flows(flows, 2, (1, 3))} == {1, 2, 3}
    words = " ".join(each.get_text() for each in draw_flow_map(flows, blocks=(1, 3)).axes[0].texts)
    assert "block 4" in words
    assert "after block 3" in words
    assert "after block 6" in words
    assert "block 7" not in words
    words = " ".join(each.get_text() for each in draw_flow_map(flows).axes[0].texts)
    assert "after block 2" in words  # what enters the first block that was looked at is no input
    assert "input" not in words


def test_tokens_without_a_name_are_refused():
    with pytest.raises(InputError, match="are not 5 tokens"):
        attention_flows(attention_of(1, 5), np.ones(5) / 5, (2, 2))


# --- tokens ---


def test_a_query_gives_the_row_and_the_column_of_its_token():
    attention = attention_of(2, 8)
    to, by = query_maps(attention, 3, 1, (2, 3))
    assert to[1, 1, 2] == attention[1, 3, 1 + 5]
    assert by[1, 1, 2] == attention[1, 1 + 5, 3]
    with pytest.raises(InputError, match="out of range"):
        query_maps(attention, 8, 1, (2, 3))
    text = token_query_text(attention, 0, "the class token", 1, (2, 3))
    assert f"{percent(float(attention[0, 0, 1:7].sum()))} goes to patches" in text
    figure = draw_token_query(attention, 0, "the class token", 1, (2, 3))
    assert len(figure.axes) == 4


# --- lines ---


def test_lines_stand_at_their_values_between_the_printed_ends():
    values, names, axes = heads_as_lines(numbers_of(), first=1)
    figure = draw_parallel_coordinates(values, names, axes, highlight=[names[3]])
    plot = figure.axes[0]
    line = next(each for each in plot.get_lines() if each.get_label() == names[3])
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    np.testing.assert_allclose(line.get_ydata(), (values[3] - low) / (high - low))
    ends = {text.get_text() for text in plot.texts}
    assert {format_value(float(value)) for value in (*low, *high)} <= ends
    text = parallel_coordinates_text(values, names, axes, highlight=[names[3]])
    for value in (*low, *high, *values[3]):
        assert format_value(float(value)) in text
    assert names[0] == "block 1 head 0"


def test_a_shared_range_is_one_for_all_axes():
    values = np.array([[0.0, 1.0], [2.0, 4.0]])
    figure = draw_parallel_coordinates(values, ["a", "b"], [("x", "u"), ("y", "u")], shared=True)
    np.testing.assert_allclose(figure.axes[0].get_lines()[1].get_ydata(), [0.5, 1.0])


def test_lines_that_do_not_fit_are_refused():
    values = np.zeros((8, 2))
    names, axes = [f"n{place}" for place in range(8)], [("x", "u"), ("y", "u")]
    with pytest.raises(InputError, match="do not fit"):
        draw_parallel_coordinates(values, names[:3], axes)
    with pytest.raises(UnknownNameError, match="no line 'm'"):
        draw_parallel_coordinates(values, names, axes, highlight=["m"])
    with pytest.raises(InputError, match=f"at most {len(STYLES)}"):
        draw_parallel_coordinates(values, names, axes, highlight=names[: len(STYLES) + 1])


def test_highlighted_lines_differ_by_more_than_colour():
    assert (
        len({style[0] for style in STYLES})
        == len({style[1] for style in STYLES})
        == len({style[2] for style in STYLES})
    )


def series_of():
    values = np.array([0.2, np.nan, 0.6])
    return {
        "plain": BlockSeries(np.array([1.0, 2.0, 3.0]), "patches", "Far."),
        LONG: BlockSeries(values, "share", "Even.", values - 0.1, values + 0.1, "95 % interval over heads"),
    }


def test_bands_are_the_intervals_and_words_say_them():
    figure = draw_block_series(series_of(), first=2)
    band = figure.axes[1].collections[0].get_paths()[0].vertices
    assert {round(float(y), 6) for x, y in band if x == 0} == {0.1, 0.3}
    assert "over heads" in " ".join(figure.axes[1].get_title(loc="left").split())
    text = block_series_text(series_of(), 2)
    assert "2: 0.2 (0.1 to 0.3), 3: not defined, 4: 0.6 (0.5 to 0.7)" in text
    with pytest.raises(InputError, match="one end"):
        BlockSeries(np.ones(3), "u", "m", low=np.ones(3))
    with pytest.raises(InputError, match="no series"):
        draw_block_series({})


def test_marks_of_the_trajectory_stand_at_the_centres():
    focus = Focus(np.array([[1.5, 2.0], [2.0, 2.5], [0.5, 3.5]]), np.array([1.0, 0.5, 0.25]))
    figure = draw_trajectory(focus, (3, 4), photo=np.zeros((30, 40, 3), np.uint8), series=series_of(), first=1)
    whole, near = figure.axes[:2]
    for axes in (whole, near):
        np.testing.assert_allclose(axes.collections[0].get_offsets(), focus.centre[:, ::-1])
    assert [text.get_text() for text in near.texts] == ["1", "2", "3"]
    circles = [patch for patch in whole.patches if isinstance(patch, Ellipse)]
    assert [(each.get_center(), each.width / 2) for each in circles] == [
        ((column, row), spread) for (row, column), spread in zip(focus.centre, focus.spread, strict=True)
    ]
    (left, right), (bottom, top) = near.get_xlim(), near.get_ylim()
    assert 0 <= left < right <= 4
    assert 0 <= top < bottom <= 3
    text = trajectory_text(focus, (3, 4), first=1)
    assert "Block 1: centre 1.5 patches from the top and 2.0 from the left (centre), spread 1 patches." in text
    assert "0.707 patches from the block before" in text


def test_places_are_said_in_thirds():
    assert [place_words(row, column, (9, 9)) for row, column in ((0.0, 8.9), (4.0, 4.0), (9.0, 9.0))] == [
        "top right",
        "centre",
        "bottom right",
    ]


# --- relations and factors ---


def relations_of(objects=3, blocks=2, seed=0):
    mass = np.random.default_rng(seed).random((blocks, objects, objects))
    return Relations(
        (LONG, *(f"o{place}" for place in range(1, objects))), mass, "share of attention", "Rows to columns."
    )


def test_matrices_have_one_scale_and_print_the_mean():
    relations = relations_of()
    relations.mass[0, 0, 1] = np.nan
    figure = draw_relation_matrix(relations, first=1)
    large, *small = [axes for axes in figure.axes if axes.images][:3]
    scale = relation_scale(relations)
    assert (pixels(small[1]) == colourise(relations.mass[1], scale)).all()
    assert (pixels(large) == colourise(mean_mass(relations), scale)).all()
    assert mean_mass(relations)[0, 1] == relations.mass[1, 0, 1]
    assert f"{mean_mass(relations)[2, 1]:.2g}" in {text.get_text() for text in large.texts}
    text = relation_text(relations, 1)
    pairs = list(itertools.permutations(range(3), 2))
    source, target = max(pairs, key=lambda pair: mean_mass(relations)[pair])
    value = format_value(float(mean_mass(relations)[source, target]))
    assert f"{relations.names[source]} to {relations.names[target]}: {value} on average" in text
    with pytest.raises(InputError, match="names were given"):
        Relations(("a",), relations.mass, "u", "m")


@pytest.mark.parametrize("objects", [2, 5])
def test_chords_share_the_circle_by_their_mass_and_do_not_overlap(objects):
    mass = np.random.default_rng(3).random((objects, objects))
    mass[0, 1] = np.nan
    chords = chords_of(mass)
    assert {(chord.source, chord.target) for chord in chords} == {
        pair for pair in itertools.permutations(range(objects), 2) if pair != (0, 1)
    }
    factors = [(end[1] - end[0]) / chord.mass for chord in chords for end in (chord.start, chord.end)]
    np.testing.assert_allclose(factors, factors[0])
    ends = sorted(end for chord in chords for end in (chord.start, chord.end))
    assert all(one[1] <= other[0] + 1e-12 for one, other in itertools.pairwise(ends))
    assert sum(high - low for low, high in ends) == pytest.approx(2 * np.pi - GAP * objects)


def test_relations_below_zero_have_no_chords_but_a_matrix():
    signed = Relations(("a", "b"), np.array([[[0.0, -1.0], [2.0, 0.0]]]), "difference", "Against chance.")
    with pytest.raises(InputError, match="below zero"):
        draw_relation_chord(signed)
    assert relation_scale(signed).diverging
    draw_relation_matrix(signed)
    draw_relation_chord(Relations(("a", "b"), np.zeros((1, 2, 2)), "share", "Nothing."))


def factors_of():
    score = np.array([[0.9, 0.2], [0.5, 0.95], [0.99, np.nan]])
    above = np.array([[True, False], [True, False], [False, False]])
    heads = tuple(f"block {place} head 1" for place in range(1, 4))
    return FactorScores(heads, ("colour", LONG), score, above, "accuracy", "Probe.", np.array([0.1, 0.5]))


def test_a_dot_marks_what_is_above_the_control_and_orders_heads():
    scores = factors_of()
    assert factor_order(scores) == [0, 1, 2]  # 0.99 is not above the control
    figure = draw_factor_chart(scores)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == [f"{ABOVE} 0.90", "0.20", f"{ABOVE} 0.50", "0.95", "0.99", "\N{MULTIPLICATION SIGN}"]
    assert figure.axes[1].get_xlim() == (0.0, 1.0)
    text = factor_chart_text(scores)
    assert "colour: 2 heads above the control; chance is 0.1." in text
    assert "block 3 head 1 0.99 (not above the control)" in text
    assert "The best 1 heads of 3 are shown." in " ".join(
        draw_factor_chart(scores, most=1)._suptitle.get_text().split()
    )
    with pytest.raises(InputError, match="were named"):
        FactorScores(("a",), ("b",), scores.score, scores.above, "u", "m")


# --- all figures ---


FIGURES = {
    "head grid": lambda: draw_head_grid(maps_of(), "share", numbers=numbers_of(), by=LONG, title=LONG),
    "head grid in order": lambda: draw_head_grid(maps_of(), "share"),
    "heatmap": lambda: draw_head_heatmap(numbers_of()),
    "flow": lambda: draw_flow_map(
        attention_flows(attention_of(3, 14), np.eye(14)[0], (3, 4), names=(LONG, "end")), reads=LONG, title=LONG
    ),
    "query": lambda: draw_token_query(attention_of(3, 13), 0, LONG, 1, (3, 4)),
    "parallel": lambda: draw_parallel_coordinates(*heads_as_lines(numbers_of()), highlight=["block 0 head 1"]),
    "series": lambda: draw_block_series(series_of()),
    "trajectory": lambda: draw_trajectory(Focus(np.ones((3, 2)), np.ones(3)), (3, 4), series=series_of()),
    "matrix": lambda: draw_relation_matrix(relations_of()),
    "chord": lambda: draw_relation_chord(relations_of(), title=LONG),
    "factors": lambda: draw_factor_chart(factors_of()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_leaves_the_picture_and_dollars_are_no_mathematics(name):
    figure = FIGURES[name]()
    texts = written(figure)
    renderer = figure.canvas.get_renderer()
    width, height = figure.canvas.get_width_height()
    shown = [text for text in texts if text.get_visible()]
    for text in shown:
        assert not re.search(r"(?<!\\)\$", text.get_text()), text
        box = text.get_window_extent(renderer)
        assert box.x0 >= -2, text
        assert box.y0 >= -2, text
        assert box.x1 <= width + 2, text
        assert box.y1 <= height + 2, text


def test_no_figure_goes_through_pyplot():
    for path in Path(vitreous.show.plots.__file__).parent.glob("*.py"):
        assert "import pyplot" not in path.read_text(encoding="utf-8")
        assert "matplotlib.pyplot" not in path.read_text(encoding="utf-8")
