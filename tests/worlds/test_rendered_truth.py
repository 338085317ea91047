"""Truth and agreement with it, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitreous.core.frame import frame_tensor
from vitreous.core.heatmap import Heatmap
from vitreous.core.provenance import Provenance
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.truth import logit_drops, mass_inside_target, rank_agreement, relevance_of_things

FRAME = frame_tensor((96, 96), (8, 8), (12, 12))


@pytest.fixture(scope="module")
def sample():
    return next(one for one in scenes() if len(one.things) >= 6)


def heatmap(relevance):
    """A map of 12 x 12 patches, or of 96 x 96 pixels; its record is not read here."""
    return Heatmap(np.asarray(relevance, dtype=np.float32), "share", True, FRAME, Provenance.model_construct())


def patches(shares):
    """The mean of each patch of 8 x 8 pixels."""
    return np.array(
        [[shares[row : row + 8, column : column + 8].mean() for column in range(0, 96, 8)] for row in range(0, 96, 8)]
    )


class Linear:
    """A stand-in for a model: logit k is the sum of the picture times weights[k]."""

    def __init__(self, weights):
        self.weights = torch.as_tensor(weights, dtype=torch.float32)

    def logits(self, images):
        assert images.shape[1:] == (3, 96, 96)
        assert 0 <= images.min() <= images.max() <= 1
        return torch.einsum("bchw,khw->bk", images, self.weights)


def test_drops_are_the_change_of_a_linear_logit(sample):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((10, 96, 96)) / 100
    before = np.asarray(sample.image) / 255
    after = [np.asarray(one.image) / 255 for one in sample.stored() if one.kind == "without"]
    for target in (None, 3):
        chosen = weights[sample.index if target is None else target]
        expected = [((before - one).sum(-1) * chosen).sum() for one in after]
        found = logit_drops(Linear(weights), sample, target)
        assert found.shape == (len(sample.things),)
        assert found == pytest.approx(expected, abs=1e-3)


def test_a_model_that_looks_at_one_thing_loses_most_when_that_goes(sample):
    """The weights are those of the change that taking out thing 2 makes; no other removal changes those pixels as much."""
    before = np.asarray(sample.image) / 255
    for number in (0, 2):
        change = (before - np.asarray(sample.removals()[number].image) / 255).sum(-1)
        weights = np.zeros((10, 96, 96))
        weights[sample.index] = np.where(sample.coverage(number) == 1, change, 0)
        drops = logit_drops(Linear(weights), sample)
        assert drops.argmax() == number
        assert drops[number] > 0


def test_relevance_of_a_thing_is_that_of_its_pixels(sample):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((12, 12)).astype(np.float32)
    found = relevance_of_things(heatmap(values), sample)
    numbers = sample.numbers()
    for number in range(len(sample.things)):
        expected = sum(values[row // 32, column // 32] / 16 for row, column in np.argwhere(numbers == number + 1))
        assert found[number] == pytest.approx(expected, abs=1e-2)


def test_a_uniform_map_gives_each_thing_its_area(sample):
    area = np.array([(sample.numbers() == number + 1).mean() for number in range(len(sample.things))])
    assert relevance_of_things(heatmap(np.full((12, 12), 2.0)), sample) == pytest.approx(2 * area * 96**2, rel=1e-4)
    assert mass_inside_target(heatmap(np.full((12, 12), 2.0)), sample) == pytest.approx(area[0], rel=1e-4)


def test_mass_of_a_map_of_pixels_and_of_patches(sample):
    inside = sample.coverage(0)
    assert mass_inside_target(heatmap(inside == 1), sample) == pytest.approx(1.0)
    assert mass_inside_target(heatmap(inside == 0), sample) == 0.0
    # Patches that touch the target, each with weight 1: the share of their area that the target covers.
    touched = patches(inside) > 0
    expected = inside.sum() / (64 * touched.sum())
    assert mass_inside_target(heatmap(touched), sample) == pytest.approx(expected, rel=1e-5)
    # What speaks against does not count: neither on the target nor beside it.
    assert mass_inside_target(heatmap(np.where(touched, 1.0, -5.0)), sample) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_mass_of_a_map_without_positive_relevance_is_nan(sample, value):
    assert np.isnan(mass_inside_target(heatmap(np.full((12, 12), value)), sample))


def test_rank_agreement_is_spearmans_of_hand_made_ranks(sample):
    count = len(sample.things)
    # A map in pixels: on thing k the value is such that its sum is k; the order of the drops is then known.
    values = np.zeros((96, 96))
    for number in range(count):
        own = sample.coverage(number) * (sample.coverage(number) == 1)
        values += number * own / own.sum()
    found = relevance_of_things(heatmap(values), sample)
    assert found == pytest.approx(np.arange(count), abs=1e-3)
    drops = np.arange(count, dtype=np.float32) ** 3
    assert rank_agreement(heatmap(values), sample, drops) == pytest.approx(1)
    assert rank_agreement(heatmap(-values), sample, drops) == pytest.approx(-1)
    swapped = drops.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    # One swap of neighbours: sum of d² is 2, rho = 1 - 6 * 2 / (n (n² - 1)).
    assert rank_agreement(heatmap(values), sample, swapped) == pytest.approx(1 - 12 / (count * (count**2 - 1)))


def test_rank_agreement_of_constants_is_nan(sample):
    drops = np.arange(len(sample.things), dtype=np.float32)
    assert np.isnan(rank_agreement(heatmap(np.zeros((12, 12))), sample, drops))
    assert np.isnan(rank_agreement(heatmap(np.random.default_rng(0).random((12, 12))), sample, np.ones_like(drops)))


def test_pixels_that_the_model_did_not_see_count_as_nothing(sample):
    """A cropped map has no value at the border of the photograph; the rest is as it is."""
    cropped = replace(FRAME, window=(8.0, 8.0, 88.0, 88.0))
    made = Heatmap(np.ones((12, 12), dtype=np.float32), "share", False, cropped, Provenance.model_construct())
    inner = sample.coverage(0)[8:88, 8:88].sum()
    assert mass_inside_target(made, sample) == pytest.approx(inner / 80**2, rel=1e-5)
