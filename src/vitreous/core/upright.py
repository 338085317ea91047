"""Decoded pixels of any mode and orientation, turned into upright 8-bit RGB without silent loss.

Pillow's own conversions clip 16-bit greys to white, uncover colours that were transparent, and leave a few
layouts of TIFF to the caller; here every mode is either converted by its full range or refused. The range
is that of the format, never that of the values that happen to occur: stretching would make a dark picture
look like another one, to the model as well.
"""

from typing import NoReturn

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from vitreous.core.errors import ImageFormatError

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 258, 262


def upright_rgb(image: Image.Image, label: str) -> tuple[Image.Image, list[str]]:
    """Decode, apply the EXIF orientation and convert any mode to RGB; also say what was changed.

    image  an opened picture, decoded or not; it is decoded here
    label  names the image in errors, quoted already

    Gives an RGB picture and the changes as plain phrases. Raises ImageFormatError for values whose range
    has no fixed meaning, and whatever the decoder raises for damaged data.
    """
    bits, white_is_zero = _sample_layout(image)
    # Pillow turns a TIFF upright while loading, then forgets the orientation; a PNG may state it at its end.
    before = _orientation(image) if isinstance(image, TiffImageFile) else 1
    image.load()
    after = _orientation(image)
    notes = _orientation_notes(before, after)
    upright = image.transpose(_TURNS[after]) if after in _TURNS else image
    if upright.mode == "F":
        upright = _grey_of_floats(upright, label, white_is_zero)
        notes.append("floating-point values in [0, 1] were scaled to 8 bits")
    elif upright.mode.startswith("I"):
        upright = _grey_of_integers(upright, label, bits, white_is_zero, notes)
    elif bits == 16:
        notes.append("16-bit values were scaled to 8 bits")
    elif upright.mode in {"CMYK", "LAB"}:
        notes.append(f"{upright.mode} colours were converted to RGB")
    return _on_white(upright, notes), notes


def _sample_layout(image: Image.Image) -> tuple[int, bool]:
    """Find how many bits a sample has in the file, and whether zero means white: Pillow applies neither.

    Of a TIFF its tags tell; of other formats the mode and the decoder's arguments, which are gone after
    decoding.
    """
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))), image.tag_v2.get(_PHOTOMETRIC) == 0
    tiles = getattr(image, "tile", None) or [None]
    return 16 if ";16" in f"{image.mode} {tiles[0]}" else 8, False


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; 1 means upright or unstated, 0 EXIF data that cannot be read.

    Not `ImageOps.exif_transpose`, which writes the EXIF data back and fails on the odd tags of some
    cameras.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (damaged EXIF data raises anything, and the pixels may be whole)
        return 0
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _orientation_notes(before: int, after: int) -> list[str]:
    """Say which orientation was applied, by Pillow while it loaded a TIFF (`before`) or here (`after`)."""
    if 0 in {before, after}:
        return ["EXIF data that cannot be read was ignored"]
    return [f"EXIF orientation {max(before, after)} applied"] if max(before, after) > 1 else []


def _grey_of_floats(image: Image.Image, label: str, white_is_zero: bool) -> Image.Image:
    """Scale floating-point greys in [0, 1] to 8 bits, rounded to the nearest.

    Other ranges are refused: their white is unknown.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # written so that NaN is refused too
        _refuse_range(label, "floating-point", low, high, "They must lie in [0, 1]")
    return Image.fromarray(np.rint((1 - values if white_is_zero else values) * 255).astype(np.uint8))


def _grey_of_integers(image: Image.Image, label: str, bits: int, white_is_zero: bool, notes: list[str]) -> Image.Image:
    """Scale whole numbers to 8 bits by their full range, never by the range that happens to occur.

    The full range is 12 bits where the file says so, and 16 bits otherwise. 32-bit values that fit into 8
    bits are refused: they may mean either. A transparent grey becomes an alpha channel, while its value can
    still be told exactly.
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if image.mode == "I" and (low < 0 or high > 65535):
        _refuse_range(label, "integer", float(low), float(high), "They must lie in [0, 65535]")
    if image.mode == "I" and 0 < high <= 255:
        _refuse_range(label, "integer", float(low), float(high), "They may mean 8 bits or very dark 16 bits")
    bits, top = (12, 4095) if bits == 12 else (16, 65535)
    notes.append(f"{bits}-bit values were scaled to 8 bits")
    if high < top // 8:
        notes.append(f"the largest value is {high} of {top}: nothing was stretched")
    grey = (values.astype(np.uint32) * 255 + top // 2) // top
    result = Image.fromarray((255 - grey if white_is_zero else grey).astype(np.uint8))
    if isinstance(key := image.info.get("transparency"), int):
        result.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return result


def _refuse_range(label: str, kind: str, low: float, high: float, rule: str) -> NoReturn:
    """Refuse values whose meaning is not known, with the range that was found."""
    raise ImageFormatError(
        f"The image {label} has {kind} values from {low:g} to {high:g}. {rule}: nothing is stretched.",
        "Scale the values yourself and save them as 8-bit or 16-bit grey.",
    )


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """Convert to RGB, with whatever is transparent laid on white.

    White is what most viewers show behind a picture, so the model sees what a person sees. Colours stored
    under transparent pixels, which nobody has seen, do not come to light.
    """
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        image = image.copy()  # the key is stated in the file's 16 bits, the pixels have 8 by now
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode == "La":  # Pillow knows no direct way from here
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    if layers.getchannel("A").getextrema() != (255, 255):
        notes.append("transparent pixels are shown on white")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
