"""Boxes in the XML of PASCAL VOC, which ImageNet and the Oxford pets use as well."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from vitreous.core.errors import AnnotationError
from vitreous.core.frame import Box
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import checked_box, number
from vitreous.worlds._files import read_xml


class BoxedObject(NamedTuple):
    """One object: its name as written, its box in the file's picture, and whether it is marked difficult."""

    name: str
    box: Box
    difficult: bool


class BoxFile(NamedTuple):
    """One XML file: the size that it states for its picture, its objects, and what had to be cut off."""

    width: float
    height: float
    objects: tuple[BoxedObject, ...]
    notes: tuple[str, ...]


def read_boxes(path: Path, to_box: Callable[[float, float, float, float], Box]) -> BoxFile:
    """Read the objects of one XML file; boxes of parts of objects are not read.

    to_box  what xmin, ymin, xmax and ymax mean, as a function from them to a box

    Raises AnnotationError for anything missing or impossible.
    """
    root = read_xml(path)
    where = shown(path.name)
    width, height = (number(_text(root, f"size/{side}"), f"{where}: size/{side}") for side in ("width", "height"))
    if width < 1 or height < 1:
        raise AnnotationError(f"{where} says that its picture has {width:g}x{height:g} pixels.", "Correct its size.")
    objects, notes = [], []
    for place, item in enumerate(root.iterfind("object"), start=1):
        what = f"{where}, object {place}"
        name = _text(item, "name")
        if not name:
            raise AnnotationError(f"{what} has no name.", "Give it its class.")
        corners = [
            number(_text(item, f"bndbox/{edge}"), f"{what}: {edge}") for edge in ("xmin", "ymin", "xmax", "ymax")
        ]
        box, cut = checked_box(to_box(corners[0], corners[1], corners[2], corners[3]), width, height, what)
        if cut:
            notes.append(f"object {place} ({name}): the part of the box outside, at most a pixel, was cut off")
        objects.append(BoxedObject(name, box, _text(item, "difficult") == "1"))
    return BoxFile(width, height, tuple(objects), tuple(notes))


def _text(item: ET.Element, path: str) -> str:
    """Give the text of an element, or nothing."""
    return (item.findtext(path) or "").strip()
