"""Resampling against a slow loop that knows only where patches lie."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.core.errors import UnknownNameError
from vitreous.core.frame import frame_photo
from vitreous.show.resample import resample, to_photo_pixels


def slow(values, cell, heatmap_frame, interpolation):
    """Pixel by pixel in float64, with the geometry written out from the definition of the window."""
    left, top, right, bottom = heatmap_frame.window
    (height, width), (high, wide) = heatmap_frame.photo_size, heatmap_frame.input_size
    rows, columns = values.shape
    covered = (heatmap_frame.grid[0] * heatmap_frame.patch[0], heatmap_frame.grid[1] * heatmap_frame.patch[1])
    pixels = np.full((height, width), np.nan)
    for r in range(height):
        for c in range(width):
            x = (c + 0.5 - left) * wide / (right - left)
            y = (r + 0.5 - top) * high / (bottom - top)
            if not (0 <= x < covered[1] and 0 <= y < covered[0]):
                continue
            u, v = x / cell[1], y / cell[0]
            if interpolation == "nearest":
                pixels[r, c] = values[min(int(v), rows - 1), min(int(u), columns - 1)]
                continue
            total = 0.0
            for i in range(rows):
                for j in range(columns):
                    # Tent of one cell's width around each centre; beyond the outermost centre it stays at 1.
                    down = (
                        1.0
                        if (i == 0 and v < 0.5) or (i == rows - 1 and v > rows - 0.5)
                        else max(0.0, 1 - abs(v - i - 0.5))
                    )
                    across = (
                        1.0
                        if (j == 0 and u < 0.5) or (j == columns - 1 and u > columns - 0.5)
                        else max(0.0, 1 - abs(u - j - 0.5))
                    )
                    total += float(values[i, j]) * down * across
            pixels[r, c] = total
    return pixels


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(23, 41), (37, 19), (12, 20)])
def test_patch_map_equals_the_slow_loop(make, fit, size, interpolation):
    values = np.random.default_rng(1).normal(size=(3, 5))
    heatmap = make(values, size=size, fit=fit)
    expected = slow(heatmap.relevance, heatmap.frame.patch, heatmap.frame, interpolation)
    pixels = to_photo_pixels(heatmap, interpolation)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    if fit == "crop" and size != (12, 20):
        assert np.isnan(pixels).any()


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_pixel_map_equals_the_slow_loop(make, interpolation):
    values = np.random.default_rng(2).normal(size=(12, 20))
    heatmap = make(values, grid=(3, 5), size=(25, 18), fit="pad")
    expected = slow(heatmap.relevance, (1, 1), heatmap.frame, interpolation)
    np.testing.assert_allclose(to_photo_pixels(heatmap, interpolation), expected, atol=1e-6)


def test_input_beyond_the_last_whole_patch_was_not_seen():
    frame = frame_photo((10, 14), (10, 14), (4, 4), (2, 3), fit="squash")
    pixels = resample(np.ones((2, 3), np.float32), frame)
    seen = ~np.isnan(pixels)
    assert seen[:8, :12].all()
    assert seen.sum() == 96


def test_pixel_at_the_centre_of_a_patch_has_its_value(make):
    values = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    heatmap = make(values, patch=(5, 5))  # an odd patch has a pixel at its centre
    np.testing.assert_array_equal(to_photo_pixels(heatmap)[2::5, 2::5], values)
    np.testing.assert_array_equal(to_photo_pixels(heatmap, "nearest"), values.repeat(5, 0).repeat(5, 1))


def test_half_size_samples_between_the_full_size_pixels(make):
    heatmap = make([[0.0, 1.0], [2.0, 3.0]], patch=(8, 8))
    whole = to_photo_pixels(heatmap)
    half = resample(heatmap.relevance, heatmap.frame, size=(8, 8))
    mean = whole.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(half[1:7, 1:7], mean[1:7, 1:7], atol=1e-6)  # equal wherever the map is linear


@settings(max_examples=50, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    fit=st.sampled_from(["crop", "squash", "pad"]),
    seed=st.integers(0, 1000),
)
def test_interpolation_never_leaves_the_range_of_the_map(grid, size, fit, seed):
    frame = frame_photo(size, (grid[0] * 3, grid[1] * 2), (3, 2), grid, fit=fit)
    values = np.random.default_rng(seed).normal(size=grid).astype(np.float32)
    for interpolation in ("bilinear", "nearest"):
        pixels = resample(values, frame, interpolation)
        seen = pixels[~np.isnan(pixels)]
        assert pixels.shape == size
        assert ((seen >= values.min() - 1e-6) & (seen <= values.max() + 1e-6)).all()
        assert fit == "crop" or seen.size == pixels.size
    constant = resample(np.full(grid, np.float32(0.1)), frame)
    assert set(constant[~np.isnan(constant)].tolist()) <= {float(np.float32(0.1))}


def test_raw_map_is_not_touched(make):
    heatmap = make([[1.0, 2.0]])
    pixels = to_photo_pixels(heatmap)
    pixels[:] = 0
    assert heatmap.relevance.tolist() == [[1.0, 2.0]]
    assert math.isclose(float(heatmap.pixels().max()), 2.0)


def test_unknown_interpolation_names_the_near_match(make):
    with pytest.raises(UnknownNameError, match="'bilinear'"):
        to_photo_pixels(make([[1.0, 2.0]]), "bilinaer")
