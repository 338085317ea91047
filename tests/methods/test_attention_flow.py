"""Attention flow against networkx, by hand, and the solver on graphs that its bounds do not decide."""

import math

import pytest
import torch

import vitreous as vt
from contracts.families import random_images, scramble, timm_vit
from methods.test_against_oracles import SCORES, TARGETS, KnownViT
from oracles import slow_attention_flow as slow
from oracles.compare import assert_same, case_name, trace_map
from vitreous.methods import _max_flow
from vitreous.methods._max_flow import join, maximum_flows, reachable, spread_evenly

CASES = [
    ("attention_flow", {}),
    ("attention_flow", {"head": 1}),
    ("attention_flow", {"head": -1, "first": 1}),
    ("attention_flow", {"last": -2, "outliers": "mask"}),
]
MASKED = [("attention_flow", {"first": 1, "outliers": outliers}) for outliers in ("keep", "mask")]


def assert_equals_oracle(model, case):
    vit, oracle, images, pixels = model
    name, parameters = case
    found = trace_map(vit, images, TARGETS, name, **parameters)
    for image, score in enumerate(SCORES):
        assert_same(found[image], slow.attention_flow(oracle, pixels[image], score, **parameters))


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    assert_equals_oracle(opened, case)


@pytest.mark.parametrize("case", MASKED, ids=case_name)
def test_method_equals_its_oracle_where_tokens_are_outlying(with_outliers, case):
    assert_equals_oracle(with_outliers, case)


# --- graphs


def random_graph(tokens, blocks, peak, seed, skip=0.5):
    """Attention whose scores spread by `peak`: at 1 it is dense, at 8 almost one-hot."""
    generator = torch.Generator().manual_seed(seed)
    scores = peak * torch.randn(blocks, tokens, tokens, generator=generator, dtype=torch.float64)
    return (1 - skip) * scores.softmax(-1) + skip * torch.eye(tokens, dtype=torch.float64)


def read_from(kind, tokens):
    """What a class token, the mean of all others and an uneven pooling give the source."""
    shares = torch.zeros(tokens, dtype=torch.float64)
    if kind == "class token":
        shares[0] = 1
    elif kind == "mean":
        shares[1:] = 1 / (tokens - 1)
    else:
        shares[:] = torch.arange(1, tokens + 1) ** 2
    return shares / shares.sum()


def expected_flows(source, layers, sinks):
    graph = slow.flow_graph(source.tolist(), layers.tolist())
    return torch.tensor([slow.largest_flow(graph, sink) for sink in sinks.tolist()], dtype=torch.float64)


READ = ["class token", "mean", "pooling"]
GRAPHS = [(tokens, blocks, peak) for tokens, blocks in ((5, 1), (9, 2), (13, 3), (10, 6)) for peak in (0.5, 2.0, 8.0)]


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("shape", GRAPHS, ids=str)
def test_flows_of_random_graphs_equal_networkx(shape, kind):
    tokens, blocks, _ = shape
    layers, source = random_graph(*shape, seed=blocks), read_from(kind, tokens)
    sinks = torch.arange(tokens)
    found = maximum_flows(source, layers, sinks)
    assert (found.values - expected_flows(source, layers, sinks)).abs().max() < 1e-9
    assert found.gap < 1e-7


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("seed", range(3))
def test_flows_that_inner_cuts_limit_equal_networkx(seed, kind):
    """Blocks in which next to nothing leaves or reaches some tokens, and little of the skip connection is left."""
    layers = random_graph(11, 5, 3.0, seed, skip=0.1)
    generator = torch.Generator().manual_seed(seed)
    narrow = torch.rand(5, 11, 11, generator=generator, dtype=torch.float64) ** 8
    layers, source = layers * narrow, read_from(kind, 11)
    sinks = torch.arange(1, 11)
    found = maximum_flows(source, layers, sinks)
    assert (found.values - expected_flows(source, layers, sinks)).abs().max() < 1e-9
    assert (found.values < found.trivial - 1e-3).any()
    assert found.solved


def test_where_many_paths_share_a_bottleneck_the_solver_finds_it():
    """Two tokens reach two others through one: each path is wide, together they are not. The bound cannot see it."""
    layers = torch.zeros(3, 4, 4, dtype=torch.float64)
    layers[2, 0, :2] = 0.5  # the source to tokens 0 and 1
    layers[1, :2, 2] = 0.5  # both to token 2, which can hand on 0.4 on each of two edges
    layers[0, 2, 3] = 0.4
    layers[1, 0, 1] = 0.3  # a way around it
    layers[0, 1, 3] = 0.2
    source = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    found = maximum_flows(source, layers, torch.tensor([3]))
    assert float(found.values[0]) == pytest.approx(0.6, abs=1e-12)
    assert float(found.trivial[0]) == pytest.approx(0.6, abs=1e-12)
    layers[2, 0, :2] = torch.tensor([0.25, 0.0])  # 0 alone is reached, and may not be counted for both ways
    found = maximum_flows(source, layers, torch.tensor([3]))
    assert float(found.values[0]) == pytest.approx(0.25, abs=1e-12)


def test_a_graph_of_twelve_blocks_is_decided_without_the_solver(monkeypatch):
    """And the solver, asked for all of it, agrees."""
    layers, source = random_graph(30, 12, 1.5, seed=3), read_from("class token", 30)
    sinks = torch.arange(1, 30)
    found = maximum_flows(source, layers, sinks)
    assert found.solved == 0
    monkeypatch.setattr(_max_flow, "join", lambda _, __, demand: torch.full_like(demand[:, 0], math.inf))
    again = maximum_flows(source, layers, sinks)
    assert again.solved == 29
    assert (again.values - found.values).abs().max() < 1e-12
    assert max(found.gap, again.gap) < 1e-7
    some = torch.tensor([4, 17])
    assert (found.values[some - 1] - expected_flows(source, layers, some)).abs().max() < 1e-9


def test_what_is_reachable_is_never_less_than_what_flows():
    layers, source = random_graph(8, 4, 5.0, seed=1), read_from("class token", 8)
    reach = reachable(source, layers)
    for level in range(1, 4):
        flows = expected_flows(source, layers[level:], torch.arange(8))
        assert (torch.minimum(flows, layers[level - 1].sum(1)) <= reach[level] + 1e-12).all()


def test_amounts_are_asked_for_as_evenly_as_capacities_allow():
    capacity = torch.tensor([[0.1, 0.0], [0.3, 0.2], [0.9, 0.2]], dtype=torch.float64)
    amounts = torch.tensor([[0.5, 0.0], [0.2, 0.3], [1.3, 0.4]], dtype=torch.float64)
    # .5 = .1 + .2 + .2; .2 = 3 * .0667 and .3 = 0 + .15 + .15; 1.3 and .4 are everything
    expected = [[0.1, 0.2, 0.2], [0.2 / 3, 0.2 / 3 + 0.15, 0.2 / 3 + 0.15], [0.1, 0.5, 1.1]]
    found = spread_evenly(capacity, amounts)
    assert (found - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-15


def test_a_join_is_refused_where_an_edge_would_carry_more_than_it_holds():
    capacity = torch.full((2, 2), 0.25, dtype=torch.float64)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    assert join(capacity, half, half).tolist() == pytest.approx([0.0], abs=1e-9)
    assert join(0.99 * capacity, half, half).tolist() == [math.inf]


def test_a_join_is_refused_where_a_demand_cannot_be_met():
    capacity = torch.tensor([[0.5, 0.0], [0.5, 0.0]], dtype=torch.float64)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    assert join(capacity, half, half).tolist() == [math.inf]


# --- the method


def flow_of(blocks, class_token=True):
    torch.manual_seed(0)
    vit = vt.open_vit(KnownViT(blocks, class_token).eval(), preprocessing=vt.Preprocessing(size=(8, 16)))
    found = trace_map(vit, random_images(vit, 2), 0, "attention_flow")
    assert torch.equal(found[0], found[1])
    return found[0].flatten().tolist()


FIRST = [[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2]]
LAST = [[0.6, 0.3, 0.1], [0.3, 0.3, 0.4], [0.2, 0.7, 0.1]]


def test_flow_by_hand():
    # The class row of the last block is (.8, .15, .05); the first becomes (.6, .25, .15), (.05, .8, .15) and
    # (.2, .2, .6). To the first patch: .25 of the class token's .8, .15 of .15, .05 of .05; to the second .15 + .15 + .05.
    assert flow_of([[FIRST], [LAST]]) == pytest.approx([0.45, 0.35], rel=1e-12)


def test_flow_from_the_mean_of_two_patches_by_hand():
    # Each patch gets half. In one block, rows (.6, .4) and (.3, .7) become (.8, .2) and (.15, .85): to the first patch
    # .5 of .8 and .15, to the second .2 and .5 of .85.
    assert flow_of([[[[0.6, 0.4], [0.3, 0.7]]]], class_token=False) == pytest.approx([0.65, 0.7], rel=1e-12)


def test_a_record_says_how_many_patches_sit_at_the_trivial_bound():
    vit = vt.open_vit(scramble(timm_vit(depth=3)).double())
    (heatmap,) = vt.explain(vit, random_images(vit, 1), "attention_flow")
    (note,) = heatmap.provenance.notes
    at, of = int(note.split()[0]), vit.grid[0] * vit.grid[1]
    with vit.trace(random_images(vit, 1), 0) as trace:
        first = 0.5 + 0.5 * trace.patches(trace.attention[0][0].mean(0).sum(0))
    relevance = torch.tensor(heatmap.relevance).flatten()
    assert at == int((relevance >= first.clamp(max=1) - 1e-6).sum())
    assert f"{at} of {of} patches sit at the trivial bound" in note


def test_no_patch_gets_more_than_comes_out_of_the_source_or_goes_into_it(opened):
    vit, _, images, _ = opened
    found = trace_map(vit, images, 0, "attention_flow")
    with vit.trace(images, 0) as trace:
        entering = trace.to_grid(0.5 + 0.5 * trace.attention[0].mean(1).sum(1))
    assert (found <= torch.minimum(entering, torch.ones_like(entering)) + 1e-12).all()
    assert (found > 0).all()
