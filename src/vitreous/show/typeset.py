"""Setting text and stacking pieces into one picture; pieces are never placed on one another.

Legends have text of any length: class names, file names, units. So pieces are laid out by measuring them
first, each in a picture of its own, and nothing covers anything else. All sizes are in pixels.

The font comes with a library that is installed anyway, and text is laid out by Pillow alone, so that no
font or library of the system makes one machine's legend different from another's.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeAlias

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from vitreous.show.words import safe_text

Colour: TypeAlias = tuple[int, int, int]
Align: TypeAlias = Literal["left", "centre", "right"]

PAPER: Colour = (255, 255, 255)
INK: Colour = (20, 20, 20)
GREY_INK: Colour = (85, 85, 85)  # contrast 7.5 : 1 on paper
_LONGEST_PARAGRAPH = 4000


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Give DejaVu Sans, which comes with matplotlib, at `size` pixels; what it lacks is an empty box.

    It has Latin, Greek, Cyrillic and the mathematical signs that units need. Names in a script that it
    lacks, such as Chinese, are drawn as boxes, and are whole in the record.
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / name
    # The basic layout needs no system library, so the same text has the same pixels on every machine.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def wrap(text: str, size: int, width: int, bold: bool = False) -> list[str]:
    """Break text into lines of at most `width` pixels; a single word that is too long is broken inside.

    Line breaks in the text are spaces like any other. Gives at least one line, which may be empty; a line
    holds at least one character, however narrow the width. Text is cut after 4000 characters.
    """
    face = font(size, bold)
    lines = [""]
    for word in safe_text(text, _LONGEST_PARAGRAPH).split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and face.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines


def text_block(
    text: str, width: int, size: int, *, bold: bool = False, ink: Colour = INK, align: Align = "left"
) -> Image.Image:
    """Draw wrapped text on paper, exactly `width` pixels wide and as high as it needs.

    The pitch of the lines is 1.3 times `size`. Gives an RGB picture.

    bold, ink, align  of all lines; `ink` is (red, green, blue)
    """
    lines = wrap(text, size, width, bold)
    pitch = round(size * 1.3)
    block = Image.new("RGB", (width, pitch * len(lines)), PAPER)
    draw = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        place_text(draw, line, width, number * pitch + round(size * 0.1), size, bold=bold, ink=ink, align=align)
    return block


def place_text(
    draw: ImageDraw.ImageDraw,
    line: str,
    width: int,
    top: int,
    size: int,
    *,
    bold: bool = False,
    ink: Colour = INK,
    align: Align = "left",
) -> None:
    """Draw one line of text, aligned within `width` pixels, its upper edge at `top`.

    Changes the picture of `draw`.

    A line that is longer than `width` is not cut; `wrap` is for that.
    """
    free = width - font(size, bold).getlength(line)
    shift = {"left": 0.0, "centre": free / 2, "right": free}[align]
    draw.text((round(shift), top), line, font=font(size, bold), fill=ink)


def stack(pieces: Sequence[Image.Image], gap: int = 0, align: Align = "left") -> Image.Image:
    """Put pictures below one another on paper, as wide as the widest, `gap` pixels apart.

    `align` says where the narrower ones are. Needs at least one picture.
    """
    width = max(piece.width for piece in pieces)
    tops = [0, *accumulate(piece.height + gap for piece in pieces)]
    sheet = Image.new("RGB", (width, tops[-1] - gap), PAPER)
    for piece, top in zip(pieces, tops, strict=False):
        free = width - piece.width
        sheet.paste(piece, ({"left": 0, "centre": free // 2, "right": free}[align], top))
    return sheet


def beside(pieces: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Put pictures next to one another on paper, their upper edges aligned, `gap` pixels apart."""
    lefts = [0, *accumulate(piece.width + gap for piece in pieces)]
    sheet = Image.new("RGB", (lefts[-1] - gap, max(piece.height for piece in pieces)), PAPER)
    for piece, left in zip(pieces, lefts, strict=False):
        sheet.paste(piece, (left, 0))
    return sheet


def with_margin(piece: Image.Image, margin: int) -> Image.Image:
    """Put a border of paper around a picture, `margin` pixels on each side."""
    sheet = Image.new("RGB", (piece.width + 2 * margin, piece.height + 2 * margin), PAPER)
    sheet.paste(piece, (margin, margin))
    return sheet


def filled_to(piece: Image.Image, height: int) -> Image.Image:
    """Extend a picture with paper at its lower edge to `height`; a higher one is not cut."""
    sheet = Image.new("RGB", (piece.width, max(height, piece.height)), PAPER)
    sheet.paste(piece, (0, 0))
    return sheet
