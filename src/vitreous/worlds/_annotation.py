"""Masks and boxes as annotators save them, turned into `Mask` and `Box`, or refused.

Two decisions hold for every data set:

A mask is read exactly. Its values are those of the file (indices where it has a palette), each must be
declared as inside, void or outside, and it is never resized: an unknown value or another size means that the
file is not what it was taken for. An empty mask is a statement that nothing is there, and is given as such.

A box must lie in its photograph. Up to one pixel outside is how annotation tools round, so that much is cut
off and noted; more than that, or a box inside out, is an error.
"""

import io
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int
from PIL import Image

from vitreous.core.errors import AnnotationError, ImageError, InputError
from vitreous.core.frame import Box
from vitreous.core.image_files import read_file, shown
from vitreous.core.images import DEFAULT_LIMITS
from vitreous.worlds._files import Faults, stored_size
from vitreous.worlds.sample import Mask

Values: TypeAlias = int | Iterable[int]
"""Values of pixels in a mask file: one, or several, such as range(128, 256)."""

_LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_SLACK = 1.0  # pixels that a box may overhang by rounding


# --- masks


def mask_values(path: Path) -> Int[np.ndarray, "H W"]:
    """Read the values of a mask file: indices of a palette, greys as stored, 0 and 255 of one bit.

    Raises AnnotationError if the file is missing, damaged, too large, of a lossy format, in colours, partly
    transparent, or says that it must be turned.
    """
    name = shown(str(path))
    try:
        data = read_file(str(path), DEFAULT_LIMITS.max_bytes)
    except ImageError as error:
        raise AnnotationError(error.cause.replace("The image", "The mask", 1), error.fix) from error
    try:
        with Image.open(io.BytesIO(data), formats=_LOSSLESS) as image:
            if image.width * image.height <= DEFAULT_LIMITS.max_pixels:
                return _exact_values(image, name)
    except AnnotationError:
        raise
    except Exception as error:  # on bytes that they do not expect, decoders raise anything
        raise AnnotationError(
            f"The mask {name} cannot be decoded ({error}).",
            "Masks are PNG, TIFF, BMP or GIF: JPEG changes values. Copy or save it again.",
        ) from error
    raise AnnotationError(
        f"The mask {name} promises more than {DEFAULT_LIMITS.max_pixels:,} pixels.",
        "Masks have their photograph's size.",
    )


def _exact_values(image: Image.Image, name: str) -> Int[np.ndarray, "H W"]:
    """Give the values of an opened mask without converting any."""
    image.load()
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise AnnotationError(f"The mask {name} has an EXIF orientation.", "Save it as it is to be seen, without one.")
    if image.mode == "1":
        return np.asarray(image).astype(np.int32) * 255
    if image.mode in {"L", "P"} or image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32)
    if image.mode in {"RGB", "RGBA", "LA"}:
        layers = np.asarray(image).astype(np.int32)
        colours = layers[..., :-1] if image.mode.endswith("A") else layers
        opaque = colours is layers or bool((layers[..., -1] == 255).all())
        if opaque and bool((colours == colours[..., :1]).all()):
            return colours[..., 0]
    raise AnnotationError(
        f"The mask {name} is a picture of mode {image.mode} with colours or transparency.",
        "Save one value for each pixel: a PNG in grey or with a palette.",
    )


def value_set(argument: str, values: Values) -> frozenset[int]:
    """Turn one value or several into a set. Raises InputError for anything but whole numbers."""
    found = frozenset([values] if isinstance(values, int) else values)
    if not all(isinstance(value, int) and value >= 0 for value in found):
        raise InputError(f"{argument}={values!r}.", "Give whole numbers from 0, such as 255 or range(128, 256).")
    return found


def mask_reader(
    path: Path, inside: frozenset[int], void: frozenset[int], outside: frozenset[int]
) -> Callable[[], Mask]:
    """Give a function that reads a mask file when it is asked for; what values mean is checked now.

    Raises InputError if `inside` is empty or a value means two things. What is given raises AnnotationError as
    `mask_values` does, and for values that are declared nowhere.
    """
    twice = sorted(inside & void | inside & outside | void & outside)
    if twice or not inside:
        raise InputError(
            f"Mask values: {f'{twice} would mean two things' if twice else 'no value means inside'}.",
            "Give each value one meaning: inside=, void= or outside=.",
        )
    return partial(_read_mask, path, inside, void, outside)


def _read_mask(path: Path, inside: frozenset[int], void: frozenset[int], outside: frozenset[int]) -> Mask:
    """Read one mask; the work of `mask_reader`."""
    values = mask_values(path)
    unknown = sorted({*np.unique(values).tolist()} - inside - void - outside)
    if unknown:
        share = float(np.isin(values, unknown).mean())
        raise AnnotationError(
            f"The mask {shown(str(path))} has the values {_few(unknown)} in {share:.1%} of its pixels; expected "
            f"{_few(sorted(inside))} inside, {_few(sorted(void))} void, {_few(sorted(outside))} outside.",
            "Declare what they mean with inside=, void= and outside=, for instance inside=range(128, 256).",
        )
    return Mask(np.isin(values, list(inside)), np.isin(values, list(void)))


def _few(values: list[int]) -> str:
    """Write a list of values, its middle left out if it is long."""
    if len(values) > 8:
        return f"{', '.join(map(str, values[:4]))} … {values[-1]}"
    return ", ".join(map(str, values)) or "none"


# --- boxes


def number(text: Any, what: str) -> float:
    """Read a finite number. Raises AnnotationError; `what` begins the message."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(text, bool) or not math.isfinite(value):
        raise AnnotationError(f"{what} is {shown(str(text))}.", "Expected a finite number, such as 12 or 12.5.")
    return value


def checked_box(box: Box, width: float, height: float, what: str) -> tuple[Box, bool]:
    """Give the box within the picture, and whether up to a pixel had to be cut off. `what` begins messages.

    Raises AnnotationError for a box that is inside out, without area, or further outside.
    """
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise AnnotationError(
            f"{what}: the box {_written(box)} has no area, or its corners are exchanged.",
            "Expected x0 < x1 and y0 < y1, the upper left corner first.",
        )
    if min(x0, y0) < -_SLACK or x1 > width + _SLACK or y1 > height + _SLACK:
        turned = x1 <= height + _SLACK and y1 <= width + _SLACK and min(x0, y0) >= -_SLACK
        raise AnnotationError(
            f"{what}: the box {_written(box)} lies outside the picture of {width:g}x{height:g} pixels.",
            "It would lie inside if the picture were turned: use coordinates of the upright photograph."
            if turned
            else "Use pixels of this very file, x to the right and y downwards from its upper left corner.",
        )
    within = (max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height))
    if not (within[0] < within[2] and within[1] < within[3]):
        raise AnnotationError(f"{what}: the box {_written(box)} lies outside the picture.", "Remove or correct it.")
    return within, within != box


def from_inclusive(x0: float, y0: float, x1: float, y1: float) -> Box:
    """Turn pixel numbers counted from 1, the last included, into edges counted from 0.

    The single pixel in the upper left corner:

    >>> from_inclusive(1.0, 1.0, 1.0, 1.0)
    (0.0, 0.0, 1.0, 1.0)
    """
    return x0 - 1, y0 - 1, x1, y1


def from_extent(x: float, y: float, width: float, height: float) -> Box:
    """Turn a corner and an extent into two corners."""
    return x, y, x + width, y + height


def scaled(box: Box, width: float, height: float, to_width: float, to_height: float) -> Box:
    """Move a box from a picture of one size to the same picture in another size, each axis by itself."""
    x0, y0, x1, y1 = box
    return x0 * to_width / width, y0 * to_height / height, x1 * to_width / width, y1 * to_height / height


# --- sizes


def size_for_boxes(path: Path, faults: Faults) -> tuple[float, float] | None:
    """Give width and height of a photograph as it is seen, from its header; None if it cannot be read.

    That is noted and not raised here, because reading the photograph raises the better error.
    """
    try:
        width, height, orientation = stored_size(path)
    except ImageError as error:
        faults.say(f"left out: the boxes of {shown(path.name)}, because it cannot be read. {error.cause}")
        return None
    size = (height, width) if orientation in _SIDEWAYS else (width, height)
    return float(size[0]), float(size[1])


def require_size(path: Path, width: float, height: float, stated_by: str) -> None:
    """Compare the size that an annotation was made for with the photograph as it is seen, upright.

    Raises AnnotationError if they differ, and ImageError if the photograph cannot be read.
    """
    wide, high, orientation = stored_size(path)
    seen_wide, seen_high = (high, wide) if orientation in _SIDEWAYS else (wide, high)
    if seen_wide == width and seen_high == height:
        return
    if wide == width and high == height:
        fix = (
            f"It has EXIF orientation {orientation} and is seen turned; the annotation was made for the file as "
            "stored. Turn the annotation, or save the photograph without the EXIF orientation."
        )
    else:
        fix = "Use the photographs that were annotated; resized or rotated copies do not fit."
    raise AnnotationError(
        f"{stated_by} says that {shown(path.name)} has {width:g}x{height:g} pixels; seen upright it has "
        f"{seen_wide}x{seen_high}.",
        fix,
    )


def fitting(path: Path, width: float, height: float, stated_by: str, faults: Faults) -> bool:
    """Tell whether the annotations of a photograph fit its size; if not, that is a fault.

    A photograph that cannot be read at all is noted and not raised here, as by `size_for_boxes`.
    """
    try:
        require_size(path, width, height, stated_by)
    except ImageError as error:
        faults.say(f"left out: the annotations of {shown(path.name)}, because it cannot be read. {error.cause}")
    except AnnotationError as error:
        faults.meet(error)
    else:
        return True
    return False


def _written(box: Box) -> str:
    """Write a box for a message."""
    return f"({', '.join(f'{edge:g}' for edge in box)})"
