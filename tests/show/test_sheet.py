"""Comparison sheets."""

import json

import numpy as np
import pytest
from PIL import Image

from vitreous.core.errors import InputError, UnknownNameError
from vitreous.show.paint import Coat
from vitreous.show.sheet import _columns_for, _on_one_scale, _on_scales_by_unit, draw_sheet

PURE = Coat(opacity=1.0, fade=False)


@pytest.fixture
def photo():
    return Image.new("RGB", (40, 20), (10, 60, 110))


def panels_of(sheet, count, side=320, height=160):
    """Cut the pictures out of a sheet of one row: they all begin at the row where the photograph begins."""
    pixels = np.asarray(sheet)
    rows = np.flatnonzero((pixels[:, 15 + side // 2] == (10, 60, 110)).all(axis=-1))
    top = rows.min() - 1  # the photograph's edge line
    return [pixels[top : top + height, 15 + i * (side + 15) : 15 + i * (side + 15) + side] for i in range(count)]


def test_maps_that_differ_only_in_unit_look_the_same(make, photo):
    values = np.random.default_rng(0).random((2, 4))
    maps = [
        make(values, photo=photo, patch=(8, 8)),
        make(values * 77, photo=photo, patch=(8, 8), unit="gradient", method="saliency"),
    ]
    sheet = draw_sheet(maps, coat=PURE, contour=False)
    _, one, other = panels_of(sheet, 3)
    assert one.tolist() == other.tolist()
    assert np.unique(one.reshape(-1, 3), axis=0).shape[0] > 20


def test_shared_scales_end_at_the_same_value(make, photo):
    maps = [
        make([[0.0, 1.0, 0.0, 1.0]], photo=photo, patch=(8, 8)),
        make([[-6.0, 1.0, 1.0, 0.0]], photo=photo, patch=(8, 8), signed=True, unit="logits", method="lrp"),
        make([[2.0, 2.0, 2.0, 2.0]], photo=photo, patch=(8, 8), method="flat"),
    ]
    one_sided, two_sided, flat = (panel.scale for panel in _on_one_scale(maps, "range"))
    assert (one_sided.low, one_sided.high) == (0.0, 3.0)
    assert (two_sided.low, two_sided.high) == (-3.0, 3.0)
    assert one_sided.unit == two_sided.unit == "times the uniform share"
    assert one_sided.shared_by == two_sided.shared_by == 3
    assert flat is None


def test_raw_values_share_a_scale_within_a_unit(make, photo):
    maps = [
        make([[0.0, 1.0]], photo=photo, patch=(8, 8)),
        make([[0.0, 5.0]], photo=photo, patch=(8, 8), method="flow"),
        make([[0.0, 70.0]], photo=photo, patch=(8, 8), unit="logits", method="lrp"),
    ]
    first, second, third = _on_scales_by_unit(maps, "range")
    assert first.scale == second.scale
    assert (first.scale.high, first.scale.shared_by) == (5.0, 2)
    assert third.scale.high == 70.0
    steps = json.loads(draw_sheet(maps, values="raw", kind="range").info["vitreous"])["display"]
    assert "attention mass: Colour scale from zero to the largest value; shared with 1 other map." in steps
    assert "logits: Colour scale from zero to the largest value." in steps


def test_sheet_states_its_transform_and_carries_every_record(make, photo):
    maps = [
        make([[0.0, 1.0]], photo=photo, patch=(8, 8)),
        make(
            np.random.default_rng(0).normal(size=(8, 16)),
            photo=photo,
            patch=(8, 8),
            grid=(1, 2),
            signed=True,
            method="ixg",
        ),
    ]
    sheet = draw_sheet(maps, notes={"rollout": "same for every class"})
    record = json.loads(sheet.info["vitreous"])
    assert [each["method"] for each in record["heatmaps"]] == ["rollout", "ixg"]
    assert any("divided by the sum of its absolute values" in step for step in record["display"])
    assert any("summed over each patch" in step for step in record["display"])
    assert "Same for every class." in sheet.info["Description"]
    assert "Raw unit: attention mass, signed." in sheet.info["Description"]


def test_constant_map_is_flagged_on_the_sheet(make, photo):
    maps = [
        make([[0.0, 1.0]], photo=photo, patch=(8, 8)),
        make([[2.0, 2.0]], photo=photo, patch=(8, 8), method="flat"),
    ]
    for values in ("share", "raw"):
        sheet = draw_sheet(maps, values=values, coat=PURE)
        flat = panels_of(sheet, 3)[2]
        assert (flat == flat[..., :1]).all()
        assert "flat: The map is constant" in sheet.info["Description"]
    assert "constant" in draw_sheet(maps[1:], contour=False).info["Description"]


@pytest.mark.parametrize(("cells", "columns"), [(2, 2), (4, 4), (5, 3), (8, 4), (13, 5)])
def test_columns_make_even_rows(cells, columns):
    assert _columns_for(cells) == columns


def test_rows_grow_with_fewer_columns(make, photo):
    maps = [make([[0.0, 1.0]], photo=photo, patch=(8, 8), method=f"method {i}") for i in range(3)]
    wide, tall = draw_sheet(maps), draw_sheet(maps, columns=1)
    assert wide.width == 4 * 320 + 3 * 15 + 30
    assert tall.width == 320 + 30
    assert tall.height > 3 * wide.height / 2


def test_cropped_maps_of_one_photograph_may_have_different_frames(make, photo):
    maps = [
        make([[0.0, 1.0], [1.0, 0.0]], photo=photo, patch=(8, 8), fit="crop"),
        make([[0.0, 1.0], [1.0, 0.0]], photo=photo, patch=(8, 8), fit="pad", method="flow"),
    ]
    sheet = draw_sheet(maps)
    steps = json.loads(sheet.info["vitreous"])["display"]
    assert "Hatched: not seen by the model (50 % of the photograph)." in steps


def test_nonsense_is_refused(make, photo, photo_of):
    one = make([[0.0, 1.0]], photo=photo, patch=(8, 8))
    with pytest.raises(InputError, match="at least one map"):
        draw_sheet([])
    with pytest.raises(InputError, match=r"different photographs: cat\.jpg, dog\.jpg"):
        draw_sheet([one, make([[0.0, 1.0]], photo=photo_of((8, 16)), image="dog.jpg")])
    with pytest.raises(UnknownNameError, match="'share'"):
        draw_sheet([one], values="shares")
    with pytest.raises(InputError, match="columns=0"):
        draw_sheet([one], columns=0)
    with pytest.raises(InputError, match="panel_side=20"):
        draw_sheet([one], panel_side=20)


def test_sheet_of_real_maps(golden):
    keys = [("rollout/catdog/any", False), ("genatt/catdog/243", False), ("gradcam/catdog/243", True)]
    sheet = draw_sheet([golden(key, signed, key.split("/")[0]) for key, signed in keys], columns=2)
    assert sheet.width == 2 * 320 + 15 + 30
    assert "gradcam" in sheet.info["Description"]
