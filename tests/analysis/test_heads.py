"""Numbers of single heads: by hand on made-up attention, against loops and slopes, and on every family of models."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import vitreous as vt
from contracts.families import EITHER_SIDE, FAMILIES, random_images
from vitreous.analysis.head_ablation import head_ablation
from vitreous.analysis.head_importance import head_importance
from vitreous.analysis.head_numbers import head_numbers
from vitreous.core.errors import InputError
from vitreous.vit.trace import Trace

EVERY = pytest.mark.parametrize("family", FAMILIES)
ON_EITHER_SIDE = pytest.mark.parametrize("family", EITHER_SIDE)


@pytest.fixture(scope="module")
def vit():
    return FAMILIES["timm"].open()


def numbers_of(monkeypatch, vit, *attention, queries="patches"):
    """Give the numbers of made-up attention "n n", one block and one head for each."""
    with vit.trace(random_images(vit, 1), 0) as trace:
        made = tuple(each.float()[None, None] for each in attention)
        with monkeypatch.context() as patched:
            patched.setattr(Trace, "attention", property(lambda _: made))
            found = head_numbers(trace, queries)
    return {name: values.flatten().tolist() for name, values in vars(found).items()}


def test_numbers_of_attention_made_by_hand(monkeypatch, vit):
    (rows, columns), prefix = vit.grid, vit.prefix
    patches = rows * columns
    tokens = prefix + patches
    even = torch.full((tokens, tokens), 1 / tokens)
    sink = torch.zeros(tokens, tokens)
    sink[:, prefix + 2] = 1
    to_the_right = torch.eye(tokens).roll(1, 1)  # each patch attends to the next one of its row, or of the row below
    halves = 0.5 * torch.eye(tokens) + 0.5 * sink
    found = numbers_of(monkeypatch, vit, even, sink, torch.eye(tokens), halves)
    assert found["entropy"] == pytest.approx([1, 0, 0, (patches - 1) / patches * math.log(2) / math.log(tokens)])
    assert found["confidence"] == pytest.approx([1 / tokens, 1, 1, (0.5 * (patches - 1) + 1) / patches])
    assert found["self_mass"] == pytest.approx([1 / tokens, 1 / patches, 1, (0.5 * (patches - 1) + 1) / patches])
    assert found["prefix_mass"] == pytest.approx([prefix / tokens, 0, 0, 0])
    assert found["sink_mass"] == pytest.approx([1 / tokens, 1, 1 / patches, 0.5 + 0.5 / patches])
    assert found["sink"][1] == found["sink"][3] == prefix + 2
    high, wide = vit.patch
    places = [(high * row, wide * column) for row in range(rows) for column in range(columns)]
    to_third = np.mean([math.dist(place, places[2]) for place in places])
    everywhere = np.mean([[math.dist(one, other) for one in places] for other in places])
    assert found["distance"] == pytest.approx([everywhere, to_third, 0, to_third / 2])
    stepped = numbers_of(monkeypatch, vit, to_the_right)["distance"][0]
    steps = [math.dist(one, other) for one, other in pairwise(places)]
    assert stepped == pytest.approx(np.mean(steps))  # the last patch attends to the class token: it has no distance


def test_queries_are_those_that_were_asked_for(monkeypatch, vit):
    tokens, prefix = vit.prefix + vit.grid[0] * vit.grid[1], vit.prefix
    attention = torch.full((tokens, tokens), 1 / tokens)
    attention[:prefix] = torch.eye(tokens)[:prefix]
    assert numbers_of(monkeypatch, vit, attention, queries="prefix")["confidence"] == [1]
    assert numbers_of(monkeypatch, vit, attention, queries="patches")["confidence"] == pytest.approx([1 / tokens])
    mixed = (prefix + (tokens - prefix) / tokens) / tokens
    assert numbers_of(monkeypatch, vit, attention, queries="all")["confidence"] == pytest.approx([mixed])


def test_a_head_that_attends_to_no_patch_has_no_distance(monkeypatch, vit):
    tokens = vit.prefix + vit.grid[0] * vit.grid[1]
    attention = torch.zeros(tokens, tokens)
    attention[:, 0] = 1
    found = numbers_of(monkeypatch, vit, attention)
    assert math.isnan(found["distance"][0])
    assert found["prefix_mass"] == [1]


@ON_EITHER_SIDE
def test_numbers_are_those_of_loops_on_every_family(family):
    vit = EITHER_SIDE[family].open()
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        found = head_numbers(trace)
        attention = torch.stack(trace.attention, 1).double().detach().numpy()
    (rows, columns), prefix, (high, wide) = vit.grid, vit.prefix, vit.patch
    places = [(high * row, wide * column) for row in range(rows) for column in range(columns)]
    patches = range(prefix, prefix + rows * columns)
    for index in np.ndindex(attention.shape[:3]):
        weights = attention[index]
        spread = [-sum(w * math.log(w) for w in weights[query] if w > 0) / math.log(len(weights)) for query in patches]
        reach = [
            sum(weights[query, key] * math.dist(places[query - prefix], places[key - prefix]) for key in patches)
            / sum(weights[query, key] for key in patches)
            for query in patches
        ]
        received = [np.mean([weights[query, key] for query in patches]) for key in range(len(weights))]
        expected = {
            "entropy": np.mean(spread),
            "confidence": np.mean([weights[query].max() for query in patches]),
            "distance": np.mean(reach),
            "prefix_mass": sum(share for place, share in enumerate(received) if place not in patches),
            "self_mass": np.mean([weights[query, query] for query in patches]),
            "sink_mass": max(received),
            "sink": int(np.argmax(received)),
        }
        for name, value in expected.items():
            assert getattr(found, name)[index].item() == pytest.approx(value, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("queries", ["patches", "prefix", "all"])
def test_queries_on_both_sides_of_the_patches(monkeypatch, queries):
    """Two registers before the patches and the class token behind them; each token is as sure as its place."""
    vit = EITHER_SIDE["registers before, class token behind"].open()
    assert (vit.prefix, vit.suffix, vit.tokens) == (2, 1, 15)
    sure = torch.arange(1, 16) / 20
    attention = torch.diag(sure) + (1 - sure)[:, None] * (1 - torch.eye(15)) / 14
    asked = {"patches": range(2, 14), "prefix": [0, 1, 14], "all": range(15)}[queries]
    found = numbers_of(monkeypatch, vit, attention, queries=queries)
    assert found["self_mass"] == pytest.approx([np.mean([float(sure[place]) for place in asked])])
    beside = np.mean([float(attention[place, [0, 1, 14]].sum()) for place in asked])
    assert found["prefix_mass"] == pytest.approx([beside])


def test_prefix_queries_of_a_model_without_prefix_are_refused():
    vit = FAMILIES["rope mean"].open()
    assert vit.prefix == 0
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError, match="no class or register"):
        head_numbers(trace, "prefix")


def quieter(block, head, factor):
    """Multiply the output of one head by a factor."""

    def edit(here, weights, values):
        if here != block:
            return weights, values
        values = values.clone()
        values[:, head] *= factor
        return weights, values

    return edit


@EVERY
def test_silencing_heads_together_is_silencing_them_one_by_one(family):
    vit = FAMILIES[family].open()
    with vit.trace(random_images(vit, 2), [0, vt.Contrast(1, 2)]) as trace:
        found, before = head_ablation(trace), trace.forwards
        score = trace.score.detach()
        for block, head in np.ndindex(found.shape[1:]):
            expected = score - trace.rescore(edit=quieter(block, head, 0.0))
            assert found[:, block, head].tolist() == pytest.approx(
                expected.tolist(), abs=1e-5 * float(score.abs().max() + 1)
            )
        assert before == 1 + 2 * found[0].numel()
    assert found.abs().max() > 1e-4


def test_importance_is_the_slope_of_the_score():
    vit = FAMILIES["timm"].open()
    vit.model.double()
    with vit.trace(random_images(vit, 2).double(), [0, vt.Contrast(1, 2)]) as trace:
        found = head_importance(trace)
        for block, head in np.ndindex(found.shape[1:]):
            more, less = (trace.rescore(edit=quieter(block, head, 1 + step)) for step in (1e-4, -1e-4))
            slope = ((more - less) / 2e-4).abs()
            assert found[:, block, head].tolist() == pytest.approx(slope.tolist(), rel=1e-4, abs=1e-8)


def test_blocks_before_the_capture_are_left_out(vit):
    with vit.trace(random_images(vit, 1), 0) as whole:
        every = head_ablation(whole), head_importance(whole), head_numbers(whole).entropy
    with vit.trace(random_images(vit, 1), 0, capture=vt.Capture(first=1)) as trace:
        later = head_ablation(trace), head_importance(trace), head_numbers(trace).entropy
    for one, some in zip(every, later, strict=True):
        assert torch.allclose(one[:, 1:], some, atol=1e-5)
