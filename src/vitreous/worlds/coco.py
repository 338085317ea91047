"""COCO instances: photographs, and a JSON file with boxes, outlines and classes.

    annotations.json     {"images": [...], "annotations": [...], "categories": [...]}
    images/              the photographs that it names

Outlines are polygons or run lengths, plain or compressed; masks are made of them when they are asked for, by the
library faster-coco-eval (extra "data"). Boxes become corners: x, y, x + width, y + height. Accidents:

- a photograph without annotations is kept, without regions; ids of annotations are not used
- a photograph that is not there, an unknown category or image, an impossible box or outline: a fault, raised, or
  left out and noted with bad="skip". So are images whose id or file occurs twice, all of them: whose annotations are
  whose is not known
- an annotation without an outline keeps its box, one without a box its mask
- a photograph of another size than the JSON says, also because its EXIF orientation turns it: a fault; only
  headers are read for this. One that cannot be read is kept without annotations and noted; reading it raises
- an outline that covers no pixel gives an empty mask
- regions marked iscrowd have `crowd` set: they stand for several objects and are neither void nor one object
"""

import math
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.core.errors import AnnotationError, DataError, MissingExtraError
from vitreous.core.frame import Box
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import checked_box, fitting, from_extent, number
from vitreous.worlds._files import LEFT_OUT, Bad, Faults, read_json, require_folder, require_photograph, under
from vitreous.worlds.sample import Mask, Region, Sample, Samples

_PARTS = ("images", "annotations", "categories")


def coco(annotations: str | Path, images: str | Path, bad: Bad = "raise") -> Samples:
    """Load COCO instances. Ids are the file names of the photographs; a region's name is its category.

    annotations  the JSON file
    images       the folder of the photographs
    bad          "raise" for an error at the first fault, "skip" to leave it out and note it

    `labels` are the categories in the order of their ids. Photographs have no label of their own, because they show
    several classes. Raises DataError for a file of another form, AnnotationError for single faults; reading a
    mask raises MissingExtraError without faster-coco-eval.
    """
    listed = Path(annotations)
    folder = require_folder(images, "The folder of photographs")
    faults = Faults(bad)
    told = read_json(listed, "The annotation file")
    for part in _PARTS:
        if not isinstance(told.get(part), list) or not all(isinstance(item, dict) for item in told[part]):
            raise DataError(
                f"{shown(str(annotations))} has no list {part!r} of objects; it has {', '.join(map(shown, told))}.",
                "Expected COCO instances: images, annotations and categories.",
            )
    names = _categories(told["categories"])
    pictures = _images(told["images"], folder, faults)
    of_image: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    known = {item["id"] for item in told["images"] if isinstance(item.get("id"), int)}
    for item in told["annotations"]:
        image = item.get("image_id")
        if isinstance(image, int) and image in known:
            of_image[image].append(item)
        else:
            where = f"annotation {item.get('id')}"
            faults.meet(AnnotationError(f"{where}: there is no image {image!r}.", "Add the image to the file."))
    samples = [_sample(item, folder, of_image[item["id"]], names, listed.name, faults) for item in pictures]
    samples.sort(key=lambda sample: sample.id)
    return Samples(listed.stem, tuple(samples), tuple(names[key] for key in sorted(names)), tuple(faults.notes))


def _categories(items: list[dict[str, Any]]) -> dict[int, str]:
    """Index the names of categories by their ids. Raises DataError, whatever is to become of single faults."""
    names: dict[int, str] = {}
    for item in items:
        key, name = item.get("id"), item.get("name")
        if not isinstance(key, int) or not isinstance(name, str) or key in names:
            raise DataError(f"The category {key!r}, {name!r}, has no name or not an id of its own.", "Give it both.")
        names[key] = name
    return names


def _images(items: list[dict[str, Any]], folder: Path, faults: Faults) -> list[dict[str, Any]]:
    """Keep the images that are complete, single and there."""
    kept = []
    ids, files = (Counter(str(item.get(name)) for item in items) for name in ("id", "file_name"))
    for item in items:
        key, name, size = item.get("id"), item.get("file_name"), (item.get("width"), item.get("height"))
        where = f"image {key!r}"
        try:
            if not isinstance(key, int) or not isinstance(name, str):
                raise AnnotationError(f"{where} has the file_name {name!r}.", "Expected a number and a text.")
            if not all(isinstance(side, int) and side > 0 for side in size):
                raise AnnotationError(f"{where} has the size {size}.", "Expected width and height in whole pixels.")
            if ids[str(key)] > 1 or files[name] > 1:  # whose annotations are whose is not known: none is kept
                raise AnnotationError(f"{where}, {shown(name)}, occurs twice.", "Keep one, with one id.")
            require_photograph(under(folder, name), where)
        except DataError as error:
            faults.meet(error)
            continue
        kept.append(item)
    return kept


def _sample(
    item: dict[str, Any],
    folder: Path,
    annotations: list[dict[str, Any]],
    names: dict[int, str],
    listed: str,
    faults: Faults,
) -> Sample:
    """Make the sample of one image."""
    path = under(folder, item["file_name"])
    regions: list[Region] = []
    notes: list[str] = []
    height, width = item["height"], item["width"]
    fit = not annotations or fitting(path, float(width), float(height), listed, faults)
    for annotation in annotations if fit else ():
        where = f"annotation {annotation.get('id')} of {shown(item['file_name'])}"
        try:
            regions.append(_region(annotation, height, width, names, where, notes))
        except AnnotationError as error:
            faults.meet(error)
    if len(regions) < len(annotations):
        notes.append(LEFT_OUT)
    return Sample(item["file_name"], path, regions=tuple(regions), notes=tuple(notes))


def _region(
    annotation: dict[str, Any], height: int, width: int, names: dict[int, str], where: str, notes: list[str]
) -> Region:
    """Make the region of one annotation. Raises AnnotationError."""
    category = annotation.get("category_id")
    if not isinstance(category, int) or category not in names:
        raise AnnotationError(f"{where}: there is no category {category!r}.", "Add it to the categories.")
    box = _box(annotation.get("bbox"), height, width, where, notes)
    outline = annotation.get("segmentation")
    if outline:
        _check_outline(outline, height, width, where)
    elif box is None:
        raise AnnotationError(f"{where} has neither a box nor an outline.", "Remove it, or give one of them.")
    read = partial(_decode, outline, height, width, where) if outline else None
    return Region(names[category], box, read, crowd=bool(annotation.get("iscrowd", 0)))


def _box(told: Any, height: int, width: int, where: str, notes: list[str]) -> Box | None:
    """Turn a bbox into corners; None if there is none."""
    if told is None or told == []:
        return None
    if not isinstance(told, list) or len(told) != 4:
        raise AnnotationError(f"{where}: bbox is {shown(str(told))}.", "Expected [x, y, width, height].")
    x, y, wide, high = (number(value, f"{where}: bbox") for value in told)
    box, cut = checked_box(from_extent(x, y, wide, high), float(width), float(height), where)
    if cut:
        notes.append(f"{where}: the part of the box outside the photograph, at most a pixel, was cut off")
    return box


def _check_outline(outline: Any, height: int, width: int, where: str) -> None:
    """Refuse what the decoder would not understand, or could be made to spend memory on. Raises AnnotationError."""
    if isinstance(outline, dict):
        counts = outline.get("counts")
        whole = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
        if outline.get("size") != [height, width] or not (isinstance(counts, str) or whole):
            raise AnnotationError(
                f"{where}: run lengths of size {outline.get('size')}, for an image of [{height}, {width}].",
                "Expected {'size': [height, width], 'counts': whole numbers or a text}.",
            )
        return
    for part in outline if isinstance(outline, list) else [outline]:
        usable = isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0
        if not usable or not all(type(value) in {int, float} and math.isfinite(value) for value in part):
            raise AnnotationError(
                f"{where}: the outline has a part {shown(str(part))}.", "Expected [x, y, x, y, x, y, …]."
            )
        corners = np.asarray(part, dtype=np.float64).reshape(-1, 2)
        if corners.min() < -1 or (corners > (width + 1, height + 1)).any():
            least, most = tuple(corners.min(0).tolist()), tuple(corners.max(0).tolist())
            raise AnnotationError(
                f"{where}: the outline reaches from {least} to {most}; the image has {width}x{height} pixels.",
                "Use pixels of this very file.",
            )


def _decode(outline: Any, height: int, width: int, where: str) -> Mask:
    """Make a mask of an outline; nothing in COCO is void. Raises AnnotationError and MissingExtraError."""
    try:
        from faster_coco_eval.core import mask as library  # noqa: PLC0415  (only masks need it)
    except ModuleNotFoundError as problem:
        raise MissingExtraError.of("faster-coco-eval", "data", "Making masks of COCO outlines") from problem
    try:
        compressed = isinstance(outline, dict) and isinstance(outline["counts"], str)
        encoded = outline if compressed else library.frPyObjects(outline, height, width)
        inside = library.decode(library.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        raise AnnotationError(f"{where}: the outline cannot be decoded ({error}).", "Export it again.") from error
    return Mask(inside, np.zeros((height, width), dtype=bool))
