"""Photographs with maps of where people looked, or what they found informative.

    root/
      maps.json    {"maps": {NAME: {…}}, "photos": {ID: {"file": "images/ID.jpg", "width": …, "height": …}}}
      maps.npz     arrays named ID/NAME, each on a grid that covers the whole photograph
      images/

Values are given as they are stored, on the grid they were recorded on: their scales differ from map to map, some
are signed, and smoothing leaves small negative ones. What is done about accidents:

- a photograph that is not there, or of another size than stated, and a map that is not in maps.npz: a fault, raised, or
  left out and noted with bad="skip"
- arrays that maps.json does not name are noted
- a map that is not finite, has no two axes or another grid than stated is an AnnotationError when it is read. Pickled
  objects are never loaded
"""

import io
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from vitreous.core.errors import AnnotationError, DataError
from vitreous.core.image_files import shown
from vitreous.worlds._annotation import fitting, number
from vitreous.worlds._files import (
    LEFT_OUT,
    Bad,
    Faults,
    read_json,
    require_folder,
    require_photograph,
    under,
    wrong_layout,
)
from vitreous.worlds.sample import HumanMap, Sample, Samples

_MOST_BYTES = 2**28  # of one map, unpacked


def human_maps(root: str | Path, bad: Bad = "raise") -> Samples:
    """Load photographs with human maps. Ids are those of maps.json; there are no classes.

    root  the folder that holds maps.json and maps.npz
    bad   "raise" for an error at the first fault, "skip" to leave it out and note it

    Raises DataError for other layouts and AnnotationError for single faults.
    """
    top = require_folder(root, "The folder")
    if not (top / "maps.json").is_file() or not (top / "maps.npz").is_file():
        raise wrong_layout(top, ["maps.json and maps.npz"])
    faults = Faults(bad)
    told = read_json(top / "maps.json", "The list of maps")
    maps, photos = told.get("maps"), told.get("photos")
    if not isinstance(maps, dict) or not isinstance(photos, dict):
        raise DataError(
            f"maps.json has {', '.join(map(shown, told)) or 'nothing'}.", "Expected the objects 'maps' and 'photos'."
        )
    stored = _names(top / "maps.npz")
    samples = []
    for name, photo in sorted(photos.items()):
        try:
            samples.append(_sample(name, photo, maps, stored, top, faults))
        except DataError as error:
            faults.meet(error)
    for spare in sorted(stored - {f"{photo}/{kind}" for photo in photos for kind in maps}):
        faults.say(f"left out: {spare!r} of maps.npz is not named in maps.json")
    return Samples("human maps", tuple(samples), None, tuple(faults.notes))


def _sample(name: str, photo: Any, maps: dict[str, Any], stored: set[str], top: Path, faults: Faults) -> Sample:
    """Make the sample of one photograph. Raises DataError for a photograph that is not there."""
    if not isinstance(photo, dict) or not isinstance(photo.get("file"), str):
        raise AnnotationError(f"maps.json: the photograph {shown(name)} has no file.", "Name it.")
    path = under(top, photo["file"])
    require_photograph(path, "maps.json")
    width, height = (number(photo.get(side), f"maps.json: {side} of {shown(name)}") for side in ("width", "height"))
    if not fitting(path, width, height, "maps.json", faults):
        return Sample(name, path, notes=(LEFT_OUT,))
    found = []
    for kind, about in sorted(maps.items()):
        key = f"{name}/{kind}"
        if key in stored:
            grid = about.get("grid_height_width") if isinstance(about, dict) else None
            found.append(HumanMap(kind, partial(_read, top / "maps.npz", key, grid)))
        else:
            faults.meet(
                AnnotationError(f"There is no map {shown(key)} in maps.npz.", "Add it, or take it off maps.json.")
            )
    return Sample(name, path, human=tuple(found), notes=(LEFT_OUT,) if len(found) < len(maps) else ())


def _names(path: Path) -> set[str]:
    """List the arrays of an npz file. Raises DataError if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{shown(str(path))} is no npz file ({error}).", "Download it again.") from error


def _read(path: Path, key: str, grid: object) -> Float32[np.ndarray, "rows columns"]:
    """Read one map. Raises AnnotationError."""
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{key}.npy")
            packed = io.BytesIO(archive.read(entry) if entry.file_size <= _MOST_BYTES else b"")
        values: Any = np.load(packed, allow_pickle=False) if entry.file_size <= _MOST_BYTES else None
    except Exception as error:  # on bytes that they do not expect, readers of archives and arrays raise anything
        raise AnnotationError(f"The map {shown(key)} cannot be read ({error}).", "Download maps.npz again.") from error
    if values is None:
        raise AnnotationError(
            f"The map {shown(key)} unpacks to {entry.file_size:,} bytes.", f"The limit is {_MOST_BYTES:,}."
        )
    if values.ndim != 2 or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise AnnotationError(
            f"The map {shown(key)} has shape {values.shape} and type {values.dtype}, or values that are not finite.",
            "Expected finite floating-point numbers with two axes.",
        )
    if grid is not None and list(values.shape) != grid:
        raise AnnotationError(f"The map {shown(key)} has shape {values.shape}; stated is {grid}.", "Correct either.")
    return np.asarray(values, dtype=np.float32)
