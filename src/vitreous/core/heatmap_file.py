"""The file format of a heatmap: one safetensors file whose header holds unit, frame and provenance as JSON.

Nothing in it can run code, and a reader needs only numpy to see the raw relevance.

The tensor "relevance" is float32, "gh gw" or "H W". The metadata entry "vitreous" is a JSON object:

schema        number of this format; a reader refuses any other
unit, signed  as in `Heatmap`
frame         the fields of `Frame`, with lists for tuples
provenance    the fields of `Provenance`; one that is missing or unknown makes the file invalid
"""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vitreous.core.errors import InputError, OutputError, OutputExistsError
from vitreous.core.frame import Frame
from vitreous.core.provenance import Provenance

if TYPE_CHECKING:
    from vitreous.core.heatmap import Heatmap

SCHEMA = 1


def write(heatmap: "Heatmap", path: Path, overwrite: bool) -> Path:
    """Write `heatmap` to `path`: whole or not at all. Errors as in `write_whole`.

    A score of NaN or infinity, which `explain` never gives, raises ValueError: JSON cannot hold it.
    """
    header = {
        "schema": SCHEMA,
        "unit": heatmap.unit,
        "signed": heatmap.signed,
        "frame": asdict(heatmap.frame),
        "provenance": heatmap.provenance.model_dump(mode="json"),
    }
    content = save(
        {"relevance": np.ascontiguousarray(heatmap.relevance)},
        metadata={"vitreous": json.dumps(header, ensure_ascii=False, allow_nan=False)},
    )
    return write_whole(path, content, overwrite)


def write_whole(path: Path, content: bytes, overwrite: bool) -> Path:
    """Write bytes through a temporary file beside `path`, so that a crash leaves no half file.

    Missing folders are made. The content is on the disk before it gets its name, and the temporary file,
    ".writing-" and random letters, is removed whatever happens short of a crash.

    Raises OutputExistsError if the file exists and `overwrite` is not given, OutputError if it cannot be
    written.
    """
    scratch = path.parent / f".writing-{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: its files are private, and a result has the permissions of any new file.
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as problem:
        raise OutputError(f"{path} cannot be written: {problem.strerror}.", "Choose another folder.") from problem
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _publish(scratch, path, overwrite)
    except OSError as problem:
        raise OutputError(
            f"{path} cannot be written: {problem.strerror}.", "Free space or choose another folder."
        ) from problem
    finally:
        scratch.unlink(missing_ok=True)
    return path


def _publish(scratch: Path, path: Path, overwrite: bool) -> None:
    """Give the finished file its name; a hard link fails if the name is taken, without a gap to race in.

    File systems without hard links (FAT, some network shares) get a look and a rename, which have one.
    """
    if not overwrite:
        try:
            os.link(scratch, path)
        except OSError as problem:
            if path.exists() or isinstance(problem, FileExistsError):
                raise OutputExistsError(
                    f"{path} exists already.", "Choose another name, or allow overwriting."
                ) from problem
        else:
            return
    scratch.replace(path)


def read(path: Path) -> "Heatmap":
    """Read a heatmap back, checking everything a damaged or foreign file could get wrong.

    Raises OutputError for a file that is missing, is no safetensors file, holds no heatmap, has another
    schema, or whose header lacks a field or has an unknown one, and for relevance that is not float32 or
    not finite.
    """
    from vitreous.core.heatmap import Heatmap  # noqa: PLC0415  (the format and the type know each other)

    fix = "Give a file written by Heatmap.save."
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("vitreous")
            names = set(file.keys())
            relevance = file.get_tensor("relevance") if "relevance" in names else None
    except FileNotFoundError as problem:
        raise OutputError(f"{path} does not exist.", fix) from problem
    except (OSError, SafetensorError, TypeError) as problem:  # numpy has no word for some types
        raise OutputError(f"{path} is not a heatmap file: {problem}.", fix) from problem
    if text is None or relevance is None:
        raise OutputError(f"{path} is a safetensors file, but not a heatmap.", fix)
    if relevance.dtype != np.float32 or not np.isfinite(relevance).all():
        raise OutputError(f"{path} holds {relevance.dtype} relevance, or NaN or infinity in it.", fix)
    try:
        header: dict[str, Any] = json.loads(text)
        if header["schema"] != SCHEMA:
            raise OutputError(
                f"{path} has heatmap schema {header['schema']}; this version reads schema {SCHEMA}.",
                "Read it with the version of Vitreous that wrote it.",
            )
        return Heatmap(
            relevance=relevance,
            unit=str(header["unit"]),
            signed=bool(header["signed"]),
            frame=_frame(header["frame"]),
            provenance=Provenance.model_validate(header["provenance"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError, ValidationError, InputError) as problem:
        raise OutputError(f"{path} has a damaged heatmap header: {problem}.", fix) from problem


def _frame(fields: dict[str, Any]) -> Frame:
    """Build the frame from JSON, where tuples have become lists."""
    build: Callable[..., Frame] = Frame
    return build(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
