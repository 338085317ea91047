"""Comparison sheet: several maps of one photograph side by side, on one scale that makes them comparable.

Methods have different units, so their raw values cannot share a scale. Here every map is expressed in
multiples of the uniform share: one means as much as each patch would have if the relevance were spread
evenly. That keeps what the eye compares, which is how concentrated a map is and where, and gives up what it
cannot compare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.core.heatmap import Heatmap, PhotoSource
from vitreous.show.colour import CONSTANT_WORDS, Scale, scale_for, scale_over
from vitreous.show.legend import draw_bar
from vitreous.show.overlay import mark_regions, unseen_steps
from vitreous.show.paint import Coat, blend, hatch_unseen, write_constant
from vitreous.show.regions import Regions, find_regions
from vitreous.show.resample import describe_resampling, resample
from vitreous.show.save import attach_record
from vitreous.show.transform import PATCH_SUM_SENTENCE, SHARE_SENTENCE, SHARE_UNIT, share_of_total
from vitreous.show.typeset import GREY_INK, beside, filled_to, stack, text_block, with_margin
from vitreous.show.words import format_value, safe_text, speaks_of_target

_TEXT = 15
_SMALL = 13
_NARROWEST = 200  # a cell below which text would be broken into single words

_Cell: TypeAlias = tuple[Image.Image, Image.Image, Image.Image]  # head, picture, foot


@dataclass(frozen=True)
class _Panel:
    """One map as the sheet draws it. A scale of None stands for an uninformative map.

    heatmap, values  the map, and what is drawn of it: shares of the total, or its raw relevance
    scale            the colours, shared with the other panels as far as units allow
    regions          what is outlined; None without contours
    remarks          what stands below the picture
    bar              whether its own colour bar does, too
    """

    heatmap: Heatmap
    values: Float32[np.ndarray, "rows columns"]
    scale: Scale | None
    regions: Regions | None = None
    remarks: tuple[str, ...] = ()
    bar: bool = False


def draw_sheet(
    heatmaps: Sequence[Heatmap],
    photo: PhotoSource | None = None,
    *,
    values: str = "share",
    kind: str = "robust",
    contour: bool = True,
    threshold: str | float = "otsu",
    interpolation: str = "bilinear",
    columns: int | None = None,
    panel_side: int = 320,
    notes: Mapping[str, str] | None = None,
    coat: Coat | None = None,
) -> Image.Image:
    """Draw the photograph and one panel per map, each with its method, its unit and its note.

    heatmaps                  maps of one photograph, drawn in this order
    photo                     the photograph, if it does not travel with the first map
    values                    'share': every map in multiples of the uniform share (`share_of_total`), all
                              on one scale, signed maps on its two-sided version; 'raw': values as they are,
                              one scale for each unit
    kind                      how scales end, as in `scale_for`; by default one patch of one map does not
                              darken all others
    contour                   whether to outline the regions above `threshold` and to put the first one into
                              words
    threshold, interpolation  as in `find_regions`
    columns                   panels in a row, the photograph included; if not given, one row up to four
                              panels, else two rows, or rows of five
    panel_side                longer side of each picture in pixels, at least 160; the photograph is
                              enlarged or reduced to it
    notes                     a remark for each method name, for instance 'same for every class'
    coat                      how colours are laid over the photograph, as in `blend`

    Gives an RGB picture with the record of every map in its `info`, to be written by `save_png`. What was
    done to values and colours is said below the panels.

    Raises InputError if there is no map, if the maps do not explain the same photograph or it is not at
    hand, or if a number leaves no room; UnknownNameError for an unknown choice.

        save_png(draw_sheet(list(vt.compare(vit, "cat.jpg").values())), "cat.png")
    """
    if values not in {"share", "raw"}:
        raise UnknownNameError(
            f"values={values!r} is unknown. {near_matches(values, ('share', 'raw'))}".strip(),
            "Use 'share' or 'raw'.",
        )
    _check_maps(heatmaps, columns, panel_side)
    coat = coat or Coat()
    found = heatmaps[0].photograph(photo)
    picture = _at_side(found.image, panel_side)
    panels = _on_one_scale(heatmaps, kind) if values == "share" else _on_scales_by_unit(heatmaps, kind)
    if contour:
        panels = [
            replace(panel, regions=find_regions(panel.heatmap, threshold=threshold, interpolation=interpolation))
            for panel in panels
        ]
    panels = [replace(panel, remarks=_remarks(panel, notes or {})) for panel in panels]
    cells = [
        _photo_cell(picture, heatmaps),
        *(_cell(panel, picture, coat, interpolation) for panel in panels),
    ]
    grid = _grid(cells, columns or _columns_for(len(cells)))
    steps = (*_value_steps(panels, values), *_drawing_steps(panels, interpolation, coat))
    shared = _shared_legends(panels, grid.width, coat) if values == "share" else []
    paragraph = text_block(" ".join(steps), grid.width, _SMALL, ink=GREY_INK)
    sheet = with_margin(stack([_heading(heatmaps, grid.width), grid, *shared, paragraph], gap=_TEXT), _TEXT)
    words = [f"{panel.heatmap.provenance.method}: {' '.join(panel.remarks)}" for panel in panels]
    return attach_record(sheet, heatmaps, steps, "\n".join(words))


def _check_maps(heatmaps: Sequence[Heatmap], columns: int | None, panel_side: int) -> None:
    """Refuse what makes no sheet. Photographs are told apart by the digest of their pixels, not by their names."""
    if not heatmaps:
        raise InputError("A comparison sheet needs at least one map, got none.", "Give a list of heatmaps.")
    if len({heatmap.provenance.image_digest for heatmap in heatmaps}) != 1:
        names = ", ".join(sorted({safe_text(heatmap.provenance.image, 80) for heatmap in heatmaps}))
        raise InputError(f"The maps explain different photographs: {names}.", "Draw one sheet for each photograph.")
    if panel_side < 160 or (columns is not None and columns < 1):
        raise InputError(
            f"columns={columns}, panel_side={panel_side} leave no room for the text.",
            "Give at least 1 column and 160 pixels.",
        )


def _at_side(photo: Image.Image, side: int) -> Image.Image:
    """Enlarge or reduce a photograph so that its longer side is `side`."""
    width, height = (max(1, round(length * side / max(photo.size))) for length in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def _on_one_scale(heatmaps: Sequence[Heatmap], kind: str) -> list[_Panel]:
    """Express all maps as shares; the one-sided and the two-sided scale end at the same value.

    Equal strength then has equal opacity on signed and unsigned maps. Magnitudes decide the end. The two-sided scale
    speaks of the target if all maps that are drawn on it do.
    """
    shares = [share_of_total(heatmap) for heatmap in heatmaps]
    telling = [share for share, heatmap in zip(shares, heatmaps, strict=True) if not heatmap.uninformative]
    magnitudes = scale_over([np.abs(share) for share in telling], SHARE_UNIT, signed=False, kind=kind)
    one_sided = replace(magnitudes, shared_by=len(heatmaps))
    targeted = all(speaks_of_target(heatmap) for heatmap in heatmaps if heatmap.signed)
    two_sided = replace(one_sided, low=-one_sided.high, colours="RdBu_r", targeted=targeted)
    return [
        _Panel(heatmap, share, None if heatmap.uninformative else two_sided if heatmap.signed else one_sided)
        for heatmap, share in zip(heatmaps, shares, strict=True)
    ]


def _on_scales_by_unit(heatmaps: Sequence[Heatmap], kind: str) -> list[_Panel]:
    """Keep raw values; maps of one unit share a scale.

    Signed and unsigned maps of one unit do not: their scales have different ends. Each panel has a colour
    bar of its own.
    """
    groups: dict[tuple[str, bool], list[Heatmap]] = {}
    for heatmap in heatmaps:
        groups.setdefault((heatmap.unit, heatmap.signed), []).append(heatmap)
    scales = {group: scale_for(members, kind) for group, members in groups.items()}
    return [
        _Panel(heatmap, heatmap.relevance, None if heatmap.uninformative else scale, bar=True)
        for heatmap in heatmaps
        for scale in [scales[heatmap.unit, heatmap.signed]]
    ]


def _columns_for(cells: int) -> int:
    """Columns that make the rows even: all in one row up to four cells, then two rows, and five at most."""
    return cells if cells <= 4 else min(5, -(-cells // 2))


def _photo_cell(picture: Image.Image, heatmaps: Sequence[Heatmap]) -> _Cell:
    """Head, picture and foot of the photograph's own cell, with nothing drawn on it but a thin frame."""
    width = max(picture.width, _NARROWEST)
    framed = picture.copy()
    edge = (0, 0, picture.width - 1, picture.height - 1)
    ImageDraw.Draw(framed).rectangle(edge, outline=GREY_INK)  # shows where a white photograph ends
    name = safe_text(heatmaps[0].provenance.image, 80)
    return (
        text_block("Photograph", width, _TEXT, bold=True),
        framed,
        text_block(name, width, _SMALL, ink=GREY_INK),
    )


def _cell(panel: _Panel, picture: Image.Image, coat: Coat, interpolation: str) -> _Cell:
    """Head, picture and foot of one map's cell.

    The steps are those of `draw_overlay`, on a picture of the panel's size. Regions are outlined, not
    boxed.
    """
    frame = panel.heatmap.frame
    width = max(picture.width, _NARROWEST)
    values = resample(panel.values, frame, interpolation, (picture.height, picture.width))
    drawn = Image.fromarray(hatch_unseen(blend(np.asarray(picture), values, panel.scale, coat), frame))
    if panel.regions is not None:
        drawn = mark_regions(drawn, panel.regions, contour=True, boxes=False)
    if panel.scale is None:
        write_constant(drawn, frame)
    foot = [draw_bar(panel.scale, width, _SMALL, coat)] if panel.bar and panel.scale is not None else []
    foot += [text_block(remark, width, _SMALL, ink=GREY_INK) for remark in panel.remarks]
    return text_block(safe_text(panel.heatmap.provenance.method), width, _TEXT, bold=True), drawn, stack(foot)


def _remarks(panel: _Panel, notes: Mapping[str, str]) -> tuple[str, ...]:
    """What is said below one panel: the first finding, the target, and what the colours cannot tell.

    With a common scale these are the largest value in shares and the unit of the raw map. The note for the
    method comes last, as a sentence.
    """
    heatmap = panel.heatmap
    remarks = [] if panel.regions is None else list(panel.regions.describe()[:1])
    if panel.scale is None and panel.regions is None:
        remarks.append(f"{CONSTANT_WORDS.capitalize()}.")
    remarks.append(f"Target: {safe_text(heatmap.provenance.target)}.")
    if not panel.bar and panel.scale is not None:
        remarks.append(f"Largest: {format_value(float(np.abs(panel.values).max()))} {SHARE_UNIT}.")
    if not panel.bar or panel.scale is None:
        remarks.append(f"Raw unit: {safe_text(heatmap.unit)}{', signed' if heatmap.signed else ''}.")
    if heatmap.provenance.method in notes:
        note = safe_text(notes[heatmap.provenance.method]).rstrip(".")
        remarks.append(f"{note[:1].upper()}{note[1:]}.")
    return tuple(remarks)


def _grid(cells: Sequence[_Cell], columns: int) -> Image.Image:
    """Arrange cells in rows; the pictures of a row have one upper edge, whatever the length of the titles.

    Cells may have feet of different height; the next row begins below the lowest.
    """
    rows = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        high = max(head.height for head, _, _ in row)
        joined = [stack([filled_to(head, high), drawn, foot], gap=_SMALL // 2) for head, drawn, foot in row]
        rows.append(beside(joined, gap=_TEXT))
    return stack(rows, gap=round(1.5 * _TEXT))


def _heading(heatmaps: Sequence[Heatmap], width: int) -> Image.Image:
    """Say how many maps of which models there are; maps of different models may stand on one sheet."""
    models = sorted({safe_text(heatmap.provenance.model) for heatmap in heatmaps})
    title = f"{len(heatmaps)} explanation{'s' if len(heatmaps) > 1 else ''} of one photograph"
    model = text_block(f"Model: {', '.join(models)}", width, _SMALL, ink=GREY_INK)
    return stack([text_block(title, width, _TEXT + 4, bold=True), model])


def _scales(panels: Sequence[_Panel]) -> list[Scale]:
    """The different scales in use, in the order of the panels."""
    return list(dict.fromkeys(panel.scale for panel in panels if panel.scale is not None))


def _shared_legends(panels: Sequence[_Panel], width: int, coat: Coat) -> list[Image.Image]:
    """Draw the one-sided and the two-sided version of the common scale, whichever are in use.

    Gives one picture with both side by side, or none if every map is constant.
    """
    scales, gap = _scales(panels), 2 * _TEXT
    if not scales:
        return []
    each = min(520, (width - gap * (len(scales) - 1)) // len(scales))
    return [beside([draw_bar(scale, each, _TEXT, coat) for scale in scales], gap=gap)]


def _value_steps(panels: Sequence[_Panel], values: str) -> tuple[str, ...]:
    """Say what was done to the values and how the scales were chosen.

    A sentence about raw scales begins with the units that it holds for. Of the common scale the one-sided
    and two-sided version have one rule, so it is told once.
    """
    if values == "raw":
        units: dict[str, list[str]] = {}
        for scale in _scales(panels):
            units.setdefault(scale.describe(), []).append(safe_text(scale.unit))
        return tuple(f"{', '.join(names)}: {sentence}" for sentence, names in units.items())
    summed = any(panel.heatmap.relevance.shape != panel.heatmap.frame.grid for panel in panels)
    return (
        *([PATCH_SUM_SENTENCE] if summed else []),
        SHARE_SENTENCE,
        *(scale.describe() for scale in _scales(panels)[:1]),
    )


def _drawing_steps(panels: Sequence[_Panel], interpolation: str, coat: Coat) -> tuple[str, ...]:
    """Say how values became colours, and what the marks mean; what holds for several panels is told once."""
    rules = {panel.regions.rule: None for panel in panels if panel.regions is not None}
    unseen = {step: None for panel in panels for step in unseen_steps(panel.heatmap)}
    resampled = {describe_resampling(panel.values.shape, panel.heatmap.frame, interpolation): None for panel in panels}
    return (
        *resampled,
        coat.describe(),
        *(f"Outlined: above {rule}, each map its own." for rule in rules),
        *unseen,
    )
