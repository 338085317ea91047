"""Photographs in Parquet files, as data sets on hubs come: the bytes of the image in one column, its class in another.

    image   bytes of a file, or the struct {bytes, path} of Hugging Face data sets, or a path or address as text
    label   a number or a name; may be missing
    id      a name for the sample; if there is none, "FILE/ROW"

Only classes and ids are read when it is loaded. A photograph is fetched when it is read, with the row group that it is
in, and the last row group is kept for its neighbours. What is done about accidents:

- a column that is not there is a DataError that names those that are
- a row without an image is an error of that image when it is read
- two rows of one id are a DataError
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from vitreous.core.errors import DataError, ImageNotFoundError, ImageTooLargeError, MissingExtraError, VitreousError
from vitreous.core.image_files import shown
from vitreous.core.images import Fetched
from vitreous.worlds._urls import Options, Place, attempt, place_of, places_of
from vitreous.worlds.sample import Sample, Samples


@dataclass(frozen=True)
class _Cell:
    """Where an image is: a file, a row group of it, a row in that, and the column."""

    place: Place
    group: int
    row: int
    column: str


def parquet(
    url: str,
    image: str = "image",
    label: str = "label",
    id: str = "id",  # noqa: A002  (the name of the column)
    labels: Sequence[str] | None = None,
    options: Options = None,
) -> Samples:
    """Load photographs from Parquet files on the disk or at an address that fsspec knows (extra "ray").

    url        one file, or several by a pattern: "s3://bucket/val-*.parquet"
    image, label, id  names of the columns
    labels     class names by number, for classes that are written as numbers
    options    of the file system, such as {"anon": True} for a public bucket

    Raises DataError for files that are not there or are no Parquet; InputError and MissingExtraError.
    """
    rows = [row for place in places_of(url, options) for row in _rows(place, image, label, id)]
    if not rows:
        raise DataError(f"{shown(url)} has no rows.", "Give files with a row for each photograph.")
    ids = [name for name, _, _ in rows]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise DataError(f"The id {shown(twice)} is in {shown(url)} several times.", "Give each row an id of its own.")
    told = [value for _, value, _ in rows if value is not None]
    numbered = all(isinstance(value, int) for value in told)
    names = (tuple(labels) if labels else None) if numbered else tuple(sorted({str(value) for value in told}))
    samples = []
    for name, value, cell in rows:
        index = value if numbered or names is None or value is None else names.index(str(value))
        known = names is not None and isinstance(index, int) and 0 <= index < len(names)
        text = None if value is None else names[index] if known and names else str(value)
        samples.append(Sample(name, Fetched(posixpath.basename(name), partial(_fetch, cell)), text, index))
    return Samples(posixpath.basename(url), tuple(samples), names)


def _rows(place: Place, image: str, label: str, name: str) -> list[tuple[str, Any, _Cell]]:
    """Read id and class of each row of a file."""
    file = attempt(place, "The file", _opened, place)
    columns = file.schema_arrow.names
    if image not in columns:
        raise DataError(
            f"{shown(place.url)} has no column {image!r}; it has {', '.join(columns)}.", "Name the column: image=…."
        )
    wanted = [column for column in (label, name) if column in columns]
    found: list[tuple[str, Any, _Cell]] = []
    base = posixpath.basename(place.path)
    for group in range(file.num_row_groups):
        if wanted:
            lines = attempt(place, "The file", file.read_row_group, group, columns=wanted).to_pylist()
        else:
            lines = [{}] * file.metadata.row_group(group).num_rows
        for row, line in enumerate(lines):
            text = line.get(name)
            known = f"{base}/{len(found)}" if text is None else str(text)
            found.append((known, line.get(label), _Cell(place, group, row, image)))
    return found


@lru_cache(maxsize=8)
def _opened(place: Place) -> Any:
    try:
        from pyarrow import parquet as arrow_parquet  # noqa: PLC0415  (only these data sets need it)
    except ImportError as problem:
        raise MissingExtraError.of("pyarrow", "ray", "Reading Parquet") from problem
    return arrow_parquet.ParquetFile(place.system.open(place.path, "rb"))


@lru_cache(maxsize=1)
def _group(place: Place, group: int, column: str) -> Any:
    return _opened(place).read_row_group(group, columns=[column]).column(0)


def _fetch(cell: _Cell, most: int) -> bytes:
    """Give the bytes of an image. Raises ImageError."""
    where = f"row {cell.row} of row group {cell.group} of {cell.place.url}"
    try:
        value = _group(cell.place, cell.group, cell.column)[cell.row].as_py()
    except VitreousError:
        raise
    except Exception as problem:  # file systems of strangers, each with errors of its own
        raise ImageNotFoundError(
            f"The image in {shown(where)} cannot be read ({type(problem).__name__}).", "Check the file."
        ) from problem
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        base = cell.place.url.rsplit("/", 1)[0]
        return place_of(value if "://" in value or value.startswith("/") else f"{base}/{value}").fetched().fetch(most)
    if not isinstance(value, bytes):
        raise ImageNotFoundError(f"There is no image in {shown(where)}.", "Fill the cell, or take the row out.")
    if len(value) > most:
        raise ImageTooLargeError(
            f"The image in {shown(where)} has {len(value):,} bytes; the limit is {most:,}.", "Make it smaller."
        )
    return value
