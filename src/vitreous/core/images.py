"""Guarded reading of photographs: a few formats, bounded sizes, ordinary files only, one upright RGB result.

A photograph may come from anybody, so nothing about it is trusted: the file is read once into memory within
a limit, its header is checked before a pixel is decoded, and every failure of a decoder becomes one error.

The order matters: `core.image_files` reads bytes, this file decides whether they are a picture that is
read, and `core.upright` turns decoded pixels of any kind into upright RGB. What had to be changed on the
way is noted, because a user who does not know of it would explain another picture than the one on the
screen.

Formats are few on purpose: each decoder is code that meets bytes from strangers.
"""

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from vitreous.core.errors import (
    ImageDamagedError,
    ImageFormatError,
    ImageTooLargeError,
    InputError,
    VitreousError,
)
from vitreous.core.image_files import read_file, refuse_bytes, shown, writable
from vitreous.core.upright import upright_rgb

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_CONVERT = "Supported are JPEG, PNG, WebP, TIFF, BMP and GIF: convert it to one of these first."
_CONVERT_DICOM = "Convert it to PNG or TIFF first, choosing the window of grey values yourself."

# How files begin. The supported ones tell a damaged picture from a file that never was one.
_SUPPORTED_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|II[*+]\0|MM\0[*+]|GIF8[79]a|BM.{4}\0\0\0\0", re.DOTALL
)
_OTHER_STARTS = {
    "a DICOM file": rb".{128}DICM",
    "a PDF document": rb"\s*%PDF",
    "an EPS or PostScript document": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a FITS file": rb"SIMPLE  =",
    "an SVG drawing": rb"(?:\xef\xbb\xbf)?\s*<(?:.*<)?svg[\s>]",
    "a web page, perhaps a failed download": rb"(?i)\s*<(?:!doctype html|html)",
    "a Git LFS pointer, not the file itself": rb"version https://git-lfs",
    "a HEIC or AVIF picture": rb"....ftyp(?:hei|hev|mif|msf|avi)",
    "a JPEG 2000 picture": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "a JPEG XL picture": rb"\0\0\0\x0cJXL |\xff\x0a",
    "a Photoshop document": rb"8BPS",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
}
_OTHER_KINDS = {kind: re.compile(start, re.DOTALL) for kind, start in _OTHER_STARTS.items()}

# Counting walks the whole file, so a file made of nothing but tiny frames must not be counted to its end.
_MOST_FRAMES = 1000
_MOST_BYTES_TO_COUNT = 8 * 2**20


@dataclass(frozen=True)
class ReadLimits:
    """How much one photograph may cost.

    max_bytes   of the file; 64 MiB
    max_pixels  of the decoded picture; 80 million. The default stays below the size at which Pillow itself
                warns (PIL.Image.MAX_IMAGE_PIXELS, never changed here, because it belongs to the whole
                process)

    Several copies of a picture exist for a moment while it is turned upright: an RGB picture of 80 million
    pixels takes about 1.2 gigabytes at the peak, and a quarter of that afterwards.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 80_000_000


DEFAULT_LIMITS = ReadLimits()


@dataclass(frozen=True)
class Photo:
    """One photograph as everything else sees it: upright, RGB, 8 bits, without metadata.

    image   the picture; a copy of its own, which nobody else can change
    name    file name without folders, or "image" for a picture that never was a file
    digest  sha256 over size and pixels, so equal for a file and for the same pixels given as a PIL image
    notes   what reading changed or left out, as plain phrases

    Two are equal if name, digest and notes are.
    """

    image: Image.Image = field(repr=False, compare=False)
    name: str
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, unlike `PIL.Image.size`."""
        return self.image.height, self.image.width


@dataclass(frozen=True)
class Fetched:
    """A photograph that is no file here: its bytes are fetched when they are asked for, and not kept.

    name   for messages and the record
    fetch  gives the bytes of the file, at most as many as it is told. Raises ImageError
    """

    name: str
    fetch: Callable[[int], bytes] = field(repr=False)


def read_photo(source: str | Path | Image.Image | Fetched | Photo, limits: ReadLimits = DEFAULT_LIMITS) -> Photo:
    """Read a photograph from a file or take over a PIL image; a Photo is given back as it is.

    source  path, PIL image in any mode, Fetched or Photo. Of several frames the first is used, of a PIL image the
            one it is at
    limits  what is refused for its size, see `ReadLimits`

    The EXIF orientation is applied, 16-bit and floating-point greys are scaled by their full range, and
    transparent pixels are laid on white; `notes` says which of these happened. Colour profiles are not
    applied.

    Raises ImageNotFoundError (no ordinary readable file), ImageFormatError (not a supported format or range
    of values), ImageDamagedError (empty, cut short, changed while being read), ImageTooLargeError (beyond
    `limits`) or InputError for what is neither path nor picture, such as an array.

    >>> photo = read_photo(Image.new("L", (4, 3), 255))
    >>> photo.size, photo.image.mode, photo.name
    ((3, 4), 'RGB', 'image')
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Fetched):
        return decode_photo(source.fetch(limits.max_bytes), writable(source.name), limits)
    if isinstance(source, Image.Image):
        filename = getattr(source, "filename", "")
        name = Path(os.fsdecode(filename)).name if isinstance(filename, str | bytes) else ""
        frame = _current_frame(source)
        return _with_notes(_finish(source, writable(name) or "image", limits), frame)
    try:
        text = os.fsdecode(source)
    except TypeError:
        raise InputError(
            f"An image was given as {type(source).__name__}.",
            "Give a path, a PIL image, or PIL.Image.fromarray(array) for pixels in an array.",
        ) from None
    return decode_photo(read_file(text, limits.max_bytes), writable(Path(text).name), limits)


def decode_photo(data: bytes, name: str, limits: ReadLimits = DEFAULT_LIMITS) -> Photo:
    """Decode the bytes of one image file, for instance of an upload; errors as for `read_photo`.

    The format is told by the bytes. `name` appears in messages and in the record, where a path would be in
    the way.
    """
    if not data:
        raise ImageDamagedError(f"The image {shown(name)} is empty (0 bytes).", "Copy or download it again.")
    if len(data) > limits.max_bytes:
        refuse_bytes(name, len(data), limits.max_bytes)
    if data[128:132] == b"DICM":  # before decoding: a DICOM file may also begin like a TIFF
        _refuse_format(data, name)
    with _decoder_faults(name):
        try:
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            opened = None
    if opened is None:
        _refuse_format(data, name)
    with opened as image:
        photo = _finish(image, name, limits)
        return _with_notes(photo, _first_frame(image, len(data)))


def _finish(image: Image.Image, name: str, limits: ReadLimits) -> Photo:
    """Check the size that the header promises, then decode.

    The digest is over "RGB", height and width and then the pixels: the same bytes in another shape are
    another picture.
    """
    with _decoder_faults(name):
        _check_pixels(image, name, limits)
        rgb, notes = upright_rgb(image, shown(name))
        pixels = rgb.tobytes()
    digest = hashlib.sha256(f"RGB {rgb.height} {rgb.width}\n".encode() + pixels).hexdigest()
    # Rebuilt from its bytes, the picture has no EXIF and no open file, and its giver can no longer change it.
    return Photo(Image.frombytes("RGB", rgb.size, pixels), name, digest, tuple(notes))


def _with_notes(photo: Photo, notes: list[str]) -> Photo:
    """Put notes about frames before those about pixels."""
    return replace(photo, notes=(*notes, *photo.notes))


# --- refusals


def _check_pixels(image: Image.Image, name: str, limits: ReadLimits) -> None:
    """Refuse a size that a few bytes of header can promise, before memory is asked for it."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"The image {shown(name)} is {width} x {height} pixels; the limit is {limits.max_pixels:,}.",
            "Make it smaller, or pass limits=ReadLimits(max_pixels=…) if you trust it.",
        )
    if min(width, height) < 1:
        raise ImageDamagedError(
            f"The image {shown(name)} is {width} x {height}: it has no pixel.",
            "Give a picture of at least 1 x 1.",
        )


def _refuse_format(data: bytes, name: str) -> NoReturn:
    """Say what the bytes look like instead of an image that is read.

    Damage is told from a foreign format by how the file begins: the first means another copy, the second a
    conversion. Only the first 2048 bytes are looked at. Raises ImageDamagedError or ImageFormatError.
    """
    if _SUPPORTED_STARTS.match(data) and data[128:132] != b"DICM":
        raise ImageDamagedError(
            f"The image {shown(name)} begins like an image, but its header cannot be read.",
            "It is cut short, damaged or of a rare layout: copy it again, or save it as a plain PNG.",
        )
    head = data[:2048]
    kinds = (kind for kind, start in _OTHER_KINDS.items() if start.match(head))
    kind = next(kinds, "a DICOM file" if name.lower().endswith((".dcm", ".dicom")) else "")
    if not kind:
        kind = "a text file" if head.isascii() and b"\0" not in head else "no image format that is known here"
    fix = _CONVERT_DICOM if kind == "a DICOM file" else _CONVERT
    raise ImageFormatError(f"The image {shown(name)} is {kind}.", fix)


@contextmanager
def _decoder_faults(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an error about the photograph; our own errors pass.

    Being too large is kept apart from being damaged, because the advice is the opposite.
    """
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageTooLargeError(
            f"The image {shown(name)} is too large to be decoded safely ({error or 'out of memory'}).",
            "Make it smaller; if you trust it, raise both PIL.Image.MAX_IMAGE_PIXELS and limits.max_pixels.",
        ) from error
    except VitreousError:
        raise
    except Exception as error:  # on bytes that they do not expect, decoders raise anything
        raise ImageDamagedError(
            f"The image {shown(name)} cannot be decoded ({error}).",
            "It is damaged or cut short: copy or download it again.",
        ) from error


# --- frames


def _first_frame(image: Image.Image, length: int) -> list[str]:
    """Say that frame 0 of several was used; only after it was decoded, because counting moves the file on."""
    try:
        if not getattr(image, "is_animated", False):
            return []
        count = _count_frames(image, length)
    except Exception:  # noqa: BLE001  (frame 0 is whole, and damage further on is none of its business)
        count = "many"
    kind = {"TIFF": "several pages: page", "MPO": "several pictures: picture"}.get(
        image.format or "", "animated: frame"
    )
    return [f"{kind} 0 of {count} is used"]


def _count_frames(image: Image.Image, length: int) -> str:
    """Count frames in words. TIFF pages are found one by one and a GIF is walked through, so both have an end."""
    if not isinstance(image, TiffImageFile):
        counted = image.format != "GIF" or length <= _MOST_BYTES_TO_COUNT
        return str(getattr(image, "n_frames", "many")) if counted else "many"
    for frame in range(1, _MOST_FRAMES):
        try:
            image.seek(frame)
        except EOFError:
            return str(frame)
    return f"{_MOST_FRAMES} or more"


def _current_frame(image: Image.Image) -> list[str]:
    """Say which frame of a PIL image of several is used, without moving the image on to count them."""
    # Asking a GIF that is loaded would make Pillow decode it again, losing what was drawn on it since.
    loaded = not getattr(image, "tile", None)
    try:
        animated = vars(image).get("is_animated") if loaded else getattr(image, "is_animated", False)
        several = animated or image.tell() > 0
        return [f"several frames: frame {image.tell()} is used"] if several else []
    except Exception:  # noqa: BLE001  (a closed file can no longer tell, though its pixels may be loaded)
        return []
