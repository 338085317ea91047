"""Painting: lay colours over a photograph, and mark what the model did not see and what says nothing.

Works on pixels of the size in which the photograph is drawn; where the map lies on them was settled by
`show.resample`. Outlines and boxes are black and white together, to be visible on any photograph.

Two things must not look like a finding, and are painted in ways of their own: what the model did not see
(hatched), and a map that is constant (flat grey, with words).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

from vitreous.core.errors import InputError
from vitreous.core.frame import Frame
from vitreous.show.colour import CONSTANT_WORDS, FLAT_GREY, Scale, colourise
from vitreous.show.resample import seen_lines
from vitreous.show.typeset import font, wrap
from vitreous.show.words import percent

_UNSEEN_BRIGHTNESS = 0.45


@dataclass(frozen=True)
class Coat:
    """How colours are laid over a photograph.

    opacity  the largest opacity, from 0 to 1
    fade     opacity grows with the strength of the value, from half of `opacity` to all of it, so that
             strong values stand out and the photograph stays readable where the map is weak
    grey     the photograph is drawn in grey, so that every colour in the picture belongs to the map

    Raises InputError for an opacity outside its range.
    """

    opacity: float = 0.75
    fade: bool = True
    grey: bool = True

    def __post_init__(self) -> None:
        """Refuse an opacity that is none."""
        if not 0 <= self.opacity <= 1:
            raise InputError(f"opacity={self.opacity} is out of range.", "Give a number from 0 to 1.")

    def describe(self) -> str:
        """Say in one sentence how photograph and map were mixed.

        >>> Coat(opacity=0.5, fade=False, grey=False).describe()
        'Opacity 50 %.'
        """
        ground = "Photograph in grey, so that all colour is the map's; opacity" if self.grey else "Opacity"
        if not self.fade:
            return f"{ground} {percent(self.opacity)}."
        return f"{ground} from {percent(self.opacity / 2)} to {percent(self.opacity)} with the strength."


def blend(
    photo: UInt8[np.ndarray, "height width 3"],
    values: Float[np.ndarray, "height width"],
    scale: Scale | None,
    coat: Coat,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay the colours of `values` over a photograph of the same size; where they are NaN it stays as it is.

    photo   red, green and blue, 8 bits; not changed
    values  relevance at each pixel, in the unit of the scale
    scale   the colours. None paints a flat grey veil: the map is constant and must not look like anything
            else
    coat    how opaque the colours are, and whether the photograph keeps its own

    Gives a picture of the same size, each channel rounded to the nearest of 256 levels. Colours are mixed
    as stored, without linearising them.
    """
    present = ~np.isnan(values)[..., None]
    colours = np.array(FLAT_GREY) if scale is None else colourise(values, scale)[..., :3]
    ground = np.where(present, _greyed(photo), photo) if coat.grey else photo
    cover = np.where(present, _cover(values, scale, coat)[..., None], 0)
    return np.asarray(np.rint(ground * (1 - cover) + colours * cover), np.uint8)


def _cover(
    values: Float[np.ndarray, "height width"], scale: Scale | None, coat: Coat
) -> Float[np.ndarray, "height width"]:
    """Give the opacity of each pixel's colour, from 0 to 1.

    A constant map has no strength that opacity could follow, and is covered evenly.
    """
    if scale is None or not coat.fade:
        return np.full(values.shape, coat.opacity)
    return coat.opacity * (1 + scale.strength(values)) / 2


def _greyed(photo: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Give the brightness of a photograph, in three equal channels (ITU-R 601 weights, as Pillow computes it)."""
    return np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))


def hatch_unseen(picture: UInt8[np.ndarray, "height width 3"], frame: Frame) -> UInt8[np.ndarray, "height width 3"]:
    """Grey, darken and hatch the part of the photograph that the model did not see.

    A pixel is seen if its centre is. The stripes are as wide apart as an 80th of the longer side, at least
    8 pixels. Gives the same array where everything was seen.
    """
    down, across = seen_lines(frame, picture.shape[:2])
    unseen = ~(down[:, None] & across[None, :])
    if not unseen.any():
        return picture
    height, width = unseen.shape
    pitch = max(8, max(height, width) // 80)
    diagonal = (np.arange(height)[:, None] + np.arange(width)[None, :]) % pitch < max(1, pitch // 6)
    dimmed = np.where(unseen[..., None], _greyed(picture) * _UNSEEN_BRIGHTNESS, picture)
    return np.where((unseen & diagonal)[..., None], 200, dimmed).astype(np.uint8)


def unseen_share(frame: Frame) -> float:
    """Give the share of the photograph that the model did not see, from 0 to 1.

    Areas are exact, not counted in pixels. Padding is no part of the photograph.
    """
    left, top, right, bottom = frame.seen
    return 1 - (right - left) * (bottom - top) / (frame.photo_size[0] * frame.photo_size[1])


def outline(picture: Image.Image, mask: Bool[np.ndarray, "height width"], stroke: int) -> Image.Image:
    """Draw the border of a mask: white just inside, black just outside, so it is visible on any ground.

    The white line is `stroke` pixels wide, the black one half of that, at least one. Gives a new picture;
    the mask has the size of the picture, and may have holes and many parts.
    """
    shape = Image.fromarray(mask.astype(np.uint8) * 255)
    inside = np.asarray(shape.filter(ImageFilter.MinFilter(2 * stroke + 1))) > 0
    outside = np.asarray(shape.filter(ImageFilter.MaxFilter(2 * max(1, stroke // 2) + 1))) > 0
    pixels = np.array(picture)
    pixels[outside & ~mask] = 0
    pixels[mask & ~inside] = 255
    return Image.fromarray(pixels)


def draw_boxes(picture: Image.Image, boxes: list[tuple[float, float, float, float]], stroke: int) -> None:
    """Draw boxes (left, top, right, bottom) into the picture, white with a black edge, numbered from 1.

    In pixels of the picture; right and bottom are the first column and row outside, so the edge is drawn on
    the pixels before them. The number stands on black in the upper left corner, in letters that grow with
    `stroke`, the width of the white line. Changes the picture.
    """
    draw = ImageDraw.Draw(picture)
    size = max(11, 5 * stroke + 6)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        corners = (
            round(left),
            round(top),
            max(round(right) - 1, round(left)),
            max(round(bottom) - 1, round(top)),
        )
        draw.rectangle(corners, outline=(0, 0, 0), width=stroke + 2)
        inner = (
            corners[0] + 1,
            corners[1] + 1,
            max(corners[2] - 1, corners[0] + 1),
            max(corners[3] - 1, corners[1] + 1),
        )
        draw.rectangle(inner, outline=(255, 255, 255), width=stroke)
        words = str(number)
        wide = round(font(size, bold=True).getlength(words)) + size // 2
        draw.rectangle((corners[0], corners[1], corners[0] + wide, corners[1] + round(size * 1.3)), fill=(0, 0, 0))
        draw.text((corners[0] + size // 4, corners[1] + 1), words, font=font(size, bold=True), fill=(255, 255, 255))


def write_constant(picture: Image.Image, frame: Frame) -> None:
    """Write into the middle of the picture that its map is constant, as large as fits.

    In the middle of the part that the model saw, in letters from 8 to 30 pixels. Changes the picture.
    """
    size = max(8, min(30, picture.width // 14))
    lines = wrap(CONSTANT_WORDS, size, round(picture.width * 0.9), bold=True)
    pitch = round(size * 1.3)
    wide = max(font(size, bold=True).getlength(line) for line in lines)
    left, top, right, bottom = frame.seen
    across = (left + right) / 2 * picture.width / frame.photo_size[1]
    down = (top + bottom) / 2 * picture.height / frame.photo_size[0]
    upper = down - pitch * len(lines) / 2
    draw = ImageDraw.Draw(picture)
    draw.rectangle(
        (
            across - wide / 2 - size / 2,
            upper - size / 3,
            across + wide / 2 + size / 2,
            upper + pitch * len(lines) + size / 3,
        ),
        fill=(0, 0, 0),
    )
    for number, line in enumerate(lines):
        draw.text(
            (across, upper + (number + 0.5) * pitch),
            line,
            font=font(size, bold=True),
            fill=(255, 255, 255),
            anchor="mm",
        )
