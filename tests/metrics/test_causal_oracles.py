"""Causal metrics against slow loops in double precision, on a model with random weights, and against libraries."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

import vitreous as vt
from contracts.families import WIDE, random_images, scramble, timm_vit
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import METRICS
from vitreous.metrics._random_sets import draw_sets, sizes_of_sets
from vitreous.metrics._rank import descending_pixels
from vitreous.vit.coalitions import filling
from vitreous.vit.impute import DEVIATION, NOISE, imputed

PATCHES, SIDE = 12, 8
LABELS = (0, 1, 2)


class Slow:
    """One image of a case, its map as a list, and the model asked about one changed copy at a time."""

    def __init__(self, case, image, fill):
        self.model, self.fill = case.trace.vit.model, fill
        self.pixels = case.trace.inputs.detach()[image]
        self.target, self.label = int(case.trace.target.plus[image]), case.truth[image].label
        self.map = case.per_patch[image].tolist()
        self.surface = case.per_pixel[image].flatten().tolist()
        self.noise = torch.randn(self.pixels.shape, generator=case.trace.generators(NOISE)[image], dtype=torch.float64)
        self.other = None if fill == "impute" else filling(case.trace, fill)[image]

    def logits(self, gone_pixels):
        mask = torch.zeros(WIDE, dtype=torch.bool)
        for row, column in gone_pixels:
            mask[row, column] = True
        other = dense_imputation(self.pixels, mask, self.noise) if self.fill == "impute" else self.other
        with torch.no_grad():
            return self.model(torch.where(mask, other, self.pixels)[None])[0]

    def without(self, gone, of="logit"):
        pixels = []
        for patch in gone:
            row, column = divmod(patch, WIDE[1] // SIDE)
            pixels += [(row * SIDE + y, column * SIDE + x) for y in range(SIDE) for x in range(SIDE)]
        return self.read(self.logits(pixels), of)

    def read(self, logits, of):
        if of == "logit":
            return float(logits[self.target])
        if of == "probability":
            exponents = [float(np.exp(float(one))) for one in logits]
            return exponents[self.target] / sum(exponents)
        return float(int(logits.argmax()) == self.label)

    def order(self, values, most=True):
        return sorted(range(len(values)), key=lambda place: -values[place] if most else values[place])


def dense_imputation(pixels, mask, noise):
    """Solve the same equations by loops and a dense matrix."""
    height, width = mask.shape
    places = [(y, x) for y in range(height) for x in range(width) if mask[y, x]]
    numbers = {place: number for number, place in enumerate(places)}
    filled = pixels.clone()
    if not places:
        return filled
    if len(places) == height * width:
        return pixels.mean((1, 2), keepdim=True).expand_as(pixels) + DEVIATION * noise
    matrix, given = np.zeros((len(places), len(places))), np.zeros((len(places), 3))
    for number, (y, x) in enumerate(places):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                near = (y + down, x + right)
                if (down, right) == (0, 0) or not (0 <= near[0] < height and 0 <= near[1] < width):
                    continue
                weight = 1 / 12 if down and right else 1 / 6
                matrix[number, number] += weight
                if near in numbers:
                    matrix[number, numbers[near]] -= weight
                else:
                    given[number] += weight * pixels[:, near[0], near[1]].numpy()
    for number, solved in enumerate(np.linalg.solve(matrix, given)):
        at = places[number]
        filled[:, at[0], at[1]] = torch.from_numpy(solved) + DEVIATION * noise[:, at[0], at[1]]
    return filled


@pytest.fixture(scope="module")
def case():
    model = scramble(timm_vit()).double()
    plain = vt.Preprocessing(size=WIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    vit = vt.open_vit(model, preprocessing=plain)
    images = random_images(vit, 3)
    maps = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    with vit.trace(images, [2, 4, 5]) as trace:
        yield Case(trace, maps, lambda _: maps, tuple(Truth(label=label) for label in LABELS))


def found(name, case, **parameters):
    return METRICS[name].function(case, **parameters).tolist()


def slowly(case, fill, compute):
    return pytest.approx([compute(Slow(case, image, fill)) for image in range(3)], abs=1e-9)


def curve(one, most, steps, of):
    order = one.order(one.map, most)
    return [one.without(order[: PATCHES * step // steps], of) for step in range(steps + 1)]


def area(values):
    return sum((left + right) / 2 for left, right in itertools.pairwise(values)) / (len(values) - 1)


@pytest.mark.parametrize("fill", ["mean", "blur", "black", "grey", "impute"])
@pytest.mark.parametrize("of", ["logit", "probability"])
def test_curves(case, fill, of):
    given = {"steps": 4, "fill": fill, "of": of}
    assert found("deletion", case, **given) == slowly(case, fill, lambda one: area(curve(one, True, 4, of)))
    assert found("insertion", case, **given) == slowly(case, fill, lambda one: area(curve(one, False, 4, of)))
    for name in ("abpc", "aopc"):

        def compute(one, name=name):
            most, least = curve(one, True, 4, of), curve(one, False, 4, of)
            pairs = zip(least, most, strict=True) if name == "abpc" else [(most[0], left) for left in most]
            return sum(first - second for first, second in pairs) / 5

        assert found(name, case, **given) == slowly(case, fill, compute)


def test_four_metrics_share_two_curves_and_agree(case):
    with case.trace.vit.trace(case.images, [2, 4, 5]) as trace:
        mine = Case(trace, case.relevance, case.explain, case.truth)
        given = {"steps": 6, "fill": "drop", "of": "logit"}
        before = trace.forwards
        deleted, inserted, gain, between = (
            METRICS[name].function(mine, **given) for name in ("deletion", "insertion", "srg", "abpc")
        )
        assert trace.forwards - before == 2 * 6 - 1, "both curves end in the same empty set, and begin with the trace"
        METRICS["aopc"].function(mine, **given)
        METRICS["deletion"].function(mine, **(given | {"of": "probability"}))
        assert trace.forwards - before == 2 * 6 - 1
    assert (inserted - deleted - gain).abs().max() < 1e-12
    assert (gain * 6 / 7 - between).abs().max() < 1e-12


@pytest.mark.parametrize("unit", ["pixel", "patch"])
@pytest.mark.parametrize("fill", ["black", "impute"])
def test_perturbation_and_road(case, unit, fill):
    def right(one, most):
        values = one.map if unit == "patch" else one.surface
        order = one.order(values, most)
        gone = [order[: int(len(values) * share / 10)] for share in range(10)]
        if unit == "patch":
            return [one.without(each, "right") for each in gone]
        return [one.read(one.logits([divmod(place, WIDE[1]) for place in each]), "right") for each in gone]

    if unit == "pixel":  # a map of pixels without ties: loops and metric would break them differently
        maps = torch.randn(3, *WIDE, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        case = Case(case.trace, maps, case.explain, case.truth)
    given = {"unit": unit, "fill": fill}
    perturbed = {"positive_perturbation": True, "negative_perturbation": False}
    for name, most in perturbed.items():
        assert found(name, case, **given) == slowly(case, fill, lambda one, most=most: 0.9 * area(right(one, most)))
    for first, most in (("most", True), ("least", False)):
        expected = slowly(case, fill, lambda one, most=most: sum(right(one, most)[1:]) / 9)
        assert found("road", case, first=first, **given) == expected


def test_pixels_are_ranked_by_the_interpolated_map(case):
    surface = case.per_pixel.flatten(1)
    ranked = surface.gather(1, descending_pixels(case))
    assert torch.equal(ranked, surface.sort(1, descending=True).values)
    assert len(surface[0].unique()) > PATCHES


SIZES = {3: [4, 4, 4], 5: [2, 3, 2, 3, 2], 10: [1, 1, 2, 1, 1, 1, 1, 2, 1, 1], 40: [1] * 12}
"""How twelve patches are cut into so many groups."""


@pytest.mark.parametrize("groups", SIZES)
def test_saco(case, groups):
    def compute(one):
        order, count = one.order(one.map), len(SIZES[groups])
        ends = [0, *itertools.accumulate(SIZES[groups])]
        parts = [order[start:end] for start, end in itertools.pairwise(ends)]
        salience = [sum(one.map[patch] for patch in part) / len(part) for part in parts]
        lost = [one.without([], "probability") - one.without(part, "probability") for part in parts]
        total = weight = 0.0
        for i in range(count - 1):
            for j in range(i + 1, count):
                apart = salience[i] - salience[j]
                total += apart if lost[i] >= lost[j] else -apart
                weight += abs(apart)
        return total / weight

    assert found("saco", case, groups=groups) == slowly(case, "mean", compute)


def test_random_sets(case):
    sizes = sizes_of_sets(PATCHES, 0.1, 0.5, 3)
    given = {"sets": 7, "sizes": 3, "fill": "mean"}

    def pairs(one, image, size):
        drawn = [set(row.nonzero()[:, 0].tolist()) for row in draw_sets(case, 7, size)[image]]
        whole = one.without([])
        return [(sum(one.map[patch] for patch in gone), whole - one.without(gone)) for gone in drawn]

    for image in range(3):
        one = Slow(case, image, "mean")
        by_size = [pairs(one, image, size) for size in sizes]
        correlated = [pearsonr(*zip(*each, strict=True)).statistic for each in by_size]
        assert found("sensitivity_n", case, **given)[image] == pytest.approx(np.mean(correlated), abs=1e-9)
        middle = found("faithfulness_correlation", case, sets=7, share=sizes[1] / PATCHES, fill="mean")[image]
        assert middle == pytest.approx(correlated[1], abs=1e-9)
        relevance, loss = np.array([pair for each in by_size for pair in each]).T
        plain = found("infidelity", case, scaled=False, relative=False, **given)[image]
        assert plain == pytest.approx(np.mean((relevance - loss) ** 2), abs=1e-9)
        best = min(np.mean((beta * relevance - loss) ** 2) for beta in np.linspace(0, 5, 2001))
        scaled = found("infidelity", case, relative=False, **given)[image]
        assert scaled <= best + 1e-12
        assert scaled == pytest.approx(best, rel=1e-3)
        assert found("infidelity", case, **given)[image] == pytest.approx(scaled / np.mean(loss**2), abs=1e-9)


def test_metrics_of_random_sets_share_their_passes(case):
    with case.trace.vit.trace(case.images, [2, 4, 5]) as trace:
        mine = Case(trace, case.relevance, case.explain, case.truth)
        before = trace.forwards
        METRICS["sensitivity_n"].function(mine, sets=6, sizes=5)
        asked = trace.forwards - before
        METRICS["infidelity"].function(mine, sets=6, sizes=5)
        METRICS["faithfulness_correlation"].function(mine, sets=6, share=0.3)
        assert trace.forwards - before == asked <= 6 * 5


def test_completeness_and_regions(case):
    for fill in ("mean", "black", "impute"):
        wrong = slowly(case, fill, lambda one: abs(one.without([]) - one.without(range(PATCHES)) - sum(one.map)))
        assert found("completeness_error", case, baseline=fill) == wrong
        top = slowly(case, fill, lambda one: one.without([]) - one.without(one.order(one.map)[:3]))
        assert found("region_masking", case, share=0.25, fill=fill) == top
        assert found("region_attenuation", case, share=0.25, strength=1.0, fill=fill) == top
    for image, fill in itertools.product(range(3), ("blur", "impute")):
        one = Slow(case, image, fill)
        gone = one.order(one.map)[:3]
        region = torch.zeros(PATCHES).index_fill(0, torch.tensor(gone), 1.0).reshape(3, 4)
        region = region.repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1).double()
        other = dense_imputation(one.pixels, region > 0, one.noise) if fill == "impute" else one.other
        with torch.no_grad():
            mixed = one.pixels * (1 - 0.3 * region) + other * 0.3 * region
            expected = one.without([]) - float(one.model(mixed[None])[0][one.target])
        weak = found("region_attenuation", case, share=0.25, strength=0.3, fill=fill)[image]
        assert weak == pytest.approx(expected, abs=1e-9)


# -- imputation --------------------------------------------------------------------------------------------------------


def test_imputation_by_hand():
    """The middle of 3 x 3 pixels: direct neighbours sum to 2 + 4 + 6 + 8, diagonal ones to 1 + 3 + 7 + 9.

    The upper left corner has but three neighbours, 2, 4 and 5, whose weights 1/6, 1/6 and 1/12 sum to 5/12.
    """
    pixels = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(3, 3).expand(3, 3, 3).clone()
    pixels[:, 1, 1] = 50.0
    known, quiet = torch.ones(3, 3, dtype=torch.bool), torch.zeros(3, 3, 3, dtype=torch.float64)
    known[1, 1] = False
    middle = imputed(pixels, known, quiet)
    assert middle[:, 1, 1].tolist() == pytest.approx([20 / 6 + 20 / 12] * 3)
    assert torch.equal(middle[:, known], pixels[:, known])
    pixels[:, 1, 1] = 5.0
    known[1, 1], known[0, 0] = True, False
    corner = imputed(pixels, known, quiet)
    assert corner[:, 0, 0].tolist() == pytest.approx([(2 / 6 + 4 / 6 + 5 / 12) / (5 / 12)] * 3)
    assert imputed(pixels, known, quiet + 1)[0, 0, 0] == pytest.approx(float(corner[0, 0, 0]) + DEVIATION)
    assert torch.equal(imputed(pixels, known | True, quiet + 1), pixels)
    assert imputed(pixels, known & False, quiet).tolist() == torch.full((3, 3, 3), 5.0).tolist()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_imputation_solves_the_equations(share):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 9, 13, generator=generator, dtype=torch.float64)
    known = torch.rand(9, 13, generator=generator) > share
    noise = torch.randn(3, 9, 13, generator=generator, dtype=torch.float64)
    assert (imputed(pixels, known, noise) - dense_imputation(pixels, ~known, noise)).abs().max() < 1e-9
