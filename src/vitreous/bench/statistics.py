"""Statistics on evaluations: intervals, paired tests, correction for many tests, average ranks.

What varies is the image. An interval or a p-value here says what another draw of images from the same source would
change, for this model and this seed; it says nothing about other models or data. Images have to be independent:
several that show the same thing count as more evidence than they are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from scipy import stats

from vitreous.metrics._metric import Better, Pool

LEVEL = 0.95
RESAMPLES = 4999
FEWEST_TUNED = 200
"""Images for an interval of a value that was tuned on them. In simulations of MaxBoxAcc the percentile interval of 20
images holds the true value 57 times in 100, of 50 images 72 times, of 200 images 90 times."""
FEWEST = 10  # images. A bootstrap interval of as many covers the mean 9 times in 10, of five 8 times
UNDEFINED = 0.05  # the share of resamples that may be undefined
QUICK = 2_000_000  # additions, about 2 ms

Image: TypeAlias = tuple[str, str]
"""Name of the sample, and digest of its pixels."""
Measured: TypeAlias = Mapping[str, Mapping[Image, tuple[float, ...]]]
"""By method and by image, what the metric gave."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; both ends are NaN where there is none, and `note` says why."""

    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two methods on the images that both have.

    images      how many those are
    difference  value of the first minus that of the second, on those images
    p           two-sided, of this pair alone; NaN where there is no test
    corrected   the same after Holm's correction over all pairs that were compared together
    higher      the method towards which the test leans, as having higher values; empty for neither
    """

    first: str
    second: str
    images: int
    difference: float
    p: float
    corrected: float
    higher: str = ""

    @property
    def significant(self) -> bool:
        """Whether the pair is told apart at 5 %, after correction."""
        return self.corrected <= 0.05

    def winner(self, better: Better) -> str:
        """Name the method that is better by this test and by its value; empty if there is none.

        Ranks may lean one way and the mean the other, where few images differ by much: then neither is better.
        """
        if better == "neither" or not self.significant or not self.higher:
            return ""
        if (self.difference > 0) != (self.higher == self.first):
            return ""
        lower = self.second if self.higher == self.first else self.first
        return self.higher if better == "higher" else lower


@dataclass(frozen=True)
class Ranking:
    """Average ranks of methods over the images that all of them have; 1 is best.

    p         of Friedman's test that all methods are alike, corrected for ties
    critical  Nemenyi's critical difference: two methods whose average ranks are further apart differ at 5 %

    Both are NaN for too few images, as they hold for many only. `p` is NaN for fewer than three methods too, and
    `critical` for fewer than two.
    """

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    images: int
    p: float
    critical: float


def interval(parts: Float[np.ndarray, "n s"], pool: Pool | None, seed: int, fewest: int = FEWEST) -> Interval:
    """Give the bootstrap interval of the mean of `parts`, or of what `pool` makes of them, over images.

    Means have the interval that is corrected for bias and skew (BCa, Efron 1987), by `scipy.stats.bootstrap`. Pooled
    values have the percentile interval of resampled images. There is none for fewer than ten images, for images that
    are all alike, as a bootstrap cannot know what it has not seen, and where `pool` is undefined in more than one
    resample of twenty; up to that, those resamples are left out.
    """
    if len(parts) < fewest:
        return Interval(math.nan, math.nan, f"fewer than {fewest} images")
    if _alike(parts):
        return Interval(math.nan, math.nan, "all images have the same value")
    if pool is None:
        found = stats.bootstrap(
            (parts[:, 0],),
            np.mean,
            confidence_level=LEVEL,
            n_resamples=RESAMPLES,
            batch=max(1, 2_000_000 // len(parts)),  # bounds memory
            rng=np.random.default_rng(seed),
        ).confidence_interval
        return _finite(float(found.low), float(found.high))
    values = _defined(resampled(parts, pool, seed))
    if values is None:
        return Interval(math.nan, math.nan, "undefined in too many resamples")
    if np.ptp(values) == 0:
        return Interval(math.nan, math.nan, "all resamples have the same value")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return _finite(float(low), float(high))


def _finite(low: float, high: float) -> Interval:
    """Give an interval, or none if an end is no number."""
    if math.isfinite(low) and math.isfinite(high):
        return Interval(low, high)
    return Interval(math.nan, math.nan, "it is not finite")


def resampled(parts: Float[np.ndarray, "n s"], pool: Pool, seed: int) -> Float[np.ndarray, " r"]:
    """Pool the images drawn again with replacement, `RESAMPLES` times; the same draws for the same seed and number."""
    generator = np.random.default_rng(seed)
    draws = (generator.integers(len(parts), size=len(parts)) for _ in range(RESAMPLES))
    return np.array([pool(parts[draw]) for draw in draws], dtype=np.float64)


def compare(measured: Measured, pairs: Iterable[tuple[str, str]], pool: Pool | None, seed: int) -> list[Comparison]:
    """Test each pair of methods on the images that both have, and correct over these pairs by Holm's procedure.

    Means are compared by Wilcoxon's signed ranks (`signed_rank`); pooled values, which single images do not have, by
    resampling images (`paired_bootstrap`). No images, no p: it is NaN, and not counted as a test.
    """
    resamples: dict[
        tuple[str, tuple[Image, ...]], Float[np.ndarray, " r"]
    ] = {}  # many pairs share a method and its images
    found = []
    for first, second in pairs:
        images = tuple(image for image in measured[first] if image in measured[second])
        if not images:
            found.append(Comparison(first, second, 0, math.nan, math.nan, math.nan))
            continue
        one, other = (np.array([measured[method][image] for image in images]) for method in (first, second))
        if pool is None:
            difference = float((one - other).mean())
            p, lean = signed_rank(one[:, 0], other[:, 0])
        else:
            for method, parts in ((first, one), (second, other)):
                if len(images) >= FEWEST and (method, images) not in resamples:
                    resamples[method, images] = resampled(parts, pool, seed)
            values = pool(one), pool(other)
            difference = 0.0 if math.isclose(*values, rel_tol=1e-12) else values[0] - values[1]
            few = len(images) < FEWEST
            again = np.zeros(0) if few else resamples[first, images] - resamples[second, images]
            p, lean = paired_bootstrap(difference, again, len(images)), difference
        higher = first if lean > 0 else second if lean < 0 else ""
        found.append(Comparison(first, second, len(images), difference, p, math.nan, higher))
    return corrected_together(found)


def corrected_together(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct these comparisons, and no others, for their number; what they were corrected for before is forgotten."""
    corrected = holm([each.p for each in comparisons])
    return [replace(each, corrected=p) for each, p in zip(comparisons, corrected, strict=True)]


def signed_rank(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Give the two-sided p-value of Wilcoxon's signed-rank test of paired values, and the sum of the signed ranks.

    Differences of zero are ranked with the others and then left out (Pratt 1959), and ties share their average rank.
    If all are zero, p is 1; for no values it is NaN. Differences that agree to 12 decimals of the largest value are
    equal: rounding is no evidence. What is tested is whether differences are symmetric about zero, and so the sum of
    signed ranks may lean another way than the mean.

    The distribution is exact, given the ranks, as long as it is quick to count. `scipy.stats.wilcoxon` counts it only
    without ties, and its normal approximation is too optimistic for values such as 0 and 1, where nearly all are tied.
    Beyond, it is that approximation.
    """
    if not len(first):
        return math.nan, 0.0
    differences = _rounded(first - second, float(np.abs([first, second]).max()))
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    positive = differences[differences != 0] > 0
    if not len(ranks):
        return 1.0, 0.0
    lean = float(ranks[positive].sum() - ranks[~positive].sum())
    doubled = np.rint(2 * ranks).astype(np.int64)  # tied ranks are halves
    steps = doubled // reduce(math.gcd, doubled.tolist())
    if int(steps.sum()) * len(steps) > QUICK:
        return float(stats.wilcoxon(differences, zero_method="pratt", method="approx").pvalue), lean
    chances = np.zeros(int(steps.sum()) + 1)  # of each sum of positive ranks
    chances[0] = 1.0
    for step in steps:  # each sign is as likely as the other
        with_it = chances[:-step] / 2
        chances /= 2
        chances[step:] += with_it
    reached = int(steps[positive].sum())
    return min(1.0, 2 * float(min(chances[: reached + 1].sum(), chances[reached:].sum()))), lean


def paired_bootstrap(difference: float, resamples: Float[np.ndarray, " r"], images: int) -> float:
    """Give the two-sided p-value of a difference of pooled values, from its resamples over the same draws of images.

    The difference over its bootstrap standard error is held against Student's distribution with one degree of freedom
    less than images. Where the resamples themselves cross zero would be the more usual question, and rejects equal
    methods more often, above all at the small levels that Holm's correction asks about. This too is approximate: equal
    methods are told apart at 5 % up to 9 times in 100 with 20 images, and 8 with 50, if few images weigh much more
    than the others. NaN for fewer than ten images, if more than one resample in twenty is undefined, and if all
    resamples are alike.
    """
    known = _defined(resamples)
    if images < FEWEST or known is None or math.isnan(difference):
        return math.nan
    error = float(known.std(ddof=1)) * math.sqrt(images / (images - 1))
    if difference == 0:
        return 1.0
    if error <= 1e-12 * abs(difference):
        return math.nan
    return float(2 * stats.t.sf(abs(difference) / error, images - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for their number, keeping the chance of any false alarm at the level (Holm 1979).

    The smallest is multiplied by their number m, the next by m - 1 and so on; none is made smaller than one before it,
    or larger than 1. NaN stays and is not counted.
    """
    given = np.asarray(p, dtype=np.float64)
    corrected = np.full(len(given), math.nan)
    order = [int(index) for index in np.argsort(given, kind="stable") if not math.isnan(given[index])]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1, np.maximum.accumulate(given[order] * factors))
    return [float(each) for each in corrected]


def rank_methods(methods: Sequence[str], values: Float[np.ndarray, "n k"], better: Better) -> Ranking:
    """Rank the methods on each image, ties sharing the average rank, and average over images.

    methods  the names of the columns of `values`; each row is an image

    Friedman's test and Nemenyi's critical difference are those of Demšar 2006, "Statistical comparisons of classifiers
    over multiple data sets", with images in place of data sets: q sqrt(k (k + 1) / 6n), q from the studentised range.
    An average rank depends on which other methods take part, and so does the critical difference; what two methods
    are to one another is better asked of `compare` (Benavoli, Corani & Mangili 2016).
    """
    images, count = values.shape
    if better == "neither" or not images:
        return Ranking(tuple(methods), (math.nan,) * count, images, math.nan, math.nan)
    even = _rounded(values, float(np.abs(values).max()))
    ranks = stats.rankdata(-even if better == "higher" else even, axis=1)
    average = tuple(float(rank) for rank in ranks.mean(0))
    p = critical = math.nan
    if images >= FEWEST and count > 2:
        alike = bool((ranks == ranks[:, :1]).all())
        p = 1.0 if alike else float(stats.friedmanchisquare(*ranks.T).pvalue)
    if images >= FEWEST and count > 1:
        critical = nemenyi(count, images)
    return Ranking(tuple(methods), average, images, p, critical)


def nemenyi(methods: int, images: int) -> float:
    """Give by how much average ranks have to differ for two methods to differ at 5 %, over all pairs (Nemenyi 1963)."""
    q = float(stats.studentized_range.ppf(LEVEL, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * images))


def _rounded(values: Float[np.ndarray, "*n"], largest: float) -> Float[np.ndarray, "*n"]:
    """Round to 12 decimals of `largest`."""
    return values if largest == 0 else np.round(values / largest, 12)


def _alike(parts: Float[np.ndarray, "n s"]) -> bool:
    return bool((np.ptp(parts, axis=0) <= 1e-12 * np.abs(parts).max(0)).all())


def _defined(values: Float[np.ndarray, " r"]) -> Float[np.ndarray, " d"] | None:
    """Leave out what is NaN; None if that is too much."""
    known = values[~np.isnan(values)]
    return None if len(known) < (1 - UNDEFINED) * len(values) else known
