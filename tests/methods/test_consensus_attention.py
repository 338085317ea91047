"""Consensus attention against slow loops, at its limits, and by hand."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitreous as vt
from contracts.families import CLASSES, PATCH, WIDE, random_images, scramble
from methods.test_against_oracles import SCORES, TARGETS
from oracles import slow_attention
from oracles.compare import assert_same, case_name, trace_map
from oracles.planted import open_planted
from vitreous.methods._method import METHODS
from vitreous.vit.trace import Trace

CASES = [
    ("consensus_attention", {}),
    ("consensus_attention", {"sharpness": 0.0}),
    ("consensus_attention", {"sharpness": 7.5}),
    ("consensus_attention", {"first": 1, "last": -2}),
    ("consensus_attention", {"head": -1, "sharpness": 2.0}),
    ("consensus_attention", {"sharpness": 3.0, "first": 1, "outliers": "mask"}),
]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    vit, oracle, images, pixels = opened
    name, parameters = case
    found = trace_map(vit, images, TARGETS, name, **parameters)
    for image, score in enumerate(SCORES):
        assert_same(found[image], slow_attention.consensus_attention(oracle, pixels[image], score, **parameters))


def test_method_equals_its_oracle_where_tokens_are_outlying(with_outliers):
    vit, oracle, images, pixels = with_outliers
    found = trace_map(vit, images, 0, "consensus_attention", outliers="mask")
    assert not torch.equal(found, trace_map(vit, images, 0, "consensus_attention"))
    for image, score in enumerate(SCORES):
        assert_same(found[image], slow_attention.consensus_attention(oracle, pixels[image], score, outliers="mask"))


def test_without_weights_it_is_mean_attention(opened):
    vit, _, images, _ = opened
    plain = trace_map(vit, images, 0, "mean_attention")
    assert_same(trace_map(vit, images, 0, "consensus_attention", sharpness=0.0), plain)
    assert (trace_map(vit, images, 0, "consensus_attention", sharpness=5.0) - plain).abs().max() > 1e-3 * plain.max()


def model_of(heads):
    return VisionTransformer(WIDE, PATCH, embed_dim=24, depth=2, num_heads=heads, mlp_ratio=2, num_classes=CLASSES)


@pytest.mark.parametrize("heads", [1, 2])
def test_one_or_two_heads_weigh_alike(heads):
    model = scramble(model_of(heads)).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=WIDE, mean=(0.5,) * 3, std=(0.25,) * 3))
    images = random_images(vit, 2)
    found = trace_map(vit, images, 0, "consensus_attention", sharpness=4.0)
    assert_same(found, trace_map(vit, images, 0, "mean_attention"))


def consensus(monkeypatch, *heads, **parameters):
    """Give the map of made-up heads, each what the class token attends to among six patches."""
    vit = open_planted(grid=(2, 3))
    made = torch.zeros(1, len(heads), 7, 7)
    made[0, :, 0, 1:] = torch.tensor(heads)
    made[0, :, 0, 0] = 1 - made[0, :, 0, 1:].sum(-1)
    with vit.trace(random_images(vit, 1), 0) as trace, monkeypatch.context() as patched:
        patched.setattr(Trace, "attention", property(lambda _: (made,)))
        found = METHODS["consensus_attention"].function(trace, **parameters)
    return found.flatten().tolist()


def test_the_head_that_stands_alone_counts_for_less(monkeypatch):
    together, alone = [0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0.4, 0.4]
    # Two heads agree with one of two others, the third with none: weights 1/2, 1/2 and 0, whatever the sharpness.
    assert consensus(monkeypatch, together, together, alone) == pytest.approx(together)
    # The second agrees by 1/2 with either of the others, who share nothing: 1/4, 1/2 and 1/4; squared 1/6, 2/3, 1/6.
    first, middle, last = [0.8, 0.8, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]
    first, middle, last = ([share / 2 for share in head] for head in (first, middle, last))
    assert consensus(monkeypatch, first, middle, last) == pytest.approx([0.1, 0.35, 0.375, 0.125, 0, 0])
    squared = consensus(monkeypatch, first, middle, last, sharpness=2.0)
    assert squared == pytest.approx([0.4 / 6, 0.4 / 6 + 1 / 3, 1 / 3 + 0.5 / 6, 0.5 / 6, 0, 0])


def test_heads_without_consensus_weigh_alike(monkeypatch):
    apart = [[0.9, 0, 0, 0, 0, 0], [0, 0.6, 0, 0, 0, 0], [0, 0, 0.3, 0, 0, 0]]
    assert consensus(monkeypatch, *apart) == pytest.approx([0.3, 0.2, 0.1, 0, 0, 0])
    nowhere = [0.0] * 6  # all of its attention goes to the class token: it agrees with nobody, and shows nothing
    assert consensus(monkeypatch, apart[0], apart[0], nowhere) == pytest.approx(apart[0])
    assert consensus(monkeypatch, nowhere, nowhere) == nowhere


@pytest.mark.parametrize("sharpness", [-1.0, float("nan"), float("inf")])
def test_a_sharpness_out_of_range_is_refused(sharpness):
    vit = open_planted()
    with vit.trace(random_images(vit, 1)) as trace, pytest.raises(vt.VitreousError, match=r"sharpness=.* is out of"):
        METHODS["consensus_attention"].function(trace, sharpness=sharpness)
