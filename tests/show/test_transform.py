"""The stated transforms against numbers worked out by hand."""

import numpy as np
import pytest

from vitreous.show.transform import photo_cover, share_of_total, share_off_photo, to_patches


def test_share_of_total_by_hand(make):
    shares = share_of_total(make([[1.0, -2.0], [0.0, 5.0]], signed=True))
    np.testing.assert_allclose(shares, [[0.5, -1.0], [0.0, 2.5]])  # total 8 over 4 patches: 2 is the uniform share


def test_share_of_total_forgets_the_unit(make):
    values = np.random.default_rng(0).normal(size=(3, 4))
    one, other = make(values, signed=True), make(values * 1000, unit="logits", signed=True)
    np.testing.assert_allclose(share_of_total(one), share_of_total(other), rtol=1e-6)
    assert np.abs(share_of_total(one)).mean() == pytest.approx(1.0)


def test_constant_map_is_one_everywhere_and_zero_stays_zero(make):
    assert share_of_total(make(np.full((2, 3), 0.25))).tolist() == [[1.0] * 3] * 2
    assert share_of_total(make(np.zeros((2, 3)))).tolist() == [[0.0] * 3] * 2


def test_pixel_map_is_summed_over_its_patches(make):
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    patches = to_patches(make(values, grid=(2, 2), patch=(2, 3)))
    assert patches.tolist() == [
        [0 + 1 + 2 + 6 + 7 + 8, 3 + 4 + 5 + 9 + 10 + 11],
        [12 + 13 + 14 + 18 + 19 + 20, 15 + 16 + 17 + 21 + 22 + 23],
    ]


def test_relevance_on_padding(make):
    # A photograph twice as wide as high, padded to a square: one quarter of the input above it, one below.
    heatmap = make(
        [[1.0, 1.0], [1.0, 1.0], [2.0, 0.0], [3.0, -9.0]], patch=(4, 8), size=(8, 16), fit="pad", signed=True
    )
    np.testing.assert_allclose(photo_cover(heatmap), [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert share_off_photo(heatmap) == pytest.approx((1 + 1 + 3) / 9)
    assert share_off_photo(make([[1.0, 2.0]], size=(40, 10), fit="crop")) == 0
    assert share_off_photo(make([[0.0, 0.0]])) == 0


def test_patch_partly_on_padding(make):
    heatmap = make([[1.0], [1.0]], patch=(8, 16), size=(12, 24), fit="pad")
    np.testing.assert_allclose(photo_cover(heatmap), [[0.5], [0.5]])  # 8 of 16 rows of the input are photograph
