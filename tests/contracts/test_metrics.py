"""What every metric promises, driven by the registry: on planted truth, and on small models of several kinds."""

import os

import numpy as np
import pytest
import torch

import vitreous as vt
from contracts.exempt_metrics import BLIND, CHEAP_METRICS, TIED
from contracts.families import FAMILIES, random_images
from oracles.planted import open_planted
from oracles.planted_case import EXTREMES, constant_map, planted_case, random_map, reversed_map, true_map
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import METRICS

CHOSEN = os.environ.get("CONTRACT_METRICS", "")
"""Names of metrics, with commas between them, to hold only these to the contract while working on them."""

NAMES = CHOSEN.split(",") if CHOSEN else list(METRICS)
every_metric = pytest.mark.parametrize("name", NAMES)
KINDS = ["timm distilled", "timm registers, map", "rope mean", "dinov2 registers", "torchvision"]


@pytest.fixture(scope="module")
def planted():
    return open_planted()


def value_of(name, case):
    """Give what the function gives, at the cheap parameters, "b" or "b s"."""
    return METRICS[name].function(case, **CHEAP_METRICS.get(name, {}))


def each(name, found):
    """Give one number for each image."""
    parts = found.double().numpy()
    return np.array([METRICS[name].value(parts[image : image + 1]) for image in range(len(parts))])


@every_metric
def test_it_declares_what_is_so(name):
    metric = METRICS[name]
    assert metric.name == name == metric.function.__name__
    assert metric.function.__module__ == f"vitreous.metrics.{name}"
    assert metric.unit
    assert metric.cost
    assert metric.title
    assert metric.function.__doc__
    assert metric.complete({}) == metric.defaults
    assert metric.paper is None or metric.paper.startswith("arXiv:")
    with pytest.raises(vt.VitreousError, match="has no parameter"):
        metric.complete({"stepz": 3})


@every_metric
@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_it_gives_finite_numbers_for_every_image_that_is_known_about(name, prefix):
    with planted_case(open_planted(prefix=prefix), random_map) as case:
        found = value_of(name, case)
    assert found.dtype == torch.float64
    assert found.shape[0] == len(EXTREMES)
    assert found.dim() == (1 if METRICS[name].pool is None else 2)
    assert bool(torch.isfinite(found).all())
    assert np.isfinite(METRICS[name].value(found.numpy()))


@every_metric
def test_a_batch_gives_what_each_image_gives_alone(name, planted):
    with planted_case(planted) as case:
        together = value_of(name, case)
    for image, extreme in enumerate(EXTREMES):
        with planted_case(planted, extremes=EXTREMES) as all_images:
            images, truth = all_images.images[image : image + 1], all_images.truth[image : image + 1]
        capture = vt.Capture(tokens=True, pixels=True, inputs=True)
        with planted.trace(images, "brightest", capture=capture) as trace:
            explain = lambda other: true_map(other.vit, other.images)  # noqa: E731
            alone = value_of(name, Case(trace, true_map(planted, images), explain, truth))
        assert alone[0].tolist() == pytest.approx(together[image].tolist(), abs=1e-5, nan_ok=True), extreme


@every_metric
def test_the_same_seed_gives_the_same_number(name, planted):
    found = []
    for _ in range(2):
        with planted_case(planted, random_map, seed=3) as case:
            found.append(value_of(name, case))
    assert torch.equal(found[0].nan_to_num(), found[1].nan_to_num())


@every_metric
def test_it_changes_neither_the_maps_nor_the_users_random_numbers(name, planted):
    with planted_case(planted, random_map) as case:
        before, state, numbers = case.relevance.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        value_of(name, case)
        assert torch.equal(case.relevance, before)
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002


@every_metric
def test_what_is_not_known_gives_nan_and_a_reason(name, planted):
    needs = METRICS[name].needs
    assert bool(METRICS[name].missing(Truth())) == bool(needs)
    if not needs:
        return
    with planted_case(planted) as case:
        partly = Case(case.trace, case.relevance, case.explain, (case.truth[0], Truth(), case.truth[2]))
        found = value_of(name, partly)
        whole = value_of(name, case)
    assert not METRICS[name].missing(partly.truth[0])
    assert bool(found[1].isnan().all())
    assert found[0].tolist() == pytest.approx(whole[0].tolist(), abs=1e-6)
    assert found[2].tolist() == pytest.approx(whole[2].tolist(), abs=1e-6)


@every_metric
def test_a_constant_map_gives_a_number_or_nan_and_no_error(name, planted):
    with planted_case(planted, constant_map) as case:
        found = value_of(name, case)
    assert not bool(found.isinf().any())


@every_metric
def test_the_true_map_is_best_and_its_reverse_worst(name, planted):
    metric = METRICS[name]
    if metric.better == "neither" or name in BLIND:
        assert name not in BLIND or BLIND[name], "the reason has to be given"
        return
    sign = 1 if metric.better == "higher" else -1
    scores = {}
    for kind, make in {"true": true_map, "random": random_map, "reversed": reversed_map}.items():
        with planted_case(planted, make) as case:
            scores[kind] = sign * metric.value(value_of(name, case).numpy())
    assert scores["true"] > scores["random"], scores
    assert scores["random"] > scores["reversed"] or (name in TIED and scores["random"] >= scores["reversed"]), scores


@every_metric
@pytest.mark.parametrize("family", KINDS)
def test_it_runs_on_models_of_every_kind(name, family):
    vit = FAMILIES[family].open()
    height, width = vit.preprocessing.size
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[: height // 2] = True
    truth = Truth(label=1, mask=mask, void=torch.zeros_like(mask), boxes=((0.0, 0.0, float(width), height / 2),))
    if METRICS[name].missing(truth):
        return
    capture = vt.Capture(tokens=True, pixels=True, inputs=True)
    with vit.trace(random_images(vit, 2), capture=capture) as trace:
        case = Case(trace, _saliency(trace), _saliency, (truth, truth))
        found = value_of(name, case)
    assert bool(torch.isfinite(found).all())


def _saliency(trace):
    return trace.input_grad.abs().sum(1)
