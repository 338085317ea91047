"""Focus through the blocks: by hand on made-up attention, against loops and scipy on every family of models."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

import vitreous as vt
from contracts.families import EITHER_SIDE, FAMILIES, random_images
from oracles.planted import open_planted, planted_images
from vitreous.analysis.focus import focus, reading_maps, track
from vitreous.analysis.head_importance import head_importance
from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.core.patches import patch_coverage

EVERY = pytest.mark.parametrize("family", EITHER_SIDE)


def maps_of(*maps, grid=(2, 3)):
    """One image, a map for each block."""
    return torch.tensor(maps, dtype=torch.float32).reshape(1, -1, *grid)


def test_numbers_of_maps_made_by_hand():
    one = [0, 0, 0, 0, 0, 5]  # all in the last patch; patches are 4 pixels high and 10 wide
    corners = [1, 0, 1, 1, 0, 1]
    even = [2.0] * 6
    found = track(maps_of(one, corners, even), (4, 10))
    assert found.centre[0].tolist() == [[6, 25], pytest.approx([4, 15]), pytest.approx([4, 15])]
    wide = math.sqrt(2**2 + 10**2)
    assert found.spread[0].tolist() == pytest.approx([0, wide, math.sqrt(2**2 + 200 / 3)])
    assert found.even_spread == pytest.approx(math.sqrt(2**2 + 200 / 3))
    assert found.entropy[0].tolist() == pytest.approx([0, math.log(4) / math.log(6), 1])
    assert found.overlap is found.chance is found.prefix_mass is None
    # the first two: half and half of ln 2 terms; the second and third: 4 patches of 1/4 against 6 of 1/6
    middle = [(1 / 4 + 1 / 6) / 2] * 4 + [1 / 12] * 2
    bits = -sum(p * math.log2(p) for p in middle) - (math.log2(4) + math.log2(6)) / 2
    first = [1 / 8] * 3 + [5 / 8]
    begin = -sum(p * math.log2(p) for p in first) - math.log2(4) / 2
    assert found.divergence[0].tolist() == pytest.approx([begin, bits])
    assert found.rank[0, 0].item() == pytest.approx(spearmanr(one, corners).statistic)
    assert math.isnan(found.rank[0, 1])


def test_maps_that_share_no_patch_are_one_bit_apart_and_equal_ones_none():
    found = track(maps_of([1, 2, 0, 0, 0, 0], [0, 0, 0, 3, 1, 0], [0, 0, 0, 6, 2, 0]), (8, 8))
    assert found.divergence[0].tolist() == [1, 0]
    assert found.rank[0, 1] == 1


def test_overlap_counts_covered_pixels_and_chance_is_the_area():
    objects = torch.zeros(2, 4, 7, dtype=torch.bool)  # a grid of 2 x 3 patches of 2 x 2; the last column is in none
    objects[0, :2, 1:3] = True  # half of the first patch and half of the second
    objects[0, :, 6] = True
    maps = maps_of([3, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]).repeat(2, 1, 1, 1)
    found = track(maps, (2, 2), objects)
    assert found.overlap.tolist() == [pytest.approx([0.5, 1 / 6]), [0, 0]]
    assert found.chance.tolist() == pytest.approx([1 / 6, 0])
    assert patch_coverage(objects, (2, 3), (2, 2))[0].tolist() == [0.5, 0.5, 0, 0, 0, 0]
    with pytest.raises(InputError, match="pixels of the model's input"):
        track(maps, (2, 3), objects)


def test_no_mass_has_no_number_and_negative_mass_is_refused():
    found = track(maps_of([0] * 6, [1, 2, 3, 4, 5, 6]), (8, 8))
    for name in ("centre", "spread", "entropy", "rank", "divergence"):
        assert getattr(found, name)[0, 0].isnan().all(), name
    assert found.spread[0, 1].isfinite()
    with pytest.raises(InputError, match="below zero"):
        track(maps_of([1, 1, 1, 1, 1, -1e-3]), (8, 8))


def test_it_is_at_the_planted_patches():
    vit = open_planted()  # head 0 attends to the brightest patch alone, head 1 to the darkest
    extremes = [(0, 11), (5, 6), (3, 8)]
    images, _ = planted_images(vit, extremes)
    objects = torch.zeros(3, *vit.preprocessing.size, dtype=torch.bool)
    for image, (bright, _) in enumerate(extremes):
        row, column = divmod(bright, vit.grid[1])
        objects[image, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
    with vit.trace(images, 0) as trace:
        both = focus(trace, objects)
        alone = focus(trace, objects, torch.tensor([[[2.0, 0.0]]]).repeat(3, 1, 1))
        by_importance = focus(trace, objects, head_importance(trace))
    for image, pair in enumerate(extremes):
        places = [tuple(4 * part + 2 for part in divmod(patch, vit.grid[1])) for patch in pair]
        assert both.centre[image, 0].tolist() == pytest.approx(np.mean(places, 0))
        assert both.spread[image, 0].item() == pytest.approx(math.dist(*places) / 2)
        assert alone.centre[image, 0].tolist() == pytest.approx(places[0])
    assert both.overlap[:, 0].tolist() == pytest.approx([0.5] * 3)
    assert alone.overlap[:, 0].tolist() == pytest.approx([1] * 3)
    assert by_importance.overlap[:, 0].tolist() == pytest.approx([1] * 3)  # output 0 does not hang on head 1
    assert both.chance.tolist() == pytest.approx([1 / 12] * 3)


@EVERY
def test_numbers_are_those_of_loops_on_every_family(family):
    vit = EITHER_SIDE[family].open()
    weights = torch.rand(3, 2, vit.heads, generator=torch.Generator().manual_seed(0))
    objects = torch.rand(3, *vit.preprocessing.size, generator=torch.Generator().manual_seed(1)) > 0.6
    with vit.trace(random_images(vit, 3), [0, 1, 2]) as trace:
        found, weighed = focus(trace, objects), focus(trace, objects, weights)
        attention = torch.stack(trace.attention, 1).double().detach().numpy()
        reading = trace.reading.double().numpy()
    (rows, columns), prefix, (high, wide) = vit.grid, vit.prefix, vit.patch
    patches = [(row, column) for row in range(rows) for column in range(columns)]
    before = {}
    for image, block in np.ndindex(3, 2):
        for result, shares in (
            (found, np.full(vit.heads, 1 / vit.heads)),
            (weighed, weights[image, block].double().numpy()),
        ):
            row = np.zeros(attention.shape[-1])
            for head, share in enumerate(shares / shares.sum()):
                for query, read in enumerate(reading[image]):
                    row += share * read * attention[image, block, head, query]
            mass = row[prefix : prefix + len(patches)] / row[prefix : prefix + len(patches)].sum()
            centres = [(high * (r + 0.5), wide * (c + 0.5)) for r, c in patches]
            centre = sum(m * np.array(place) for m, place in zip(mass, centres, strict=True))
            inside = sum(
                m * objects[image, high * r : high * r + high, wide * c : wide * c + wide].double().mean().item()
                for m, (r, c) in zip(mass, patches, strict=True)
            )
            expected = {
                "prefix_mass": row[:prefix].sum() + row[prefix + len(patches) :].sum(),
                "spread": math.sqrt(sum(m * math.dist(p, centre) ** 2 for m, p in zip(mass, centres, strict=True))),
                "entropy": -sum(m * math.log(m) for m in mass) / math.log(len(mass)),
                "overlap": inside,
            }
            for name, value in expected.items():
                assert getattr(result, name)[image, block].item() == pytest.approx(value, rel=1e-4, abs=1e-6), name
            assert result.centre[image, block].tolist() == pytest.approx(centre, rel=1e-4)
            if block == 0:
                before[id(result)] = mass
            else:
                earlier = before[id(result)]
                assert result.rank[image, 0].item() == pytest.approx(spearmanr(earlier, mass).statistic, abs=1e-4)
                bits = jensenshannon(earlier, mass, base=2) ** 2
                assert result.divergence[image, 0].item() == pytest.approx(bits, abs=1e-5)


def test_ties_have_their_mean_rank():
    first, second = [1, 1, 2, 3, 3, 3], [4, 2, 2, 1, 5, 5]
    found = track(maps_of(first, second), (8, 8))
    assert found.rank[0, 0].item() == pytest.approx(spearmanr(first, second).statistic)


def test_blocks_before_the_capture_are_left_out():
    vit = FAMILIES["timm registers"].open()
    images = random_images(vit, 2)
    with vit.trace(images, 0) as trace:
        whole, maps = focus(trace), reading_maps(trace)[0]
        given = track(maps, vit.patch)
    with vit.trace(images, 0, capture=vt.Capture(first=1)) as trace:
        later = focus(trace)
    assert torch.allclose(whole.spread[:, 1:], later.spread, rtol=1e-4)
    assert later.rank.shape == later.divergence.shape == (2, 0)
    assert torch.equal(given.centre, whole.centre)
    assert given.prefix_mass is None


def test_weights_below_zero_and_models_without_plain_attention_are_refused():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError, match="below zero"):
        focus(trace, weights=torch.full((1, 2, 3), -1.0))
    strange = replace(vit, readout=None)
    with strange.trace(random_images(vit, 1), 0) as trace, pytest.raises(MethodNotApplicableError, match="no plain"):
        focus(trace)
