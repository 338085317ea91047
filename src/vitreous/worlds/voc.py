"""PASCAL VOC, as of 2012: segmented or boxed objects of twenty classes.

    root/
      ImageSets/Segmentation/val.txt   ImageSets/Main/val.txt    names, one in a line
      JPEGImages/NAME.jpg
      SegmentationClass/NAME.png       index of the class, 255 void
      SegmentationObject/NAME.png      number of the object, 255 void
      Annotations/NAME.xml             boxes

Masks are read by their indices, so a copy saved in colours is refused. Boxes there are pixel numbers counted from
1, the last included; here they are edges counted from 0, so (1, 1, 500, 375) is the whole of a picture of 500x375.
What is done about accidents:

- a photograph that is not there, an unknown class, an impossible box, a size that is not the photograph's, an object
  mask that the class mask contradicts: a fault, raised, or noted with bad="skip"; then all annotations of the
  photograph are left out, so that none is half annotated
- a photograph without an annotation file, as in the test split, is kept without regions, and says so in its notes
- objects marked difficult are kept, and the photograph's notes say which
- the void rim around objects is void in every mask; an image whose mask has no object has no region
- XML with a DOCTYPE or entities is refused
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from vitreous.core.errors import AnnotationError, DataError, InputError, near_matches
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import fitting, from_inclusive, mask_values
from vitreous.worlds._boxes_xml import read_boxes
from vitreous.worlds._files import (
    LEFT_OUT,
    Bad,
    Faults,
    names_in,
    read_lines,
    require_folder,
    require_photograph,
    under,
    wrong_layout,
)
from vitreous.worlds.sample import Mask, Region, Sample, Samples

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_VOID = 255
_SETS = {"segmentation": "Segmentation", "detection": "Main"}


def voc(
    root: str | Path,
    split: str = "val",
    kind: Literal["segmentation", "detection"] = "segmentation",
    bad: Bad = "raise",
) -> Samples:
    """Load one split of PASCAL VOC. Ids are the names in its list, such as "2007_000033".

    root   the folder with JPEGImages, usually VOCdevkit/VOC2012
    split  the name of the list: "train", "val", "trainval" or "test"
    kind   "segmentation": regions with masks, read when asked for; the files are read once now to count objects.
           "detection": regions with boxes
    bad    "raise" for an error at the first fault, "skip" to leave it out and note it

    Photographs have no label of their own, because they show several classes. Without SegmentationObject a region
    is all of one class. Raises DataError, AnnotationError and InputError.
    """
    if kind not in _SETS:
        raise InputError(f"kind={kind!r} is unknown. {near_matches(kind, _SETS)}", 'Use "segmentation" or "detection".')
    top = require_folder(root, "The folder")
    parts = [f"ImageSets/{_SETS[kind]}", "JPEGImages", "SegmentationClass" if kind == "segmentation" else "Annotations"]
    if not all((top / part).is_dir() for part in parts):
        inner = [
            path for path in sorted(top.glob("*/JPEGImages")) + sorted(top.glob("*/*/JPEGImages")) if path.is_dir()
        ]
        raise wrong_layout(
            top,
            [" and ".join(f"{part}/" for part in parts)],
            f"Did you mean {str(inner[0].parent)!r}?" if inner else "",
        )
    faults = Faults(bad)
    samples = {}
    for name in _split(top / "ImageSets" / _SETS[kind], split):
        try:
            path = under(top / "JPEGImages", f"{name}.jpg")
            require_photograph(path, f"the split {split!r}")
            if name in samples:
                raise AnnotationError(f"The split {split!r} names {shown(name)} twice.", "Keep one line.")
        except DataError as error:
            faults.meet(error)
            continue
        sample = Sample(name, path)
        try:
            sample = (
                _segmented(sample, path, top, faults) if kind == "segmentation" else _boxed(sample, path, top, faults)
            )
        except AnnotationError as error:
            faults.meet(error)
            sample = Sample(name, path, notes=(LEFT_OUT,))
        samples[name] = sample
    return Samples(f"voc {split}", tuple(samples[name] for name in sorted(samples)), CLASSES, tuple(faults.notes))


def _split(folder: Path, split: str) -> list[str]:
    """Read the names of a split. Raises DataError if there is no such list, or it is the list of one class."""
    path = folder / f"{split}.txt"
    if not path.is_file():
        lists = [Path(name).stem for name in names_in(folder) if name.endswith(".txt")]
        raise DataError(
            f"There is no split {split!r} in {shown(str(folder))}.",
            near_matches(split, lists) or f"There are {', '.join(map(repr, lists[:8])) or 'none'}.",
        )
    lines = read_lines(path, "The split")
    if wrong := next((words for words in lines if len(words) != 1), None):
        raise DataError(
            f"The split {shown(str(path))} has the line {' '.join(wrong)!r}: it is about one class.",
            'Use a split of names alone, such as "val".',
        )
    return [words[0] for words in lines]


# --- segmentation


def _segmented(sample: Sample, path: Path, top: Path, faults: Faults) -> Sample:
    """Give the sample with one region for each object, or class. Raises AnnotationError."""
    of_class = top / "SegmentationClass" / f"{sample.id}.png"
    of_object = top / "SegmentationObject" / f"{sample.id}.png"
    if not of_class.is_file():
        return Sample(sample.id, path, notes=("there is no mask of this photograph",))
    classes = mask_values(of_class)
    if not fitting(path, float(classes.shape[1]), float(classes.shape[0]), f"The mask {shown(of_class.name)}", faults):
        return Sample(sample.id, path, notes=(LEFT_OUT,))
    if not (top / "SegmentationObject").is_dir():
        indices = [int(value) for value in np.unique(classes) if value not in {0, _VOID}]
        regions = [Region(_class(value, of_class), read=partial(_read, of_class, value)) for value in indices]
        return Sample(sample.id, path, regions=tuple(regions))
    objects = mask_values(of_object)
    if objects.shape != classes.shape:
        raise AnnotationError(f"{sample.id}: the masks of classes and objects differ in size.", "Download them again.")
    regions = []
    for number in (int(value) for value in np.unique(objects) if value not in {0, _VOID}):
        inside = sorted({int(value) for value in np.unique(classes[objects == number])} - {_VOID})
        if len(inside) != 1 or inside == [0]:
            raise AnnotationError(
                f"{sample.id}: object {number} lies on the classes {inside}.", "Expected one class for each object."
            )
        regions.append(Region(_class(inside[0], of_class), read=partial(_read, of_object, number)))
    return Sample(sample.id, path, regions=tuple(regions))


def _class(index: int, path: Path) -> str:
    """Name a class by its index in a mask. Raises AnnotationError."""
    if not 1 <= index <= len(CLASSES):
        raise AnnotationError(
            f"The mask {shown(str(path))} has the value {index}.",
            f"Expected 0, classes 1 to {len(CLASSES)} and 255, as indices of a palette rather than colours.",
        )
    return CLASSES[index - 1]


def _read(path: Path, value: int) -> Mask:
    """Read the mask of one object."""
    values = mask_values(path)
    return Mask(values == value, values == _VOID)


# --- detection


def _boxed(sample: Sample, path: Path, top: Path, faults: Faults) -> Sample:
    """Give the sample with one region for each boxed object. Raises AnnotationError."""
    listed = top / "Annotations" / f"{sample.id}.xml"
    if not listed.is_file():
        return Sample(sample.id, path, notes=("there are no boxes of this photograph",))
    found = read_boxes(listed, from_inclusive)
    unknown = [item.name for item in found.objects if item.name not in CLASSES]
    if unknown:
        raise AnnotationError(
            f"{shown(listed.name)} has the class {shown(unknown[0])}. {near_matches(unknown[0], CLASSES)}".strip(),
            "Use the names of VOC's classes, or bring other classes as COCO or as a manifest.",
        )
    if not fitting(path, found.width, found.height, shown(listed.name), faults):
        return Sample(sample.id, path, notes=(LEFT_OUT,))
    difficult = [
        f"object {place} ({item.name}) is marked difficult"
        for place, item in enumerate(found.objects, start=1)
        if item.difficult
    ]
    regions = tuple(Region(item.name, item.box) for item in found.objects)
    return Sample(sample.id, path, regions=regions, notes=(*difficult, *found.notes))
