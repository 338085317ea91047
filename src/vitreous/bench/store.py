"""Store: the folder of an evaluation. Rows in Parquet, one file for each shard, written whole or not at all.

    RUN/
      manifest.json        see `bench.manifest`
      rows/000000.parquet  rows of the first shard, one column for each field of `Row`. A shard that is there is done
      maps/000000.safetensors
                           the raw maps of its samples, if they are kept: for each method a tensor "LABEL", float32
                           "n rows columns"; the metadata names its n samples in JSON, under "LABEL" again
      lock                 held while a process writes; released by the system when the process ends, however it ends

Parquet can be read by anything: pandas, polars, DuckDB, Arrow in any language. A shard is the unit of resuming: what a
killed run had not finished is computed anew, and nothing is lost, doubled or mixed.
"""

import io
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cached_property
from itertools import accumulate
from operator import eq
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
import safetensors.numpy
from filelock import FileLock, Timeout
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from vitreous.bench.manifest import SCHEMA, Manifest
from vitreous.bench.row import Row
from vitreous.core.errors import MissingExtraError, OutputError, RunFolderError
from vitreous.core.heatmap_file import write_whole

DAMAGED = "Delete it and run the evaluation again."
Result = TypeVar("Result")
Maps: TypeAlias = dict[str, dict[str, np.ndarray]]
"""Raw maps by label of the method, then by sample."""

_TEXT = {"sample", "image_digest", "method", "metric", "status", "reason", "target", "predicted"}
_WHOLE = {"seed", "forwards", "backwards"}


class RunFolder:
    """The folder of one evaluation, opened for reading; `writing` opens it for writing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def manifest(self) -> Manifest | None:
        """Read the manifest; None for a folder that has none yet.

        Raises RunFolderError for one that is damaged, of another program, or of a later layout.
        """
        file = self.path / "manifest.json"
        if not file.exists():
            return None
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            if told["schema_version"] != SCHEMA:
                raise RunFolderError(
                    f"{self.path} has layout {told['schema_version']}, and this version of Vitreous knows {SCHEMA}.",
                    "Read it with the version that wrote it, or evaluate again into a new folder.",
                )
            return Manifest.model_validate(told)
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as problem:
            raise RunFolderError(
                f"{file} is no manifest of an evaluation: {str(problem).splitlines()[0]}.",
                "Choose the folder of an evaluation, or a new one.",
            ) from problem

    @contextmanager
    def writing(self, manifest: Manifest) -> Iterator["RunFolder"]:
        """Take the folder for one process, begin it or go on with it.

        Raises RunFolderError if another process writes it, if its manifest differs in anything, naming the differences,
        or if it holds other files; and OutputError if it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "lock")
            lock.acquire(timeout=0)
        except Timeout as problem:
            raise RunFolderError(
                f"Another process is writing {self.path}.", "Wait until it ends, or choose another folder."
            ) from problem
        except OSError as problem:
            raise OutputError(
                f"{self.path} cannot be written: {problem.strerror}.", "Choose another folder."
            ) from problem
        try:
            self._begin(manifest)
            yield self
        finally:
            lock.release()

    def _begin(self, manifest: Manifest) -> None:
        known = self.manifest
        if known is None:
            strange = [entry.name for entry in self.path.iterdir() if entry.name != "lock"]
            if any(not name.startswith(".writing-") for name in strange):
                raise RunFolderError(
                    f"{self.path} holds other files: {', '.join(sorted(strange)[:3])}.", "Choose a new folder."
                )
            text = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=1)
            write_whole(self.path / "manifest.json", text.encode(), overwrite=False)
        elif differences := known.differences(manifest):
            raise RunFolderError(
                f"{self.path} holds another evaluation. {'; '.join(differences)}.",
                "Choose a new folder, or ask for what this one was begun with.",
            )
        for left in self.path.rglob(".writing-*"):  # of a process that was killed; the lock says that none is at work
            left.unlink(missing_ok=True)

    def finished(self) -> set[int]:
        """Give the numbers of the shards that are finished."""
        return {int(file.stem) for file in (self.path / "rows").glob("[0-9]*.parquet")}

    def write_shard(self, number: int, rows: Sequence[Row], maps: Maps | None = None) -> None:
        """Write one shard; its rows last, so that a shard with rows has its maps. Raises OutputError."""
        if maps:
            arrays = {label: np.stack(list(each.values())) for label, each in maps.items()}
            names = {label: json.dumps(list(each), ensure_ascii=False) for label, each in maps.items()}
            content = safetensors.numpy.save(arrays, metadata=names)
            write_whole(self.path / "maps" / f"{number:06d}.safetensors", content, overwrite=True)
        write_whole(self.path / "rows" / f"{number:06d}.parquet", rows_to_parquet(rows), overwrite=True)

    def rows(self) -> "StoredRows":
        """Give the rows of the shards that are finished now, in order; each shard is read when it is gone through."""
        return StoredRows(self.path)

    def maps(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Go through the raw maps that were kept, as (sample, label of the method, map), one shard in memory at a time.

        Raises RunFolderError for a file that is damaged.
        """
        for file in sorted((self.path / "maps").glob("[0-9]*.safetensors")):
            try:
                with safe_open(file, framework="numpy") as stored:
                    told = stored.metadata() or {}
                    stacks = {label: (json.loads(names), stored.get_tensor(label)) for label, names in told.items()}
            except (SafetensorError, OSError, ValueError) as problem:
                raise RunFolderError(f"{file} is damaged: {problem}.", DAMAGED) from problem
            for label, (samples, stack) in stacks.items():
                for sample, relevance in zip(samples, stack, strict=True):
                    yield sample, label, relevance


class StoredRows(Sequence[Row]):
    """Rows of an evaluation that stay in its folder. Only one shard of them is in memory while they are gone through.

    Reading raises RunFolderError for a file that is damaged or gone.
    """

    def __init__(self, path: Path) -> None:
        self._files = sorted((path / "rows").glob("[0-9]*.parquet"))

    def __iter__(self) -> Iterator[Row]:
        """Go through the rows, shard by shard."""
        for file in self._files:
            yield from _read(file, rows_from_parquet)

    @cached_property
    def _ends(self) -> list[int]:
        """How many rows there are up to the end of each shard."""
        return list(accumulate(_read(file, _count) for file in self._files))

    def __len__(self) -> int:
        """Count the rows, which the headers of the files tell."""
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        """Read one row, with its shard; or some, for which all are read."""
        if isinstance(index, slice):
            return tuple(self)[index]
        place = range(len(self))[index]
        shard = bisect_right(self._ends, place)
        before = self._ends[shard - 1] if shard else 0
        return _read(self._files[shard], rows_from_parquet)[place - before]

    def __eq__(self, other: object) -> bool:
        """Compare the rows with those of any sequence."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # what Python does for a class with __eq__, said where it is seen


def _read(file: Path, how: Callable[[bytes], Result]) -> Result:
    """Read one file of rows. Raises RunFolderError."""
    try:
        return how(file.read_bytes())
    except FileNotFoundError as problem:
        raise RunFolderError(f"{file} is gone.", "Keep the folder while its rows are needed.") from problem
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise RunFolderError(f"{file} is damaged: {problem}.", DAMAGED) from problem


def rows_to_parquet(rows: Sequence[Row]) -> bytes:
    """Give the bytes of a Parquet file with one column for each field of `Row`. Raises MissingExtraError."""
    arrow, parquet = _arrow()
    schema = arrow.schema(
        [(field.name, _type(arrow, field.name)) for field in fields(Row)], {"vitreous_schema": str(SCHEMA)}
    )
    table = arrow.Table.from_pylist([asdict(row) | {"parts": list(row.parts)} for row in rows], schema=schema)
    content = io.BytesIO()
    parquet.write_table(table, content, compression="zstd")
    return content.getvalue()


def rows_from_parquet(content: bytes) -> list[Row]:
    """Read them back, equal to the bit. Raises MissingExtraError, and ValueError for another file."""
    _, parquet = _arrow()
    table = parquet.read_table(io.BytesIO(content))
    shared: dict[str, str] = {}  # most texts are those of many rows, and would fill the memory
    return [
        Row(
            **{name: shared.setdefault(told, told) if name in _TEXT else told for name, told in line.items()}
            | {"parts": tuple(line["parts"])}
        )
        for line in table.to_pylist()
    ]


def _count(content: bytes) -> int:
    """Count the rows of a Parquet file."""
    return int(parquet_reader(content).metadata.num_rows)


def parquet_reader(content: bytes) -> Any:
    """Open a Parquet file, reading its header alone. Raises MissingExtraError, and ValueError for another file."""
    _, parquet = _arrow()
    return parquet.ParquetFile(io.BytesIO(content))


def _type(arrow: Any, name: str) -> Any:
    if name in _TEXT:
        return arrow.string()
    if name in _WHOLE:
        return arrow.int64()
    return arrow.list_(arrow.float64()) if name == "parts" else arrow.float64()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415  (only evaluations that are kept need it)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as problem:
        raise MissingExtraError.of("pyarrow", "data", "Keeping an evaluation") from problem
    return pa, parquet
