"""Every mode of pixels and every orientation, turned into upright RGB: robustness items 6 and 7."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vitreous.core.errors import ImageFormatError
from vitreous.core.images import Photo, decode_photo, read_photo

COLOURS = np.random.default_rng(7).integers(0, 256, (5, 9, 3), dtype=np.uint8)
PICTURE = Image.fromarray(COLOURS)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, bits: int, colour: int, row: bytes, extra: bytes = b"") -> bytes:
    """Write a PNG of one row by hand, with 16-bit samples that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(width: int, bits: int, row: bytes, photometric: int = 1, sample: int = 1) -> bytes:
    """Write a grey TIFF of one row by hand, for the layouts that Pillow reads and does not write."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 134)]
    tags += [(277, 1), (278, 1), (279, len(row)), (339, sample)]
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + row


def pixels(photo: Photo) -> np.ndarray:
    return np.asarray(photo.image)


def greys(photo: Photo) -> list[int]:
    array = pixels(photo)
    assert (array == array[..., :1]).all(), "a grey image became coloured"
    return array[..., 0].ravel().tolist()


# --- 6 modes of pixels


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = np.array([[0, 128, 129, 257, 32768, 40000, 65535]], dtype=np.uint16)
    expected = [0, 0, 1, 1, 128, 156, 255]  # value / 257, rounded
    data = png(7, 16, 0, values.astype(">u2").tobytes())
    for photo in (decode_photo(data, "x"), read_photo(Image.fromarray(values))):
        assert greys(photo) == expected
        assert photo.notes == ("16-bit values were scaled to 8 bits",)
    for data in (encoded(Image.fromarray(values), "TIFF"), tiff(7, 16, values.tobytes())):
        assert greys(decode_photo(data, "x")) == expected
    assert greys(read_photo(Image.fromarray(values.astype(np.int32)))) == expected
    dark = read_photo(Image.fromarray(values // 16))
    assert "the largest value is 4095 of 65535: nothing was stretched" in dark.notes
    assert greys(dark)[-1] == 16


def test_sixteen_bits_with_a_transparent_grey():
    values = np.array([[0, 40000, 40001]], dtype=">u2")
    data = png(3, 16, 0, values.tobytes(), chunk(b"tRNS", struct.pack(">H", 40000)))
    assert greys(decode_photo(data, "x")) == [0, 255, 156]


def test_sixteen_bit_colours_and_their_transparent_colour():
    row = np.array([40000, 0, 0, 257, 514, 40000], dtype=">u2").tobytes()
    photo = decode_photo(png(2, 16, 2, row, chunk(b"tRNS", struct.pack(">HHH", 40000, 0, 0))), "x")
    assert pixels(photo)[0].tolist() == [[255, 255, 255], [1, 2, 156]]
    assert photo.notes == ("16-bit values were scaled to 8 bits", "transparent pixels are shown on white")


def test_twelve_bits_and_white_is_zero():
    assert greys(decode_photo(tiff(2, 12, bytes([0xFF, 0xF8, 0x00])), "x")) == [255, 128]
    values = np.array([0, 65535, 257 * 200], dtype="<u2").tobytes()
    assert greys(decode_photo(tiff(3, 16, values, photometric=0), "x")) == [255, 0, 55]


def test_floats_are_read_in_the_unit_range_and_never_stretched():
    values = np.array([[0, 0.25, 0.5, 1]], dtype=np.float32)
    image = Image.fromarray(values)
    for photo in (decode_photo(encoded(image, "TIFF"), "x"), read_photo(image)):
        assert greys(photo) == [0, 64, 128, 255]
        assert photo.notes == ("floating-point values in [0, 1] were scaled to 8 bits",)
    assert greys(decode_photo(tiff(4, 32, values.tobytes(), 0, 3), "x")) == [255, 191, 128, 0]
    for bad, shown in ((2.0, "0 to 2"), (-1.0, "-1 to 1"), (np.nan, "nan"), (np.inf, "0 to inf")):
        broken = np.where(values == 0.5, np.float32(bad), values).astype(np.float32)
        with pytest.raises(ImageFormatError, match=f"{shown}.*nothing is stretched.*Scale the values"):
            decode_photo(encoded(Image.fromarray(broken), "TIFF"), "x.tif")


@pytest.mark.parametrize("values", [[0, 70000], [-1, 300], [0, 255]])
def test_integers_of_no_known_range_are_refused(values):
    image = Image.fromarray(np.array([values], dtype=np.int32))
    with pytest.raises(ImageFormatError, match=f"integer values from {values[0]} to {values[1]}"):
        decode_photo(encoded(image, "TIFF"), "x.tif")


def test_transparency_is_shown_on_white():
    rgba = Image.fromarray(np.array([[[9, 8, 7, 255], [9, 8, 7, 0], [255, 0, 0, 51]]], dtype=np.uint8))
    expected = [[9, 8, 7], [255, 255, 255], [255, 204, 204]]  # 51 / 255 = one fifth red on white
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        photo = decode_photo(encoded(rgba, kind, **options), "x")
        assert pixels(photo)[0].tolist() == expected
        assert photo.notes == ("transparent pixels are shown on white",)
    assert pixels(read_photo(rgba.convert("RGBa")))[0, 1:].tolist() == expected[1:]
    opaque = Image.new("RGBA", (2, 2), (1, 2, 3, 255))
    assert read_photo(opaque).notes == ()
    grey = Image.fromarray(np.array([[[100, 255], [100, 0], [0, 51]]], dtype=np.uint8), "LA")
    assert greys(decode_photo(encoded(grey, "PNG"), "x")) == [100, 255, 204]
    assert greys(read_photo(grey.convert("La"))) == [100, 255, 204]


def test_palettes_with_and_without_transparency():
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 200])
    plain = decode_photo(encoded(palette, "PNG"), "x")
    assert pixels(plain)[0].tolist() == [[10, 20, 30], [200, 0, 0], [0, 0, 200]]
    one = decode_photo(encoded(palette, "GIF", transparency=1), "x")
    assert pixels(one)[0].tolist() == [[10, 20, 30], [255, 255, 255], [0, 0, 200]]
    each = decode_photo(encoded(palette, "PNG", transparency=bytes([255, 0, 51])), "x")
    assert pixels(each)[0].tolist() == [[10, 20, 30], [255, 255, 255], [204, 204, 244]]


def test_one_bit_grey_cmyk_and_lab():
    assert greys(decode_photo(encoded(Image.fromarray(np.array([[True, False]])), "PNG"), "x")) == [255, 0]
    grey = Image.fromarray(np.array([[7, 250]], dtype=np.uint8))
    assert greys(decode_photo(encoded(grey, "BMP"), "x")) == [7, 250]
    cmyk = Image.new("CMYK", (2, 2), (0, 255, 255, 0))
    photo = decode_photo(encoded(cmyk, "TIFF"), "x")
    assert pixels(photo)[0, 0].tolist() == [255, 0, 0]
    assert photo.notes == ("CMYK colours were converted to RGB",)
    jpeg = pixels(decode_photo(encoded(cmyk, "JPEG", quality=100), "x"))[0, 0]
    assert np.abs(jpeg.astype(int) - (255, 0, 0)).max() <= 3
    lab = Image.new("LAB", (2, 2), (255, 128, 128))  # L = 100 %, no colour
    assert pixels(decode_photo(encoded(lab, "TIFF"), "x")).min() >= 253


# --- 7 EXIF orientation

UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF lzw", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    kind, _, compression = kind.partition(" ")
    options = {"lossless": True} if kind == "WEBP" else {"compression": "tiff_lzw"} if compression else {}
    data = encoded(PICTURE, kind, exif=exif, **options)
    photo = decode_photo(data, "x")
    assert np.array_equal(pixels(photo), UPRIGHT[orientation](COLOURS))
    assert photo.notes == (() if orientation == 1 else (f"EXIF orientation {orientation} applied",))
    with Image.open(io.BytesIO(data)) as opened:
        assert read_photo(opened).digest == photo.digest


def test_unreadable_exif_does_not_cost_the_picture():
    data = encoded(PICTURE, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff")
    photo = decode_photo(data, "x")
    assert np.array_equal(pixels(photo), COLOURS)
    assert photo.notes == ("EXIF data that cannot be read was ignored",)
