"""Submission: the results of a benchmark in one file that another person can check.

    SUBMISSION.zip
      README.md                    what this is, and the command that checks it
      benchmark.json               the configuration, sha256 of every other file, and the pairs that are missing
      MODEL/DATA/manifest.json     of each evaluation: digest of the weights, parameters, seed, versions
      MODEL/DATA/rows/*.parquet    every value, with the digest of the image it belongs to

The same results give the same bytes. Neither images nor weights are in it: whoever checks it has their own, and digests
tell whether they are the same. Digests of files notice a damaged copy, not a dishonest one; `bench.verify` runs again.

A submission comes from a stranger. It is never unpacked: files whose names follow from the configuration are read into
memory, each within a limit, and everything else in the archive is ignored or refused.
"""

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from vitreous.bench.benchmark import LAYOUT, RECORD, Record, load_benchmark, read_record, write_record
from vitreous.bench.manifest import Manifest
from vitreous.bench.row import Row, Status
from vitreous.bench.store import parquet_reader, rows_from_parquet, rows_to_parquet
from vitreous.core.errors import InputError, OutputError, RunFolderError
from vitreous.core.heatmap_file import write_whole

MOST_FILES = 100_000
MOST_BYTES = 2**28  # of one file, unpacked
MOST_IN_ALL = 2**32
MOST_TIMES = 100  # larger unpacked than packed
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that the format knows
README = """# A Vitreous benchmark submission

`benchmark.json` says which models, data sets, methods and metrics; each MODEL/DATA folder holds the manifest of one
evaluation and its rows as Parquet. To check it with your own copy of the models and the data:

    pip install 'vitreous[data]'
    vitreous benchmark --verify THIS_FILE --sample 20

Paths in the configuration are those of the submitter. Where yours differ, write a configuration with the same names
and your paths, and put it before --verify. Which files belong to it, and what checking means, is described in
docs/benchmark.md of Vitreous.
"""


@dataclass(frozen=True, eq=False)
class Submission:
    """A submission, or the folder of a benchmark, opened for reading.

    names  of its files
    read   gives the bytes of one of them, within the limits
    """

    path: Path
    record: Record
    names: frozenset[str]
    read: Callable[[str], bytes]

    def manifest(self, pair: str) -> Manifest:
        """Read the manifest of a pair, "MODEL/DATA". Raises RunFolderError if it is missing or damaged."""
        try:
            return Manifest.model_validate_json(self._checked(f"{pair}/manifest.json"))
        except (KeyError, ValidationError) as problem:
            raise RunFolderError(
                f"{self.path}: the manifest of {pair} is missing or damaged.", "Ask for the submission again."
            ) from problem

    def rows(self, pair: str, manifest: Manifest) -> list[Row]:
        """Read all rows of a pair, in order. `manifest` says how many there have to be, and was checked before.

        Raises RunFolderError for files that are missing, damaged, of another form or with another number of rows.
        """
        rows: list[Row] = []
        for number, shard in enumerate(manifest.shards):
            name = f"{pair}/rows/{number:06d}.parquet"
            expected = len(shard) * len(manifest.methods) * len(manifest.metrics)
            try:
                rows += _read_rows(self._checked(name), expected)
            except (KeyError, ValueError, TypeError, OSError) as problem:
                raise RunFolderError(
                    f"{self.path}: {name} is missing or damaged ({str(problem)[:200]}).",
                    "Ask for the submission again.",
                ) from problem
        return rows

    def _checked(self, name: str) -> bytes:
        """Read a file and compare its digest, where the record has one."""
        if name not in self.names:
            raise KeyError(f"there is no {name}")
        content = self.read(name)
        if self.record.files and self.record.files.get(name) != hashlib.sha256(content).hexdigest():
            raise RunFolderError(
                f"{self.path}: {name} has another digest than {RECORD} says.", "The copy is damaged: ask for it again."
            )
        return content


def pack(out: str | Path, target: str | Path, overwrite: bool = False) -> Path:
    """Write the submission of a benchmark's folder: every finished pair, and the names of those that are not.

    Raises RunFolderError if the folder holds no benchmark, InputError if no pair of it is finished, and OutputError.
    """
    config, outcomes = load_benchmark(out)
    finished = [each for each in outcomes if each.evaluation is not None]
    if not finished:
        raise InputError(f"No evaluation in {out} is finished.", "Run the benchmark first.")
    files: dict[str, bytes] = {"README.md": README.encode()}
    for each in finished:
        folder = Path(out) / each.name
        for path in [folder / "manifest.json", *sorted((folder / "rows").glob("[0-9]*.parquet"))]:
            files[path.relative_to(out).as_posix()] = path.read_bytes()
    record = Record(
        layout=LAYOUT,
        config=config,
        files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        missing=[each.name for each in outcomes if each.evaluation is None],
    )
    files[RECORD] = write_record(record)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed, and zlib's bytes vary
        for name, each_content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, each_content)
    return write_whole(Path(target), content.getvalue(), overwrite)


def open_submission(path: str | Path) -> Submission:
    """Open a submission for reading: the file, the same unpacked, or the folder of a benchmark.

    Raises OutputError for a file that is missing or no archive, RunFolderError for one that holds something else or
    could do harm: names that lead out of it, links, files that unpack to far more than they are.
    """
    found = Path(path)
    if found.is_dir():
        names = frozenset(file.relative_to(found).as_posix() for file in found.rglob("*") if file.is_file())
        read: Callable[[str], bytes] = partial(_read_file, found)
    else:
        names, read = _open_archive(found)
    record = read_record(read(RECORD).decode("utf-8", "replace") if RECORD in names else "", str(path))
    return Submission(found, record, names, read)


def _open_archive(path: Path) -> tuple[frozenset[str], Callable[[str], bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise OutputError(f"{path} is no submission: {problem}.", "Give a file that --pack wrote.") from problem
    if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_IN_ALL:
        raise RunFolderError(f"{path} unpacks to too much.", f"The limits are {MOST_FILES} files and 4 GiB.")
    seen: set[str] = set()
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        bad = "has a name that leads out of it" if ".." in parts or parts[0] == "" or ":" in parts[0] else ""
        bad = bad or ("is there twice" if entry.filename.casefold() in seen else "")
        bad = bad or ("is a link" if stat.S_ISLNK(entry.external_attr >> 16) else "")
        bad = bad or ("is encrypted" if entry.flag_bits & 1 else "")
        bad = bad or ("unpacks to more than 256 MiB" if entry.file_size > MOST_BYTES else "")
        packed = max(entry.compress_size, 1000)  # small texts may well shrink to a hundredth
        bad = bad or ("unpacks to a hundred times its size" if entry.file_size > MOST_TIMES * packed else "")
        if bad:
            raise RunFolderError(f"{path}: {entry.filename[:100]!r} {bad}.", "Do not use it; ask for another.")
        seen.add(entry.filename.casefold())
    return frozenset(entry.filename for entry in entries), partial(_read_entry, path)


def _read_entry(path: Path, name: str) -> bytes:
    """Read one file of the archive; no more than its limit, whatever its header says."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as problem:
        raise RunFolderError(f"{path}: {name} is damaged ({problem}).", "Ask for it again.") from problem
    return _within(content, f"{path}: {name}")


def _read_file(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RunFolderError(f"{folder}: {name} is a link that leads out of it.", "Put the file there itself.")
    with path.open("rb") as file:
        return _within(file.read(MOST_BYTES + 1), str(path))


def _within(content: bytes, what: str) -> bytes:
    if len(content) > MOST_BYTES:
        raise RunFolderError(f"{what} has more than 256 MiB.", "Do not use it; ask for another.")
    return content


def _read_rows(content: bytes, expected: int) -> list[Row]:
    """Read one file of rows, after its header: a small one may promise billions. Raises ValueError and TypeError."""
    wanted, found = parquet_reader(rows_to_parquet([])), parquet_reader(content)
    if not found.schema_arrow.equals(wanted.schema_arrow):
        raise ValueError("its columns are not those of rows")
    if found.metadata.num_rows != expected:
        raise ValueError(f"it has {found.metadata.num_rows} rows instead of {expected}")
    groups = range(found.metadata.num_row_groups)
    if sum(found.metadata.row_group(group).total_byte_size for group in groups) > MOST_BYTES:
        raise ValueError("it unpacks to more than 256 MiB")
    table = found.read()
    if any(column.null_count for column in table.columns) or table["parts"].combine_chunks().flatten().null_count:
        raise ValueError("it has empty cells")
    strange = set(table["status"].to_pylist()) - set(get_args(Status))
    if strange:
        raise ValueError(f"there is no status {min(strange)!r}")
    return rows_from_parquet(content)
