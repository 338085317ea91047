"""Overlay: one map over the photograph that it explains, with its legend.

The order of the steps: the map is resampled to the photograph's pixels, coloured by a scale and laid over
the grey photograph; what the model did not see is hatched; regions are outlined; the legend says all of
this in words. Several maps of one photograph are drawn by `show.sheet`, with the same functions.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from vitreous.core.errors import InputError
from vitreous.core.heatmap import Heatmap, PhotoSource
from vitreous.show.colour import CONSTANT_WORDS, Scale, scale_for
from vitreous.show.legend import draw_legend, title_of
from vitreous.show.paint import Coat, blend, draw_boxes, hatch_unseen, outline, unseen_share, write_constant
from vitreous.show.regions import Regions, find_regions
from vitreous.show.resample import describe_resampling, resample
from vitreous.show.save import attach_record
from vitreous.show.typeset import beside, stack, with_margin
from vitreous.show.words import format_value, percent, safe_text, speaks_of_target

_NARROW = 480  # pictures narrower than this get their legend at the right, where there is room for text
_SIDE_LEGEND = 400


def draw_overlay(
    heatmap: Heatmap,
    photo: PhotoSource | None = None,
    *,
    scale: Scale | None = None,
    opacity: float = 0.75,
    fade: bool = True,
    grey: bool = True,
    interpolation: str = "bilinear",
    contour: bool = True,
    boxes: bool = False,
    threshold: str | float = "otsu",
    legend: bool = True,
    max_side: int = 1600,
) -> Image.Image:
    """Draw a map over its photograph at the photograph's own size.

    photo                the photograph, if it does not travel with the map
    scale                the colours, from `scale_for` over all maps to be compared; for this map alone if
                         not given
    opacity, fade, grey  how the colours are laid over the photograph, see `vitreous.show.paint.Coat`
    interpolation        'bilinear', or 'nearest' to see the patches as they are
    contour, boxes       whether to outline and to box the regions above `threshold` (see `find_regions`)
    legend               whether to add the legend; without it the picture has exactly the size of the
                         photograph
    max_side             a photograph with a longer side is reduced to it, and the legend says so; in pixels

    What the model did not see is hatched. A constant map is painted flat grey and says so. The steps are in
    the legend and, with the provenance, in `image.info` (see `save_png`).

    Gives an RGB picture: the photograph, and the legend at its right if it is narrower than 480 pixels,
    else below it.

    Raises InputError if the photograph is not at hand or is another one, if `scale` has another unit or
    cannot show the sign of a signed map, or if a number is out of range; UnknownNameError for an unknown
    interpolation or threshold.

        from vitreous.show.save import save_png

        save_png(draw_overlay(heatmap, boxes=True, threshold=0.9), "cat.png")
    """
    coat = Coat(opacity, fade, grey)
    found = heatmap.photograph(photo)
    scale = None if heatmap.uninformative else check_scale(heatmap, scale or _own_scale(heatmap))
    regions = find_regions(heatmap, threshold=threshold, interpolation=interpolation) if contour or boxes else None
    picture = reduced(found.image, max_side)
    size = (picture.height, picture.width)
    values = resample(heatmap.relevance, heatmap.frame, interpolation, size)
    pixels = hatch_unseen(blend(np.asarray(picture), values, scale, coat), heatmap.frame)
    drawn = Image.fromarray(pixels)
    if regions is not None:
        drawn = mark_regions(drawn, regions, contour, boxes)
    if scale is None:
        write_constant(drawn, heatmap.frame)
    steps = (
        describe_resampling(heatmap.relevance.shape, heatmap.frame, interpolation),
        *_colour_steps(scale, coat),
        *_region_steps(regions, contour, boxes),
        *unseen_steps(heatmap),
        *_reduction_steps(found.image, picture),
    )
    sentences = regions.describe(numbered=boxes) if regions is not None else ()
    canvas = _with_legend(drawn, heatmap, scale, coat=coat, findings=sentences, steps=steps) if legend else drawn
    return attach_record(canvas, [heatmap], steps, " ".join([f"{title_of(heatmap)}.", *sentences]))


def _own_scale(heatmap: Heatmap) -> Scale:
    """Choose the scale of one map; among tens of thousands of single pixels the largest are outliers."""
    return scale_for([heatmap], "range" if heatmap.relevance.shape == heatmap.frame.grid else "robust")


def reduced(photo: Image.Image, max_side: int) -> Image.Image:
    """Give the photograph itself, or a reduced copy whose longer side is `max_side`.

    Never enlarges. Raises InputError for a side below one pixel.
    """
    longest = max(photo.size)
    if max_side < 1:
        raise InputError(f"max_side={max_side} is out of range.", "Give a number of pixels.")
    if longest <= max_side:
        return photo
    width, height = (max(1, round(side * max_side / longest)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def check_scale(heatmap: Heatmap, scale: Scale) -> Scale:
    """Give the scale back if it fits the map: the same unit, and two directions for signed values.

    Of a map by a method that looks at no target, the scale does not speak of it.
    Raises InputError otherwise. An unsigned map on a two-sided scale is allowed; it uses one half of it.
    """
    method = heatmap.provenance.method
    if scale.unit != heatmap.unit:
        raise InputError(
            f"The colour scale is in {scale.unit!r}, the map of {method!r} in {heatmap.unit!r}.",
            "Make the scale with scale_for from maps of the same unit.",
        )
    if heatmap.signed and not scale.diverging:
        raise InputError(
            f"The map of {method!r} is signed; colours {scale.colours!r} cannot show its sign.",
            "Use a diverging scale such as 'RdBu_r'.",
        )
    return replace(scale, targeted=False) if heatmap.signed and not speaks_of_target(heatmap) else scale


def mark_regions(picture: Image.Image, regions: Regions, contour: bool, boxes: bool) -> Image.Image:
    """Outline and box the regions on a picture of the photograph at any size.

    picture         the photograph as it is drawn, with or without a map on it
    regions         from `find_regions`, in pixels of the photograph
    contour, boxes  which of the two marks to draw

    Lines are as wide as a 400th of the longer side, at least one pixel. Gives the marked picture; boxes are
    drawn into the one given where there is no contour.
    """
    stroke = max(1, round(max(picture.size) / 400))
    height, width = regions.frame.photo_size
    if contour:
        mask = Image.fromarray(regions.mask).convert("L").resize(picture.size, Image.Resampling.BILINEAR)
        picture = outline(picture, np.asarray(mask) > 127, stroke)
    if boxes:
        across, down = picture.width / width, picture.height / height
        placed = [
            (left * across, top * down, right * across, bottom * down)
            for left, top, right, bottom in (region.box for region in regions)
        ]
        draw_boxes(picture, placed, stroke)
    return picture


def unseen_steps(heatmap: Heatmap) -> tuple[str, ...]:
    """Say how much of the photograph is hatched, if any is; up to a thousandth counts as none."""
    share = unseen_share(heatmap.frame)
    return (f"Hatched: not seen by the model ({percent(share)} of the photograph).",) if share > 0.001 else ()


def _with_legend(
    drawn: Image.Image,
    heatmap: Heatmap,
    scale: Scale | None,
    *,
    coat: Coat,
    findings: tuple[str, ...],
    steps: tuple[str, ...],
) -> Image.Image:
    """Put the legend below a wide picture, or at the right of a narrow one.

    The text grows with the picture, from 14 to 26 pixels, so that it stays readable when the whole is shown
    at one size.
    """
    narrow = drawn.width < _NARROW
    width = _SIDE_LEGEND if narrow else drawn.width
    size = max(14, min(26, width // 36))
    record = heatmap.provenance
    legend = draw_legend(
        scale,
        title=title_of(heatmap),
        findings=findings,
        notes=(*steps, f"Model {safe_text(record.model)}; photograph {safe_text(record.image)}."),
        width=width,
        size=size,
        coat=coat,
        value=float(heatmap.relevance.flat[0]) if scale is None else None,
    )
    joined = beside([drawn, legend], gap=size) if narrow else stack([drawn, legend], gap=size)
    return with_margin(joined, size)


def _colour_steps(scale: Scale | None, coat: Coat) -> tuple[str, ...]:
    """Say how values became colours; a constant map has no scale to describe."""
    return (f"Flat grey: {CONSTANT_WORDS}.",) if scale is None else (scale.describe(), coat.describe())


def _region_steps(regions: Regions | None, contour: bool, boxes: bool) -> tuple[str, ...]:
    """Say what the outlines and boxes stand for, if there are any."""
    if regions is None or not len(regions):
        return ()
    marks = " and ".join([*(["outlined"] if contour else []), *(["boxed"] if boxes else [])])
    return (f"{marks.capitalize()}: above {format_value(regions.threshold)}, {regions.rule}.",)


def _reduction_steps(photo: Image.Image, picture: Image.Image) -> tuple[str, ...]:
    """Say that the photograph was reduced, with both sizes as width by height."""
    if photo.size == picture.size:
        return ()
    before, after = (f"{image.width} by {image.height}" for image in (photo, picture))
    return (f"Photograph reduced from {before} to {after} pixels.",)
