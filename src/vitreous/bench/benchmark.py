"""Benchmark: every model on every data set, each pair one evaluation in a folder of its own.

    OUT/
      benchmark.json   the configuration, and the layout's number
      MODEL/DATA/      the folder of one evaluation, see `bench.store`

Running it again goes on where it was interrupted. What fails for one pair is its outcome and stops no other.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vitreous.bench.config import BenchmarkConfig, DataEntry, ModelEntry, check_names
from vitreous.bench.data import open_data
from vitreous.bench.evaluate import Evaluation, evaluate
from vitreous.core.errors import InputError, RunFolderError, VitreousError
from vitreous.core.heatmap_file import write_whole
from vitreous.vit.open import open_vit
from vitreous.vit.vit import Vit
from vitreous.worlds._files import read_text
from vitreous.worlds.sample import Samples

LAYOUT = 1
RECORD = "benchmark.json"

Given = ParamSpec("Given")
Result = TypeVar("Result")
Advance = Callable[[str, int, int], None]
"""Is told after each sample the pair at work, how many samples are done, and of how many."""


class Record(BaseModel):
    """What `benchmark.json` holds.

    layout  number of the layout of folder and submission; a reader refuses any other
    files   sha256 of every file of a submission, by name; empty in a folder that is still worked on
    missing of a submission: pairs without a finished evaluation
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: int
    config: BenchmarkConfig
    files: dict[str, str] = {}
    missing: list[str] = []


@dataclass(frozen=True, eq=False)
class Outcome:
    """One model on one data set: its evaluation, or the reason why there is none."""

    model: str
    data: str
    evaluation: Evaluation | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Model and data set, as messages and folders write them."""
        return f"{self.model}/{self.data}"


def run_benchmark(config: BenchmarkConfig, out: str | Path, advance: Advance | None = None) -> list[Outcome]:
    """Run every pair of the configuration, or go on with what `out` holds of it.

    Models and data sets may be added to a benchmark that was begun; anything else has to stay as it was.

    Gives an outcome for each pair, in the order of models, then data sets. Raises RunFolderError if `out` holds another
    benchmark or other files, and what `check_names` raises; everything else is an outcome.
    """
    check_names(config)
    folder = Path(out)
    _begin(folder, config)
    opened = {entry.name: attempt(open_samples, entry) for entry in config.data}
    sizes = {name: len(samples) if isinstance(samples, Samples) else 0 for name, samples in opened.items()}
    total, before = sum(sizes.values()) * len(config.models), 0
    outcomes: list[Outcome] = []
    for model in config.models:
        vit = attempt(open_model, model)
        for data in config.data:
            name, samples = f"{model.name}/{data.name}", opened[data.name]
            if isinstance(vit, str) or isinstance(samples, str):
                found: Evaluation | str = vit if isinstance(vit, str) else str(samples)
            else:
                told = _told(advance, name, before, total)
                found = attempt(_one, config, vit, samples, data, folder / name, told)
            before += sizes[data.name]
            outcomes.append(_outcome(model.name, data.name, found))
    return outcomes


def load_benchmark(out: str | Path) -> tuple[BenchmarkConfig, list[Outcome]]:
    """Read a benchmark's folder, finished or not. Raises RunFolderError if it is none."""
    folder = Path(out)
    config = read_record((folder / RECORD).read_text("utf-8") if (folder / RECORD).is_file() else "", str(out)).config
    found = [(*pair, attempt(_finished, folder.joinpath(*pair))) for pair in pairs(config)]
    return config, [_outcome(*each) for each in found]


def pairs(config: BenchmarkConfig) -> Iterator[tuple[str, str]]:
    """Go through the names of all models and data sets."""
    return ((model.name, data.name) for model in config.models for data in config.data)


def open_model(entry: ModelEntry) -> Vit:
    """Open a model as its entry says. Raises what `open_vit` raises."""
    labels = entry.labels
    if isinstance(labels, str):
        labels = read_text(Path(labels), "The list of labels").splitlines()
    size = (entry.image_size[0], entry.image_size[1]) if isinstance(entry.image_size, list) else entry.image_size
    return open_vit(
        entry.model, entry.weights, num_classes=entry.num_classes, image_size=size, labels=labels, device=entry.device
    )


def open_samples(entry: DataEntry) -> Samples:
    """Load a data set as its entry says. Raises what its loader raises, and InputError if it is empty."""
    samples = open_data(entry.data)[: entry.limit]
    if not len(samples):
        raise InputError(f"The data set {entry.name!r} is empty.", "Give one with samples.")
    return samples


def read_record(text: str, where: str) -> Record:
    """Read `benchmark.json`. Raises RunFolderError for anything else."""
    try:
        told = json.loads(text)
        if told["layout"] != LAYOUT:
            raise RunFolderError(
                f"{where} has layout {told['layout']!r}, and this version of Vitreous knows {LAYOUT}.",
                "Read it with the version that wrote it.",
            )
        return Record.model_validate(told)
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as problem:
        raise RunFolderError(
            f"{where} holds no benchmark: its {RECORD} is missing or damaged.",
            "Choose what `vitreous benchmark` wrote, or a new folder.",
        ) from problem


def write_record(record: Record) -> bytes:
    """Give the bytes of `benchmark.json`, the same for the same record."""
    return (json.dumps(record.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n").encode()


def _begin(folder: Path, config: BenchmarkConfig) -> None:
    """Write the configuration down, unless the folder belongs to something else."""
    path = folder / RECORD
    wanted = config.model_copy(update={"out": None})  # where the folder lies is no part of what is in it
    if path.is_file():
        known = read_record(path.read_text("utf-8"), str(folder)).config
        differences = [
            name
            for name in BenchmarkConfig.model_fields
            if name not in {"models", "data"} and getattr(known, name) != getattr(wanted, name)
        ]
        differences += [f"model {entry.name!r}" for entry in known.models if entry not in wanted.models]
        differences += [f"data set {entry.name!r}" for entry in known.data if entry not in wanted.data]
        if differences:
            raise RunFolderError(
                f"{folder} holds another benchmark; it differs in {', '.join(differences)}.",
                "Choose a new folder. Models and data sets can be added to a benchmark, and nothing else be changed.",
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} holds other files, and no {RECORD}.", "Choose a new folder.")
    write_whole(path, write_record(Record(layout=LAYOUT, config=wanted)), overwrite=True)


def _one(
    config: BenchmarkConfig, vit: Vit, samples: Samples, data: DataEntry, folder: Path, told: Callable[[int, int], None]
) -> Evaluation:
    return evaluate(
        vit, samples, config.methods, config.metrics, data.asked, data.fitted,
        batch_size=config.batch_size, seed=config.seed, out=folder, advance=told,
    )  # fmt: skip


def _finished(folder: Path) -> Evaluation:
    found = Evaluation.load(folder)
    manifest = found.manifest
    if len(found.rows) != manifest.samples * len(manifest.methods) * len(manifest.metrics):
        raise InputError("The evaluation is not finished.", "Run the benchmark again: it goes on.")
    return found


def _told(advance: Advance | None, name: str, before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _all: None if advance is None else advance(name, before + done, total)


def _outcome(model: str, data: str, found: Evaluation | str) -> Outcome:
    return Outcome(model, data, problem=found) if isinstance(found, str) else Outcome(model, data, found)


def attempt(do: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result | str:
    """Do something, or give the reason why it failed: all errors of one pair are its outcome.

    Errors of other libraries as well, for one model that cannot be loaded must not cost those that can.
    """
    try:
        return do(*given, **named)
    except VitreousError as problem:
        return str(problem)
    except Exception as problem:  # noqa: BLE001  (told in the leader board, which counts what is missing)
        text = str(problem).strip().splitlines()
        return f"{type(problem).__name__}: {text[0][:300] if text else ''}"
