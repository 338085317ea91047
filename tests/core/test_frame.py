"""Geometry of frames, and the pixels that the model gets, against hand-worked boxes and drawn squares."""

import inspect
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from vitreous.core.errors import InputError
from vitreous.core.fit import PAD_GREY, photo_to_input
from vitreous.core.frame import Frame, content_box, frame_photo, frame_tensor
from vitreous.core.images import read_photo

FITS = ("crop", "squash", "pad")
SIDES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@st.composite
def frames(draw, photo=SIDES, most_patches=20):
    """Any photograph in any model: non-square patches and grids, and borders that no patch covers."""
    patch = draw(st.tuples(st.integers(4, 32), st.integers(4, 32)))
    grid = draw(st.tuples(st.integers(1, most_patches), st.integers(1, most_patches)))
    rest = draw(st.integers(0, patch[0] - 1)), draw(st.integers(0, patch[1] - 1))
    size = grid[0] * patch[0] + rest[0], grid[1] * patch[1] + rest[1]
    share = draw(st.one_of(st.just(1.0), st.floats(0.5, 1)))
    return frame_photo(draw(photo), size, patch, grid, draw(st.sampled_from(FITS)), share)


def close(left, right, scale) -> bool:
    return bool(np.allclose(left, right, rtol=0, atol=1e-9 * scale))


# --- what holds for every frame


@given(frames(), st.floats(-1, 2), st.floats(-1, 2))
def test_to_photo_and_to_input_are_inverse(frame, across, down):
    high, wide = frame.input_size
    x, y = across * wide, down * high
    scale = max(frame.photo_size + frame.input_size) * max(frame.input_size)
    assert close(frame.to_input(*frame.to_photo(x, y)), (x, y), scale)
    high, wide = frame.photo_size
    assert close(frame.to_photo(*frame.to_input(across * wide, down * high)), (across * wide, down * high), scale)


@given(frames())
def test_the_input_is_the_window(frame):
    high, wide = frame.input_size
    scale = max(frame.photo_size) * 10
    assert close(frame.to_photo(0.0, 0.0) + frame.to_photo(float(wide), float(high)), frame.window, scale)


@given(frames())
def test_windows_keep_the_aspect_for_crop_and_pad(frame):
    left, top, right, bottom = frame.window
    (high, wide), (photo_high, photo_wide) = frame.input_size, frame.photo_size
    across, down = (right - left) / wide, (bottom - top) / high  # photograph pixels per input pixel
    if frame.fit == "crop":
        assert math.isclose(across, down, rel_tol=1e-9)
    if frame.fit == "pad":
        # The photograph lies on whole input pixels: a side is rounded by half a pixel, but never to 0.
        scale = max(photo_high / high, photo_wide / wide)
        for side, step in ((photo_wide, across), (photo_high, down)):
            assert abs(side / step - side / scale) <= 0.5 + 1e-9 or round(side / step) == 1


@given(frames())
def test_windows_lie_where_the_fit_says(frame):
    left, top, right, bottom = frame.window
    high, wide = frame.photo_size
    slack = 1e-9 * max(high, wide)
    if frame.fit == "squash":
        assert frame.window == (0, 0, wide, high)
    elif frame.fit == "crop":
        assert left >= -slack
        assert top >= -slack
        assert right <= wide + slack
        assert bottom <= high + slack
        assert close((left + right, top + bottom), (wide, high), max(high, wide))
    else:
        assert left <= slack
        assert top <= slack
        assert right >= wide - slack
        assert bottom >= high - slack


@given(frames())
def test_seen_lies_within_the_photograph_and_is_what_the_patches_cover(frame):
    left, top, right, bottom = frame.seen
    high, wide = frame.photo_size
    assert 0 <= left < right <= wide
    assert 0 <= top < bottom <= high
    rows, columns = frame.grid
    first, last = frame.patch_box(0, 0), frame.patch_box(rows - 1, columns - 1)
    union = max(first[0], 0), max(first[1], 0), min(last[2], wide), min(last[3], high)
    assert close(frame.seen, union, max(high, wide) * 10)


@given(frames(), st.data())
def test_patches_tile_without_gap(frame, data):
    rows, columns = frame.grid
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    left, top, right, bottom = frame.patch_box(row, column)
    assert left < right
    assert top < bottom
    assert close(frame.patch_box(row, column + 1)[0], right, max(frame.photo_size) * 10)
    assert close(frame.patch_box(row + 1, column)[1], bottom, max(frame.photo_size) * 10)


@given(SIDES, st.floats(0.1, 1))
def test_crop_share_shrinks_both_sides_of_the_window_about_its_middle(size, share):
    whole = frame_photo(size, (224, 160), (16, 16), (14, 10), "crop").window
    part = frame_photo(size, (224, 160), (16, 16), (14, 10), "crop", share).window
    for low in (0, 1):
        assert math.isclose(part[low + 2] - part[low], share * (whole[low + 2] - whole[low]), rel_tol=1e-6)
        assert math.isclose(part[low + 2] + part[low], whole[low + 2] + whole[low], rel_tol=1e-9)


# --- worked out by hand: a photograph of 100 x 300 in an input of 32 x 64 with patches of 16


@pytest.mark.parametrize(
    ("fit", "share", "window", "patch_1_2", "seen"),
    [
        ("crop", 1.0, (50, 0, 250, 100), (150, 50, 200, 100), (50, 0, 250, 100)),
        ("crop", 0.5, (100, 25, 200, 75), (150, 50, 175, 75), (100, 25, 200, 75)),
        ("squash", 1.0, (0, 0, 300, 100), (150, 50, 225, 100), (0, 0, 300, 100)),
        # 300 x 100 becomes 64 x 21, five rows from the top: a row is 100 / 21 of the photograph.
        ("pad", 1.0, (0, -500 / 21, 300, 2700 / 21), (150, 1100 / 21, 225, 2700 / 21), (0, 0, 300, 100)),
    ],
)
def test_windows_and_patches_worked_out_by_hand(fit, share, window, patch_1_2, seen):
    frame = frame_photo((100, 300), (32, 64), (16, 16), (2, 4), fit, share)
    assert frame.window == pytest.approx(window)
    assert frame.patch_box(1, 2) == pytest.approx(patch_1_2)
    assert frame.seen == pytest.approx(seen)


def test_patches_that_leave_a_border_do_not_see_it():
    frame = frame_photo((50, 70), (50, 70), (16, 16), (3, 4), "squash")
    assert frame.seen == (0, 0, 64, 48)


def test_content_box_is_centred_on_whole_pixels():
    assert content_box((100, 300), (32, 64)) == (0, 5, 64, 26)
    assert content_box((300, 100), (32, 64)) == (26, 0, 37, 32)
    assert content_box((4000, 1), (32, 64)) == (31, 0, 32, 32)


def test_a_tensor_is_its_own_photograph():
    frame = frame_tensor((32, 64), (16, 8), (2, 8))
    assert frame.to_photo(3.5, 7.25) == (3.5, 7.25)
    assert frame.patch_box(1, 2) == (16, 16, 24, 32)


def test_an_unknown_fit_names_the_known_ones():
    with pytest.raises(InputError, match=r"fit='crops' .*Did you mean 'crop'.*Use one of 'crop', 'squash', 'pad'"):
        inspect.unwrap(frame_photo)((9, 9), (9, 9), (3, 3), (3, 3), "crops")


# --- the frame against the pixels: a red square drawn at a known place must turn up where the frame says


def redness(picture: torch.Tensor) -> torch.Tensor:
    return (picture[0] - picture[1]).clamp(min=0)  # the grey border of a padded input has none


def square_seen_at(frame: Frame, box, interpolation="bicubic") -> tuple[float, float]:
    """Draw, push through `photo_to_input`, and find the centroid in pixels of the input."""
    left, top, right, bottom = box
    pixels = np.zeros((*frame.photo_size, 3), dtype=np.uint8)
    pixels[top:bottom, left:right, 0] = 255
    red = redness(photo_to_input(read_photo(Image.fromarray(pixels)), frame, interpolation)).double()
    rows, columns = torch.arange(red.shape[0]) + 0.5, torch.arange(red.shape[1]) + 0.5
    return float((red.sum(0) * columns).sum() / red.sum()), float((red.sum(1) * rows).sum() / red.sum())


@settings(max_examples=150, deadline=None)
@given(frames(st.tuples(st.integers(30, 200), st.integers(30, 200)), most_patches=6), st.data())
def test_a_square_turns_up_where_to_input_says(frame, data):
    left, top, right, bottom = frame.window
    high, wide = frame.photo_size
    step = max((right - left) / frame.input_size[1], (bottom - top) / frame.input_size[0], 1.0)
    half = math.ceil(2 * step)  # large enough to leave a trace in the input
    margin = half + math.ceil(2 * step) + 1  # the resampling filter reaches that far, and is lopsided at an edge
    ranges = [math.ceil(max(left, 0) + margin), math.floor(min(right, wide) - margin)]
    ranges += [math.ceil(max(top, 0) + margin), math.floor(min(bottom, high) - margin)]
    assume(ranges[0] <= ranges[1] and ranges[2] <= ranges[3])
    x, y = data.draw(st.integers(*ranges[:2])), data.draw(st.integers(*ranges[2:]))
    found = square_seen_at(frame, (x - half, y - half, x + half, y + half))
    assert np.abs(np.subtract(found, frame.to_input(float(x), float(y)))).max() < 0.5


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest", "lanczos"])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("size", "box"), [((100, 300), (160, 60, 190, 90)), ((310, 90), (30, 140, 50, 160))])
def test_every_interpolation_keeps_the_place(interpolation, fit, size, box):
    frame = frame_photo(size, (48, 64), (16, 16), (3, 4), fit, 0.9)
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    found = square_seen_at(frame, box, interpolation)
    assert np.abs(np.subtract(found, frame.to_input(*middle))).max() < 0.5


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1, 2, 3])
@pytest.mark.parametrize("fit", FITS)
def test_the_box_of_the_brightest_patch_contains_the_square(fit, row, column):
    frame = frame_photo((100, 300), (32, 64), (16, 16), (2, 4), fit)
    wide, start = (50, 50) if fit == "crop" else (75, 0)  # columns of patches on the photograph, by hand
    box = start + wide * column + 15, 50 * row + 15, start + wide * column + 35, 50 * row + 35
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2], 0] = 255
    red = redness(photo_to_input(read_photo(Image.fromarray(pixels)), frame))
    brightest = divmod(int(red.view(2, 16, 4, 16).sum((1, 3)).argmax()), 4)
    assert brightest == (row, column)
    left, top, right, bottom = frame.patch_box(*brightest)
    assert left <= box[0] < box[2] <= right
    assert top <= box[1] < box[3] <= bottom


# --- the values of the pixels


def test_golden_inputs_are_reproduced_bit_for_bit(shared):
    arrays = np.load(shared / "golden" / "golden.npz")
    listed = json.loads((shared / "golden" / "golden.json").read_text())["photos"]
    compared = 0
    for name, entry in listed.items():
        files = list((shared / "data" / "photos").glob(f"{entry['file'].partition('.')[0]}.*"))
        for file in files:
            photo = read_photo(file)
            picture = photo_to_input(photo, frame_photo(photo.size, (224, 224), (16, 16), (14, 14), "squash"))
            expected = torch.from_numpy(arrays[f"image/{name}"]).permute(2, 0, 1).float() / 255
            assert torch.equal(picture, expected), name
            compared += 1
    assert compared >= 4


def test_an_input_of_the_photographs_size_is_the_photograph_divided_by_255():
    values = np.random.default_rng(3).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    photo = read_photo(Image.fromarray(values))
    expected = torch.from_numpy(values).permute(2, 0, 1) / 255
    for fit in FITS:
        picture = photo_to_input(photo, frame_photo(photo.size, (32, 48), (16, 16), (2, 3), fit))
        assert torch.equal(picture, expected)
        assert picture.is_contiguous()
        assert picture.dtype == torch.float32


def test_padding_is_grey_and_outside_the_content():
    photo = read_photo(Image.new("RGB", (300, 100), (255, 0, 0)))
    picture = photo_to_input(photo, frame_photo(photo.size, (32, 64), (16, 16), (2, 4), "pad"))
    border = torch.ones(32, 64, dtype=torch.bool)
    border[5:26] = False  # worked out by hand above
    assert (picture[:, border] == PAD_GREY / 255).all()
    assert (picture[0, ~border] == 1).all()
    assert (picture[1:, ~border] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])  # (height, width); smaller than a patch
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_extreme_photographs_fill_the_input(size, fit, share):
    photo = read_photo(Image.new("RGB", size[::-1], (10, 200, 30)))
    frame = frame_photo(size, (48, 64), (16, 16), (3, 4), fit, share)
    picture = photo_to_input(photo, frame)
    content = (picture[0] != PAD_GREY / 255) if fit == "pad" else torch.ones(48, 64, dtype=torch.bool)
    assert content.any()
    assert (picture[:, content] == (torch.tensor([10, 200, 30]) / 255)[:, None]).all()


@settings(max_examples=100, deadline=None)
@given(frames(st.tuples(st.integers(1, 60), st.integers(1, 60)), most_patches=3))
def test_no_window_is_refused_for_its_last_bit(frame):
    high, wide = frame.photo_size
    picture = photo_to_input(read_photo(Image.new("RGB", (wide, high), "white")), frame)
    assert picture.shape == (3, *frame.input_size)
    assert frame.fit == "pad" or (picture == 1).all()


@pytest.mark.parametrize(("side", "size"), [(29, 224), (23, 336), (25, 176)])
def test_a_window_that_rounding_left_outside_is_read(side, size):
    frame = frame_photo((side, side), (size, size), (16, 16), (1, 1), "crop")
    assert min(frame.window) < 0, "this size no longer shows the rounding"
    assert (photo_to_input(read_photo(Image.new("RGB", (side, side), "white")), frame) == 1).all()


def test_what_does_not_belong_together_is_refused():
    photo = read_photo(Image.new("RGB", (30, 20)))
    frame = frame_photo((30, 20), (32, 32), (16, 16), (2, 2))
    with pytest.raises(InputError, match=r"has size \(20, 30\), its frame is for \(30, 20\)"):
        photo_to_input(photo, frame)
    with pytest.raises(InputError, match=r"Did you mean 'bicubic'.*Use one of 'bicubic', 'bilinear', 'nearest'"):
        inspect.unwrap(photo_to_input)(photo, frame, "bicubik")
