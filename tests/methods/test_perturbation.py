"""Occlusion, RISE, KernelSHAP and AtMan against oracles that delete patches by hand, and against exact Shapley values."""

import itertools

import pytest
import torch
from torch import nn

import vitreous as vt
from contracts.families import PATCH, SQUARE, random_images, scramble, timm_vit
from oracles import slow, slow_perturbation
from oracles.compare import assert_same, case_name, trace_map
from oracles.planted import BRIGHTEST, DARKEST, NOTHING, open_planted, planted_images
from vitreous.methods._method import METHODS
from vitreous.methods.kernel_shap import solve
from vitreous.vit.coalitions import coalition_scores

CASES = [
    ("occlusion", {}),
    ("occlusion", {"fill": "mean"}),
    ("occlusion", {"fill": "blur"}),
    ("occlusion", {"fill": "black"}),
    ("rise", {"masks": 20}),
    ("rise", {"masks": 12, "shown": 0.1}),
    ("rise", {"masks": 6, "fill": "mean"}),
    ("rise", {"masks": 5, "fill": "black", "cells": 3, "shown": 0.7}),
    ("kernel_shap", {"samples": 61}),
    ("kernel_shap", {"samples": 60, "fill": "mean"}),
    ("atman", {}),
    ("atman", {"suppression": 1.0}),
    ("atman", {"threshold": 0.1, "suppression": 0.5}),
    ("atman", {"shift": True, "threshold": 1.0}),
]
TARGETS = [2, vt.Contrast(4, 1), None]
SCORES = [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits.max()]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    vit, oracle, images, pixels = opened
    name, parameters = case
    with vit.trace(images, TARGETS) as trace:
        found = METHODS[name].function(trace, **METHODS[name].complete(parameters)).detach()
        generators = trace.generators(name)
        predicted = int(trace.target.plus[2])
    scores = [*SCORES[:2], lambda logits: logits[predicted]]  # the prediction of the whole image, not of a part of it
    for image in range(2 if name in {"rise", "kernel_shap"} else 3):
        oracle_map = getattr(slow_perturbation, name)(
            oracle, pixels[image], scores[image], generators[image], **parameters
        )
        assert_same(found[image], oracle_map)


@pytest.fixture(scope="module")
def tiny():
    """A 3 x 3 grid, small enough for all sets of patches, as a model and as an oracle."""
    model = scramble(timm_vit(SQUARE, depth=1)).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=SQUARE, mean=(0.5,) * 3, std=(0.25,) * 3))
    return vit, slow.SlowViT.of(model)


@pytest.mark.parametrize("fill", ["drop", "mean"])
def test_all_sets_of_a_small_grid_give_exact_shapley_values(tiny, fill):
    vit, oracle = tiny
    images = random_images(vit, 2)
    found = trace_map(vit, images, [1, 3], "kernel_shap", samples=510, fill=fill)
    pixels = (images[1] - 0.5) / 0.25
    exact = slow_perturbation.shapley(9, lambda kept: float(slow_perturbation.seen(oracle, pixels, kept, fill)[3]))
    assert_same(found[1].flatten(), torch.tensor(exact, dtype=torch.float64))


def test_sampled_values_come_closer_to_the_exact_ones_with_more_samples(tiny):
    vit, _ = tiny
    images = random_images(vit, 3)
    exact = trace_map(vit, images, 2, "kernel_shap", samples=510)
    errors = [
        float((trace_map(vit, images, 2, "kernel_shap", samples=samples) - exact).norm()) for samples in (20, 80, 500)
    ]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2] > 0


@pytest.mark.parametrize("fill", ["drop", "mean", "blur", "black"])
def test_shapley_values_sum_to_what_all_patches_add(opened, fill):
    vit, oracle, images, pixels = opened
    found = trace_map(vit, images[:1], 2, "kernel_shap", samples=64, fill=fill)
    whole = float(vit.logits(images[:1])[0, 2])
    nothing = float(slow_perturbation.seen(oracle, pixels[0], set(), fill)[2])
    assert float(found.sum()) == pytest.approx(whole - nothing, abs=1e-9)


class AdditiveViT(nn.Module):
    """A class token that adds up the brightness of all patches: the mean over tokens, times their number."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 4, PATCH, PATCH, bias=False)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.blocks = nn.ModuleList([AdditiveBlock()])
        self.head = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.weight[:, 0] = 3 / (3 * PATCH * PATCH)
            self.head.weight.zero_()
            self.head.weight[:, 0] = torch.tensor([1.0, -2.0])

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


class AdditiveBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Identity()

    def forward(self, tokens):
        alike = torch.zeros_like(tokens)[:, None]
        mixed = nn.functional.scaled_dot_product_attention(alike, alike, tokens[:, None])[:, 0]
        return tokens + mixed * tokens.shape[1]


@pytest.fixture(scope="module")
def additive():
    plain = vt.Preprocessing(size=(3 * PATCH, 4 * PATCH), mean=(0.0,) * 3, std=(1.0,) * 3)
    return vt.open_vit(AdditiveViT().double().eval(), preprocessing=plain)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("kernel_shap", {"samples": 60}), ("kernel_shap", {"samples": 4094}), ("occlusion", {})],
    ids=str,
)
def test_values_of_an_additive_game_are_what_each_patch_adds(additive, name, parameters):
    images = random_images(additive, 2)
    red = images[:, 0].double().reshape(2, 3, PATCH, 4, PATCH).mean((2, 4))
    for target, worth in ((0, 1.0), (1, -2.0)):
        assert_same(trace_map(additive, images, target, name, fill="black", **parameters), worth * red)


def test_rise_orders_the_patches_by_what_they_add(additive):
    images = torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    images = images.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    found = trace_map(additive, images, 0, "rise", masks=2000).flatten()
    expected = images[0, 0, ::PATCH, ::PATCH].flatten().double()
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.95


def test_atman_without_shift_can_raise_attention_that_it_should_lower(opened):
    """Why the official code shifts: a negative score times 0.1 is larger than it was."""
    vit, _, images, _ = opened
    maps = [trace_map(vit, images, 2, "atman", shift=shift, threshold=1.0) for shift in (False, True)]
    assert (maps[0] - maps[1]).abs().max() > 0.05 * maps[1].abs().max()


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("rise", {"masks": 0}, "masks=0"),
        ("rise", {"shown": 0.0}, "shown=0.0"),
        ("rise", {"shown": 1.0}, "shown=1.0"),
        ("rise", {"cells": 0}, "cells=0"),
        ("kernel_shap", {"samples": 17}, "samples=17"),
        ("atman", {"suppression": 0.0}, "suppression=0.0"),
        ("atman", {"suppression": 1.1}, "suppression=1.1"),
        ("atman", {"threshold": 1.1}, "threshold=1.1"),
    ],
)
def test_parameters_out_of_range_are_refused(tiny, name, parameters, said):
    vit, _ = tiny
    with pytest.raises(vt.VitreousError, match=said):
        vt.explain(vit, random_images(vit, 1), name, **parameters)


def test_samples_that_do_not_determine_the_values_are_refused():
    keep = torch.tensor([[True, False, False], [False, True, True]] * 5)
    with pytest.raises(vt.VitreousError, match="too few for 3 patches"):
        solve(keep, torch.ones(10), torch.ones(10), torch.tensor(1.0))


def test_forward_passes_are_counted(tiny):
    vit, _ = tiny
    expected = {"occlusion": 9, "rise": 1000, "kernel_shap": 511, "atman": 9}
    for name, count in expected.items():
        for fill in ["drop", "mean"] if name != "atman" else [None]:
            given = METHODS[name].defaults | ({"fill": fill} if fill else {})
            given |= {"masks": 100} if name == "rise" else {}
            with vit.trace(random_images(vit, 2), 0) as trace:
                METHODS[name].function(trace, **given)
                assert trace.forwards == 1 + (100 if name == "rise" else count)


def test_every_set_of_patches_is_worth_the_same_in_any_order(tiny):
    vit, _ = tiny
    images = random_images(vit, 2)
    keep = torch.tensor(list(itertools.product([False, True], repeat=9))[::7])
    with vit.trace(images, [0, 3]) as trace:
        for fill in ("drop", "mean"):
            forth = coalition_scores(trace, keep.expand(2, -1, -1), fill)
            back = coalition_scores(trace, keep.flip(0).expand(2, -1, -1), fill).flip(1)
            assert_same(forth, back, tolerance=1e-12)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_atman_finds_the_planted_patch_when_each_is_turned_down_alone(prefix, shift):
    """The contract leaves it out, because there all tokens are alike and would be turned down together."""
    vit = open_planted(prefix=prefix)
    extremes = [(0, 11), (5, 2), (11, 6), (7, 8)]
    images, _ = planted_images(vit, extremes)
    for target, place in ((BRIGHTEST, 0), (DARKEST, 1)):
        found = trace_map(vit, images, target, "atman", threshold=1.0, shift=shift).flatten(1)
        assert found.argmax(1).tolist() == [pair[place] for pair in extremes]
    assert trace_map(vit, images, NOTHING, "atman", threshold=1.0, shift=shift).abs().max() < 1e-6
