"""Human relevance worked out by hand on four patches, and against scipy and slow loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from metrics.place_cases import case_of, give, known, value
from oracles.planted import open_planted
from vitreous.core.errors import InputError
from vitreous.metrics._case import HumanTruth, Truth
from vitreous.metrics._metric import METRICS

MAP = [4.0, 3.0, 1.0, 0.0]
SEEN = [3.0, 4.0, 1.0, 0.0]
PEOPLE = known(human=[("looked", SEEN)])
NAMES = ["human_spearman", "human_pearson", "human_nss", "human_auc_judd", "human_kl", "human_sim"]


def test_spearman_by_hand():
    # two neighbours change ranks: 1 - 6 * (1 + 1) / (4 * 15)
    assert value("human_spearman", MAP, PEOPLE) == pytest.approx(0.8)
    assert value("human_spearman", [-each for each in SEEN], PEOPLE) == pytest.approx(-1)
    # ranks 3, 3, 3, 1 (a tie of three at their mean rank): deviations 1/2, 1/2, 1/2, -3/2 against 1/2, 3/2, -1/2, -3/2
    expected = (1 / 4 + 3 / 4 - 1 / 4 + 9 / 4) / math.sqrt(3 * 5)
    assert value("human_spearman", [2.0, 2.0, 2.0, 0.0], PEOPLE) == pytest.approx(expected)


def test_pearson_by_hand():
    # deviations 2, 1, -1, -2 and 1, 2, -1, -2
    assert value("human_pearson", MAP, PEOPLE) == pytest.approx((2 + 2 + 1 + 4) / 10)


def test_nss_by_hand():
    # the standard deviation of the map is sqrt((4 + 1 + 1 + 4) / 4); people saw most where the map has 3, then 4
    deviation = math.sqrt(10 / 4)
    assert value("human_nss", MAP, PEOPLE, fixated=0.25) == pytest.approx((3 - 2) / deviation)
    assert value("human_nss", MAP, PEOPLE, fixated=0.5) == pytest.approx((3.5 - 2) / deviation)


def test_auc_judd_by_hand():
    # 3 is higher than 1 and 0, not than 4
    assert value("human_auc_judd", MAP, PEOPLE, fixated=0.25) == pytest.approx(2 / 3)
    assert value("human_auc_judd", MAP, PEOPLE, fixated=0.5) == 1
    # a tie is half a hit
    assert value("human_auc_judd", [3.0, 3.0, 1.0, 0.0], PEOPLE, fixated=0.25) == pytest.approx(2.5 / 3)
    assert value("human_auc_judd", [1.0, 1.0, 1.0, 1.0], PEOPLE) == 1 / 2


def test_points_and_ties_decide_what_is_fixated():
    # of a map of points only the points count; half of four places would be two
    point = known(human=[("looked", [0.0, 1.0, 0.0, 0.0])])
    assert value("human_auc_judd", MAP, point, fixated=0.5) == pytest.approx(2 / 3)
    # the second and the third place tie for being among the upper half: both count; 4, 3 and 1 beat 0
    tie = known(human=[("looked", [3.0, 2.0, 2.0, 0.0])])
    assert value("human_auc_judd", MAP, tie, fixated=0.5) == 1
    assert value("human_nss", MAP, tie, fixated=0.5) == pytest.approx((8 / 3 - 2) / math.sqrt(10 / 4))


def test_kl_by_hand():
    # 3/8 log(3/4) + 4/8 log(4/3) + 1/8 log 1
    assert value("human_kl", MAP, PEOPLE) == pytest.approx(1 / 8 * math.log(4 / 3), abs=1e-12)
    assert value("human_kl", SEEN, PEOPLE) == pytest.approx(0, abs=1e-12)
    # raised by 2 until the lowest is 0: the same density as 4, 3, 1, 0
    assert value("human_kl", [2.0, 1.0, -1.0, -2.0], PEOPLE) == pytest.approx(1 / 8 * math.log(4 / 3), abs=1e-12)
    # alike everywhere: log 4 less the entropy
    entropy = -sum(share * math.log(share) for share in (3 / 8, 4 / 8, 1 / 8))
    for same in (0.0, 5.0, -5.0):
        assert value("human_kl", [same] * 4, PEOPLE) == pytest.approx(math.log(4) - entropy, abs=1e-12)
    # nothing where people looked: 1/2 log(1/2 / 2.2e-16) and 1/2 log(1/2 / 1/2)
    missed = known(human=[("looked", [1.0, 0.0, 0.0, 1.0])])
    expected = (math.log(0.5 / 2.220446049250313e-16) + math.log(0.5 / 0.5)) / 2
    assert value("human_kl", [1.0, 1.0, 0.0, 0.0], missed) == pytest.approx(expected, abs=1e-12)


def test_sim_by_hand():
    assert value("human_sim", MAP, PEOPLE) == (3 + 3 + 1 + 0) / 8
    assert value("human_sim", [2.0, 1.0, -1.0, -2.0], PEOPLE) == (3 + 3 + 1 + 0) / 8
    assert value("human_sim", [0.0, 0.0, 0.0, 5.0], PEOPLE) == 0
    # a map that is positive everywhere stays where it is: 5/12, 4/12, 2/12, 1/12 against 3/8, 4/8, 1/8, 0
    assert value("human_sim", [5.0, 4.0, 2.0, 1.0], PEOPLE) == pytest.approx(3 / 8 + 4 / 12 + 1 / 8)


def test_a_question_is_asked_for_by_name_or_all_are_averaged():
    both = known(human=[("looked", MAP), ("liked", SEEN)])
    assert value("human_spearman", MAP, both, asked="looked") == pytest.approx(1)
    assert value("human_spearman", MAP, both, asked="liked") == pytest.approx(0.8)
    assert value("human_spearman", MAP, both) == pytest.approx(0.9)
    assert math.isnan(value("human_spearman", MAP, both, asked="heard"))
    # a map that is constant says nothing, and is left out of the mean
    assert value("human_spearman", MAP, known(human=[("looked", [1.0] * 4), ("liked", SEEN)])) == pytest.approx(0.8)


def test_people_are_averaged_unless_there_is_a_map_of_all():
    # the mean of the two is 3, 4, 1, 0
    judges = [("looked", [6.0, 0.0, 2.0, 0.0], "a"), ("looked", [0.0, 8.0, 0.0, 0.0], "b")]
    assert value("human_pearson", MAP, known(human=judges)) == pytest.approx(0.9)
    assert value("human_pearson", MAP, known(human=[*judges, ("looked", MAP)])) == pytest.approx(1)


def test_the_ceiling_by_hand():
    two = known(human=[("looked", MAP, "a"), ("looked", SEEN, "b")])
    assert value("human_ceiling", [0.0] * 4, two) == pytest.approx(0.8)
    # a against (b + c) / 2 = 3, 4, 1, 0 again, b and c against (4 + 6) / 2, (3 + 0) / 2, (1 + 2) / 2, 0 = 5, 1.5, 1.5, 0
    # and (4 + 0) / 2, (3 + 8) / 2, 1 / 2, 0 = 2, 5.5, 0.5, 0
    judges = [MAP, [6.0, 0.0, 2.0, 0.0], [0.0, 8.0, 0.0, 0.0]]
    truth = known(human=[("looked", judge, str(number)) for number, judge in enumerate(judges)])
    others = [SEEN, [2.0, 5.5, 0.5, 0.0], [5.0, 1.5, 1.5, 0.0]]
    expected = np.mean([stats.pearsonr(*pair).statistic for pair in zip(judges, others, strict=True)])
    assert value("human_ceiling", MAP, truth, measure="pearson") == pytest.approx(expected)
    # a map of all of them is no further person, and a single person no ceiling
    assert value("human_ceiling", MAP, known(human=[("looked", MAP, "a"), ("looked", SEEN, "b"), ("looked", MAP)])) == (
        pytest.approx(0.8)
    )
    assert math.isnan(value("human_ceiling", MAP, known(human=[("looked", MAP, "a"), ("liked", SEEN, "b")])))
    assert math.isnan(value("human_ceiling", MAP, PEOPLE))
    assert math.isnan(value("human_ceiling", MAP, two, asked="liked"))
    swap = known(human=[("looked", MAP, "a"), ("looked", SEEN, "b"), ("liked", MAP, "a"), ("liked", MAP, "b")])
    assert value("human_ceiling", MAP, swap) == pytest.approx(0.9)
    assert value("human_ceiling", MAP, swap, asked="looked", measure="auc_judd", fixated=0.25) == pytest.approx(2 / 3)


@pytest.mark.parametrize("measure", ["spearman", "pearson", "nss", "auc_judd", "kl", "sim"])
def test_the_ceiling_of_two_who_agree_is_that_of_the_metric(measure):
    two = known(human=[("looked", SEEN, "a"), ("looked", SEEN, "b")])
    assert value("human_ceiling", MAP, two, measure=measure) == pytest.approx(value(f"human_{measure}", SEEN, two))


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_on_void_does_not_matter(name):
    found = [
        give(name, [4.0, 3.0, 1.0, void], known(void=[0, 0, 0, 1], human=[("looked", [3.0, 4.0, 1.0, -void])]), at=at)
        for void, at in itertools.product((0.0, 1e6, -1e6), ("pixels", "patches"))
    ]
    assert bool(found[0].isfinite().all())
    for other in found:
        assert other.item() == pytest.approx(found[0].item())
    nothing = known(void=[1, 1, 1, 1], human=[("looked", SEEN)])
    for at in ("pixels", "patches"):
        assert math.isnan(value(name, MAP, nothing, at=at))
        assert math.isnan(value("human_ceiling", MAP, known(void=[1] * 4, human=[("l", SEEN, "a"), ("l", MAP, "b")])))


@pytest.mark.parametrize("name", ["human_spearman", "human_pearson", "human_nss"])
def test_constant_maps_have_no_correlation(name):
    assert math.isnan(value(name, [0.1] * 4, PEOPLE))
    assert math.isnan(value(name, MAP, known(human=[("looked", [0.1] * 4)])))


def test_nobody_looked_anywhere_on_a_constant_map():
    assert math.isnan(value("human_auc_judd", MAP, known(human=[("looked", [0.1] * 4)])))


@pytest.mark.parametrize("name", ["human_nss", "human_auc_judd"])
def test_the_fixated_share_has_to_be_one(name):
    for wrong in (0.0, 1.0, -0.2, 20.0):
        with pytest.raises(InputError, match="is no share of places"):
            give(name, MAP, PEOPLE, fixated=wrong)
        with pytest.raises(InputError, match="is no share of places"):
            give("human_ceiling", MAP, PEOPLE, measure=name.removeprefix("human_"), fixated=wrong)


# Against scipy and slow loops, on a grid of three by four patches of two by two pixels.

WIDE = open_planted(grid=(3, 4), patch=2)


def some_truth(seed):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 4, generator=generator)
    human = torch.randn(2, 6, 8, generator=generator).round(decimals=1)  # with ties, and signed
    void = torch.rand(2, 6, 8, generator=generator) < 0.2
    void[0, :2, :2] = True  # one patch has no pixel that counts
    return maps, [Truth(void=v, human=(HumanTruth("looked", h),)) for v, h in zip(void, human, strict=True)]


def slow_patches(grid, truth):
    """Relevance and mean human value of each patch that has pixels that count."""
    pairs = []
    for row, column in itertools.product(range(3), range(4)):
        places = [(2 * row + down, 2 * column + across) for down in (0, 1) for across in (0, 1)]
        counted = [float(truth.human[0].values[place]) for place in places if not truth.void[place]]
        if counted:
            pairs.append((float(grid[row, column]), sum(counted) / len(counted)))
    return pairs


def slow_density(values):
    raised = [value - min(0, *values) for value in values]
    return [value / sum(raised) for value in raised]


def slow_measures(pairs, share):
    relevance, human = (list(each) for each in zip(*pairs, strict=True))
    lowest = sorted(human, reverse=True)[round(share * len(human)) - 1]
    inside = [number for number, seen in pairs if seen >= lowest]
    outside = [number for number, seen in pairs if seen < lowest]
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    predicted, true = slow_density(relevance), slow_density(human)
    tiny = 2.0**-52
    return {
        "human_spearman": stats.spearmanr(relevance, human).statistic,
        "human_pearson": stats.pearsonr(relevance, human).statistic,
        "human_nss": np.mean([(number - np.mean(relevance)) / np.std(relevance) for number in inside]),
        "human_auc_judd": wins / (len(inside) * len(outside)),
        "human_kl": sum(h * math.log(tiny + h / (p + tiny)) for p, h in zip(predicted, true, strict=True)),
        "human_sim": sum(min(pair) for pair in zip(predicted, true, strict=True)),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", ["pixels", "patches"])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_scipy_and_slow_loops(name, at, seed):
    maps, truths = some_truth(seed)
    with case_of(maps, truths, WIDE) as case:
        fixated = {"fixated": 0.3} if "fixated" in METRICS[name].defaults else {}
        found = METRICS[name].function(case, at=at, **fixated)
        pixels = case.per_pixel
    for image, truth in enumerate(truths):
        counted = [place for place in itertools.product(range(6), range(8)) if not truth.void[place]]
        pairs = [(float(pixels[image][place]), float(truth.human[0].values[place])) for place in counted]
        pairs = pairs if at == "pixels" else slow_patches(maps[image], truth)
        assert found[image].item() == pytest.approx(slow_measures(pairs, 0.3)[name], abs=1e-9)


def test_a_random_map_is_at_chance():
    generator = torch.Generator().manual_seed(0)
    big = open_planted(grid=(20, 20), patch=1)
    human = torch.rand(20, 20, generator=generator)
    maps = torch.rand(60, 20, 20, generator=generator)
    with case_of(maps, [Truth(human=(HumanTruth("looked", human),))] * 60, big) as case:
        found = {name: METRICS[name].function(case).mean().item() for name in NAMES[:4]}
    for name, chance in zip(NAMES[:4], (0, 0, 0, 0.5), strict=True):
        assert found[name] == pytest.approx(chance, abs=0.03), name
