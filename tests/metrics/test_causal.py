"""Causal metrics on four patches: every number is worked out by hand.

The patches' brightnesses are 0.9, 0.65, 0.4 and 0.2. The planted ViT answers 10 * (brightest that is seen) for its class
0, 10 * (1 - darkest) for class 1 and 5 for class 2; with nothing seen 0, 0 and 5. Class 0 is explained. So taking
patches away in the order 0, 1, 2, 3 (MoRF of the map 4, 3, 2, 1) leaves the scores 9, 6.5, 4, 2, 0, and in the order
3, 2, 1, 0 (LeRF) 9, 9, 9, 9, 0. The image's mean is 2.15 / 4 = 0.5375: with it in the place of patches, the scores are
9, 6.5, 5.375, 5.375, 5.375, and 9, 9, 9, 9, 5.375.
"""

import functools
import itertools
import math
from contextlib import contextmanager

import pytest
import torch

import vitreous as vt
from oracles.planted import open_planted
from vitreous.core.errors import InputError
from vitreous.metrics._areas import half_covered
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import METRICS
from vitreous.metrics._random_sets import correlation, draw_sets, sizes_of_sets
from vitreous.metrics.region_attenuation import weakened

BRIGHTNESS = (0.9, 0.65, 0.4, 0.2)
GOOD, BAD = (4.0, 3.0, 2.0, 1.0), (1.0, 2.0, 3.0, 4.0)
TOP = torch.zeros(8, 8, dtype=torch.bool)
TOP[:4] = True  # patches 0 and 1


opened = functools.cache(lambda: open_planted(grid=(2, 2)))


@contextmanager
def four(*maps, truth=None, target=0, seed=0):
    """Open a case of the same image with each of some maps, given as four numbers or as 8 x 8 pixels."""
    vit = opened()
    image = torch.tensor(BRIGHTNESS).reshape(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(3, 8, 8)
    relevance = torch.stack([torch.as_tensor(one) for one in maps])
    relevance = relevance.reshape(-1, 2, 2) if relevance.dim() == 2 else relevance
    with vit.trace(image.repeat(len(maps), 1, 1, 1), target, seed=seed) as trace:
        yield Case(trace, relevance, lambda _: relevance, (truth or Truth(label=0),) * len(maps))


def value(name, *maps, truth=None, target=0, **parameters):
    with four(*maps, truth=truth, target=target) as case:
        found = METRICS[name].function(case, **parameters)
    assert found.dtype == torch.float64
    return found.tolist()


def share(brightest, darkest):
    """Probability of class 0 where those two are the extremes of what is seen."""
    outputs = [math.exp(10 * brightest), math.exp(10 * (1 - darkest)), math.exp(5)]
    return outputs[0] / sum(outputs)


NOTHING = 1 / (2 + math.exp(5))
MOST = [share(0.9, 0.2), share(0.65, 0.2), share(0.4, 0.2), share(0.2, 0.2), NOTHING]
LEAST = [share(0.9, 0.2), share(0.9, 0.4), share(0.9, 0.65), share(0.9, 0.9), NOTHING]


def trapezoid(curve):
    return sum((one + other) / 2 for one, other in itertools.pairwise(curve)) / (len(curve) - 1)


@pytest.mark.parametrize(
    ("name", "parameters", "good", "bad"),
    [
        ("deletion", {"of": "logit"}, (4.5 + 6.5 + 4 + 2) / 4, (4.5 + 9 + 9 + 9) / 4),
        ("insertion", {"of": "logit"}, (9 + 9 + 9 + 4.5) / 4, (4.5 + 6.5 + 4 + 2) / 4),
        ("deletion", {}, trapezoid(MOST), trapezoid(LEAST)),
        ("insertion", {}, trapezoid(LEAST), trapezoid(MOST)),
        ("deletion", {"of": "logit", "steps": 2}, (4.5 + 4 + 0) / 2, (4.5 + 9 + 0) / 2),
        ("insertion", {"of": "logit", "steps": 1}, 4.5, 4.5),
        ("deletion", {"of": "logit", "fill": "mean"}, (4.5 + 6.5 + 5.375 + 5.375 + 5.375 / 2) / 4, 8.546875),
        ("insertion", {"of": "logit", "fill": "mean"}, (4.5 + 9 + 9 + 9 + 5.375 / 2) / 4, 6.109375),
        ("deletion", {"of": "logit", "fill": "black"}, (4.5 + 6.5 + 4 + 2) / 4, (4.5 + 9 + 9 + 9) / 4),
        ("deletion", {"of": "logit", "fill": "grey"}, (4.5 + 6.5 + 4 + 2) / 4, (4.5 + 9 + 9 + 9) / 4),
        ("abpc", {"of": "logit"}, (0 + 2.5 + 5 + 7 + 0) / 5, -(0 + 2.5 + 5 + 7 + 0) / 5),
        ("abpc", {}, sum(LEAST) / 5 - sum(MOST) / 5, sum(MOST) / 5 - sum(LEAST) / 5),
        ("abpc", {"of": "logit", "steps": 2}, (0 + 5 + 0) / 3, -(0 + 5 + 0) / 3),
        ("abpc", {"of": "logit", "fill": "mean"}, (0 + 2.5 + 3.625 + 3.625 + 0) / 5, -(2.5 + 3.625 + 3.625) / 5),
        ("aopc", {}, (0 + 2.5 + 5 + 7 + 9) / 5, (0 + 0 + 0 + 0 + 9) / 5),
        ("aopc", {"first": "least"}, (0 + 0 + 0 + 0 + 9) / 5, (0 + 2.5 + 5 + 7 + 9) / 5),
        ("aopc", {"of": "probability"}, MOST[0] - sum(MOST) / 5, LEAST[0] - sum(LEAST) / 5),
        ("aopc", {"fill": "mean"}, (0 + 2.5 + 3 * 3.625) / 5, 3.625 / 5),
        # One group for each patch: without patch 0 the score falls by 2.5, without another by nothing. For the bad map
        # the groups have s = 4, 3, 2, 1 and lose 0, 0, 0, 2.5: + for the pairs (1, 2), (1, 3), (2, 3), - for (., 4).
        ("saco", {"of": "logit", "fill": "drop"}, 1.0, (1 + 2 + 1 - 3 - 2 - 1) / 10),
        # Two groups of two: patches 0 and 1 lose 5, the others nothing.
        ("saco", {"of": "logit", "fill": "drop", "groups": 2}, 1.0, -1.0),
        ("saco", {"of": "logit"}, 1.0, (1 + 2 + 1 - 3 - 2 - 1) / 10),
        # Probabilities rise as soon as the darkest goes: lost are p(0), 0, 0 and p(3) < 0.
        ("saco", {"fill": "drop"}, 1.0, (-1 - 2 - 3 + 1 - 2 - 1) / 10),
        ("completeness_error", {}, 1.0, 1.0),  # |9 - 0 - 10|
        ("completeness_error", {"baseline": "none"}, 1.0, 1.0),  # |9 - 10|
        ("completeness_error", {"baseline": "mean"}, 6.375, 6.375),  # |9 - 5.375 - 10|
        ("region_masking", {"share": 0.25}, 2.5, 0.0),
        ("region_masking", {"share": 0.1}, 2.5, 0.0),  # one patch at least
        ("region_masking", {"share": 0.5}, 5.0, 0.0),
        ("region_masking", {"share": 0.5, "fill": "mean"}, 9 - 5.375, 0.0),
        ("region_masking", {"share": 0.25, "of": "probability"}, MOST[0] - MOST[1], LEAST[0] - LEAST[1]),
        ("region_attenuation", {"share": 0.25, "strength": 0.1, "fill": "black"}, 0.9, 0.0),  # 0.9 becomes 0.81
        ("region_attenuation", {"share": 0.25, "fill": "black"}, 2.5, 0.0),  # 0.9 becomes 0.45, less than 0.65
        ("region_attenuation", {"share": 0.25}, 9 - 7.1875, 0.0),  # 0.9 becomes (0.9 + 0.5375) / 2
        ("region_attenuation", {"share": 0.25, "strength": 1.0, "fill": "black"}, 2.5, 0.0),
    ],
)
def test_by_hand(name, parameters, good, bad):
    assert value(name, GOOD, BAD, **parameters) == pytest.approx([good, bad], abs=1e-5)


def test_perturbation_of_patches_by_hand():
    """Of 4 patches 0, 0, 1, 1, 2, 2, 2, 3, 3 go at 10 … 90 %. Class 0 has 9 against 8 of class 1 to begin with.

    Without patch 0 it has at most 6.5, and 8 is more. Without the darkest, class 1 falls to 6, 3.5 and 1.
    """
    patches = {"unit": "patch", "fill": "drop"}
    assert value("positive_perturbation", GOOD, BAD, **patches) == pytest.approx([0.25, 0.9])
    assert value("negative_perturbation", GOOD, BAD, **patches) == pytest.approx([0.9, 0.25])
    assert value("road", GOOD, BAD, **patches) == pytest.approx([2 / 9, 1])
    assert value("road", GOOD, BAD, first="least", **patches) == pytest.approx([1, 2 / 9])


def test_perturbation_of_pixels_by_hand():
    """Of 64 pixels 6, 12, 19 … go. The map ranks the pixels of patch 0 first, then those of patches 1, 2 and 3.

    MoRF: with 6 of its 16 pixels black patch 0 has 0.9 * 10 / 16 = 0.5625, so the brightest is 0.65: 6.5 against 8 and
    more. LeRF: patch 3 has 0.125 and then 0.05: 9 against 8.75, and then against 9.5 and more.
    """
    ranked = torch.arange(64.0).flip(0).reshape(4, 4, 4)
    pixels = torch.cat([torch.cat([ranked[0], ranked[1]], 1), torch.cat([ranked[2], ranked[3]], 1)])
    assert value("positive_perturbation", pixels) == pytest.approx([(1 + 0) / 2 * 0.1])
    assert value("negative_perturbation", pixels) == pytest.approx([(1 + 1) / 2 * 0.1 + (1 + 0) / 2 * 0.1])
    assert value("negative_perturbation", -pixels) == pytest.approx([0.05])
    assert value("road", pixels, fill="black", first="least") == pytest.approx([1 / 9])
    assert value("road", pixels, fill="black") == pytest.approx([0])


def test_the_true_class_is_what_counts_and_not_the_one_explained():
    patches = {"unit": "patch", "fill": "drop"}
    never = value("positive_perturbation", GOOD, truth=Truth(label=2), **patches)
    explained = value("positive_perturbation", GOOD, target=1, **patches)
    assert (never, explained) == (pytest.approx([0]), pytest.approx([0.25]))
    for name in ("positive_perturbation", "negative_perturbation", "road"):
        assert math.isnan(value(name, GOOD, truth=Truth(), **patches)[0])


def test_random_sets_by_hand():
    """Sets of one patch: a set loses 2.5 if it is patch 0, which a share p of the drawn ones are, and else nothing."""
    one = {"sizes": 1, "fewest": 0.25, "most": 0.25}
    maps = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    with four(*maps) as case:
        drawn = draw_sets(case, 50, 1)[0].double().mean(0)
    p, q = drawn[:2].tolist()
    other = -math.sqrt(p * q / (1 - p) / (1 - q))  # both are indicators, never 1 together: their phi coefficient
    for name, parameters in (("faithfulness_correlation", {"share": 0.25}), ("sensitivity_n", one)):
        assert value(name, *maps, **parameters) == pytest.approx([1, other, -1, math.nan], abs=1e-6, nan_ok=True)
    assert value("infidelity", *maps, **one) == pytest.approx([0, 1, 1, 1], abs=1e-6)
    asis = value("infidelity", *maps, scaled=False, relative=False, **one)
    assert asis == pytest.approx([1.5**2 * p, 2.5**2 * p + q, 3.5**2 * p, 2.5**2 * p], rel=1e-5)
    relative = value("infidelity", maps[0], scaled=False, **one)
    assert relative == pytest.approx([1.5**2 / 2.5**2], rel=1e-5)
    absolute = value("infidelity", maps[0], maps[1], relative=False, **one)
    assert absolute == pytest.approx([0, 2.5**2 * p], abs=1e-5)


def test_sizes_and_sets():
    assert sizes_of_sets(4, 0.25, 0.5, 2) == [1, 2]
    assert sizes_of_sets(196, 0.1, 0.5, 5) == [20, 39, 59, 78, 98]
    assert sizes_of_sets(2, 0.1, 0.9, 5) == [1]
    with four(GOOD, GOOD) as case:
        drawn = draw_sets(case, 200, 2)
    assert drawn.sum(2).unique().tolist() == [2]
    assert torch.equal(drawn[0], drawn[1]), "the same image has the same sets"
    assert len(drawn[0].unique(dim=0)) == 6
    assert drawn[0].double().mean(0).tolist() == pytest.approx([0.5] * 4, abs=0.15)


def test_correlation_needs_variation():
    rows = torch.tensor([[1.0, 2, 3], [0.1, 0.1, 0.1]], dtype=torch.float64)
    found = correlation(rows, torch.tensor([[2.0, 4, 6], [1, 2, 3]], dtype=torch.float64))
    assert found.tolist() == pytest.approx([1, math.nan], nan_ok=True)


def test_annotated_regions():
    """The mask covers patches 0 and 1; with void over patch 0 only patch 1 is left, without which nothing changes."""
    void = torch.zeros(8, 8, dtype=torch.bool)
    void[:4, :4] = True
    annotated = {"region": "mask"}
    assert value("region_masking", BAD, truth=Truth(mask=TOP), **annotated) == pytest.approx([5], abs=1e-5)
    assert value("region_masking", BAD, truth=Truth(mask=TOP, void=void), **annotated) == pytest.approx([0], abs=1e-5)
    weak = {"strength": 0.5, "fill": "black"} | annotated  # 0.9 and 0.65 become 0.45 and 0.325; 0.4 is less
    assert value("region_attenuation", BAD, truth=Truth(mask=TOP), **weak) == pytest.approx([4.5], abs=1e-4)
    for name in ("region_masking", "region_attenuation"):
        assert math.isnan(value(name, BAD, **annotated)[0])
        assert math.isnan(value(name, BAD, truth=Truth(mask=TOP & False), **annotated)[0])
    with four(GOOD) as case:
        narrow = TOP.clone()
        narrow[2:, :] = False  # the upper half of patches 0 and 1, which is just enough
        narrow[1, 4:] = False  # of patch 1 a quarter
        assert half_covered(case, narrow[None]).tolist() == [[True, False, False, False]]


def test_a_region_of_ones_own():
    """Half the pixels of patch 0, weakened by a tenth: 0.9 becomes 0.9 * 0.95 = 0.855."""
    half = torch.zeros(1, 8, 8, dtype=torch.bool)
    half[:, :2, :4] = True
    with four(GOOD) as case:
        assert weakened(case.trace, half, 0.1, "black").tolist() == pytest.approx([0.45], abs=1e-5)
        assert weakened(case.trace, ~half & False).tolist() == pytest.approx([0], abs=1e-6)


def test_maps_that_say_nothing():
    constant = (0.1, 0.1, 0.1, 0.1)
    for name in ("saco", "faithfulness_correlation", "sensitivity_n"):
        assert math.isnan(value(name, constant)[0])


def test_ties_are_broken_by_the_seed_and_not_by_place():
    found = set()
    for seed in range(30):
        with four((1.0, 1.0, 1.0, 1.0), seed=seed) as case:
            found.add(round(METRICS["positive_perturbation"].function(case, unit="patch", fill="drop").item(), 3))
            found.add(round(METRICS["region_masking"].function(case, share=0.25).item(), 3))
    assert {0.0, 2.5} < found
    assert len(found) > 4


def test_a_contrast_has_no_probability():
    contrast = vt.Contrast(0, 1)
    for name in ("deletion", "insertion", "abpc", "saco"):
        assert math.isnan(value(name, GOOD, target=contrast)[0])
    assert value("deletion", GOOD, target=contrast, of="logit") == pytest.approx(
        [trapezoid([9 - 8, 6.5 - 8, 4 - 8, 2 - 8, 0])], abs=1e-5
    )


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        *[(name, {"steps": 0}, "steps=0") for name in ("deletion", "insertion", "abpc", "aopc")],
        *[(name, {"fill": "drop"}, "patches away") for name in ("positive_perturbation", "negative_perturbation")],
        ("road", {"fill": "drop"}, "patches away"),
        ("saco", {"groups": 1}, "groups=1"),
        *[(name, {"sets": 1}, "sets=1") for name in ("faithfulness_correlation", "sensitivity_n", "infidelity")],
        ("faithfulness_correlation", {"share": 1.0}, "no shares"),
        ("faithfulness_correlation", {"share": 0.0}, "no shares"),
        *[(name, {"fewest": 0.6}, "no shares") for name in ("sensitivity_n", "infidelity")],
        *[(name, {"sizes": 0}, "sizes=0") for name in ("sensitivity_n", "infidelity")],
        *[(name, {"share": 0.0}, "share=0") for name in ("region_masking", "region_attenuation")],
        *[("region_attenuation", {"strength": strength}, "strength=") for strength in (0.0, 1.5)],
        ("region_attenuation", {"fill": "drop"}, "fill='drop'"),
    ],
)
def test_bad_parameters_are_refused(name, parameters, said):
    with four(GOOD) as case, pytest.raises(InputError, match=said):
        METRICS[name].function(case, **parameters)
    with pytest.raises(InputError):
        METRICS[name].complete({next(iter(parameters)): "nonsense"})


def test_saco_of_unequal_groups_does_not_change_with_a_constant_and_leaves_constant_maps_out():
    """Twelve patches in five groups of two or three: a sum would be larger for the larger groups."""
    vit = open_planted()
    images = torch.rand(3, 3, *vit.preprocessing.size, generator=torch.Generator().manual_seed(4))
    maps = torch.rand(3, *vit.grid, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def found(relevance):
        with vit.trace(images, 0) as trace:
            case = Case(trace, relevance, lambda _: relevance, (Truth(),) * 3)
            return METRICS["saco"].function(case, groups=5, of="logit")

    assert found(maps + 7).tolist() == pytest.approx(found(maps).tolist(), abs=1e-9)
    assert found(torch.full_like(maps, 0.1)).isnan().all()


@pytest.mark.parametrize("name", ["region_masking", "region_attenuation"])
def test_no_map_is_better_by_what_the_mask_loses(name):
    metric = METRICS[name]
    assert metric.under(metric.complete({})).better == "higher"
    assert metric.under(metric.complete({"region": "mask"})).better == "neither"
