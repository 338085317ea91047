"""Weights of blocks, and maps that are averaged or smoothed across them: by hand and against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from vitreous.analysis.layer_maps import aggregate, layer_weights, smooth
from vitreous.core.errors import InputError


def random_maps(blocks=5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((2, blocks, 3, 4)))


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("uniform", {}, [1 / 4] * 4),
        ("linear", {}, [0.1, 0.2, 0.3, 0.4]),
        ("exponential", {}, [1 / 15, 2 / 15, 4 / 15, 8 / 15]),
        ("exponential", {"decay": 0.1}, [1 / 1111, 10 / 1111, 100 / 1111, 1000 / 1111]),
        ("exponential", {"decay": 1.0}, [1 / 4] * 4),
        ("last", {}, [0, 0, 0, 1]),
        ("last", {"last": 3}, [0, 1 / 3, 1 / 3, 1 / 3]),
        ("given", {"given": [1.0, 0.0, 0.0, 3.0]}, [1 / 4, 0, 0, 3 / 4]),
    ],
)
def test_weights_of_blocks(kind, options, expected):
    found = layer_weights(kind, 4, **options)
    assert found.tolist() == pytest.approx(expected)
    assert found.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("uniform", {"blocks": 0}),
        ("exponential", {"decay": 0.0}),
        ("exponential", {"decay": 1.5}),
        ("last", {"last": 0}),
        ("last", {"last": 5}),
        ("given", {}),
        ("uniform", {"given": [1.0, 1.0, 1.0, 1.0]}),
        ("given", {"given": [1.0, 1.0]}),
        ("given", {"given": [1.0, 1.0, 1.0, -1.0]}),
        ("given", {"given": [0.0] * 4}),
        ("given", {"given": [1.0, math.inf, 0.0, 0.0]}),
    ],
)
def test_numbers_that_make_no_shares_are_refused(kind, options):
    with pytest.raises(InputError):
        layer_weights(kind, **{"blocks": 4, **options})


def test_an_aggregate_is_the_mean_that_its_weights_say():
    maps = random_maps()
    given = torch.tensor([2.0, 0.0, 1.0, 0.0, 1.0])
    found = aggregate(maps, given)
    assert found.weights.tolist() == [0.5, 0, 0.25, 0, 0.25]
    for place in np.ndindex(2, 3, 4):
        image, row, column = place
        expected = sum(share * maps[image, block, row, column] for block, share in enumerate([0.5, 0, 0.25, 0, 0.25]))
        assert found.map[place].item() == pytest.approx(expected.item())
    assert torch.equal(aggregate(maps, layer_weights("last", 5)).map, maps[:, -1])
    single = aggregate(maps.float(), given)
    assert single.map.dtype == single.weights.dtype == torch.float32
    with pytest.raises(InputError, match="one for each block"):
        aggregate(maps, torch.ones(4))


@pytest.mark.parametrize("width", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("blocks", [1, 2, 5, 12])
def test_smoothing_is_that_of_scipy(width, blocks):
    maps = random_maps(blocks)
    given = {"axis": 1, "truncate": 6.0}
    reflected = smooth(maps, width)
    assert np.allclose(reflected.maps, gaussian_filter1d(maps.numpy(), width, mode="reflect", **given), atol=1e-12)
    inside = smooth(maps, width, "renormalise")
    padded = gaussian_filter1d(maps.numpy(), width, mode="constant", **given)
    present = gaussian_filter1d(np.ones_like(maps.numpy()), width, mode="constant", **given)
    assert np.allclose(inside.maps, padded / present, atol=1e-12)
    for found in (reflected, inside):
        assert found.weights.sum(1).tolist() == pytest.approx([1] * blocks)
        assert torch.allclose(torch.einsum("kl,blij->bkij", found.weights, maps), found.maps)
    assert reflected.weights.sum(0).tolist() == pytest.approx([1] * blocks)  # so the mean over blocks stays
    assert torch.allclose(reflected.maps.mean(1), maps.mean(1))
    if blocks == 5 and width > 1:
        assert not torch.allclose(inside.maps.mean(1), maps.mean(1), atol=1e-3)


def test_no_width_changes_nothing_and_widths_below_zero_are_refused():
    maps = random_maps()
    assert torch.equal(smooth(maps, 0.0).maps, maps)
    assert torch.equal(smooth(maps, 0.0).weights, torch.eye(5, dtype=torch.float64))
    for width in (-1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="width"):
            smooth(maps, width)
