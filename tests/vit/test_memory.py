"""The estimate of memory, beside what is alive at once while a method runs."""

import pytest
import timm
import torch

import vitreous as vt
from contracts.cheap import CHEAP
from contracts.families import random_images
from oracles.live_bytes import LiveBytes
from vitreous.core.errors import MemoryEstimateError
from vitreous.methods._method import METHODS
from vitreous.vit import memory
from vitreous.vit.passes import Capture

LONG = {"img_size": 60, "patch_size": 5, "embed_dim": 48, "depth": 6, "num_heads": 4}
SHAPES = {
    "long": LONG,
    "wide": {"img_size": 32, "patch_size": 4, "embed_dim": 192, "depth": 3, "num_heads": 3},
    "mean": {**LONG, "class_token": False, "global_pool": "avg"},
}
"""Attention is most of it, or activations are; and a head that CAM reads."""

BOUNDED = {"score_cam", "ablation_cam", "vit_cx", "tis", "attention_flow"}
"""Their passes have a size of their own, whatever the batch, as those of the perturbation family; or they solve, in
lists, what the trace found."""

METHODS_MEASURED = [name for name in METHODS if METHODS[name].family != "perturbation" and name not in BOUNDED]
BELOW = 0.85
"""Batches are made for half of the free memory."""

ABOVE: dict[str, float] = {}
"""Methods whose estimate may be further above what they need, each for a reason."""


def opened(shape):
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(num_classes=7, **SHAPES[shape]).eval()
    size = (SHAPES[shape]["img_size"],) * 2
    return vt.open_vit(model, preprocessing=vt.Preprocessing(size=size))


@pytest.fixture(scope="module")
def models():
    return {shape: opened(shape) for shape in SHAPES}


def estimated(vit, method, given):
    held = method.holds(vit, given)
    return memory.bytes_per_image(vit, method.capture(vit, given), [held] if held else [])


def measured(vit, method, given):
    """By how much the peak grows with each further image: what does not grow is not counted."""
    peaks = []
    for count in (1, 3):
        images = random_images(vit, count)
        with LiveBytes() as live, vit.trace(images, 1, capture=method.capture(vit, given)) as trace, torch.no_grad():
            method.function(trace, **given)
        peaks.append(live.peak)
    return (peaks[1] - peaks[0]) / 2


def assert_estimated(vit, name, **parameters):
    method = METHODS[name]
    given = method.complete(CHEAP.get(name, {}) | parameters)
    ratio = estimated(vit, method, given) / measured(vit, method, given)
    assert BELOW < ratio < ABOVE.get(name, 2.5), (name, ratio)


@pytest.mark.parametrize("name", METHODS_MEASURED)
def test_the_estimate_is_what_a_method_needs_where_attention_is_most_of_it(models, name):
    assert_estimated(models["mean" if name == "cam" else "long"], name)


@pytest.mark.parametrize(
    "name", ["random", "gradcam", "agcam", "attcat", "saliency", "attnlrp", "libragrad", "lrp_rollout", "smoothgrad"]
)
def test_the_estimate_is_what_a_method_needs_where_activations_are_most_of_it(models, name):
    assert_estimated(models["wide"], name)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("lrp_rollout", {"precision": "single"}),
        ("cam", {"plus": True}),
    ],
)
def test_parameters_count(models, name, given):
    assert_estimated(models["mean"], name, **given)


def test_a_second_graph_costs_what_it_measures_and_the_largest_counts(models):
    vit = models["long"]
    method, without = METHODS["attnlrp"], METHODS["agcam"]
    given = method.defaults
    assert without.holds(vit, without.defaults) is None
    assert measured(vit, method, given) > 1.5 * measured(vit, without, without.defaults)
    held, capture = method.holds(vit, given), method.capture(vit, given)
    alone, small = memory.bytes_per_image(vit, capture), memory.Held(Capture(first=2, pixels=False))
    assert memory.bytes_per_image(vit, capture, [small, held]) == memory.bytes_per_image(vit, capture, [held]) > alone
    assert alone < memory.bytes_per_image(vit, capture, [small]) < memory.bytes_per_image(vit, capture, [held])


def test_what_is_held_beside_makes_batches_smaller_and_can_be_too_much(models, monkeypatch):
    vit, capture = models["long"], Capture()
    held = [memory.Held(capture)]
    one = memory.bytes_per_image(vit, capture)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 8 * one)
    assert (memory.batch_that_fits(vit, capture, 8), memory.batch_that_fits(vit, capture, 8, held=held)) == (4, 2)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1.5 * one)
    assert memory.batch_that_fits(vit, capture, 8) == 1
    with pytest.raises(MemoryEstimateError):
        memory.batch_that_fits(vit, capture, 8, held=held)


def test_numbers_of_a_methods_own_precision_are_counted_in_it(models):
    vit, capture = models["long"], Capture()
    single, double = (memory.held_bytes(vit, memory.Held(capture, item_size=size)) for size in (1, 8))
    assert double == 2 * single


def test_live_bytes_count_what_is_alive_and_nothing_else():
    before = torch.zeros(100)
    with LiveBytes() as live:
        kept = before + 1  # 400 bytes
        kept.view(10, 10).add_(before.view(10, 10))
        for _ in range(3):
            (before * 2).sum()  # 400 and 4 more, freed each time
    assert live.peak == 804
    assert live.now == 400
