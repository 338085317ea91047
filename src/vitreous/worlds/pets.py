"""Oxford-IIIT Pet: cats and dogs of 37 breeds, with masks.

    root/                                      root/
      images/Abyssinian_1.jpg                    labels.csv      file,breed,superclass
      annotations/list.txt                       images/abyssinian_1.jpg
      annotations/trainval.txt, test.txt         masks/abyssinian_1.png
      annotations/trimaps/Abyssinian_1.png
      annotations/xmls/Abyssinian_1.xml

The left layout is the official one: trimaps hold 1 for the pet, 2 for the background and 3 for a border that belongs to
either. The right one is a re-packed selection whose masks hold 255, 0 and 128 for the same. The border is void. The two
are told apart by which files there are; a folder that has neither, or both, is a DataError. Accidents:

- a photograph that is not there, a photograph listed twice, an index with two breeds, an impossible head box: a
  fault, raised, or left out and noted with bad="skip"
- a photograph without a mask is kept without its region, and says so in its notes
- other values in a mask, and masks of another size, are an AnnotationError when the mask is read
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vitreous.core.errors import AnnotationError, DataError, InputError
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import fitting, from_inclusive, mask_reader
from vitreous.worlds._boxes_xml import read_boxes
from vitreous.worlds._files import (
    LEFT_OUT,
    Bad,
    Faults,
    read_lines,
    read_table,
    require_folder,
    require_photograph,
    under,
    wrong_layout,
)
from vitreous.worlds.sample import Region, Sample, Samples

_LISTS = {"all": "list.txt", "trainval": "trainval.txt", "test": "test.txt"}
_OFFICIAL = (frozenset({1}), frozenset({3}), frozenset({2}))  # inside, void, outside
_REPACKED = (frozenset({255}), frozenset({128}), frozenset({0}))


@dataclass(frozen=True)
class _Listed:
    """One line of a list: where it is from, the photograph, its mask, its breed and the breed's index if it has one."""

    where: str
    photograph: Path
    mask: Path
    breed: str
    index: int | None


def pets(
    root: str | Path, split: Literal["all", "trainval", "test"] = "all", heads: bool = False, bad: Bad = "raise"
) -> Samples:
    """Load the pets; one region with a mask for each photograph. Ids are names without extension.

    root   the folder with images/
    split  "trainval" or "test" of the official lists, or "all"
    heads  also give the box of the head where annotations/xmls has one, as a second region named "head"
    bad    "raise" for an error at the first fault, "skip" to leave it out and note it

    Labels are breeds as the file names write them. They are no classes of ImageNet. Raises DataError, AnnotationError
    and InputError.
    """
    if split not in _LISTS:
        raise InputError(f"split={split!r} is unknown.", 'Use "all", "trainval" or "test".')
    top = require_folder(root, "The folder")
    official = (top / "annotations" / "list.txt").is_file() or (top / "annotations" / "trimaps").is_dir()
    repacked = (top / "labels.csv").is_file() and (top / "masks").is_dir()
    if official == repacked or not (top / "images").is_dir():
        raise wrong_layout(
            top,
            [
                "images/ with annotations/list.txt and annotations/trimaps/",
                "images/ with labels.csv and masks/, but not both",
            ],
        )
    faults = Faults(bad)
    if official:
        listed, values = _official(top, _LISTS[split], faults), _OFFICIAL
    elif split != "all" or heads:
        raise DataError(
            f"{shown(str(root))} is a selection without splits and heads.", 'Use split="all" and heads=False.'
        )
    else:
        listed, values = _repacked(top), _REPACKED
    breeds = {item.index: item.breed for item in listed}
    counted = set(breeds) == set(range(len(breeds)))  # the official order; a shortened list has gaps
    labels = tuple(breeds[index] for index in range(len(breeds)) if counted) or tuple(
        sorted({item.breed for item in listed})
    )
    samples: dict[str, Sample] = {}
    for item in listed:
        try:
            if item.photograph.stem in samples:
                raise AnnotationError(f"{item.where}: {shown(item.photograph.stem)} is listed twice.", "Keep one line.")
            require_photograph(item.photograph, item.where)
        except DataError as error:
            faults.meet(error)
            continue
        sample = Sample(item.photograph.stem, item.photograph, item.breed, labels.index(item.breed))
        if item.mask.is_file():
            sample = replace(sample, regions=(Region(item.breed, read=mask_reader(item.mask, *values)),))
        else:
            sample = replace(sample, notes=("there is no mask of this photograph",))
            faults.say(f"there is no mask of {sample.id!r}")
        samples[sample.id] = _with_head(sample, item.photograph, top, faults) if heads else sample
    return Samples("pets", tuple(samples[name] for name in sorted(samples)), labels, tuple(faults.notes))


def _official(top: Path, name: str, faults: Faults) -> list[_Listed]:
    """Read an official list: name, index of the breed from 1, species, index among the species."""
    path = top / "annotations" / name
    if not path.is_file():
        raise wrong_layout(top / "annotations", [name], "Unpack annotations.tar.gz again, whole.")
    found: list[_Listed] = []
    breeds: dict[int, str] = {}
    for words in read_lines(path, "The list"):
        stem, where = words[0], f"{name}: {shown(words[0])}"
        breed = stem.rpartition("_")[0]
        index = int(words[1]) - 1 if len(words) == 4 and words[1].isascii() and words[1].isdigit() else -1
        try:
            if index < 0 or not breed:
                raise AnnotationError(f"{where} in the line {' '.join(words)!r}.", "Expected 'Breed_1 1 1 1'.")
            if breeds.setdefault(index, breed) != breed:
                raise AnnotationError(
                    f"{where} has the index of {shown(breeds[index])}, {index + 1}.",
                    "Expected an index for each breed.",
                )
            photograph = under(top / "images", f"{stem}.jpg")
        except DataError as error:
            faults.meet(error)
            continue
        found.append(_Listed(where, photograph, top / "annotations" / "trimaps" / f"{stem}.png", breed, index))
    return found


def _repacked(top: Path) -> list[_Listed]:
    """Read the list of a re-packed selection."""
    rows = read_table(top / "labels.csv", ["file", "breed", "superclass"])
    return [
        _Listed(
            f"labels.csv, line {line}",
            under(top / "images", row["file"]),
            top / "masks" / f"{Path(row['file']).stem}.png",
            row["breed"],
            None,
        )
        for line, row in rows
    ]


def _with_head(sample: Sample, photograph: Path, top: Path, faults: Faults) -> Sample:
    """Add the box of the head, counted like VOC's, where there is one."""
    path = top / "annotations" / "xmls" / f"{sample.id}.xml"
    if not path.is_file():
        return sample
    try:
        found = read_boxes(path, from_inclusive)
    except AnnotationError as error:
        faults.meet(error)
        return replace(sample, notes=(*sample.notes, LEFT_OUT))
    if not fitting(photograph, found.width, found.height, shown(path.name), faults):
        return replace(sample, notes=(*sample.notes, LEFT_OUT))
    regions = (*sample.regions, *(Region("head", item.box) for item in found.objects))
    return replace(sample, regions=regions, notes=(*sample.notes, *found.notes))
