"""Photographs in a folder at an address, with or without one sub-folder for each class: `folder` for s3:// and others.

Ids, classes and order are those that `folder` gives for a copy of it on the disk. Only names are listed when it is
loaded; a photograph is fetched when it is read, each time anew. What is done about accidents is as for `folder`, except
that links are not seen, and other files are not noted one by one but counted.
"""

import posixpath
from pathlib import PurePosixPath

from vitreous.core.errors import DataError
from vitreous.core.image_files import shown
from vitreous.worlds._files import PHOTOGRAPHS
from vitreous.worlds._urls import Options, attempt, place_of
from vitreous.worlds.sample import Sample, Samples


def remote(url: str, options: Options = None) -> Samples:
    """Load a folder of photographs from an address that fsspec knows; sub-folders are classes (extra "ray").

    url      such as "s3://bucket/photographs"
    options  of the file system, such as {"anon": True} for a public bucket

    Raises DataError if there is no such folder, no photograph in it, or no telling which are the classes; InputError
    and MissingExtraError for an address that cannot be read at all.
    """
    top = place_of(url, options)
    paths = attempt(top, "The folder", top.system.find, top.path)
    base = top.path.rstrip("/")
    names = [posixpath.relpath(path, base or "/") for path in paths]
    names = sorted(name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts))
    found = [name for name in names if PurePosixPath(name).suffix.lower() in PHOTOGRAPHS]
    if not found:
        raise DataError(f"There is no photograph in {shown(url)}.", "Give the address of a folder of photographs.")
    loose = [name for name in found if "/" not in name]
    if loose and len(loose) < len(found):
        raise DataError(
            f"The folder {shown(url)} holds photographs ({loose[0]!r}) and sub-folders with photographs.",
            "Put each photograph into the sub-folder of its class, or all of them into one folder.",
        )
    labels = None if loose else tuple(sorted({name.split("/")[0] for name in names if "/" in name}))
    samples = []
    for name in found:
        label = None if labels is None else name.split("/")[0]
        index = None if labels is None or label is None else labels.index(label)
        samples.append(Sample(name, top.beside(name).fetched(), label, index))
    others = len(names) - len(found)
    notes = (f"left out: {others} files that are not named like photographs",) if others else ()
    return Samples(PurePosixPath(base).name, tuple(samples), labels, notes)
