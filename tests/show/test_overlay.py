"""Overlays, read back pixel by pixel."""

import json

import numpy as np
import pytest
from PIL import Image

from vitreous.core.errors import InputError
from vitreous.show.colour import FLAT_GREY, Scale, colourise, scale_for
from vitreous.show.overlay import draw_overlay
from vitreous.show.paint import Coat, blend, outline, unseen_share

PURE = {"opacity": 1.0, "fade": False, "contour": False, "legend": False, "interpolation": "nearest"}


def test_same_value_has_the_same_colour_in_two_figures(make, photo_of):
    one = make([[0.1, 0.5], [0.2, 0.9]], photo=photo_of((8, 8), 1))
    other = make([[0.5, 0.0, 0.7]], photo=photo_of((4, 12), 2))
    scale = scale_for([one, other])
    first, second = (np.asarray(draw_overlay(heatmap, scale=scale, **PURE)) for heatmap in (one, other))
    expected = colourise(np.array([[0.5]]), scale)[0, 0, :3].tolist()
    assert first[0, 7].tolist() == second[0, 0].tolist() == expected
    assert first[0:4, 4:8].reshape(-1, 3).tolist() == [expected] * 16


def test_every_pixel_has_the_colour_of_its_value(make):
    heatmap = make(np.random.default_rng(0).random((3, 4)), size=(18, 31))
    options = PURE | {"interpolation": "bilinear"}
    drawn = np.asarray(draw_overlay(heatmap, **options))
    expected = colourise(heatmap.pixels(), scale_for([heatmap]))[..., :3]
    assert drawn.tolist() == expected.tolist()


def test_picture_without_legend_has_the_size_of_the_photograph(make):
    assert draw_overlay(make([[0.0, 1.0]], size=(37, 53)), legend=False).size == (53, 37)


def test_opacity_zero_shows_the_photograph_itself(make, photo_of):
    photo = photo_of((8, 12))
    drawn = draw_overlay(make([[0.0, 1.0]], photo=photo), opacity=0.0, grey=False, contour=False, legend=False)
    assert np.array_equal(np.asarray(drawn), np.asarray(photo))


def test_opacity_grows_from_half_to_full_with_the_value():
    photo = np.full((1, 3, 3), 100, np.uint8)
    scale = Scale(0.0, 2.0, "u")
    values = np.array([[0.0, 1.0, 2.0]])
    colours = colourise(values, scale)[..., :3].astype(float)
    drawn = blend(photo, values, scale, Coat(opacity=0.8, grey=False))
    for place, cover in enumerate((0.4, 0.6, 0.8)):
        np.testing.assert_allclose(drawn[0, place], 100 * (1 - cover) + colours[0, place] * cover, atol=0.51)


def test_grey_ground_leaves_no_colour_of_the_photograph(make, photo_of):
    heatmap = make([[0.0, 1.0]], photo=photo_of((4, 8)))
    drawn = np.asarray(draw_overlay(heatmap, opacity=0.0, contour=False, legend=False))
    assert (drawn == drawn[..., :1]).all()


def test_unseen_part_is_dimmed_hatched_and_named(make):
    photo = Image.new("RGB", (64, 16), (200, 100, 50))
    heatmap = make([[0.0, 1.0], [0.5, 0.2]], photo=photo, patch=(8, 8), fit="crop")
    drawn = draw_overlay(heatmap, contour=False, legend=False, opacity=0.0, grey=False)
    pixels = np.asarray(drawn)
    assert (pixels[:, 24:40] == (200, 100, 50)).all()
    unseen = np.concatenate([pixels[:, :24], pixels[:, 40:]], axis=1)
    assert unseen_share(heatmap.frame) == pytest.approx(0.75)
    assert (unseen == 200).all(axis=-1).any()  # hatch
    assert (unseen == unseen[..., :1]).all()  # no colour
    dim = unseen[(unseen != 200).any(axis=-1)]
    assert dim.max() < 0.5 * 128
    steps = json.loads(drawn.info["vitreous"])["display"]
    assert "Hatched: not seen by the model (75 % of the photograph)." in steps


@pytest.mark.parametrize("value", [0.0, 0.3, -4.0])
def test_constant_map_is_flat_grey_and_says_so(make, value):
    heatmap = make(np.full((40, 40), value), signed=value < 0)
    drawn = draw_overlay(heatmap, legend=False, opacity=1.0)
    pixels = np.asarray(drawn)
    assert (pixels == pixels[..., :1]).all()  # no colour anywhere
    assert (pixels == FLAT_GREY).all(axis=-1).mean() > 0.5
    assert (pixels == 255).any()  # the words
    steps = json.loads(drawn.info["vitreous"])["display"]
    assert "Flat grey: uninformative: the map is constant." in steps
    assert "The map is constant" in drawn.info["Description"]
    assert draw_overlay(heatmap).height > drawn.height


def test_constant_map_is_not_stretched_by_a_shared_scale(make):
    scale = scale_for([make([[0.0, 1.0]])])
    drawn = np.asarray(draw_overlay(make(np.full((2, 2), 0.5)), scale=scale, legend=False))
    assert (drawn == drawn[..., :1]).all()


def test_large_photograph_is_reduced_and_says_so(make):
    heatmap = make([[0.0, 1.0], [0.3, 0.2]], size=(60, 90))
    drawn = draw_overlay(heatmap, max_side=45, legend=False)
    assert drawn.size == (45, 30)
    assert "Photograph reduced from 90 by 60 to 45 by 30 pixels." in json.loads(drawn.info["vitreous"])["display"]
    whole = draw_overlay(heatmap, legend=False)
    assert not any("reduced" in step for step in json.loads(whole.info["vitreous"])["display"])


def test_record_holds_provenance_and_every_display_step(make):
    heatmap = make([[0.0, 0.0, 8.0, 8.0]], target="猫 \udc80")
    drawn = draw_overlay(heatmap, boxes=True)
    record = json.loads(drawn.info["vitreous"])
    (one,) = record["heatmaps"]
    assert one["method"] == "rollout"
    assert one["parameters"] == {"residual": 0.5}
    assert one["image_digest"] == heatmap.provenance.image_digest
    assert one["display"] == record["display"]
    assert record["display"] == [
        "Values interpolated (bilinear) between 1 by 4 patches.",
        "Colour scale from zero to the largest value.",
        "Photograph in grey, so that all colour is the map's; opacity from 38 % to 75 % with the strength.",
        "Outlined and boxed: above 4, Otsu's threshold of the patches.",
    ]
    assert heatmap.provenance.display == ()
    assert "100 % of the relevance" not in drawn.info["Description"]
    assert "of the relevance in a region of 50 % of the picture, right." in drawn.info["Description"]


def test_outline_runs_just_inside_and_just_outside_the_region():
    mask = np.zeros((12, 12), np.bool_)
    mask[4:9, 3:10] = True
    drawn = np.asarray(outline(Image.new("RGB", (12, 12), (90, 90, 90)), mask, 1))
    assert (drawn[4, 3:10] == 255).all()
    assert (drawn[3, 2:11] == 0).all()
    assert (drawn[5:8, 4:9] == 90).all()
    assert (drawn[:3] == 90).all()


def test_contour_and_boxes_lie_where_the_region_is(make):
    values = np.zeros((5, 5))
    values[2, 3] = 1.0
    photo = Image.new("RGB", (100, 100), (128, 128, 128))
    heatmap = make(values, photo=photo, patch=(20, 20))
    options = {"opacity": 0.0, "legend": False, "interpolation": "nearest"}
    contour = np.asarray(draw_overlay(heatmap, **options))
    changed = np.argwhere((contour != 128).any(axis=-1))
    assert changed.min(axis=0).tolist() == [39, 59]
    assert changed.max(axis=0).tolist() == [60, 80]
    boxed = np.asarray(draw_overlay(heatmap, contour=False, boxes=True, **options))
    changed = np.argwhere((boxed != 128).any(axis=-1))
    assert changed.min(axis=0).tolist() == [40, 60]
    assert changed.max(axis=0).tolist() == [59, 79]


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (481, 479), (700, 500)])
def test_any_shape_of_photograph_can_be_drawn(make, size):
    values = np.arange(12.0).reshape(3, 4)
    for fit in ("crop", "squash", "pad"):
        drawn = draw_overlay(make(values, size=size, fit=fit), boxes=True)
        assert drawn.width > size[1]
        assert drawn.height >= size[0]
        assert draw_overlay(make(np.ones((3, 4)), size=size, fit=fit), legend=False).size == size[::-1]


def test_wrong_photograph_and_wrong_scale_are_refused(make, photo_of):
    heatmap = make([[0.0, 1.0]], photo=photo_of((4, 8)))
    with pytest.raises(InputError, match="pixels differ"):
        draw_overlay(heatmap, photo_of((4, 8), seed=9))
    with pytest.raises(InputError, match="not stored with the heatmap"):
        draw_overlay(make([[0.0, 1.0]], attached=False))
    with pytest.raises(InputError, match="'logits'"):
        draw_overlay(heatmap, scale=Scale(0.0, 1.0, "logits"))
    with pytest.raises(InputError, match="cannot show its sign"):
        draw_overlay(make([[0.0, -1.0]], signed=True), scale=Scale(0.0, 1.0, "attention mass"))
    with pytest.raises(InputError, match="opacity"):
        draw_overlay(heatmap, opacity=1.5)
    with pytest.raises(InputError, match="max_side"):
        draw_overlay(heatmap, max_side=0)


def test_photograph_given_by_hand_is_taken(make, photo_of):
    photo = photo_of((4, 8))
    heatmap = make([[0.0, 1.0]], photo=photo, attached=False)
    assert heatmap.overlay(photo, legend=False).size == (8, 4)


def test_single_pixels_get_a_robust_scale(make):
    values = np.random.default_rng(0).random((16, 16))
    values[3, 3] = 1000.0
    steps = json.loads(draw_overlay(make(values, grid=(4, 4))).info["vitreous"])["display"]
    assert any("99th percentile" in step for step in steps)


def test_real_map_is_drawn(golden):
    for key, signed in (
        ("agcam/catdog/243", False),
        ("gradcam/catdog/243", True),
        ("captum_ixg/catdog/243", True),
    ):
        drawn = draw_overlay(golden(key, signed, "unit"), boxes=True)
        assert drawn.width > 600  # a small photograph has its legend at the right
