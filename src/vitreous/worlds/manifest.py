"""A list of photographs as CSV or Parquet: the way to bring data of one's own.

    image,label,mask,x0,y0,x1,y1,id
    a.jpg,cat,a-cat.png,,,,,
    a.jpg,dog,,10,12,80,90,

Only `image` is required; columns may come in any order. Each line is one region, so several lines of one image are
several regions; a line without mask and box only names the image. Paths are relative to the list's own folder,
or to `root`. Boxes are in pixels of the upright photograph, edges counted from 0: (0, 0) is its upper left
corner and (width, height) its lower right one. What is done about accidents:

- a misspelt or missing column, another encoding than UTF-8 and broken lines are a DataError; a byte order mark and the
  delimiters , ; tab | are understood; columns of other names are noted
- every cell is text: "=1+1" is the name of a class
- a photograph or mask that is not there, a box with a missing or impossible number, inside out or outside the
  photograph, one id for two images: a fault, raised with the number of its line, or left out and noted with
  bad="skip"
- a line that repeats another is left out and noted; one photograph under two ids is kept and noted
- lines that give one image different labels name its regions; the image itself then has no label
- an empty mask is given as it is; a mask of another size is an AnnotationError when it is read
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vitreous.core.errors import AnnotationError, DataError, MissingExtraError, near_matches
from vitreous.core.frame import Box
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import Values, checked_box, mask_reader, number, size_for_boxes, value_set
from vitreous.worlds._files import (
    LEFT_OUT,
    Bad,
    Faults,
    missing_columns,
    read_bytes,
    read_table,
    require_folder,
    require_photograph,
)
from vitreous.worlds.sample import Region, Sample, Samples

COLUMNS = ("image", "label", "mask", "x0", "y0", "x1", "y1", "id")
_EDGES = ("x0", "y0", "x1", "y1")
_PARQUET = (".parquet", ".pq")


@dataclass
class _Draft:
    """What the lines of one image have told so far."""

    path: Path
    named: str
    labels: list[str] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def manifest(
    path: str | Path,
    root: str | Path | None = None,
    inside: Values = 255,
    void: Values = (),
    outside: Values = 0,
    bad: Bad = "raise",
) -> Samples:
    """Load a list of photographs. Ids are those of the column `id`, or else the image as it is written in the list.

    path     a CSV file with a header line, or a Parquet file (needs the extra "data")
    root     the folder that paths are relative to; the list's own if None
    inside   values of mask pixels in the object; void and outside likewise, see `masks`
    bad      "raise" for an error at the first fault, "skip" to leave it out and note it

    Classes are the labels in the list, sorted. Raises DataError, AnnotationError and MissingExtraError.
    """
    faults = Faults(bad)
    listed = Path(path)
    base = listed.parent if root is None else require_folder(root, "The folder")
    values = value_set("inside", inside), value_set("void", void), value_set("outside", outside)
    rows = _parquet(listed) if listed.suffix.lower() in _PARQUET else read_table(listed, ["image"])
    _check_columns(listed, rows[0][1] if rows else (), faults)
    drafts: dict[str, _Draft] = {}
    for line, row in rows:
        try:
            _add(
                drafts,
                {name: row.get(name, "") for name in COLUMNS},
                base,
                values,
                f"{listed.name}, line {line}",
                faults,
            )
        except DataError as error:
            faults.meet(error)
            if draft := drafts.get(row.get("id", "") or row["image"]):
                draft.notes.append(LEFT_OUT)
    if not drafts:
        raise DataError(f"The list {shown(str(path))} names no photograph that can be used.", "Add a line for each.")
    _note_twins(drafts, faults)
    labels = sorted({label for draft in drafts.values() for label in draft.labels})
    samples = [_finish(name, draft, labels) for name, draft in sorted(drafts.items())]
    return Samples(listed.stem, tuple(samples), tuple(labels) or None, tuple(faults.notes))


def _check_columns(path: Path, columns: Iterable[str], faults: Faults) -> None:
    """Refuse a column that looks like a misspelt one; note others."""
    known, unknown = set(COLUMNS), [name for name in columns if name not in COLUMNS]
    absent = known - set(columns)
    for name in unknown:
        if near := near_matches(name.lower(), sorted(absent)):
            raise DataError(
                f"The list {shown(str(path))} has the column {shown(name)}, which is not read. {near}", "Rename it."
            )
    if unknown:
        faults.say(f"columns that are not read: {', '.join(map(repr, unknown))}")


def _add(
    drafts: dict[str, _Draft],
    row: dict[str, str],
    base: Path,
    values: tuple[frozenset[int], frozenset[int], frozenset[int]],
    where: str,
    faults: Faults,
) -> None:
    """Add what one line says. Raises AnnotationError and DataError."""
    if not row["image"]:
        raise AnnotationError(f"{where}: the column image is empty.", "Name a photograph.")
    image = base / row["image"]
    name = row["id"] or row["image"]
    draft = drafts.get(name)
    if draft is None:
        require_photograph(image, where)
        draft = _Draft(image, row["image"])
    elif draft.path != image:
        raise AnnotationError(
            f"{where}: the id {shown(name)} stands for {shown(row['image'])} and for {shown(draft.named)}.",
            "Give every photograph an id of its own.",
        )
    drafts[name] = draft
    told = tuple(row.values())
    if told in draft.lines:
        faults.say(f"left out: {where} repeats line {draft.lines[told]}")
        return
    draft.lines[told] = int(where.rsplit(" ", 1)[1])
    box = _box(row, image, where, draft, faults)
    mask = base / row["mask"] if row["mask"] else None
    if mask is not None and not mask.is_file():
        raise AnnotationError(f"{where}: there is no mask {shown(str(mask))}.", "Add the file, or empty the cell.")
    if row["label"]:
        draft.labels.append(row["label"])
    if box is not None or mask is not None:
        read = mask_reader(mask, *values) if mask else None
        draft.regions.append(Region(row["label"] or None, box, read))


def _box(row: dict[str, str], image: Path, where: str, draft: _Draft, faults: Faults) -> Box | None:
    """Read and check the box of one line; None if it has none."""
    cells = [row[name] for name in _EDGES]
    if not any(cells):
        return None
    edges = [number(cell, f"{where}: {name}") for name, cell in zip(_EDGES, cells, strict=True)]
    size = size_for_boxes(image, faults)
    if size is None:
        draft.notes.append(LEFT_OUT)
        return None
    box, cut = checked_box((edges[0], edges[1], edges[2], edges[3]), *size, where)
    if cut:
        draft.notes.append(f"{where}: the part of the box outside the photograph, less than a pixel, was cut off")
    return box


def _finish(name: str, draft: _Draft, labels: list[str]) -> Sample:
    """Make the sample of one image."""
    label = draft.labels[0] if len(set(draft.labels)) == 1 else None
    if len(set(draft.labels)) > 1:
        draft.notes.append(f"has several classes: {', '.join(sorted(set(draft.labels)))}")
    index = None if label is None else labels.index(label)
    return Sample(name, draft.path, label, index, tuple(draft.regions), notes=tuple(dict.fromkeys(draft.notes)))


def _note_twins(drafts: dict[str, _Draft], faults: Faults) -> None:
    """Note photographs that occur under two ids."""
    first: dict[Path, str] = {}
    for name, draft in sorted(drafts.items()):
        other = first.setdefault(draft.path.resolve(), name)
        if other != name:
            faults.say(f"{shown(other)} and {shown(name)} are the same photograph")


def _parquet(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a Parquet file into the same form as a CSV file: rows are numbered from 1, empty cells are ''."""
    try:
        import pyarrow as pa  # noqa: PLC0415  (only lists in Parquet need it)
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as problem:
        raise MissingExtraError.of("pyarrow", "data", "Reading Parquet") from problem
    data = read_bytes(path, "The list")
    try:
        table = parquet.read_table(pa.BufferReader(data)).to_pylist()
        columns = parquet.read_schema(pa.BufferReader(data)).names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The list {shown(str(path))} is no valid Parquet ({error}).", "Write it again.") from error
    if "image" not in columns:
        raise missing_columns(path, ["image"], columns, "The list")
    return [(line, {name: _text(cell) for name, cell in row.items()}) for line, row in enumerate(table, start=1)]


def _text(cell: object) -> str:
    """Write a typed cell as text; nothing for null and NaN, which stands for null in data frames."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).strip()
