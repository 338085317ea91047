"""Controls against what defines them, and model randomisation: what it changes, and what it must leave alone."""

import math

import pytest
import torch
from scipy import stats
from skimage import color, filters

import vitreous as vt
from contracts.families import SQUARE, random_images, scramble, timm_vit
from oracles.compare import assert_same, case_name, trace_map
from vitreous.core.seed import image_generator
from vitreous.methods._method import METHODS

CASES = [
    ("random", {}),
    ("center_gaussian", {}),
    ("center_gaussian", {"sigma": 0.1}),
    ("edges", {}),
]


def center_gaussian(image, grid, patch, sigma=0.25):
    """Patch by patch, in pixels: distances in pixels, and a width in pixels along either side."""
    high, wide = image.shape[1:]
    found = torch.zeros(grid, dtype=torch.float64)
    for row in range(grid[0]):
        for column in range(grid[1]):
            down = row * patch[0] + (patch[0] - 1) / 2 - (high - 1) / 2
            across = column * patch[1] + (patch[1] - 1) / 2 - (wide - 1) / 2
            found[row, column] = math.exp(-((down / (sigma * high)) ** 2 + (across / (sigma * wide)) ** 2) / 2)
    return found


def edges(image, grid, patch):
    """By scikit-image, which takes the difference over two pixels, and of its squares the mean over the axes."""
    slope = filters.sobel(color.rgb2gray(image.permute(1, 2, 0).double().numpy())) / math.sqrt(2)
    (high, wide), found = patch, torch.zeros(grid, dtype=torch.float64)
    for row in range(grid[0]):
        for column in range(grid[1]):
            found[row, column] = slope[row * high : (row + 1) * high, column * wide : (column + 1) * wide].mean().item()
    return found


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "random"], ids=case_name)
def test_control_equals_its_oracle(opened, case):
    vit, _, images, _ = opened
    name, parameters = case
    found = trace_map(vit, images, [2, vt.Contrast(4, 1), None], name, **parameters)
    for image in range(3):
        assert_same(found[image], globals()[name](images[image], vit.grid, vit.patch, **parameters))


def test_edges_find_the_only_edge():
    vit = vt.open_vit(scramble(timm_vit(SQUARE)), preprocessing=vt.Preprocessing(size=SQUARE))
    image = torch.zeros(1, 3, *SQUARE)
    image[:, :, :, 12:] = 1.0  # down the middle of the second column of patches, two pixels of slope 1/2 each row
    assert trace_map(vit, image, 0, "edges")[0].tolist() == [pytest.approx([0.0, 0.125, 0.0], abs=1e-6)] * 3


def test_random_is_drawn_from_seed_and_pixels_alone(opened):
    vit, _, images, _ = opened
    other = vt.open_vit(scramble(timm_vit(depth=1), seed=5).double(), preprocessing=vit.preprocessing)
    first = trace_map(vit, images, [0, 1, None], "random")
    assert torch.equal(first, trace_map(other, images, 3, "random"))
    with vit.trace(images, 0, seed=1) as trace:
        assert not torch.equal(METHODS["random"].function(trace), first)
    assert not torch.equal(trace_map(vit, images.flip(3), 0, "random"), first)
    assert len({tuple(drawn.flatten().tolist()) for drawn in first}) == 3


def test_random_is_uniform():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    images = random_images(vit, 100)
    drawn = trace_map(vit, images, 0, "random").flatten()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 0.01


def test_what_a_method_draws_does_not_depend_on_the_target(opened):
    vit, _, images, _ = opened
    seeds = []
    for target in (0, vt.Contrast(1, 2)):
        with vit.trace(images, target, seed=3) as trace:
            seeds.append([generator.initial_seed() for generator in trace.generators("a", "b")])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
    assert image_generator(3, "a", "b").initial_seed() not in seeds[0]


@pytest.mark.parametrize("sigma", [0.0, -0.1])
def test_a_bell_without_width_is_refused(opened, sigma):
    vit, _, images, _ = opened
    with pytest.raises(vt.VitreousError, match=f"sigma={sigma}"):
        trace_map(vit, images, 0, "center_gaussian", sigma=sigma)


def test_a_comparison_of_all_methods_leaves_controls_out(opened):
    vit, _, images, _ = opened
    shown = vt.compare(vit, images[:1].float(), target=0)[0]
    assert not {name for name in shown if METHODS[name].control}
