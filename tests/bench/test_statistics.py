"""Statistics against scipy, published numbers, slow definitions, and simulations in which the truth is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vitreous.bench import statistics
from vitreous.bench.statistics import (
    FEWEST,
    RESAMPLES,
    Comparison,
    compare,
    corrected_together,
    holm,
    interval,
    nemenyi,
    paired_bootstrap,
    rank_methods,
    resampled,
    signed_rank,
)

DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],  # ranked 2 and 3 there, though both are printed as 0.975
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""Table 6 of Demšar 2006: AUC of four classifiers on 14 data sets."""


def ratio(parts):
    return float(parts[:, 0].sum() / parts[:, 1].sum())


def slow_signed_rank(first, second):
    """All signs of the ranks, one after the other."""
    differences = np.asarray(first, float) - np.asarray(second, float)
    sizes = np.abs(differences)
    ranks = [
        (sum(other < size for other in sizes) + 1 + sum(other <= size for other in sizes)) / 2
        for size, difference in zip(sizes, differences, strict=True)
        if difference != 0
    ]
    signs = [1 if difference > 0 else -1 for difference in differences if difference != 0]
    if not ranks:
        return 1.0
    found = abs(sum(sign * rank for sign, rank in zip(signs, ranks, strict=True)))
    sums = [
        abs(sum(sign * rank for sign, rank in zip(flipped, ranks, strict=True)))
        for flipped in itertools.product((-1, 1), repeat=len(ranks))
    ]
    return sum(each >= found - 1e-9 for each in sums) / len(sums)


class TestInterval:
    def test_mean_has_the_interval_of_scipy(self):
        values = np.random.default_rng(0).exponential(size=40)
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(5)
        ).confidence_interval
        found = interval(values[:, None], None, 5)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert found.note == ""

    def test_pooled_value_has_the_percentiles_of_a_slow_loop(self):
        generator = np.random.default_rng(1)
        parts = generator.uniform(1, 2, (25, 2))
        draws = np.random.default_rng(9)
        slow = []
        for _ in range(RESAMPLES):
            chosen = [parts[place] for place in draws.integers(25, size=25)]
            slow.append(sum(one for one, _ in chosen) / sum(two for _, two in chosen))
        slow.sort()
        found = interval(parts, ratio, 9)
        for end, share in ((found.low, 0.025), (found.high, 0.975)):
            place = share * (RESAMPLES - 1)
            below = slow[math.floor(place)]
            assert end == pytest.approx(below + (place % 1) * (slow[math.floor(place) + 1] - below), rel=1e-9)

    def test_pooled_interval_agrees_with_scipys_percentile_interval(self):
        parts = np.random.default_rng(2).uniform(1, 2, (60, 2))
        expected = stats.bootstrap(
            (parts[:, 0], parts[:, 1]),
            lambda one, two, axis: one.sum(axis) / two.sum(axis),
            paired=True,
            method="percentile",
            n_resamples=20_000,
            rng=np.random.default_rng(3),
        ).confidence_interval
        found = interval(parts, ratio, 4)
        width = expected.high - expected.low
        assert found.low == pytest.approx(expected.low, abs=0.05 * width)
        assert found.high == pytest.approx(expected.high, abs=0.05 * width)

    @pytest.mark.parametrize(("draw", "least"), [("normal", 0.88), ("exponential", 0.85)])
    def test_interval_covers_the_true_mean(self, draw, least, monkeypatch):
        """Nominal 0.95; a bootstrap of 20 falls short of it, by more for skewed values. 200 runs: error 0.018."""
        monkeypatch.setattr(statistics, "RESAMPLES", 999)
        generator = np.random.default_rng(11)
        true, hits = {"normal": 0.0, "exponential": 1.0}[draw], 0
        for run in range(200):
            found = interval(getattr(generator, draw)(size=(20, 1)), None, run)
            hits += found.low <= true <= found.high
        assert least < hits / 200 < 0.985

    def test_pooled_interval_covers_the_true_ratio(self, monkeypatch):
        generator = np.random.default_rng(12)
        hits = 0
        monkeypatch.setattr(statistics, "RESAMPLES", 399)
        for run in range(60):
            size = generator.uniform(1, 3, 30)
            found = interval(np.stack([size * generator.uniform(0, 1, 30), size], 1), ratio, run)
            hits += found.low <= 0.5 <= found.high
        assert hits / 60 > 0.85

    def test_few_images_have_none(self):
        values = np.arange(float(FEWEST))[:, None]
        assert math.isnan(interval(values[1:], None, 0).low)
        assert "fewer than 10" in interval(values[1:], None, 0).note
        assert interval(values, None, 0).low < 4.5 < interval(values, None, 0).high
        assert math.isnan(interval(np.zeros((0, 1)), None, 0).high)

    @pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3])
    @pytest.mark.parametrize("pool", [None, ratio])
    def test_constant_values_have_none(self, value, pool):
        found = interval(np.full((30, 2 if pool else 1), value), pool, 0)
        assert math.isnan(found.low)
        assert "same value" in found.note

    def test_pool_that_is_often_undefined_has_none_and_one_that_rarely_is_has_one(self):
        parts = np.zeros((20, 2))
        parts[:, 0] = np.arange(20)
        parts[:2, 1] = 1  # a resample holds neither with probability 0.9 ** 20 = 0.12

        def share(given):
            return ratio(given) if given[:, 1].sum() else math.nan

        assert "undefined" in interval(parts, share, 0).note
        parts[:6, 1] = 1  # 0.7 ** 20 = 0.0008
        assert interval(parts, share, 0).low > 0

    @pytest.mark.filterwarnings(
        "ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning", "ignore:The BCa"
    )
    def test_an_interval_that_overflows_is_none_and_says_so(self):
        found = interval(np.array([0.0] * 9 + [1e200])[:, None], None, 0)
        assert math.isnan(found.low)
        assert found.note == "it is not finite"

    def test_seed_decides_and_order_of_equal_inputs_does_not(self):
        values = np.random.default_rng(0).normal(size=(30, 1))
        assert interval(values, None, 1) == interval(values, None, 1)
        assert interval(values, None, 1) != interval(values, None, 2)


class TestSignedRank:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9))
    def test_equals_all_signs_with_ties_and_zeros(self, pairs):
        first, second = np.array(pairs, float).T
        assert signed_rank(first, second)[0] == pytest.approx(slow_signed_rank(first, second), abs=1e-12)

    @pytest.mark.parametrize("count", [2, 7, 24, 50])
    def test_equals_scipys_exact_test_without_ties(self, count):
        first, second = np.random.default_rng(count).normal(0.2, 1, (2, count))
        assert signed_rank(first, second)[0] == pytest.approx(stats.wilcoxon(first, second, method="exact").pvalue)

    def test_equals_a_sign_test_where_all_differences_are_of_one_size(self):
        first = np.array([1.0] * 31 + [0.0] * 169)
        second = np.array([0.0] * 31 + [1.0] * 17 + [0.0] * 152)
        p, lean = signed_rank(first, second)
        assert p == pytest.approx(stats.binomtest(31, 48).pvalue)
        assert lean > 0
        # What the normal approximation makes of it, and why it is not used.
        assert stats.wilcoxon(first, second, zero_method="pratt", method="approx").pvalue < 0.8 * p

    def test_is_scipys_approximation_for_many(self):
        first, second = np.random.default_rng(0).normal(size=(2, 600))
        expected = stats.wilcoxon(first, second, zero_method="pratt", method="approx").pvalue
        assert signed_rank(first, second)[0] == pytest.approx(expected)

    def test_exact_and_approximate_meet(self):
        first, second = np.random.default_rng(3).normal(0.1, 1, (2, 125))
        expected = stats.wilcoxon(first, second, method="approx").pvalue
        assert signed_rank(first, second)[0] != expected
        assert signed_rank(first, second)[0] == pytest.approx(expected, rel=0.03)

    def test_is_symmetric_and_leans_to_the_higher(self):
        first, second = np.array([3.0, 5.0, 4.0, 8.0]), np.array([1.0, 2.0, 0.0, 9.0])
        assert signed_rank(first, second) == (signed_rank(second, first)[0], -signed_rank(second, first)[1])
        assert signed_rank(first, second)[1] == 2 + 3 + 4 - 1  # differences 2, 3, 4, -1

    def test_rounding_is_no_difference(self):
        values = np.random.default_rng(0).normal(size=50) * 1e6
        assert signed_rank(values * (1 + 1e-15), values) == (1.0, 0.0)

    def test_edges(self):
        assert signed_rank(np.ones(9), np.ones(9)) == (1.0, 0.0)
        assert signed_rank(np.zeros(3), np.zeros(3)) == (1.0, 0.0)
        assert signed_rank(np.array([2.0]), np.array([1.0])) == (1.0, 1.0)
        assert math.isnan(signed_rank(np.zeros(0), np.zeros(0))[0])


class TestHolm:
    def test_by_hand(self):
        # In order 0.01, 0.02, 0.03, 0.5: 4 x 0.01, 3 x 0.02, 2 x 0.03, 1 x 0.5.
        assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
        # 3 x 0.02 = 0.06 and 2 x 0.025 = 0.05, which must not be less than the one before it.
        assert holm([0.025, 0.02, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
        assert holm([0.6, 0.7]) == [1.0, 1.0]
        assert holm([]) == []

    def test_what_is_missing_is_no_test(self):
        found = holm([math.nan, 0.02, math.nan, 0.01])
        assert [found[1], found[3]] == pytest.approx([0.02, 0.02])
        assert math.isnan(found[0])
        assert math.isnan(found[2])

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.2))
    def test_rejects_what_the_step_down_procedure_rejects(self, given_p, level):
        """Holm as he wrote it: go up from the smallest, and stop at the first that is above level / number left."""
        rejected = set()
        for step, place in enumerate(sorted(range(len(given_p)), key=lambda each: given_p[each])):
            if given_p[place] * (len(given_p) - step) > level:
                break
            rejected.add(place)
        assert {place for place, p in enumerate(holm(given_p)) if p <= level} == rejected

    def test_false_alarms_stay_rare_where_nothing_differs(self):
        """Six equal methods against a seventh. 300 runs: standard error of 0.05 is 0.013."""
        generator = np.random.default_rng(0)
        corrected = plain = 0
        images = [("s", str(place)) for place in range(20)]
        names = [*"abcdef", "random"]
        for _ in range(300):
            values = generator.exponential(size=(7, 20)) + generator.normal(size=20)
            measured = {
                name: {image: (float(value),) for image, value in zip(images, own, strict=True)}
                for name, own in zip(names, values, strict=True)
            }
            found = compare(measured, [(name, "random") for name in names[:-1]], None, 0)
            corrected += any(each.significant for each in found)
            plain += any(each.p <= 0.05 for each in found)
        assert corrected / 300 < 0.05 + 3 * 0.013
        assert plain / 300 > 0.1


class TestPairedBootstrap:
    def test_by_hand(self):
        # Resamples 1, 2, 3 have standard deviation 1; of 16 images the error is sqrt(16 / 15), and t = 2 / 1.0328.
        expected = 2 * stats.t.sf(2 / math.sqrt(16 / 15), 15)
        assert paired_bootstrap(2.0, np.array([1.0, 2.0, 3.0]), 16) == pytest.approx(expected)

    def test_of_a_mean_is_students_paired_test(self):
        first, second = np.random.default_rng(1).normal(0.2, 1, (2, 40))
        parts = [values[:, None] for values in (first, second)]
        again = [resampled(each, lambda given: float(given.mean()), 7) for each in parts]
        found = paired_bootstrap(float((first - second).mean()), again[0] - again[1], 40)
        assert found == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=0.1)

    def test_edges(self):
        assert paired_bootstrap(0.0, np.zeros(99), 20) == 1.0
        assert math.isnan(paired_bootstrap(1.0, np.ones(99), 20))
        assert math.isnan(paired_bootstrap(1.0, np.arange(99.0), 9))
        assert math.isnan(paired_bootstrap(math.nan, np.arange(99.0), 20))
        assert math.isnan(paired_bootstrap(1.0, np.array([math.nan] * 6 + [1.0, 2.0] * 47), 20))
        known = np.array([1.0, 2.0] * 48)
        few_undefined = paired_bootstrap(1.0, np.concatenate([[math.nan] * 4, known]), 20)
        assert few_undefined == paired_bootstrap(1.0, known, 20)

    def test_draws_are_the_same_for_both_methods(self):
        parts = np.random.default_rng(0).uniform(1, 2, (15, 2))
        assert (resampled(parts, ratio, 3) == resampled(parts, ratio, 3)).all()
        assert np.allclose(resampled(parts * [2, 1], ratio, 3), 2 * resampled(parts, ratio, 3))


class TestCompare:
    def test_pairs_are_compared_on_the_images_that_both_have(self):
        measured = {
            "one": {("s", str(place)): (float(place),) for place in range(8)},
            "two": {("s", str(place)): (float(place) / 2,) for place in range(3, 12)},
            "none": {},
        }
        found, empty = compare(measured, [("one", "two"), ("one", "none")], None, 0)
        assert found.images == 5
        assert found.difference == pytest.approx((3 + 4 + 5 + 6 + 7) / 5 / 2)
        assert found.p == pytest.approx(2 / 2**5)
        assert found.corrected == found.p  # the empty pair is no test
        assert found.higher == "one"
        assert empty.images == 0
        assert math.isnan(empty.p)
        assert not empty.significant

    def test_pooled_values_are_compared_by_resampling(self):
        generator = np.random.default_rng(0)
        size = generator.uniform(1, 2, 40)
        images = [("s", str(place)) for place in range(40)]
        measured = {
            name: {
                image: (float(each * share), float(each))
                for image, each, share in zip(images, size, shares, strict=True)
            }
            for name, shares in {
                "high": generator.uniform(0.4, 1, 40),
                "low": generator.uniform(0, 0.6, 40),
                "again": generator.uniform(0, 0.6, 40),
            }.items()
        }
        first, second = compare(measured, [("high", "low"), ("low", "again")], ratio, 5)
        one, other = (np.array(list(measured[name].values())) for name in ("high", "low"))
        assert first.difference == pytest.approx(ratio(one) - ratio(other))
        again = resampled(one, ratio, 5) - resampled(other, ratio, 5)
        assert first.p == pytest.approx(paired_bootstrap(first.difference, again, 40))
        assert first.corrected == pytest.approx(2 * first.p)
        assert first.significant
        assert first.winner("higher") == "high"
        assert first.winner("lower") == "low"
        assert first.winner("neither") == ""
        assert not second.significant
        assert second.winner("higher") == ""
        few = {name: dict(list(own.items())[: FEWEST - 1]) for name, own in measured.items()}
        assert math.isnan(compare(few, [("high", "low")], ratio, 5)[0].p)

    def test_equal_pooled_values_do_not_differ(self):
        """The second has the first's images in another order and unit: its value is the same up to rounding."""
        parts = np.random.default_rng(0).uniform(1, 2, (20, 2))
        images = [("s", str(place)) for place in range(20)]
        measured = {
            name: {image: tuple(map(float, each)) for image, each in zip(images, own, strict=True)}
            for name, own in {"one": parts, "two": parts[::-1] / 3}.items()
        }
        (found,) = compare(measured, [("one", "two")], ratio, 0)
        assert (found.difference, found.p, found.higher) == (0.0, 1.0, "")

    def test_pooled_false_alarms(self, monkeypatch):
        """At 5 %, equal methods whose images weigh about alike; 100 runs: standard error 0.022."""
        monkeypatch.setattr(statistics, "RESAMPLES", 199)
        generator = np.random.default_rng(4)
        images = [("s", str(place)) for place in range(30)]
        alarms = 0
        for run in range(100):
            size = generator.uniform(1, 3, 30)
            measured = {
                name: {
                    image: (float(each * generator.uniform()), float(each))
                    for image, each in zip(images, size, strict=True)
                }
                for name in "ab"
            }
            alarms += compare(measured, [("a", "b")], ratio, run)[0].significant
        assert alarms / 100 < 0.05 + 3 * 0.022

    def test_a_test_may_lean_another_way_than_the_mean(self):
        """One image where the first is far worse makes its mean lower, while it is higher on all others."""
        images = [("s", str(place)) for place in range(20)]
        measured = {
            "often": {image: (1.0 + place / 100,) for place, image in enumerate(images)},
            "rarely": dict.fromkeys(images, (0.5,)),
        }
        measured["often"][images[0]] = (-100.0,)
        (found,) = compare(measured, [("often", "rarely")], None, 0)
        assert found.difference < 0
        assert found.significant
        assert found.higher == "often"
        assert found.winner("higher") == found.winner("lower") == ""

    def test_some_can_be_corrected_without_the_others(self):
        found = [Comparison("a", "b", 9, 1.0, p, 1.0) for p in (0.01, 0.04)]
        assert [each.corrected for each in corrected_together(found)] == pytest.approx([0.02, 0.04])
        assert corrected_together(found[:1])[0].corrected == 0.01


class TestRanks:
    def test_published_example(self):
        """Demšar 2006, section 3.2.2 and 3.2.3: ranks 3.143, 2.000, 2.893, 1.964, chi square 9.28, difference 1.25."""
        found = rank_methods(["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"], DEMSAR, "higher")
        assert found.ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
        assert found.images == 14
        assert found.critical == pytest.approx(1.25, abs=5e-3)
        ranks = np.array(found.ranks)
        chi_square = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 5**2 / 4)
        assert chi_square == pytest.approx(9.28, abs=5e-3)
        # The test of scipy divides by what ties take away: 1 - sum(t^3 - t) / n k (k^2 - 1), for groups of t ties.
        ties = 3 * (2**3 - 2) + (4**3 - 4)
        corrected = chi_square / (1 - ties / (14 * 4 * (16 - 1)))
        assert found.p == pytest.approx(stats.chi2.sf(corrected, 3), rel=1e-9)

    @pytest.mark.parametrize(
        ("methods", "q"),
        list(enumerate([1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164], start=2)),
    )
    def test_critical_difference_has_the_published_q(self, methods, q):
        """Table 5 of Demšar 2006, at 5 %."""
        assert nemenyi(methods, 30) == pytest.approx(q * math.sqrt(methods * (methods + 1) / 180), rel=5e-4)

    def test_lower_may_be_better(self):
        values = np.array([[1.0, 2.0, 2.0]] * 3)
        assert rank_methods("abc", values, "lower").ranks == (1.0, 2.5, 2.5)
        assert rank_methods("abc", values, "higher").ranks == (3.0, 1.5, 1.5)

    def test_equal_methods(self):
        found = rank_methods("abc", np.repeat(np.arange(12.0)[:, None], 3, 1), "higher")
        assert found.ranks == (2.0, 2.0, 2.0)
        assert found.p == 1.0

    def test_edges(self):
        one = rank_methods("a", np.arange(20.0)[:, None], "higher")
        assert one.ranks == (1.0,)
        assert math.isnan(one.critical)
        assert math.isnan(one.p)
        two = rank_methods("ab", np.arange(40.0).reshape(20, 2), "higher")
        assert math.isnan(two.p)
        assert two.critical == pytest.approx(1.960 * math.sqrt(1 / 20), rel=5e-4)
        few = rank_methods("abc", np.arange(27.0).reshape(9, 3), "higher")
        assert few.ranks == (3.0, 2.0, 1.0)
        assert math.isnan(few.critical)
        assert math.isnan(few.p)
        for nothing in (
            rank_methods("ab", np.zeros((0, 2)), "higher"),
            rank_methods("ab", np.zeros((20, 2)), "neither"),
        ):
            assert np.isnan(nothing.ranks).all()

    def test_false_alarms_of_nemenyi_stay_rare(self):
        """Five equal methods, any pair further apart than the critical difference. 200 runs: standard error 0.015."""
        generator = np.random.default_rng(2)
        alarms = 0
        for _ in range(200):
            found = rank_methods("abcde", generator.normal(size=(30, 5)), "higher")
            alarms += max(found.ranks) - min(found.ranks) > found.critical
        assert alarms / 200 < 0.05 + 3 * 0.015
