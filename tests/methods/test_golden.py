"""Maps of a real DeiT-tiny, against those that the authors' own implementations gave, point by point."""

import numpy as np
import pytest
from PIL import Image

import vitreous as vt
from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

MAPS = {
    # prefix in golden.npz: method, parameters, tolerance of its README relative to the peak
    "rollout": ("rollout", {}, 1e-5),
    "vitexplain_rollout_mean_d0": ("rollout", {}, 1e-5),
    "raw_attention_last": ("raw_attention", {}, 1e-4),
    "attn_gradcam_signed": ("attention_gradcam", {"relu": False}, 1e-4),
    "attn_gradcam_raw": ("attention_gradcam", {}, 1e-4),
    "genatt": ("generic_attention", {}, 1e-4),
    "agcam": ("agcam", {}, 1e-5),
    "agcam_nodetach": ("agcam", {"detach": False}, 1e-5),
    "gradcam": ("gradcam", {"relu": False}, 1e-4),
    "captum_saliency_abs_max": ("saliency", {}, 3e-4),
    "captum_saliency_abs_sum": ("saliency", {"channels": "sum"}, 3e-4),
}
CLASS_FREE = {"rollout", "vitexplain_rollout_mean_d0", "raw_attention_last"}
PREFIXES = set(MAPS)
LOGITS = 2.5e-5
"""Absolute; twice what fused attention and float64 differ by from the stored logits."""


@pytest.fixture(scope="module")
def maps(deit, golden):
    """All maps of all questions, from one trace of one batch."""
    with deit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        found = {
            prefix: METHODS[name].function(trace, **METHODS[name].complete(parameters)).detach().numpy()
            for prefix, (name, parameters, _) in MAPS.items()
        }
        for fusion in ("max", "min"):
            found[fusion] = METHODS["rollout"].function(trace, fusion=fusion).detach().numpy()
        found["gradcam_relu"] = METHODS["gradcam"].function(trace).detach().numpy()
        assert (trace.forwards, trace.backwards) == (1, 2)
        return found


def test_logits(deit, golden):
    expected = np.stack([golden.arrays[f"logits/{photo}"] for photo, _ in golden.questions])
    found = deit.logits(golden.images()).numpy()
    assert np.abs(found - expected).max() < LOGITS
    assert (found.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("prefix", MAPS)
def test_official_map(maps, golden, prefix):
    tolerance = MAPS[prefix][2]
    for question, found, expected in zip(
        golden.questions, maps[prefix], golden.expected(prefix, class_free=prefix in CLASS_FREE), strict=True
    ):
        if expected.any():
            assert relative_difference(found, expected) < tolerance, question
        else:  # the ReLU of attention Grad-CAM can leave nothing
            assert not found.any(), question


def test_gradcam_with_relu_is_its_positive_part(maps):
    assert np.array_equal(maps["gradcam_relu"], maps["gradcam"].clip(min=0))
    assert (maps["gradcam"] < 0).any()


def test_the_two_gradients_of_agcam_cannot_be_mistaken_for_each_other(maps, golden):
    for found, other in zip(maps["agcam"], golden.expected("agcam_nodetach"), strict=True):
        assert relative_difference(found, other) > 1e-2


@pytest.mark.parametrize("fusion", ["max", "min"])
def test_rollout_does_not_repeat_the_known_defect_of_vit_explain(maps, golden, fusion):
    """There rows that do not sum to one are divided by the sums of columns."""
    photos = [photo for photo, _ in golden.questions]
    for photo, found in zip(photos, maps[fusion], strict=True):
        assert relative_difference(found, golden.arrays[f"vitexplain_rollout_{fusion}_d0/{photo}/any"]) > 1e-2


@pytest.mark.parametrize(("file", "target"), [("catdog.png", 282), ("koala.jpg", 105)])
def test_a_photograph_by_its_path_gives_the_golden_map(deit, golden, shared, file, target):
    photo = file.partition(".")[0]
    path = shared / "data" / "photos" / file
    squashed = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    assert np.array_equal(squashed, golden.arrays[f"image/{photo}"])
    found = vt.compare(deit, path, ["agcam", "rollout"], target=target, fit="squash")
    for method, of in (("agcam", target), ("rollout", "any")):
        assert relative_difference(found[method].relevance, golden.arrays[f"{method}/{photo}/{of}"]) < 1e-5
    assert found["agcam"].provenance.image == file


def test_the_predicted_class_of_a_photograph(deit, shared):
    (found,) = vt.explain(deit, [shared / "data" / "photos" / "koala.jpg"], "rollout", fit="squash")
    assert found.provenance.predictions[0].index == 105
    assert found.provenance.target == "koala, koala bear, kangaroo bear, native bear, Phascolarctos cinereus (105)"
