"""Folders of photographs and masks, and how masks are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_sets import HIGH, WIDE, block, save_mask, save_photo

from vitreous.core.errors import AnnotationError, DataError, InputError
from vitreous.worlds._annotation import checked_box, from_extent, from_inclusive, mask_values, scaled
from vitreous.worlds.masks import masks


@pytest.fixture
def pair(tmp_path):
    """Load one photograph with a mask of these values."""

    def load(values, mode="L", photo=None, **options):
        save_photo(tmp_path / "images/a.jpg", **(photo or {}))
        save_mask(tmp_path / "masks/a.png", values, mode)
        return masks(tmp_path / "images", tmp_path / "masks", **options)[0]

    return load


def test_inside_void_and_outside_are_what_was_declared(pair):
    values = block(9)
    values[0, 0] = 5
    (mask,) = pair(values, inside=9, void=5).masks()
    assert np.array_equal(mask.inside, values == 9)
    assert np.array_equal(mask.void, values == 5)


def test_several_values_and_palette_indices(pair):
    values = block(200)
    values[3, 5] = 130
    values[0, 0] = 20
    (mask,) = pair(values, mode="P", inside=range(128, 256), outside=range(128)).masks()
    assert np.array_equal(mask.inside, values > 127)


def test_undeclared_values_are_refused_with_their_share(pair):
    values = block()
    values[0, :3] = 128
    with pytest.raises(AnnotationError, match=r"values 128 in 12\.5% .* expected 255 inside, none void, 0 outside"):
        pair(values).masks()


def test_many_undeclared_values_are_not_all_listed(pair):
    with pytest.raises(AnnotationError, match=r"has the values 1, 2, 3, 4 … 23 in 95\.8% of its pixels"):
        pair(np.arange(24).reshape(HIGH, WIDE)).masks()


def test_empty_mask_is_given_as_it_is(pair):
    mask = pair(np.zeros((HIGH, WIDE))).mask()
    assert mask.inside.shape == (HIGH, WIDE)
    assert not mask.inside.any()


def test_mask_of_another_size_is_refused(pair):
    with pytest.raises(AnnotationError, match="a mask is 5x4 pixels, its photograph 6x4"):
        pair(block(width=5)).masks()


def test_mask_of_the_unturned_photograph_is_told_from_other_sizes(pair):
    with pytest.raises(AnnotationError, match=r"6x4 pixels, its photograph 4x6.*EXIF orientation"):
        pair(block(), photo={"orientation": 6}).masks()
    turned = block(width=HIGH, height=WIDE)
    assert np.array_equal(pair(turned, photo={"orientation": 6}).mask().inside, turned == 255)


def test_one_value_cannot_mean_two_things(pair):
    with pytest.raises(InputError, match=r"\[255\] would mean two things"):
        pair(block(), void=255)
    with pytest.raises(InputError, match="no value means inside"):
        pair(block(), inside=())
    with pytest.raises(InputError, match="inside=-1"):
        pair(block(), inside=-1)


def test_photograph_without_mask_is_kept_and_mask_without_photograph_is_noted(tmp_path):
    save_photo(tmp_path / "images/a.jpg")
    save_photo(tmp_path / "images/b.jpg")
    save_mask(tmp_path / "masks/b.png", block())
    save_mask(tmp_path / "masks/c.png", block())
    found = masks(tmp_path / "images", tmp_path / "masks")
    assert [(sample.id, len(sample.regions), sample.notes) for sample in found] == [
        ("a", 0, ("there is no mask of this photograph",)),
        ("b", 1, ()),
    ]
    assert found[0].masks() == ()
    assert found[0].mask() is None
    assert found.notes == ("there is no mask of 'a'", "left out: the mask 'c.png' has no photograph")


def test_folders_that_do_not_belong_together_are_refused(tmp_path):
    save_photo(tmp_path / "images/a.jpg")
    save_mask(tmp_path / "masks/a_mask.png", block())
    with pytest.raises(DataError, match="the first are 'a_mask' and 'a'"):
        masks(tmp_path / "images", tmp_path / "masks")
    save_photo(tmp_path / "images/a.png")
    with pytest.raises(DataError, match=r"'a\.jpg' and 'a\.png' differ in nothing but the extension"):
        masks(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="Looked for photographs"):
        masks(tmp_path / "empty", tmp_path / "masks")


# --- reading mask files


def test_every_exact_mode_gives_its_values(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    grey = Image.fromarray(values)
    pictures = {
        "L.png": grey,
        "L.tif": grey,
        "L.bmp": grey,
        "rgb.png": grey.convert("RGB"),
        "la.png": grey.convert("LA"),
        "rgba.png": grey.convert("RGBA"),
        "16.png": Image.fromarray(values.astype(np.uint16)),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        assert np.array_equal(mask_values(tmp_path / name), values), name
    Image.fromarray(values > 11).save(tmp_path / "bits.png")
    assert np.array_equal(mask_values(tmp_path / "bits.png"), np.where(values > 11, 255, 0))


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("a.jpg", lambda: Image.new("L", (6, 4)), "JPEG changes values"),
        ("a.png", lambda: Image.new("RGB", (6, 4), (255, 0, 0)), "mode RGB with colours"),
        ("a.png", lambda: Image.new("LA", (6, 4), (255, 100)), "mode LA with colours or transparency"),
        ("a.tif", lambda: Image.new("F", (6, 4)), "mode F"),
    ],
)
def test_pictures_that_are_no_masks_are_refused(tmp_path, name, make, says):
    make().save(tmp_path / name)
    with pytest.raises(AnnotationError, match=says):
        mask_values(tmp_path / name)


def test_missing_damaged_turned_and_huge_masks_are_refused(tmp_path, monkeypatch):
    save_mask(tmp_path / "mask.png", block())
    with pytest.raises(AnnotationError, match=r"The mask .* does not exist .* Did you mean 'mask\.png'"):
        mask_values(tmp_path / "masc.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "mask.png").read_bytes()[:50])
    with pytest.raises(AnnotationError, match="cannot be decoded"):
        mask_values(tmp_path / "cut.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(block()).save(tmp_path / "turned.png", exif=exif)
    with pytest.raises(AnnotationError, match="EXIF orientation"):
        mask_values(tmp_path / "turned.png")
    from vitreous.core.images import ReadLimits
    from vitreous.worlds import _annotation

    monkeypatch.setattr(_annotation, "DEFAULT_LIMITS", ReadLimits(max_pixels=23))
    with pytest.raises(AnnotationError, match="promises more than 23 pixels"):
        mask_values(tmp_path / "mask.png")


# --- boxes

EDGE = st.integers(1, 40)
SIDE = st.integers(1, 500).map(float)


@given(x=st.integers(0, 20), y=st.integers(0, 20), wide=EDGE, high=EDGE)
def test_box_conventions_cover_the_same_pixels(x, y, wide, high):
    """The oracle is a picture: pixels that each convention names, painted one by one."""
    painted = np.zeros((64, 64), dtype=bool)
    first, last = (x + 1, y + 1), (x + wide, y + high)  # VOC names pixels from 1, the last included
    for row in range(first[1], last[1] + 1):
        for column in range(first[0], last[0] + 1):
            painted[row - 1, column - 1] = True
    for box in (from_inclusive(*map(float, first + last)), from_extent(*map(float, (x, y, wide, high)))):
        x0, y0, x1, y1 = map(int, box)
        by_box = np.zeros_like(painted)
        by_box[y0:y1, x0:x1] = True
        assert np.array_equal(by_box, painted)
        assert checked_box(tuple(map(float, box)), 64.0, 64.0, "here") == (box, False)


@given(
    box=st.tuples(*[st.floats(0, 100, allow_nan=False)] * 4),
    size=st.tuples(SIDE, SIDE),
    to=st.tuples(SIDE, SIDE),
)
def test_scaling_there_and_back_is_nothing(box, size, to):
    there = scaled(box, *size, *to)
    assert there[0] * size[0] == pytest.approx(box[0] * to[0])
    assert there[3] * size[1] == pytest.approx(box[3] * to[1])
    assert scaled(there, *to, *size) == pytest.approx(box)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((3, 1, 3, 2), "no area"),
        ((4, 1, 3, 2), "corners are exchanged"),
        ((1, 3, 2, 2), "corners are exchanged"),
        ((0, 0, 7.5, 2), r"\(0, 0, 7\.5, 2\) lies outside the picture of 6x4"),
        ((-2, 0, 3, 2), "lies outside"),
        ((0, 0, 3, 6), "if the picture were turned"),
        ((6, 1, 7, 2), "lies outside"),
        ((float("nan"), 0, 3, 2), "no area"),
    ],
)
def test_impossible_boxes_are_refused(box, says):
    with pytest.raises(AnnotationError, match=says):
        checked_box(tuple(map(float, box)), 6.0, 4.0, "a.jpg")


def test_boxes_over_the_edge_by_rounding_are_cut():
    assert checked_box((-0.5, 0.0, 6.02, 5.0), 6.0, 4.0, "here") == ((0, 0, 6, 4), True)
