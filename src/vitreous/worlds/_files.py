"""Reading the files of a data set: folders, lists, tables, XML and JSON, none of them trusted.

Data sets are downloaded, unpacked by hand, cut down and edited, so every loader meets the same few accidents.
They are told here, once and in the same words: a folder of another layout, a photograph that a list names and
nobody has, a list saved by a spreadsheet.

What is wrong with one photograph or one annotation is a *fault*. `Faults` decides what becomes of it, as the
caller asked: with bad="raise" the first one ends the loading, with bad="skip" it is left out and noted.
"""

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from xml.etree import ElementTree as ET

from PIL import Image

from vitreous.core.errors import (
    AnnotationError,
    DataError,
    ImageDamagedError,
    ImageError,
    ImageTooLargeError,
    InputError,
    near_matches,
)
from vitreous.core.image_files import read_file, shown, writable
from vitreous.core.images import DEFAULT_LIMITS, FORMATS

Bad: TypeAlias = Literal["raise", "skip"]
"""What becomes of a photograph or an annotation that cannot be used."""

LEFT_OUT = "annotations were left out: see the notes of the data set"
"""The note of a sample that is known to be incomplete."""

PHOTOGRAPHS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_MOST_BYTES = 2**30  # the largest list in common use, of COCO's training half, has 450 million
_MOST_XML = 2**20
_ORIENTATION = 0x0112


@dataclass
class Faults:
    """What is wrong with single photographs and annotations: raised at once, or left out and noted.

    bad    "raise" or "skip"
    notes  lines for `Samples.notes`; what is only worth saying goes here by `say`
    """

    bad: Bad
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse another word than the two."""
        if self.bad not in get_args(Bad):
            raise InputError(f"bad={self.bad!r} is unknown.", 'Use "raise" or "skip".')

    def meet(self, error: DataError) -> None:
        """Raise the error, or note what was left out because of it."""
        if self.bad == "raise":
            raise type(error)(error.cause, f'{error.fix} Or leave it out with bad="skip".') from error
        self.notes.append(f"left out: {error.cause}")

    def say(self, note: str) -> None:
        """Note what is no fault and yet worth knowing."""
        self.notes.append(note)


# --- folders


def require_folder(path: str | Path, what: str) -> Path:
    """Give the path of a folder that is there; `what` begins the message. Raises DataError."""
    folder = Path(path)
    if folder.is_dir():
        return folder
    kind = "is a file, not a folder" if folder.exists() else "does not exist"
    near = near_matches(folder.name, names_in(folder.parent)) if folder.parent.is_dir() else ""
    raise DataError(f"{what} {shown(str(path))} {kind}.", near or "Give the path of the folder.")


def names_in(folder: Path) -> list[str]:
    """List the names in a folder, sorted, without hidden ones, which systems leave behind (`._a.png`).

    Raises DataError if it cannot be listed, or for a name that is no text: an id of it could not be written down.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"The folder {shown(str(folder))} cannot be listed ({error.strerror}).", "Change its permissions."
        ) from error
    for name in names:
        if writable(name) != name:
            raise DataError(f"The name {shown(name)} in {shown(writable(str(folder)))} is no UTF-8 text.", "Rename it.")
    return names


def wrong_layout(root: Path, expected: Iterable[str], hint: str = "") -> DataError:
    """Build the error for a folder of another layout: what was looked for, and what is there."""
    names = names_in(root)
    there = ", ".join(map(shown, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return DataError(
        f"{shown(str(root))} has not the expected layout. Looked for {'; or '.join(expected)}. "
        f"There is {there or 'nothing'}.",
        hint or "Give the folder that holds these.",
    )


def photographs_in(folder: Path) -> list[Path]:
    """List the files of a folder that are named like photographs, sorted by name."""
    return [folder / name for name in names_in(folder) if Path(name).suffix.lower() in PHOTOGRAPHS]


def by_stem(paths: Iterable[Path], what: str) -> dict[str, Path]:
    """Index files by their name without its extension. Raises DataError where two share it."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise DataError(
                f"{what} {shown(found[path.stem].name)} and {shown(path.name)} differ in nothing but the extension.",
                "Rename or remove one: annotations could belong to either.",
            )
        found[path.stem] = path
    return found


def under(folder: Path, name: str) -> Path:
    """Join a name from a list to its folder. Raises AnnotationError if it leads out of the folder."""
    path = Path(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise AnnotationError(
            f"The file name {shown(name)} does not lie in the folder {shown(str(folder))}.",
            "Give names relative to the folder, without '..'.",
        )
    return folder / path


def require_photograph(path: Path, named_by: str) -> None:
    """Raise DataError if a photograph that a list names is not there."""
    if not path.is_file():
        near = near_matches(path.name, names_in(path.parent)) if path.parent.is_dir() else ""
        raise DataError(
            f"The photograph {shown(str(path))}, named by {named_by}, is not there.",
            near or "Add the file, or take it off the list.",
        )


def stored_size(path: Path) -> tuple[int, int, int]:
    """Read width, height and EXIF orientation of a photograph, as stored.

    Only the header is read, whatever the size of the file; of a PNG the pixels too, for it may state its orientation
    after them. Raises ImageError if there is no ordinary file, or none with a header that can be read.
    """
    if not path.is_file():
        read_file(str(path), DEFAULT_LIMITS.max_bytes)  # raises, and says what there is instead
    width = height = 0
    orientation: Any = 1
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height <= DEFAULT_LIMITS.max_pixels:
                orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # on bytes that they do not expect, decoders raise anything
        raise ImageDamagedError(
            f"The image {shown(str(path))} has no header that can be read ({type(error).__name__}).",
            "It is damaged or no image: copy or download it again.",
        ) from error
    if width * height > DEFAULT_LIMITS.max_pixels:
        raise ImageTooLargeError(
            f"The image {shown(str(path))} is {width} x {height} pixels; the limit is {DEFAULT_LIMITS.max_pixels:,}.",
            "Make it smaller.",
        )
    return width, height, orientation if orientation in range(1, 9) else 1


# --- lists


def read_bytes(path: Path, what: str, most: int = _MOST_BYTES) -> bytes:
    """Read an ordinary file whole, guarded like a photograph. Raises DataError; `what` begins the message."""
    try:
        return read_file(str(path), most)
    except ImageError as error:
        raise DataError(error.cause.replace("The image", what, 1), error.fix) from error


def read_text(path: Path, what: str, most: int = _MOST_BYTES) -> str:
    """Read a text file in UTF-8, with or without a byte order mark. Raises DataError."""
    data = read_bytes(path, what, most)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{what} {shown(str(path))} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}).",
            "Save it as UTF-8; spreadsheets call this 'CSV UTF-8'.",
        ) from error
    if "\0" in text:
        raise DataError(f"{what} {shown(str(path))} holds NUL characters.", "Save it as UTF-8 text.")
    return text


def read_lines(path: Path, what: str) -> list[list[str]]:
    """Read a list of words by line, without empty lines and comments (#)."""
    lines = (line.split() for line in read_text(path, what).splitlines())
    return [words for words in lines if words and not words[0].startswith("#")]


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object. Raises DataError for anything else."""
    try:
        found = json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{what} {shown(str(path))} is no valid JSON ({error}).", "Export or download it again."
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{what} {shown(str(path))} holds a {type(found).__name__}.", "Expected a JSON object, {…}.")
    return found


def read_xml(path: Path) -> ET.Element:
    """Read a small XML file. Raises AnnotationError, also for a DOCTYPE: its entities can grow without end."""
    what = "The annotation"
    try:
        text = read_text(path, what, _MOST_XML)
    except DataError as error:
        raise AnnotationError(error.cause, error.fix) from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError(
            f"{what} {shown(str(path))} has a DOCTYPE or entities.", "Remove them: they are not read."
        )
    try:
        return ET.fromstring(text)  # noqa: S314  (nothing to expand: entities were refused above)
    except ET.ParseError as error:
        raise AnnotationError(f"{what} {shown(str(path))} is no valid XML ({error}).", "Export it again.") from error


def read_table(path: Path, required: Collection[str], what: str = "The list") -> list[tuple[int, dict[str, str]]]:
    """Read a table with a header line as text: line number and cells by column, without surrounding spaces.

    The delimiter is the one of , ; tab | that finds the required columns in the header, so no guess from the
    rows is needed. Cells are text and stay text, those that a spreadsheet would take for a formula as well.
    Raises DataError for missing or repeated columns and for rows of another length.
    """
    text = read_text(path, what)
    header, *_ = text.splitlines() or [""]
    splits = {mark: [cell.strip() for cell in next(csv.reader([header], delimiter=mark), [])] for mark in ",;\t|"}
    mark = next((mark for mark, cells in splits.items() if set(required) <= set(cells)), None)
    if mark is None:
        raise missing_columns(path, required, max(splits.values(), key=len), what)
    columns = splits[mark]
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise DataError(f"{what} {shown(str(path))} has several columns {repeated}.", "Keep one of each.")
    return list(_rows(path, text, mark, columns, what))


def _rows(path: Path, text: str, mark: str, columns: list[str], what: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Go through the rows under the header."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        next(reader)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{what} {shown(str(path))} has {len(cells)} cells in line {reader.line_num}, not {len(columns)}.",
                    f"Quote cells that contain {mark!r}, or complete the line.",
                )
            yield reader.line_num, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    except csv.Error as error:
        raise DataError(f"{what} {shown(str(path))}: line {reader.line_num}: {error}.", "Mend its quotes.") from error


def missing_columns(path: Path, required: Collection[str], found: Collection[str], what: str) -> DataError:
    """Build the error for a table that lacks columns, with near matches."""
    missing = sorted(set(required) - set(found))
    near = " ".join(filter(None, (near_matches(name, found) for name in missing)))
    return DataError(
        f"{what} {shown(str(path))} lacks the column {', '.join(map(repr, missing))}; it has "
        f"{', '.join(map(shown, found)) or 'none'}.",
        near or "Name the columns in the first line, separated by commas.",
    )
