"""Relevance maps of a real DeiT-tiny, against those that the authors' own implementations gave, point by point."""

import copy
import itertools

import numpy as np
import pytest
import torch

import vitreous as vt
from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

AGGREGATES = {
    "fullgrad_plus": "fullgrad_plus",
    "fullgrad": "fullgrad",
    "input_x_gradient_plus": "cat_plus",
    "input_x_gradient": "ixg",
}
LIBRA = {
    f"{'' if libra else 'no'}libra_{name}": ({"libra": libra, "aggregate": aggregate}, 1e-5)
    for libra, (aggregate, name) in itertools.product((True, False), AGGREGATES.items())
}
PIXELS, PATCHES, DOUBLE = 1e-4, 1e-4, 1e-6


def patch_sums(pixels):
    return pixels.reshape(-1, 14, 16, 14, 16).sum((2, 4))


@pytest.fixture(scope="module")
def maps(deit, golden):
    """All maps of all questions, from one trace of one batch."""
    with deit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        relevance = METHODS["cp_lrp"].function(trace)
        found = {prefix: METHODS["libragrad"].function(trace, **given) for prefix, (given, _) in LIBRA.items()}
        assert (trace.forwards, trace.backwards) == (4, 3)
        found |= {"lxt_cplrp_eps": relevance, "lxt_cplrp_eps_patchsum": patch_sums(relevance)}
        return {prefix: each.numpy() for prefix, each in found.items()}


TOLERANCES = {prefix: tolerance for prefix, (_, tolerance) in LIBRA.items()}
TOLERANCES |= {"lxt_cplrp_eps": PIXELS, "lxt_cplrp_eps_patchsum": PATCHES}
OF_PROBABILITIES = {f"libra_prob_{aggregate}": aggregate for aggregate in ("fullgrad", "fullgrad_plus")}
PREFIXES = {*TOLERANCES, *OF_PROBABILITIES, "lxt_cplrp_eps_patchsum_f64"}


@pytest.mark.parametrize("prefix", TOLERANCES)
def test_official_map(maps, golden, prefix):
    for question, found, expected in zip(golden.questions, maps[prefix], golden.expected(prefix), strict=True):
        assert relative_difference(found, expected) < TOLERANCES[prefix], question


def test_official_map_in_double_precision(deit, golden):
    images, targets = golden.images(), [target for _, target in golden.questions]
    vit = vt.open_vit(copy.deepcopy(deit.model).double(), preprocessing=deit.preprocessing)
    normalised = deit.prepare(images).double()  # as the official maps were made: normalised in float32
    with vit.trace(images.double(), targets) as trace, trace.again(inputs=normalised) as exact:
        maps = patch_sums(METHODS["cp_lrp"].function(exact)).numpy()
    expected = golden.expected("lxt_cplrp_eps_patchsum_f64")
    for question, own, official in zip(golden.questions, maps, expected, strict=True):
        assert relative_difference(own, official) < DOUBLE, question


def test_official_map_of_probabilities(deit, golden):
    """The softmax over classes is part of the target, and keeps its gradient."""
    vit = vt.open_vit(
        deit.model, preprocessing=deit.preprocessing, call=lambda model, inputs: torch.softmax(model(inputs), -1)
    )
    with vit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        for prefix, aggregate in OF_PROBABILITIES.items():
            found = METHODS["libragrad"].function(trace, aggregate=aggregate).numpy()
            for own, expected in zip(found, golden.expected(prefix), strict=True):
                assert relative_difference(own, expected) < 5e-5


def test_the_gradients_cannot_be_mistaken_for_each_other(maps, golden):
    for found, other in zip(maps["libra_fullgrad_plus"], golden.expected("nolibra_fullgrad_plus"), strict=True):
        assert relative_difference(found, other) > 0.1
    assert all(np.isfinite(each).all() for each in maps.values())
