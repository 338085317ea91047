"""Photographs in a folder, with or without one sub-folder for each class.

    root/                      root/
      cat/  a.jpg  b.png         a.jpg
      dog/  c.jpg                b.png

The layout of torchvision's `ImageFolder`: classes are the sub-folders, sorted by name, and whatever lies deeper
belongs to its class. What is done about accidents:

- no photograph at all, or photographs both beside and within sub-folders: DataError, for the classes are unclear
- a class without photographs keeps its index, so that indices agree with other copies, and is noted
- files that are no photographs by their extension are noted, and so are links to folders below a class, which are
  not followed; hidden files are ignored
- a photograph that cannot be read raises its ImageError when it is read, not before
- the same photograph in two classes is found by `repeats`, which has to read them all
"""

from pathlib import Path

from vitreous.core.errors import DataError
from vitreous.worlds._files import PHOTOGRAPHS, names_in, photographs_in, require_folder, wrong_layout
from vitreous.worlds.sample import Sample, Samples


def folder(root: str | Path) -> Samples:
    """Load a folder of photographs; sub-folders are classes. Ids are paths within `root`, such as "cat/a.jpg".

    Raises DataError if there is no such folder, no photograph in it, or no telling which are the classes.
    """
    top = require_folder(root, "The folder")
    classes = [top / name for name in names_in(top) if (top / name).is_dir()]
    loose = photographs_in(top)
    found = {path.name: sorted(_within(path), key=lambda file: file.as_posix()) for path in classes}
    if loose and any(map(_has_photograph, found.values())):
        raise DataError(
            f"The folder {str(root)!r} holds photographs ({loose[0].name!r}) and sub-folders with photographs.",
            "Put each photograph into the sub-folder of its class, or all of them into one folder.",
        )
    if loose:
        samples = [Sample(path.name, path) for path in loose]
        others = [top / name for name in names_in(top) if top / name not in loose]
        return Samples(top.name, tuple(samples), None, _notes(top, others, []))
    if not any(map(_has_photograph, found.values())):
        raise wrong_layout(top, ["photographs (*.jpg, *.png, …)", "sub-folders of photographs, one for each class"])
    files = [(path, index) for index, name in enumerate(found) for path in found[name]]
    samples = [
        Sample(path.relative_to(top).as_posix(), path, label=classes[index].name, index=index)
        for path, index in files
        if _is_photograph(path)
    ]
    others = [path for path, _ in files if not _is_photograph(path)]
    empty = [name for name in found if not _has_photograph(found[name])]
    others += [top / name for name in names_in(top) if (top / name).is_file()]
    return Samples(
        top.name, tuple(sorted(samples, key=lambda sample: sample.id)), tuple(found), _notes(top, others, empty)
    )


def _within(root: Path) -> list[Path]:
    """List the files under a folder at any depth, without hidden ones; a link to a folder stands for itself."""
    found: list[Path] = []
    for name in names_in(root):
        path = root / name
        if path.is_dir():
            found += [path] if path.is_symlink() else _within(path)  # a link may lead round in a circle
        else:
            found.append(path)
    return found


def _is_photograph(path: Path) -> bool:
    """Tell by the extension."""
    return path.suffix.lower() in PHOTOGRAPHS and not path.is_dir()


def _has_photograph(paths: list[Path]) -> bool:
    """Tell whether any of these files is named like a photograph."""
    return any(map(_is_photograph, paths))


def _notes(top: Path, others: list[Path], empty: list[str]) -> tuple[str, ...]:
    """Say what was left out."""
    lines = [
        f"left out: {path.relative_to(top).as_posix()!r} is "
        + ("a folder" if path.is_dir() else "not named like a photograph")
        for path in others
    ]
    return (*lines, *(f"the class {name!r} has no photographs" for name in empty))
