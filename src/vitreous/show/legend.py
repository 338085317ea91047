"""Legend: what the colours of a map mean, in its unit, with the ends of its scale and its zero.

A legend is a picture of a given width, to be put beside or below a map. It repeats in words what was done,
because pictures are copied without the text around them.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vitreous.core.heatmap import Heatmap
from vitreous.show.colour import CONSTANT_WORDS, FLAT_GREY, Scale
from vitreous.show.paint import Coat, blend
from vitreous.show.typeset import GREY_INK, INK, PAPER, Align, font, place_text, stack, text_block
from vitreous.show.words import format_value, safe_text

PURE = Coat(opacity=1.0, fade=False)


def draw_legend(
    scale: Scale | None,
    *,
    title: str,
    findings: Sequence[str] = (),
    notes: Sequence[str] = (),
    width: int = 480,
    size: int = 15,
    coat: Coat = PURE,
    value: float | None = None,
) -> Image.Image:
    """Draw title, colour bar, findings (a line each) and notes (one paragraph), exactly `width` pixels wide.

    scale        the colours; None stands for an uninformative map: a flat grey swatch and the words instead
                 of a bar
    title        in bold, for instance from `title_of`
    findings     sentences about the map, each wrapped by itself
    notes        sentences about how it was drawn, in grey
    width, size  of the legend and of its text, in pixels
    coat         as for `draw_bar`
    value        what a constant map is everywhere, in its unit; only read if there is no scale

    Gives an RGB picture as high as its text needs.
    """
    bar = draw_bar(scale, width, size, coat) if scale is not None else _constant_swatch(width, size, value)
    small = max(11, round(size * 0.85))
    pieces = [text_block(title, width, size, bold=True), bar]
    if findings:
        pieces.append(stack([text_block(finding, width, small) for finding in findings], gap=small // 4))
    if notes:
        pieces.append(text_block(" ".join(notes), width, small, ink=GREY_INK))
    return stack(pieces, gap=round(size * 0.6))


def draw_bar(scale: Scale, width: int, size: int, coat: Coat = PURE) -> Image.Image:
    """Draw the colour bar with its ends, its middle (zero if signed) and its unit, `width` pixels wide.

    With a `coat` the colours look as they do over a mid-grey spot of the photograph: opacity changes
    colours, and a bar of pure ones could not be compared with the picture. `size` is that of the text, in
    pixels; the bar is 1.1 times as high. A signed scale has a line that says which end speaks for the
    target, or that the ends are negative and positive and no more.
    """
    high, pitch = round(size * 1.1), round(size * 1.3)
    tick = max(3, size // 4)
    signed_line = pitch if scale.diverging else 0
    piece = Image.new("RGB", (width, high + tick + pitch + signed_line + pitch), PAPER)
    piece.paste(bar_colours(scale, width, high, coat), (0, 0))
    draw = ImageDraw.Draw(piece)
    draw.rectangle((0, 0, width - 1, high - 1), outline=INK)
    for place in (0, (width - 1) // 2, width - 1):
        draw.line((place, high, place, high + tick), fill=INK)
    top = high + tick
    for words, align in _tick_words(scale, width, size):
        place_text(draw, words, width, top, size, align=align)
    if scale.diverging:
        for words, align in sign_words(scale):
            place_text(draw, words, width, top + pitch, size, ink=GREY_INK, align=align)
    unit = text_block(safe_text(scale.unit), width, size, align="centre")
    sheet = Image.new("RGB", (width, top + pitch + signed_line + unit.height), PAPER)
    sheet.paste(piece.crop((0, 0, width, top + pitch + signed_line)), (0, 0))
    sheet.paste(unit, (0, top + pitch + signed_line))
    return sheet


def sign_words(scale: Scale) -> list[tuple[str, Align]]:
    """What the low and the high end of a signed scale say."""
    low, high = ("against", "for the target") if scale.targeted else ("negative", "positive")
    return [(low, "left"), (high, "right")]


def bar_colours(scale: Scale, width: int, height: int, coat: Coat = PURE) -> Image.Image:
    """Give the colours of the scale from its low end at the left to its high end at the right.

    An RGB picture of `width` by `height` pixels, the ends being the centres of the outermost columns.
    """
    ramp = np.linspace(scale.low, scale.high, width)[None, :].repeat(height, axis=0)
    ground = np.full((height, width, 3), 128, np.uint8)
    return Image.fromarray(blend(ground, ramp, scale, coat))


def title_of(heatmap: Heatmap) -> str:
    """Name the method and the target of a map, printable on one line."""
    record = heatmap.provenance
    return safe_text(f"{record.method} · target: {record.target}")


def _tick_words(scale: Scale, width: int, size: int) -> list[tuple[str, Align]]:
    """Labels of the ends and the middle; the middle of a one-sided scale is left out where room is short.

    Ends beyond which values were clipped have a sign that says so: at the low end only of a two-sided
    scale.
    """
    beyond = scale.clipped > 0
    low = ("≤ " if beyond and scale.diverging else "") + format_value(scale.low)
    high = ("≥ " if beyond else "") + format_value(scale.high)
    middle = format_value((scale.low + scale.high) / 2)
    room = width - 2 * max(font(size).getlength(low), font(size).getlength(high)) - 2 * size
    words: list[tuple[str, Align]] = [(low, "left"), (high, "right")]
    if scale.diverging or font(size).getlength(middle) <= room:
        words.append((middle, "centre"))
    return words


def _constant_swatch(width: int, size: int, value: float | None) -> Image.Image:
    """Draw what stands in the place of the bar of a constant map, in the same grey as on the picture."""
    swatch = Image.new("RGB", (width, round(size * 1.1)), FLAT_GREY)
    words = CONSTANT_WORDS if value is None else f"{CONSTANT_WORDS} ({format_value(value)} everywhere)"
    return stack([swatch, text_block(words, width, size)], gap=max(3, size // 4))
