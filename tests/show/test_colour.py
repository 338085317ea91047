"""Colour scales: one value, one colour."""

import matplotlib as mpl
import numpy as np
import pytest

from vitreous.core.errors import InputError, UnknownNameError
from vitreous.show.colour import DIVERGING, SEQUENTIAL, Scale, colourise, scale_for


def test_same_value_has_the_same_colour_on_maps_with_other_neighbours(make):
    one = make([[0.0, 0.3], [0.6, 0.1]])
    other = make([[0.3, 0.9, 0.3]])
    scale = scale_for([one, other])
    colour = colourise(one.relevance, scale)[0, 1].tolist()
    assert (
        colour == colourise(other.relevance, scale)[0, 0].tolist() == colourise(other.relevance, scale)[0, 2].tolist()
    )
    assert scale.shared_by == 2


def test_unsigned_scale_runs_from_zero_to_the_largest_value_of_all_maps(make):
    scale = scale_for([make([[0.2, 0.3]]), make([[0.25, 0.9]])])
    assert (scale.low, scale.high) == (0.0, pytest.approx(0.9))
    assert scale.clipped == 0
    assert not scale.diverging
    assert "from zero to the largest value; shared with 1 other map." in scale.describe()
    lowest = scale_for([make([[0.2, 0.3]]), make([[0.25, 0.9]])], start="minimum")
    assert lowest.low == pytest.approx(0.2)
    assert "from the smallest value" in lowest.describe()


def test_signed_scale_is_symmetric_and_zero_is_the_middle_colour(make):
    scale = scale_for([make([[-3.0, 1.0]], signed=True)])
    assert (scale.low, scale.high) == (-3.0, 3.0)
    middle = colourise(np.array([[0.0]]), scale)[0, 0]
    neighbours = colourise(np.array([[-3.0 / 127, 3.0 / 127]]), scale)[0]
    expected = mpl.colormaps["RdBu_r"].resampled(255)(127, bytes=True)
    assert middle.tolist() == list(expected)
    assert middle[:3].min() > 240  # RdBu is nearly white at zero
    assert neighbours[0, 2] > neighbours[0, 0]  # just below zero: bluer than red
    assert neighbours[1, 0] > neighbours[1, 2]


@pytest.mark.parametrize("colours", SEQUENTIAL)
def test_ends_of_a_sequential_scale(colours):
    scale = Scale(1.0, 5.0, "unit", colours)
    drawn = colourise(np.array([[1.0, 5.0, -7.0, 70.0]]), scale)[0]
    first, last = (list(mpl.colormaps[colours](end, bytes=True)) for end in (0, 255))
    assert drawn.tolist() == [first, last, first, last]


def test_brightness_of_sequential_scales_rises_with_the_value():
    for colours in SEQUENTIAL:
        ramp = colourise(np.linspace(0, 1, 64)[None], Scale(0.0, 1.0, "unit", colours))[0, :, :3]
        linear = np.where(ramp / 255 <= 0.04045, ramp / 255 / 12.92, ((ramp / 255 + 0.055) / 1.055) ** 2.4)
        assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_nan_is_transparent_and_everything_else_is_not():
    drawn = colourise(np.array([[np.nan, 0.5]]), Scale(0.0, 1.0, "unit"))
    assert drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == [0, 0, 0, 0]
    assert drawn[0, 1, 3] == 255


def test_robust_scale_states_what_it_clips(make):
    values = np.arange(1000, dtype=np.float32).reshape(20, 50)
    scale = scale_for([make(values)], "robust")
    assert scale.high == pytest.approx(np.percentile(values, 99))
    assert scale.clipped == pytest.approx(0.01)
    assert "1.0 % of the values" in scale.describe()
    assert "99th percentile" in scale.describe()
    sparse = np.zeros((20, 50))
    sparse[3, 3] = 2.0
    assert scale_for([make(sparse)], "robust").high == 2.0  # a percentile of zero says nothing


def test_robust_signed_scale_uses_magnitudes(make):
    values = np.linspace(-1, 0.2, 101)[None]
    scale = scale_for([make(values, signed=True)], "robust", percentile=90.0)
    assert scale.high == -scale.low == pytest.approx(np.percentile(np.abs(values), 90), rel=1e-6)


def test_constant_maps_have_no_say(make):
    scale = scale_for([make(np.full((2, 2), 50.0)), make([[0.0, 1.0]])])
    assert scale.high == 1.0
    assert scale.shared_by == 2
    alone = scale_for([make(np.zeros((2, 2)))])
    assert (alone.low, alone.high) == (0.0, 1.0)
    assert scale_for([make(np.zeros((2, 2)), signed=True)]).low == -1.0


def test_strength_is_the_distance_from_the_neutral_end():
    assert Scale(0.0, 4.0, "u").strength(np.array([0.0, 1.0, 8.0])).tolist() == [0, 0.25, 1]
    assert Scale(-4.0, 4.0, "u", "PuOr").strength(np.array([-4.0, 0.0, 1.0])).tolist() == [1, 0, 0.25]


def test_maps_of_different_kinds_are_refused(make):
    with pytest.raises(InputError, match=r"'attention mass' \(unsigned\), 'logits' \(signed\)"):
        scale_for([make([[0.0, 1.0]]), make([[0.0, 1.0]], unit="logits", signed=True)])
    with pytest.raises(InputError, match="no map given"):
        scale_for([])


@pytest.mark.parametrize("colours", ["jet", "turbo", "Jet", "jet_r", "nipy_spectral"])
def test_misleading_colours_are_refused_with_the_reason(make, colours):
    with pytest.raises(UnknownNameError, match="brightness does not follow the value"):
        scale_for([make([[0.0, 1.0]])], colours=colours)


def test_unknown_names_list_near_matches(make):
    with pytest.raises(UnknownNameError, match="'viridis'"):
        Scale(0.0, 1.0, "u", "virids")
    with pytest.raises(UnknownNameError, match="'robust'"):
        scale_for([make([[0.0, 1.0]])], "robst")
    with pytest.raises(UnknownNameError, match="'minimum'"):
        scale_for([make([[0.0, 1.0]])], start="minimal")


def test_scales_that_mislead_are_refused(make):
    with pytest.raises(InputError, match="zero in its middle"):
        Scale(-1.0, 2.0, "u", "RdBu_r")
    with pytest.raises(InputError, match="no extent"):
        Scale(1.0, 1.0, "u")
    with pytest.raises(InputError, match="no extent"):
        Scale(0.0, float("nan"), "u")
    with pytest.raises(InputError, match="does not suit signed maps"):
        scale_for([make([[0.0, 1.0]], signed=True)], colours="viridis")
    with pytest.raises(InputError, match="percentile=20"):
        scale_for([make([[0.0, 1.0]])], "robust", percentile=20.0)
    assert {"RdBu_r", "PuOr"} <= set(DIVERGING)


def test_a_value_takes_the_nearer_level():
    scale = Scale(0.0, 255.0, "u")
    drawn = colourise(np.array([[3.0, 3.4, 2.6, 4.0]]), scale)[0]
    assert drawn[0].tolist() == drawn[1].tolist() == drawn[2].tolist() == list(mpl.colormaps["viridis"](3, bytes=True))
    assert drawn[3].tolist() == list(mpl.colormaps["viridis"](4, bytes=True))
