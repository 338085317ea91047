"""The gradient family on a real DeiT-tiny, against the maps of pytorch-grad-cam and captum, point by point."""

import numpy as np
import pytest

from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

MAPS = {
    # prefix in golden.npz: method, parameters, tolerance of its README relative to the peak
    "gradcampp": ("gradcam_plus_plus", {"relu": False}, 3e-3),
    "xgradcam": ("xgradcam", {"relu": False}, 1e-3),
    "hirescam": ("hirescam", {}, 1e-4),
    "layercam": ("layercam", {"relu": False}, 1e-4),
    "gradcam_elementwise": ("layercam", {"positive": "product"}, 1e-4),
    "eigencam": ("eigencam", {}, 1e-4),
    "captum_ixg": ("input_x_gradient", {}, 3e-4),
}
PATHS = {"captum_ig_zero": "zero", "captum_ig_black": "black"}
PREFIXES = {*MAPS, *PATHS}


@pytest.fixture(scope="module")
def trace(deit, golden):
    with deit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        yield trace


@pytest.mark.parametrize("prefix", MAPS)
def test_official_map(trace, golden, prefix):
    name, parameters, tolerance = MAPS[prefix]
    maps = METHODS[name].function(trace, **METHODS[name].complete(parameters)).detach().numpy()
    for question, found, expected in zip(
        golden.questions, maps, golden.expected(prefix, class_free=prefix == "eigencam"), strict=True
    ):
        sign = np.sign(np.vdot(found, expected)) if prefix == "eigencam" else 1.0  # arbitrary there
        assert relative_difference(found, sign * expected) < tolerance, question
    assert (trace.forwards, trace.backwards) <= (1, 1)


@pytest.mark.parametrize("prefix", PATHS)
def test_official_integrated_gradients(deit, golden, prefix):
    """Of one photograph: with 50 passes for each, all of them would take minutes."""
    (photo, target), *_ = golden.questions
    with deit.trace(golden.images()[:1], target) as trace:
        (found,) = METHODS["integrated_gradients"].function(trace, baseline=PATHS[prefix]).detach().numpy()
    assert relative_difference(found, golden.arrays[f"{prefix}/{photo}/{target}"]) < 1e-4


def test_maps_of_the_two_baselines_cannot_be_mistaken_for_each_other(golden):
    for zero, black in zip(*(golden.expected(prefix) for prefix in PATHS), strict=True):
        assert relative_difference(zero, black) > 1e-2
