"""The oracles themselves: the planted truth is exact, and the slow model is the model it was copied from."""

import pytest
import torch

import vitreous as vt
from contracts.families import random_images
from oracles.planted import DARK, GAIN, IDLE, LIGHT, open_planted, planted_images

EXTREMES = [(0, 11), (5, 2), (11, 6)]
planted = pytest.mark.parametrize("prefix", [0, 1, 2, 5])
written = pytest.mark.parametrize("attention", ["sdpa", "softmax"])


@planted
@written
def test_the_planted_model_is_opened_as_what_it_is(prefix, attention):
    vit = open_planted(prefix=prefix, attention=attention)
    assert (vit.prefix, vit.suffix, vit.grid, vit.patch, vit.heads) == (prefix, 0, (3, 4), (4, 4), 2)
    assert vit.readout.kind == ("token" if prefix else "mean")
    assert vit.attention_kind == ("sdpa" if attention == "sdpa" else "handwritten")


@planted
@written
def test_the_outputs_are_those_of_the_formula(prefix, attention):
    vit = open_planted(prefix=prefix, attention=attention)
    images, brightness = planted_images(vit, EXTREMES)
    expected = [[GAIN * row.max(), GAIN * (1 - row.min()), IDLE] for row in brightness.double()]
    assert torch.allclose(vit.logits(images).double(), torch.tensor(expected).double(), rtol=1e-6)
    assert brightness.max() == pytest.approx(LIGHT)
    assert brightness.min() == pytest.approx(DARK)
    assert brightness.argmax(1).tolist() == [light for light, _ in EXTREMES]
    assert brightness.argmin(1).tolist() == [dark for _, dark in EXTREMES]


@planted
def test_only_the_two_patches_matter(prefix):
    vit = open_planted(prefix=prefix)
    images, _ = planted_images(vit, EXTREMES)
    others, _ = planted_images(vit, EXTREMES, seed=1)
    assert (images - others).abs().max() > 0.1
    assert torch.allclose(vit.logits(images), vit.logits(others), rtol=1e-6)
    light, dark = EXTREMES[0]
    for patch, changed in ((light, [True, False, False]), (dark, [False, True, False])):
        row, column = divmod(patch, vit.grid[1])
        edited = images[:1].clone()
        edited[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0.5
        assert ((vit.logits(edited) - vit.logits(images[:1])).abs()[0] > 0.1).tolist() == changed


def test_attention_goes_to_the_two_patches_alone():
    vit = open_planted()
    images, _ = planted_images(vit, EXTREMES)
    for heatmap, (light, dark) in zip(vt.explain(vit, images, "raw_attention"), EXTREMES, strict=True):
        expected = torch.zeros(12)
        expected[[light, dark]] = 0.5
        assert torch.allclose(torch.tensor(heatmap.relevance).flatten(), expected, atol=1e-12)


def test_other_grids_and_patches():
    vit = open_planted(grid=(2, 7), patch=3)
    images, _ = planted_images(vit, [(13, 0)])
    assert images.shape == (1, 3, 6, 21)
    assert vit.logits(images)[0].tolist() == pytest.approx([GAIN * LIGHT, GAIN * (1 - DARK), IDLE], rel=1e-6)
    assert random_images(vit, 2).shape == (2, 3, 6, 21)
