"""Decoding photographs: robustness items 1 to 5, 8 and 10, and what every Photo promises."""

import contextlib
import inspect
import io
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vitreous.core import images
from vitreous.core.errors import (
    ImageDamagedError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    InputError,
)
from vitreous.core.images import Photo, ReadLimits, decode_photo, read_photo

COLOURS = np.random.default_rng(7).integers(0, 256, (5, 9, 3), dtype=np.uint8)
PICTURE = Image.fromarray(COLOURS)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(photo: Photo) -> np.ndarray:
    return np.asarray(photo.image)


EXACT = {
    "PNG": encoded(PICTURE, "PNG"),
    "BMP": encoded(PICTURE, "BMP"),
    "WEBP": encoded(PICTURE, "WEBP", lossless=True),
    "TIFF": encoded(PICTURE, "TIFF"),
    "TIFF lzw": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "GIF": encoded(PICTURE.quantize(45), "GIF"),
}
ENCODED = EXACT | {"JPEG": encoded(PICTURE, "JPEG", quality=95), "WEBP lossy": encoded(PICTURE, "WEBP")}


# --- what is promised


@pytest.mark.parametrize("kind", EXACT)
def test_lossless_formats_are_read_exactly_whatever_the_extension(tmp_path, kind):  # item 2
    path = tmp_path / "photo.jpg"
    path.write_bytes(EXACT[kind])
    photo = read_photo(path)
    assert np.array_equal(pixels(photo), COLOURS)
    assert (photo.size, photo.name, photo.notes) == ((5, 9), "photo.jpg", ())


def test_jpeg_is_read_as_pillow_reads_it():
    data = ENCODED["JPEG"]
    assert np.array_equal(pixels(decode_photo(data, "x")), np.asarray(Image.open(io.BytesIO(data))))


def test_digest_is_of_pixels_and_size_alone(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(EXACT["PNG"])
    digest = read_photo(path).digest
    assert digest == read_photo(str(path)).digest == read_photo(PICTURE).digest
    assert digest == decode_photo(EXACT["TIFF lzw"], "b.tif").digest
    changed = COLOURS.copy()
    changed[2, 3, 1] ^= 1
    assert digest != read_photo(Image.fromarray(changed)).digest
    assert digest != read_photo(Image.fromarray(COLOURS.reshape(9, 5, 3))).digest


def test_pil_images_keep_their_name_and_are_not_changed(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(EXACT["PNG"])
    with Image.open(path) as opened:
        assert read_photo(opened).name == "cat.png"
    mine = PICTURE.copy()
    photo = read_photo(mine)
    assert photo.name == "image"
    ImageDraw.Draw(mine).rectangle((0, 0, 8, 4), fill="red")
    assert np.array_equal(pixels(photo), COLOURS)
    assert read_photo(photo) is photo


def test_metadata_does_not_survive():
    exif = Image.Exif()
    exif[0x010E] = "patient 17"
    photo = decode_photo(encoded(PICTURE, "JPEG", exif=exif, comment=b"secret"), "x")
    assert photo.image.info == {}
    assert len(photo.image.getexif()) == 0


def test_other_types_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"given as ndarray.*fromarray"):
        inspect.unwrap(read_photo)(COLOURS)


# --- 1 missing, zero-byte, truncated


def test_zero_byte_file(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageDamagedError, match=r"'a.png' is empty \(0 bytes\)"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ENCODED)
def test_a_file_cut_anywhere_is_an_error_or_the_same_picture(kind):
    data, whole = ENCODED[kind], decode_photo(ENCODED[kind], "x").digest
    for cut in range(1, len(data)):
        try:
            assert decode_photo(data[:cut], "x").digest == whole, f"another picture when cut at byte {cut}"
        except ImageDamagedError:
            continue
        except ImageFormatError:
            assert cut < 16, "so much of a file tells what it once was"


def test_a_tiff_that_is_cut_says_so_and_not_that_its_format_is_unknown():
    with pytest.raises(ImageDamagedError, match="copy or download it again"):
        decode_photo(ENCODED["TIFF"][:60], "scan.tif")


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    kind=st.sampled_from(sorted(ENCODED)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_any_damage_gives_a_photo_or_one_of_our_errors(kind, changes):
    data = bytearray(ENCODED[kind])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    with contextlib.suppress(ImageError):  # either outcome is right, any other exception is not
        assert decode_photo(bytes(data), "x").image.mode == "RGB"


# --- 2 and 4 and 10: files that are no images

OTHERS = {
    "a text file": b"just some words\n" * 20,
    "a PDF document": b"%PDF-1.7\n1 0 obj\n",
    "an EPS or PostScript document": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "a FITS file": b"SIMPLE  =                    T / conforms\n".ljust(2880),
    "an SVG drawing": b'<?xml version="1.0"?>\n<!-- made by x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a web page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a HEIC or AVIF picture": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a ZIP archive": b"PK\x03\x04" + bytes(40),
    "no image format": bytes(300),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_named_png_are_refused_by_what_they_are(tmp_path, kind):
    path = tmp_path / "photo.png"
    path.write_bytes(OTHERS[kind])
    with pytest.raises(ImageFormatError, match=f"'photo.png' is {kind}.*Supported are JPEG, PNG, WebP, TIFF"):
        read_photo(path)


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "PPM", "TGA", "JPEG2000"])
def test_formats_that_pillow_could_read_are_not_read(kind):
    with pytest.raises(ImageFormatError, match="Supported are"):
        decode_photo(encoded(PICTURE, kind), "photo.png")


def tiff_that_is_dicom_too() -> bytes:
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1), (279, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    start = b"II*\0" + struct.pack("<I", 132)
    return start.ljust(128, b"\0") + b"DICM" + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_dicom_is_sent_to_be_converted():
    advice = r"a DICOM file\. Convert it to PNG or TIFF first"
    with pytest.raises(ImageFormatError, match=advice):
        decode_photo(bytes(128) + b"DICM" + bytes(60), "scan.png")
    with pytest.raises(ImageFormatError, match=advice):
        decode_photo(bytes(60), "scan.DCM")
    both = tiff_that_is_dicom_too()
    assert decode_photo(both.replace(b"DICM", b"none"), "scan.tif").size == (1, 1)
    with pytest.raises(ImageFormatError, match=advice):
        decode_photo(both, "scan.tif")
    with pytest.raises(ImageFormatError, match=advice):
        decode_photo(both[:140], "scan.tif")


# --- 3 bombs and other sizes


@pytest.mark.parametrize("side", [9_500, 12_000, 100_000])
@pytest.mark.parametrize("action", ["default", "ignore", "error"])
def test_a_header_that_promises_too_much_is_refused_before_decoding(side, action):
    before = Image.MAX_IMAGE_PIXELS
    start = time.process_time()
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header)) + bytes(4) + b"IDAT"
    with warnings.catch_warnings(record=True):
        warnings.simplefilter(action)
        with pytest.raises(ImageTooLargeError, match="Make it smaller"):
            decode_photo(bomb, "bomb.png")
    assert time.process_time() - start < 0.5
    assert before == Image.MAX_IMAGE_PIXELS


def test_limits_count_pixels_and_bytes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(EXACT["PNG"])
    length = path.stat().st_size
    assert read_photo(path, ReadLimits(max_bytes=length, max_pixels=45)).size == (5, 9)
    with pytest.raises(ImageTooLargeError, match=r"9 x 5 pixels; the limit is 44\."):
        read_photo(path, ReadLimits(max_pixels=44))
    with pytest.raises(ImageTooLargeError, match=f"has {length} bytes; the limit is {length - 1}"):
        read_photo(path, ReadLimits(max_bytes=length - 1))
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        decode_photo(EXACT["PNG"], "a.png", ReadLimits(max_bytes=length - 1))
    with pytest.raises(ImageTooLargeError, match="max_pixels"):
        read_photo(PICTURE, ReadLimits(max_pixels=44))
    with pytest.raises(ImageDamagedError, match="has no pixel"):
        read_photo(Image.new("RGB", (0, 4)))


# --- 5 several frames


def frames(kind: str, count: int = 3, **options) -> bytes:
    colours = ["red", "lime", "blue"] * count
    first, *rest = (Image.new("RGB", (4, 3), colour) for colour in colours[:count])
    return encoded(first, kind, save_all=True, append_images=rest, **options)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("GIF", "animated: frame 0 of 3 is used"),
        ("WEBP", "animated: frame 0 of 3 is used"),
        ("PNG", "animated: frame 0 of 3 is used"),
        ("TIFF", "several pages: page 0 of 3 is used"),
        ("MPO", "several pictures: picture 0 of 3 is used"),
    ],
)
def test_frame_0_of_several_is_used_and_said(kind, note):
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = decode_photo(frames(kind, **options), "x")
    assert np.abs(pixels(photo).astype(int) - (255, 0, 0)).max() <= (2 if kind == "MPO" else 0)
    assert photo.notes == (note,)


def test_frame_bombs_are_not_counted_to_their_end(monkeypatch):
    pages = frames("TIFF", 16)
    monkeypatch.setattr(images, "_MOST_FRAMES", 10)
    monkeypatch.setattr(images, "_MOST_BYTES_TO_COUNT", 50)
    assert decode_photo(pages, "x").notes == ("several pages: page 0 of 10 or more is used",)
    animation = frames("GIF")
    assert decode_photo(animation, "x").notes == ("animated: frame 0 of many is used",)


def test_a_pil_animation_stays_where_it_is():
    data = frames("GIF")
    with Image.open(io.BytesIO(data)) as animation:
        assert read_photo(animation).notes == ("several frames: frame 0 is used",)
        animation.seek(2)
        photo = read_photo(animation)
        assert (animation.tell(), photo.notes) == (2, ("several frames: frame 2 is used",))
        assert pixels(photo)[0, 0].tolist() == [0, 0, 255]
    with Image.open(io.BytesIO(data)) as animation:
        animation.seek(1)
        animation.load()
        assert read_photo(animation).notes == ("several frames: frame 1 is used",)
    with Image.open(io.BytesIO(data)) as animation:
        animation.load()
        animation.putpixel((1, 1), 1)  # what was drawn on a loaded frame must not be decoded away
        drawn = animation.convert("RGB").tobytes()
        assert read_photo(animation).image.tobytes() == drawn


# --- 8 and 9 extreme sizes


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
def test_extreme_sizes_are_read(size):
    values = np.random.default_rng(8).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    photo = decode_photo(encoded(Image.fromarray(values), "PNG"), "x")
    assert np.array_equal(pixels(photo), values)
    assert photo.size == (size[1], size[0])
