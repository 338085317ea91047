"""ImageNet's validation photographs, with boxes.

    root/                                     or flat
      n01440764/ILSVRC2012_val_00000293.JPEG    ILSVRC2012_val_00000001.JPEG
      n01443537/…                               …

    boxes: a folder of ILSVRC2012_val_00000293.xml, the annotations of CLS-LOC

    root/                                     or re-packed
      labels.csv    file,class_index,class_name,width,height
      boxes.csv     file,x0,y0,x1,y1,original_width,original_height
      images/

What a box means: it surrounds one instance of the class of its photograph, as far as it can be seen. Every instance
of that class has a box and objects of other classes have none, so a place outside all boxes may well show something
else. Boxes are large: a point at random lies in one about every second time, and a measure that counts hits has to
be compared with that. Their numbers are pixels of the original photograph counted from 0 and are taken as edges,
without adding the last pixel. What is done about accidents:

- a line or a box for a photograph that is not there, an unknown class, an impossible box, boxes of another class than
  their photograph's: a fault, raised, or left out and noted with bad="skip"
- photographs without boxes are kept, and say so in their notes
- boxes.csv states the original size, and boxes are scaled from it to the stored photograph, each axis by itself: that
  file belongs to photographs that were squashed. XML says nothing of the kind: a photograph of other proportions
  than its XML states was cropped, squashed or turned by its EXIF orientation, which is a fault
- a photograph that cannot be read is kept without boxes and noted; reading it raises
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitreous.core.errors import AnnotationError, DataError, InputError
from vitreous.core.frame import Box
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import checked_box, fitting, number, require_size, scaled, size_for_boxes
from vitreous.worlds._boxes_xml import read_boxes
from vitreous.worlds._files import (
    LEFT_OUT,
    Bad,
    Faults,
    names_in,
    photographs_in,
    read_lines,
    read_table,
    require_folder,
    require_photograph,
    under,
    wrong_layout,
)
from vitreous.worlds.sample import Region, Sample, Samples

_WNID = re.compile(r"n\d{8}")
_NAME = re.compile(r"ILSVRC2012_val_\d{8}", re.IGNORECASE)
_ALL = 1000


@dataclass(frozen=True)
class _Classes:
    """The classes in their order, as identifiers ("n01440764") and as names; each None if it is not known."""

    wnids: tuple[str, ...] | None
    names: tuple[str, ...] | None

    def of(self, told: str) -> tuple[str | None, int | None]:
        """Give label and index of a class told as an identifier or as an index. Raises AnnotationError."""
        if told.isascii() and told.isdigit() and int(told) < _ALL:
            index = int(told)
            return (self.names or self.wnids or [None] * _ALL)[index], index
        if not _WNID.fullmatch(told) or (self.wnids and told not in self.wnids):
            raise AnnotationError(
                f"The class {shown(told)} is unknown.", "Expected one like 'n01440764', or an index from 0."
            )
        if not self.wnids:
            return told, None
        index = self.wnids.index(told)
        return (self.names or self.wnids)[index], index


def imagenet(
    root: str | Path,
    boxes: str | Path | None = None,
    classes: str | Path | None = None,
    wnids: str | Path | Sequence[str] | None = None,
    names: str | Path | Sequence[str] | None = None,
    bad: Bad = "raise",
) -> Samples:
    """Load ImageNet's validation photographs. Ids are file names without extension.

    root     the folder of photographs or of sub-folders named n01440764, or the re-packed selection
    boxes    folder of XML files, named like the photographs; none is looked for by itself
    classes  for flat folders: a list with a photograph and its class in each line, the class as an identifier
             ("n01440764") or as an index from 0. Without it photographs have no class
    wnids    the 1000 identifiers in the order of indices, or a file with one in a line. Where all 1000 sub-folders
             are there, their sorted names are this list
    names    the 1000 names in the same order, or a file with one in a line; labels are identifiers without it
    bad      "raise" for an error at the first fault, "skip" to leave it out and note it

    An index is only given where it is known. The re-packed selection states names and indices itself and takes
    no list. Raises DataError, AnnotationError and InputError.
    """
    top = require_folder(root, "The folder")
    faults = Faults(bad)
    if (top / "labels.csv").is_file():
        if any(given is not None for given in (boxes, classes, wnids)):
            raise InputError("This folder has labels.csv, so boxes, classes and wnids are not used.", "Leave them out.")
        return _repacked(top, _list_of("names", names), faults)
    folders = [name for name in names_in(top) if _WNID.fullmatch(name) and (top / name).is_dir()]
    flat = [path for path in photographs_in(top) if _NAME.fullmatch(path.stem)]
    if bool(folders) == bool(flat):
        raise wrong_layout(
            top,
            [
                "sub-folders named like n01440764",
                "photographs named like ILSVRC2012_val_00000001.JPEG",
                "labels.csv, and only one of the three",
            ],
        )
    order = _list_of("wnids", wnids) or (tuple(folders) if len(folders) == _ALL else None)
    known = _Classes(order, _list_of("names", names))
    pairs = [(path, name) for name in folders for path in photographs_in(top / name)] or _listed(flat, classes, faults)
    xml = None if boxes is None else require_folder(boxes, "The folder of boxes")
    times = Counter(path.stem for path, _ in pairs)
    samples: dict[str, Sample] = {}
    for path, told in pairs:
        try:
            if times[path.stem] > 1:  # which class is the right one is not known: none is kept
                raise AnnotationError(
                    f"There are several photographs {shown(path.stem)}: {shown(str(path))}.", "Keep one."
                )
            label, index = known.of(told) if told is not None else (None, None)
        except DataError as error:
            faults.meet(error)
            continue
        sample = Sample(path.stem, path, label, index)
        samples[path.stem] = sample if xml is None else _boxed(sample, path, told, xml, faults)
    return Samples(
        "imagenet", tuple(samples[name] for name in sorted(samples)), known.names or known.wnids, tuple(faults.notes)
    )


def _list_of(argument: str, told: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Read one of the lists of a thousand. Raises DataError for a file or InputError for a list of another length."""
    if told is None:
        return None
    if isinstance(told, str | Path):
        found = tuple(" ".join(words) for words in read_lines(Path(told), f"The list {argument}"))
    else:
        found = tuple(told)
    if len(found) != _ALL:
        raise InputError(f"{argument} has {len(found)} entries.", f"Expected {_ALL}, in the order of class indices.")
    return found


def _listed(flat: list[Path], classes: str | Path | None, faults: Faults) -> list[tuple[Path, str | None]]:
    """Pair the photographs of a flat folder with their classes. Raises DataError."""
    if classes is None:
        return [(path, None) for path in flat]
    told: dict[str, str | None] = {}
    for words in read_lines(Path(classes), "The list of classes"):
        if len(words) != 2:
            raise DataError(
                f"The list {shown(str(classes))} has the line {' '.join(words)!r}.",
                "Expected a photograph and its class. A list of bare numbers, such as the ground truth of the "
                "development kit, counts classes in an order of its own.",
            )
        stem = Path(words[0]).stem
        if told.setdefault(stem, words[1]) != words[1]:
            faults.meet(AnnotationError(f"{shown(stem)} is listed with {told[stem]} and {words[1]}.", "Keep one line."))
            told[stem] = None  # not known, then
    found: list[tuple[Path, str | None]] = []
    for path in flat:
        if path.stem not in told:
            faults.meet(AnnotationError(f"{shown(path.name)} is not in {shown(str(classes))}.", "Add a line for it."))
        found.append((path, told.get(path.stem)))
    if missing := sorted(told.keys() - {path.stem for path in flat}):
        faults.say(f"{len(missing)} listed photographs are not there, the first is {missing[0]!r}")
    return found


def _boxed(sample: Sample, path: Path, wnid: str | None, folder: Path, faults: Faults) -> Sample:
    """Give the sample with the boxes of its XML file."""
    listed = folder / f"{sample.id}.xml"
    if not listed.is_file():
        return replace(sample, notes=("there are no boxes of this photograph",))
    try:
        found = read_boxes(listed, lambda x0, y0, x1, y1: (x0, y0, x1, y1))
        other = next((item.name for item in found.objects if _WNID.fullmatch(wnid or "") and item.name != wnid), None)
        if other is not None:
            raise AnnotationError(f"{shown(listed.name)} boxes {shown(other)}; the class is {wnid}.", "Correct either.")
        size = size_for_boxes(path, faults)
        if size is None:
            return replace(sample, notes=(LEFT_OUT,))
        shrunk = size[0] / found.width
        if abs(found.height * shrunk - size[1]) > 1:
            require_size(path, found.width, found.height, shown(listed.name))
    except DataError as error:
        faults.meet(error)
        return replace(sample, notes=(LEFT_OUT,))
    regions = tuple(Region(sample.label, scaled(item.box, found.width, found.height, *size)) for item in found.objects)
    note = [f"boxes were scaled from {found.width:g}x{found.height:g}"] if size != (found.width, found.height) else []
    return replace(sample, regions=regions, notes=(*note, *found.notes))


# --- the re-packed selection


def _repacked(top: Path, names: tuple[str, ...] | None, faults: Faults) -> Samples:
    """Load labels.csv, images/ and, if it is there, boxes.csv."""
    if not (top / "images").is_dir():
        raise wrong_layout(top, ["labels.csv with images/, and optionally boxes.csv"])
    rows = read_table(top / "labels.csv", ["file", "class_index", "class_name", "width", "height"])
    boxes = _table_of_boxes(top / "boxes.csv", {row["file"] for _, row in rows}, faults)
    samples: dict[str, Sample] = {}
    for line, row in rows:
        where = f"labels.csv, line {line}"
        try:
            path = under(top / "images", row["file"])
            require_photograph(path, where)
            index = int(number(row["class_index"], f"{where}: class_index"))
            if path.stem in samples or str(index) != row["class_index"] or not 0 <= index < _ALL:
                raise AnnotationError(
                    f"{where}: {shown(row['file'])} with class_index {row['class_index']}.",
                    f"Expected each photograph once, with an index from 0 to {_ALL - 1}.",
                )
            stated = [number(row[side], f"{where}: {side}") for side in ("width", "height")]
        except DataError as error:
            faults.meet(error)
            continue
        label = names[index] if names else row["class_name"]
        found = boxes.get(row["file"], [])
        notes: tuple[str, ...] = () if found else ("there are no boxes of this photograph",)
        if found and not fitting(path, stated[0], stated[1], where, faults):
            found, notes = [], (LEFT_OUT,)
        regions = tuple(Region(label, scaled(box, wide, high, stated[0], stated[1])) for box, wide, high in found)
        samples[path.stem] = Sample(path.stem, path, label, index, regions, notes=notes)
    ordered = tuple(samples[name] for name in sorted(samples))
    return Samples("imagenet", ordered, names, tuple(faults.notes))


def _table_of_boxes(path: Path, files: set[str], faults: Faults) -> dict[str, list[tuple[Box, float, float]]]:
    """Read boxes.csv: for each photograph its boxes, each with width and height of the original."""
    found: defaultdict[str, list[tuple[Box, float, float]]] = defaultdict(list)
    columns = ["x0", "y0", "x1", "y1", "original_width", "original_height"]
    for line, row in read_table(path, ["file", *columns]) if path.is_file() else []:
        where = f"boxes.csv, line {line}"
        try:
            x0, y0, x1, y1, wide, high = (number(row[name], f"{where}: {name}") for name in columns)
            if row["file"] not in files:
                raise AnnotationError(f"{where}: {shown(row['file'])} is not in labels.csv.", "Add it there.")
            found[row["file"]].append((checked_box((x0, y0, x1, y1), wide, high, where)[0], wide, high))
        except DataError as error:
            faults.meet(error)
    return found
