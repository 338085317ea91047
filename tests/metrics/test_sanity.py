"""Sanity metrics against numbers worked out by hand, SciPy, scikit-image and plain loops."""

import gc
import weakref

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from scripted import Scripted, open_case
from skimage.metrics import structural_similarity

import vitreous as vt
from contracts.families import FAMILIES
from oracles.planted import open_planted, planted_images
from vitreous.methods._method import METHODS
from vitreous.metrics._agreement import agreement
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import METRICS
from vitreous.metrics.parameter_randomisation import parameter_randomisation, random_copies
from vitreous.metrics.random_logit import random_logit
from vitreous.metrics.repeatability import repeatability

UP, SWAPPED, DOWN, FLAT = [1, 2, 3, 4], [1, 2, 4, 3], [4, 3, 2, 1], [5, 5, 5, 5]
# Spearman without ties is 1 - 6 sum d^2 / (n (n^2 - 1)) = 1 - sum d^2 / 10 for n = 4: UP against SWAPPED has d^2 of
# 0 + 0 + 1 + 1, so 0.8; UP against DOWN 9 + 1 + 1 + 9, so -1.


@pytest.fixture(scope="module")
def six_blocks():
    return vt.open_vit("bundled:scenes")


def test_agreement_of_ranks_is_scipys():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 5, (20, 12)).astype(float)  # with many ties
    others = rng.integers(0, 5, (20, 12)).astype(float)
    found = agreement(torch.from_numpy(maps), torch.from_numpy(others), "spearman", (3, 4))
    assert found.tolist() == pytest.approx(
        [spearmanr(a, b).statistic for a, b in zip(maps, others, strict=True)], abs=1e-9
    )


def slow_ssim(one, other, side):
    """Structural similarity with a uniform window, sample variances and data_range 2, window by window."""
    one, other = one / np.abs(one).max(), other / np.abs(other).max()
    values = []
    for row in range(one.shape[0] - side + 1):
        for column in range(one.shape[1] - side + 1):
            a = one[row : row + side, column : column + side].ravel()
            b = other[row : row + side, column : column + side].ravel()
            covariance = ((a - a.mean()) * (b - b.mean())).sum() / (len(a) - 1)
            light, contrast = 0.02**2, 0.06**2
            values.append(
                (2 * a.mean() * b.mean() + light)
                * (2 * covariance + contrast)
                / ((a.mean() ** 2 + b.mean() ** 2 + light) * (a.var(ddof=1) + b.var(ddof=1) + contrast))
            )
    return np.mean(values)


@pytest.mark.parametrize(("grid", "side"), [((9, 8), 7), ((6, 7), 5), ((3, 5), 3)])
def test_ssim_is_that_of_loops_and_of_scikit_image(grid, side):
    rng = np.random.default_rng(1)
    maps, others = rng.normal(size=(2, 4, *grid))
    found = agreement(torch.from_numpy(maps).flatten(1), torch.from_numpy(others).flatten(1), "ssim", grid)
    assert found.tolist() == pytest.approx([slow_ssim(a, b, side) for a, b in zip(maps, others, strict=True)], abs=1e-9)
    scaled = [values[0] / np.abs(values[0]).max() for values in (maps, others)]
    assert found[0].item() == pytest.approx(structural_similarity(*scaled, win_size=side, data_range=2), abs=1e-9)


def test_ssim_by_hand_on_one_window():
    # One map has a single 1 among nine patches, the other is its negative: means 1/9 and -1/9, variances 1/9 (sample:
    # (1 - 1/9) / 8) each, covariance -1/9.
    one = torch.zeros(1, 9, dtype=torch.float64)
    one[0, 4] = 3.0
    expected = (-2 / 81 + 0.0004) * (-2 / 9 + 0.0036) / ((2 / 81 + 0.0004) * (2 / 9 + 0.0036))
    assert agreement(one, -2 * one, "ssim", (3, 3)).item() == pytest.approx(expected, abs=1e-12)
    assert agreement(one, 5 * one, "ssim", (3, 3)).item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("similarity", ["spearman", "ssim"])
def test_constant_maps(similarity):
    up, flat = torch.arange(9.0)[None], torch.ones(1, 9)
    assert agreement(flat, up, similarity, (3, 3)).isnan().all()
    assert agreement(up, flat, similarity, (3, 3)).tolist() == [0.0]


def test_cascade_by_hand():
    # The planted model has one block: of three stages two are left, the last block and everything.
    explain = Scripted([UP, SWAPPED], [DOWN, FLAT])
    with open_case([SWAPPED, UP], explain, target=[0, 1], seed=3) as case:
        before = case.trace.forwards
        found = parameter_randomisation(case)
        assert case.trace.forwards - before == 2
    # Image 0: 0.8 and SWAPPED against DOWN: d = (1-4, 2-3, 4-2, 3-1), d^2 = 9 + 1 + 4 + 4 = 18, so 1 - 1.8 = -0.8.
    # Image 1: 0.8 and a constant map, which counts as 0.
    assert found.tolist() == pytest.approx([0.0, 0.4], abs=1e-12)
    assert [name.split("weights ")[1] for name, *_ in explain.asked] == [
        "random from block 0 on (seed 3)",
        "random (seed 3)",
    ]
    assert all(target == [0, 1] and seed == 3 for _, target, seed, _ in explain.asked)


@pytest.mark.parametrize(
    ("order", "stages", "where"),
    [
        ("top-down", 1, [""]),
        ("top-down", 3, [" from block 4 on", " from block 2 on", ""]),
        ("top-down", 6, [" from block 5 on", *(f" from block {block} on" for block in (4, 3, 2, 1)), ""]),
        ("independent", 1, [" in block 0"]),
        ("independent", 3, [" in block 0", " in block 2", " in block 5"]),
        ("independent", 9, [f" in block {block}" for block in range(6)]),
    ],
)
def test_which_weights_are_random(six_blocks, order, stages, where):
    copies = random_copies(six_blocks, order, stages, 0)
    assert [copy.name for copy in copies] == [f"{six_blocks.name}, weights random{place} (seed 0)" for place in where]


def test_independent_blocks_on_a_model_of_two():
    vit = FAMILIES["timm"].open()
    assert [copy.name.removeprefix(vit.name) for copy in random_copies(vit, "independent", 3, 0)] == [
        ", weights random in block 0 (seed 0)",
        ", weights random in block 1 (seed 0)",
    ]


def test_copies_are_made_once_and_let_go_with_their_model():
    vit = open_planted()
    first = random_copies(vit, "top-down", 2, 0)
    assert random_copies(vit, "top-down", 2, 0) is first
    assert random_copies(vit, "top-down", 2, 1) is not first
    gone, copies = weakref.ref(vit), [weakref.ref(copy) for copy in random_copies(vit, "top-down", 2, 1)]
    del vit, first
    gc.collect()
    assert gone() is None
    assert all(copy() is None for copy in copies)


def test_controls_stay_and_gradients_do_not():
    vit = FAMILIES["timm"].open()
    images = torch.rand(2, 3, *vit.preprocessing.size, generator=torch.Generator().manual_seed(0))
    values = {}
    for name in ("random", "edges", "input_x_gradient"):
        explain = METHODS[name].function
        with vit.trace(images, capture=vt.Capture(pixels=True)) as trace:
            maps = explain(trace).detach().double()
            values[name] = parameter_randomisation(Case(trace, maps, explain, (Truth(),) * 2), "independent")
    assert values["random"].tolist() == pytest.approx([1.0, 1.0])
    assert values["edges"].tolist() == pytest.approx([1.0, 1.0])
    assert values["input_x_gradient"].abs().max() < 0.9


def test_random_logit_by_hand():
    explain = Scripted([SWAPPED, DOWN, FLAT])
    with open_case([UP, UP, UP], explain, target=[0, 1, 2]) as case:
        before = case.trace.forwards
        assert random_logit(case).tolist() == pytest.approx([0.8, -1.0, 0.0], abs=1e-12)
        assert case.trace.forwards - before == 1
    ((_, asked, _, _),) = explain.asked
    assert all(other in {0, 1, 2} - {target} for target, other in enumerate(asked))


def test_every_other_class_is_drawn_equally_often_and_the_target_never():
    vit = open_planted(grid=(2, 2))
    images = torch.rand(600, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    explain = Scripted([UP] * 600, [UP] * 600)
    with open_case([UP] * 600, explain, target=1, vit=vit, images=images) as case:
        random_logit(case)
        random_logit(case)
    counts = torch.bincount(torch.tensor(explain.asked[0][1]), minlength=3)
    assert counts[1] == 0
    assert abs(int(counts[0]) - 300) < 4 * 150**0.5  # four standard deviations of 600 fair coins
    assert explain.asked[0][1] == explain.asked[1][1]


def test_random_logit_asks_nothing_about_what_is_no_single_class():
    for target in ("embedding", vt.Contrast(0, 1)):
        with open_case([UP], Scripted(), target=target) as case:
            assert random_logit(case).isnan().all()
    explain = Scripted([SWAPPED, SWAPPED])
    with open_case([UP, UP], explain, target=[vt.Contrast(0, 1), 0]) as case:
        assert random_logit(case).tolist() == pytest.approx([np.nan, 0.8], nan_ok=True)


def test_repeatability_by_hand():
    explain = Scripted([SWAPPED, UP], [DOWN, UP], [FLAT, SWAPPED])
    with open_case([UP, UP], explain, seed=7) as case:
        assert repeatability(case, runs=2).tolist() == pytest.approx([-0.1, 1.0], abs=1e-12)
        assert repeatability(case, reseed=False).tolist() == pytest.approx([0.0, 0.8], abs=1e-12)
    assert [seed for _, _, seed, _ in explain.asked] == [8, 9, 7]


def test_a_random_map_repeats_with_its_seed_only():
    vit = open_planted(grid=(12, 12))
    images, _ = planted_images(vit, [(0, 1), (5, 3), (100, 90)])
    explain = METHODS["random"].function
    with vit.trace(images, 0) as trace:
        maps = explain(trace)
    with open_case(maps.flatten(1), explain, vit=vit, images=images) as case:
        assert repeatability(case, reseed=False).tolist() == pytest.approx([1.0] * 3)
        assert repeatability(case, runs=4).abs().max() < 0.25  # the mean of four with deviation 1 / sqrt(143) each


@pytest.mark.parametrize(
    ("metric", "parameters", "match"),
    [
        (parameter_randomisation, {"stages": 0}, "stages=0"),
        (parameter_randomisation, {"similarity": "ssim"}, "too small for SSIM"),
        (random_logit, {"similarity": "ssim"}, "too small for SSIM"),
        (repeatability, {"runs": 0}, "runs=0"),
    ],
)
def test_bad_parameters_are_refused(metric, parameters, match):
    with open_case([UP]) as case, pytest.raises(vt.VitreousError, match=match):
        metric(case, **parameters)


@pytest.mark.parametrize("given", [{"order": "bottom-up"}, {"similarity": "pearson"}])
def test_unknown_words_are_refused(given):
    with pytest.raises(vt.VitreousError, match=next(iter(given.values()))):
        METRICS["parameter_randomisation"].complete(given)
