"""Robustness metrics against numbers worked out by hand, and captum."""

import math
from itertools import chain

import pytest
import torch
from scripted import Scripted, open_case

import vitreous as vt
from oracles.planted import open_planted, planted_images
from oracles.planted_case import brightness_of
from vitreous.metrics._case import Case, Truth
from vitreous.metrics.max_sensitivity import max_sensitivity
from vitreous.metrics.stress_consistency import stress_consistency


def test_max_sensitivity_by_hand():
    # Lengths are 5 and 2. Image 0 moves by 1, 4, then 3; image 1 by 0, 0, then 1 along each of four axes: 2.
    explain = Scripted(
        [[3, 4, 0, 1], [0, 0, 2, 0]],
        [[3, 0, 0, 0], [0, 0, 2, 0]],
        [[0, 4, 0, 0], [1, 1, 3, 1]],
        [[3, 4, 0, 0], [0, 0, 0, 0]],
    )
    with open_case([[3, 4, 0, 0], [0, 0, 2, 0]], explain) as case:
        before = case.trace.forwards
        assert max_sensitivity(case, draws=3).tolist() == pytest.approx([0.8, 1.0], abs=1e-12)
        assert case.trace.forwards - before == 3


def test_noise_stays_within_its_radius_and_the_image_within_its_range():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[0, :, :4] = 1.0
    explain = Scripted(*[[[1, 2, 3, 4]] * 2] * 6)
    with open_case([[1, 2, 3, 4]] * 2, explain, images=images) as case:
        max_sensitivity(case, radius=0.1, draws=4)
        max_sensitivity(case, radius=0.1, draws=2)
    noisy = torch.stack([seen for *_, seen in explain.asked])
    change = noisy[:4] - images
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert change.abs().max() <= 0.1 + 1e-6
    inner = change[:, (images > 0.1) & (images < 0.9)]
    assert inner.mean().item() == pytest.approx(0.0, abs=0.01)
    assert inner.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)  # uniform
    assert (change[:, 0, :, :4] <= 0).all()
    assert torch.equal(noisy[4:], noisy[:2])  # the same draws again, for any method
    assert not torch.equal(noisy[0], noisy[1])


@pytest.mark.parametrize("oracle", ["loops", "captum"])
def test_max_sensitivity_is_that_of_loops_and_of_captum(oracle):
    vit = open_planted()
    images, _ = planted_images(vit, [(5, 0), (2, 7), (10, 3)])

    def explain(seen):
        return torch.exp(3 * brightness_of(vit, seen.double()))

    with vit.trace(images, 0, seed=2) as trace:
        case = Case(trace, explain(images), lambda other: explain(other.images), (Truth(),) * 3)
        found = max_sensitivity(case, radius=0.05, draws=6)
        draws = [[torch.rand(3, 12, 16, generator=one) for _ in range(6)] for one in case.generators("max_sensitivity")]
    noisy = torch.stack(
        [
            (image + 0.05 * (2 * one - 1)).clamp(0, 1)
            for image, drawn in zip(images, draws, strict=True)
            for one in drawn
        ]
    )
    expected = (_by_loops if oracle == "loops" else _by_captum)(explain, images, noisy)
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def _by_loops(explain, images, noisy):
    worst = []
    for number, image in enumerate(images):
        (before,) = explain(image[None]).tolist()
        length = math.sqrt(sum(value**2 for row in before for value in row))
        changes = []
        for after in explain(noisy[6 * number : 6 * number + 6]).tolist():
            pairs = zip(chain(*before), chain(*after), strict=True)
            changes.append(math.sqrt(sum((new - old) ** 2 for old, new in pairs)) / length)
        worst.append(max(changes))
    return worst


def _by_captum(explain, images, noisy):
    captum = pytest.importorskip("captum.metrics")

    def explain_inputs(inputs):  # captum gives a tuple for the images and a tensor for the noisy ones
        return (explain(inputs[0] if isinstance(inputs, tuple) else inputs),)

    found = captum.sensitivity_max(
        explain_inputs, images, perturb_func=lambda _inputs, _radius: noisy, perturb_radius=0.05, n_perturb_samples=6
    )
    return found.tolist()


def test_a_map_that_is_zero_has_no_sensitivity():
    with open_case([[0, 0, 0, 0]], Scripted(*[[[0, 0, 0, 1]]] * 10)) as case:
        assert max_sensitivity(case).isnan().all()


def test_stress_consistency_by_hand():
    asked = []

    def stressed(axis, level):
        asked.append((axis, level))
        return torch.full((3, 8, 8), 0.25)

    explain = Scripted([[1, 2, 4, 3], [1, 2, 3, 4], [2, 2, 2, 2]])
    truth = (Truth(stressed=stressed), Truth(), Truth(stressed=stressed))
    with open_case([[1, 2, 3, 4]] * 3, explain, truth) as case:
        found = stress_consistency(case, "sensor_noise", 4)
        images = case.images
    # Two neighbours change places: 1 - 6 * 2 / (4 * 15) = 0.8. A map that becomes constant says nothing any more: 0.
    assert found.tolist() == pytest.approx([0.8, float("nan"), 0.0], abs=1e-12, nan_ok=True)
    assert asked == [("sensor_noise", 4)] * 2
    ((_, _, _, seen),) = explain.asked
    assert (seen[0] == 0.25).all()
    assert torch.equal(seen[1], images[1])


def test_without_any_scene_nothing_is_run():
    with open_case([[1, 2, 3, 4]], Scripted()) as case:
        assert stress_consistency(case).isnan().all()


@pytest.mark.parametrize(
    ("metric", "parameters", "match"),
    [
        (max_sensitivity, {"radius": 0.0}, "radius=0.0"),
        (max_sensitivity, {"draws": 0}, "draws=0"),
        (stress_consistency, {"axis": "camera_azimuth"}, "moves everything"),
    ],
)
def test_bad_parameters_are_refused(metric, parameters, match):
    with open_case([[1, 2, 3, 4]]) as case, pytest.raises(vt.VitreousError, match=match):
        metric(case, **parameters)
