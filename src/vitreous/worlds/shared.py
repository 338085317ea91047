"""Shared data sets: photographs with masks, boxes and human maps, as `vitreous.worlds.export` wrote them.

What is done about accidents: columns of other names or types, a photograph or mask that is not there, a name that leads
out of the folder, a box outside its photograph and a human map with rows of different lengths are errors. A shared data
set was written by a program, so that anything else than what it writes means that it was changed since.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from vitreous.core.errors import AnnotationError, DataError
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import checked_box, mask_reader
from vitreous.worlds._files import read_bytes, require_folder, require_photograph, stored_size, under, wrong_layout
from vitreous.worlds.export import FACTS, INSIDE, LAYOUT, OUTSIDE, VOID, arrow_modules, schema_of
from vitreous.worlds.sample import HumanMap, Region, Sample, Samples


def shared(root: str | Path) -> Samples:
    """Load a shared data set: the samples that it was made of, in their order.

    root  the folder that holds metadata.parquet, images/ and masks/

    Raises DataError for another layout, AnnotationError for single faults and MissingExtraError.
    """
    top = require_folder(root, "The folder")
    listed = top / "metadata.parquet"
    if not listed.is_file():
        raise wrong_layout(top, ["metadata.parquet, images/ and masks/"])
    facts, rows = _read(listed)
    labels = facts["labels"]
    samples = tuple(_sample(row, top, f"metadata.parquet, row {place}") for place, row in enumerate(rows, 1))
    if len({sample.id for sample in samples}) < len(samples):
        raise DataError(f"{shown(str(listed))} has two rows of one id.", "Get the data set again.")
    return Samples(str(facts["name"]), samples, None if labels is None else tuple(labels), tuple(facts["notes"]))


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the table and what it says about the whole data set. Raises DataError."""
    arrow, parquet = arrow_modules()
    try:
        table = parquet.read_table(arrow.BufferReader(read_bytes(path, "The list")))
        facts = json.loads((table.schema.metadata or {}).get(FACTS, b"{}"))
    except (arrow.ArrowException, OSError, ValueError) as problem:
        raise DataError(f"{shown(str(path))} is no valid Parquet ({problem}).", "Get it again.") from problem
    wanted = schema_of(arrow)
    if not isinstance(facts, dict) or facts.get("layout") != LAYOUT or not {"name", "labels", "notes"} <= facts.keys():
        raise DataError(
            f"{shown(str(path))} says nothing about its layout, or has another one than {LAYOUT}.",
            "Read it with the version of Vitreous that wrote it; any other list can be read by vt.worlds.manifest.",
        )
    if not table.schema.remove_metadata().equals(wanted):
        different = [name for name in wanted.names if name not in table.schema.names] or ["their types"]
        raise DataError(f"{shown(str(path))} differs in its columns: {', '.join(different)}.", "Get it again.")
    return facts, table.to_pylist()


def _sample(row: dict[str, Any], top: Path, where: str) -> Sample:
    if row["id"] is None or row["file_name"] is None:
        raise AnnotationError(f"{where}: there is no id or no file_name.", "Get the data set again.")
    path = under(top, row["file_name"])
    require_photograph(path, where)
    width, height, _ = stored_size(path)
    masks = [under(top, name) for name in row["masks_file_names"] or ()]
    for mask in masks:
        if not mask.is_file():
            raise AnnotationError(f"{where}: there is no mask {shown(str(mask))}.", "Get the data set again.")
    regions = tuple(_region(each, masks, (float(width), float(height)), where) for each in row["regions"] or ())
    human = tuple(HumanMap(each["name"], partial(_map, each["values"], where)) for each in row["human"] or ())
    return Sample(row["id"], path, row["label"], row["index"], regions, human, tuple(row["notes"] or ()))


def _region(told: dict[str, Any], masks: list[Path], size: tuple[float, float], where: str) -> Region:
    box, number = told["box"], told["mask"]
    if (box is not None and len(box) != 4) or (number is not None and not 0 <= number < len(masks)):
        raise AnnotationError(f"{where}: a region has an impossible box or mask.", "Get the data set again.")
    place = None if box is None else checked_box((box[0], box[1], box[2], box[3]), *size, where)[0]
    values = frozenset([INSIDE]), frozenset([VOID]), frozenset([OUTSIDE])
    return Region(
        told["name"], place, None if number is None else mask_reader(masks[number], *values), bool(told["crowd"])
    )


def _map(values: Any, where: str) -> Float32[np.ndarray, "rows columns"]:
    """Give a human map. Raises AnnotationError for one that is no grid of finite numbers."""
    if not values or not values[0] or any(row is None or len(row) != len(values[0]) for row in values):
        raise AnnotationError(f"{where}: a human map is empty or has rows of different lengths.", "Get it again.")
    found = np.array(values, dtype=np.float32)
    if not np.isfinite(found).all():
        raise AnnotationError(f"{where}: a human map is not finite.", "Get the data set again.")
    return found
