"""Transformer Attribution and its family on a real DeiT-tiny, against the published code run in float64."""

import copy

import numpy as np
import pytest

import vitreous as vt
from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

MAPS = {
    # prefix in golden.npz: method, tolerance for a float32 model. There the gradient, which Transformer Attribution
    # multiplies with, is the float32 model's own; its rounding is what the larger tolerance is for.
    "chefer_ta_f64": ("transformer_attribution", 3e-5),
    "chefer_lrp_rollout_f64": ("lrp_rollout", 1e-6),
    "chefer_partial_lrp_f64": ("partial_lrp", 1e-6),
    "chefer_full_lrp_f64": ("full_lrp", 1e-6),
}
PREFIXES = set(MAPS)
TOLERANCE = 1e-6
"""Of the peak, for a float64 model; that of the golden maps' README."""


@pytest.fixture(scope="module", params=["float64", "float32"])
def maps(request, deit, golden):
    """All maps of all questions, from one trace of one batch; with the type of the model."""
    vit = deit
    if request.param == "float64":
        vit = vt.open_vit(copy.deepcopy(deit.model).double(), preprocessing=deit.preprocessing)
    with vit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        found = {prefix: METHODS[name].function(trace).numpy() for prefix, (name, _) in MAPS.items()}
        return request.param, found, [list(notes) for notes in trace.notes]


@pytest.mark.parametrize("prefix", MAPS)
def test_official_map(maps, golden, prefix):
    dtype, found, _ = maps
    tolerance = TOLERANCE if dtype == "float64" else MAPS[prefix][1]
    for question, own, expected in zip(golden.questions, found[prefix], golden.expected(prefix), strict=True):
        assert relative_difference(own, expected) < tolerance, question


def test_the_ill_conditioned_sums_are_noted(maps):
    """The golden README tells of maps that change by percents for an input that changes by 1e-7."""
    _, _, notes = maps
    ratios = [float(text.split(" is ")[1].split(" times")[0]) for (text, *_) in notes]
    assert max(ratios) > 1e3
    assert np.isfinite(ratios).all()
