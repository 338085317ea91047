"""What commands share while they run: errors as messages, models and photographs from options, progress.

Two kinds of mistakes are kept apart. What is wrong with the command line itself is a `typer.BadParameter`,
status 2. What the package refuses is a `VitreousError`: its code, cause and fix are printed in one line,
status 3. Anything else is a defect of the program and shows its traceback.
"""

import itertools
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

if TYPE_CHECKING:
    import vitreous as vt
    from vitreous.core.frame import Fit

SOME_FAILED, NOTHING_DONE, INTERRUPTED = 1, 3, 130
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}


@contextmanager
def told_errors(debug: bool) -> Iterator[None]:
    """Print an error of this package as one message and stop with its status; other errors are mistakes and pass.

    debug  let errors of this package pass as well, with their traceback

    Ends with status 3 after an error and 130 after an interruption. Files are written whole or not at all,
    so an interrupted run leaves no half of one.
    """
    from vitreous.core.errors import VitreousError  # noqa: PLC0415

    try:
        yield
    except VitreousError as problem:
        if debug:
            raise
        tell(str(problem))
        raise typer.Exit(NOTHING_DONE) from problem
    except KeyboardInterrupt as problem:
        tell("Interrupted; what was written so far is whole.")
        raise typer.Exit(INTERRUPTED) from problem


def tell(message: str) -> None:
    """Print a message for the person, on standard error."""
    typer.echo(message, err=True)


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line.

    Letters stay as they are, in UTF-8. NaN raises ValueError, because other readers of JSON would refuse
    it.
    """
    typer.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))


@dataclass(frozen=True)
class ModelOptions:
    """The options that say which model to open, as they were typed.

    model        name with its family, or a checkpoint folder
    weights      local file, "random", or None for the published weights
    num_classes  outputs of a fine-tuned head
    image_size   "384" or "224x320" (height x width)
    labels       text file with one class name per line
    device       for instance "cuda"
    """

    model: str
    weights: str | None
    num_classes: int | None
    image_size: str | None
    labels: Path | None
    device: str | None

    def open(self, require_attention: bool = True) -> "vt.Vit":
        """Open the model, telling what is going on: it can take a while.

        Warnings about what had to be guessed go to standard error, and into every heatmap's record. Raises
        typer.BadParameter for a size or a file of labels that cannot be read, and what `open_vit` raises.
        """
        import vitreous as vt  # noqa: PLC0415

        tell(f"Opening {self.model} …")
        vit = vt.open_vit(
            self.model,
            self.weights,
            num_classes=self.num_classes,
            image_size=_size(self.image_size),
            labels=_lines(self.labels),
            device=self.device,
            require_attention=require_attention,
        )
        for warning in vit.warnings:
            tell(f"Warning: {warning}")
        return vit


def _size(text: str | None) -> tuple[int, int] | None:
    """Read --image-size: one number stands for both sides, two are height x width."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if not re.fullmatch(r"[1-9][0-9]{0,4}(x[1-9][0-9]{0,4})?", text.lower()):
        raise typer.BadParameter(
            f"{text!r} is no size; give 384 or 224x320 (height x width)", param_hint="--image-size"
        )
    return int(sides[0]), int(sides[-1])


def _lines(path: Path | None) -> list[str] | None:
    """Read class names. A byte order mark, which editors on Windows write, is no part of the first name."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise typer.BadParameter(f"{path} cannot be read: {problem}", param_hint="--labels") from problem


def chosen_target(target: str | None, against: str | None) -> Any:
    """Turn --target and --against into a target: digits are an index, anything else a name.

    A class whose name is a number can only be given by its index. Raises typer.BadParameter for --against
    alone.
    """
    import vitreous as vt  # noqa: PLC0415

    if against is None:
        return None if target is None else _class(target)
    if target is None:
        raise typer.BadParameter("--against needs --target: why this class rather than that", param_hint="--against")
    return vt.Contrast(_class(target), _class(against))


def chosen_fit(fit: str) -> "Fit":
    """Check --fit and give it back. Raises typer.BadParameter for another word, as Typer does for its own choices."""
    from vitreous.core.frame import Fit  # noqa: PLC0415

    known: tuple[Fit, ...] = get_args(Fit)
    for name in known:
        if fit == name:
            return name
    raise typer.BadParameter(f"{fit!r} is not one of {', '.join(known)}", param_hint="--fit")


def _class(text: str) -> int | str:
    """Read a class: an index if it is made of digits, else a name.

    A minus sign stays with the number, to be refused as an index.
    """
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def chosen_parameters(settings: list[str] | None) -> dict[str, Any]:
    """Read --set NAME=VALUE; values are JSON where they can be, else text.

    Python's True and False are taken as well. The last of several values for one name counts. Which names
    there are is for the method to say. Raises typer.BadParameter where "=" is missing.

    >>> chosen_parameters(["discard=0.9", "fusion=max", "relu=False"])
    {'discard': 0.9, 'fusion': 'max', 'relu': False}
    """
    found = {}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        try:
            found[name] = json.loads(text.lower() if text in {"True", "False"} else text)
        except ValueError:
            found[name] = text
    return found


def find_photos(paths: list[Path]) -> list[Path]:
    """Put the photographs of each folder, by name, in the folder's place. Other paths stay, readable or not.

    Folders within folders are not searched; what counts is the ending of the name (`SUFFIXES`). A path that
    cannot be read stays in the list, so that it is reported with its reason. Raises typer.BadParameter if
    nothing is left.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                tell(f"Warning: the folder {path} holds no photographs.")
            found += inside
        else:
            found.append(path)
    if not found:
        raise typer.BadParameter("no photographs found", param_hint="PHOTOS")
    return found


@contextmanager
def progress(total: int, doing: str = "Explaining") -> Iterator[Any]:
    """Show progress over many photographs on standard error, if a person is watching.

    Gives a function to advance it.

    Nothing is shown for a single photograph or into a file; the bar disappears at the end.
    """
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda: bar.advance(task)


def result_names(photos: list[Path]) -> list[str]:
    """Name the results after the photographs; photographs of the same name in different folders get a number.

    Names that differ by case alone count as the same, since some file systems cannot tell them apart. The
    ending is dropped and long names are cut at 120 characters.

    >>> result_names([Path("a/cat.jpg"), Path("b/Cat.jpg")])
    ['cat', 'Cat-2']
    """
    taken: set[str] = set()
    names = []
    for photo in photos:
        stem = (photo.stem or "photo")[:120]
        numbered = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
        names.append(next(name for name in numbered if name.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names
