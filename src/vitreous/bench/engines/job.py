"""Job: an evaluation as engines see it, and how it travels to another process.

A model travels as what it is in memory, pickled in one piece with everything that `open_vit` found out about it: a name
would be opened again from files that may have changed, and a module of the user's own has no name. So that nobody
computes with something else, the worker takes the digest of the weights anew and writes the manifest of the run from
what it has itself: weights, versions of libraries, device, number type, threads. Any difference is refused.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import cloudpickle
import numpy as np
import torch

from vitreous.bench.manifest import Manifest, describe_run
from vitreous.bench.plan import EvaluationPlan
from vitreous.bench.row import Row
from vitreous.bench.run import evaluate_samples
from vitreous.bench.store import Maps
from vitreous.core.digest import weights_digest
from vitreous.core.errors import VitreousError, WorkerError
from vitreous.vit.vit import Vit
from vitreous.worlds.sample import Samples

MOST_DEATHS = 3
"""A shard that ends its worker more often than this is at fault itself."""

Tell: TypeAlias = Callable[[], None]
"""Is called once for each sample that is done."""


class Done(NamedTuple):
    """A finished shard: its number, the rows of its samples in their order, and their maps if they are kept."""

    number: int
    rows: list[Row]
    maps: Maps


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that decides what the shards of an evaluation give."""

    vit: Vit
    plan: EvaluationPlan
    manifest: Manifest
    samples: Samples
    keep_maps: bool

    @cached_property
    def shards(self) -> list[range]:
        """The samples of each shard, by their places in the data set."""
        return self.manifest.shards


def do_shard(job: Job, number: int, places: range, tell: Tell) -> Done:
    """Evaluate the samples at some places as shard `number`."""
    maps: Maps = {}

    def keep(sample: str, label: str, relevance: np.ndarray) -> None:
        maps.setdefault(label, {})[sample] = relevance

    rows: list[Row] = []
    for more in evaluate_samples(job.vit, job.samples, places, job.plan, keep if job.keep_maps else None):
        rows += more
        tell()
    return Done(number, rows, maps)


def count_death(deaths: Counter[int], shard: int, job: Job, what: str, fix: str) -> None:
    """Count against a shard that it ended a worker. Raises WorkerError if it has ended too many.

    what  how workers ended: "actors in a row"
    """
    deaths[shard] += 1
    if deaths[shard] > MOST_DEATHS:
        places = job.shards[shard]
        raise WorkerError(f"Samples {places.start} to {places.stop - 1} ended {deaths[shard]} {what}.", fix)


# --- travelling


def seal_job(job: Job) -> bytes:
    """Pickle a job without its samples, which travel shard by shard. Raises WorkerError for what cannot be pickled."""
    return _sealed(
        replace(job, samples=job.samples[:0]),
        f"The model {job.vit.name!r}, a method or a metric",
        "Define what it uses at the top of a module (open files, locks and hooks cannot be sent), or evaluate with "
        'engine="local".',
    )


def seal_shard(job: Job, number: int) -> bytes:
    """Pickle the samples of one shard. Raises WorkerError for samples that cannot be pickled."""
    places = job.shards[number]
    return _sealed(
        (number, job.samples[places.start : places.stop]),
        f"A sample of {job.samples.name!r} among numbers {places.start} to {places.stop - 1}",
        'Give paths instead of open images, or evaluate with engine="local".',
    )


def _sealed(content: Any, what: str, fix: str) -> bytes:
    try:
        return bytes(cloudpickle.dumps(content))
    except Exception as problem:  # pickling asks every object in there, and each may raise what it likes
        raise WorkerError(
            f"{what} cannot be sent to another process ({type(problem).__name__}: {_first_line(problem)}).", fix
        ) from problem


def opened(answer: bytes) -> Done:
    """Open what a worker answered, and raise its error if it had one."""
    found = cloudpickle.loads(answer)
    if isinstance(found, VitreousError):
        raise found
    done: Done = found
    return done


class Worker:
    """Computes shards in another process. The job is opened with the first of them, so that errors travel back."""

    def __init__(self, sealed: bytes) -> None:
        self._sealed = sealed
        self._job: Job | None = None

    def answer(self, shard: bytes) -> bytes:
        """Compute one shard; gives a `Done`, or the error that it met, pickled."""
        try:
            if self._job is None:
                self._job = _open_job(self._sealed)
            number, samples = cloudpickle.loads(shard)
            answer: Done | VitreousError = do_shard(
                replace(self._job, samples=samples), number, range(len(samples)), lambda: None
            )
        except VitreousError as problem:
            answer = problem
        except Exception as problem:  # noqa: BLE001  (whatever it is, it has to be told where somebody reads it)
            answer = WorkerError(
                f"A worker met {type(problem).__name__}: {_first_line(problem)}.",
                'Evaluate with engine="local" to see where it happens.',
            )
        return bytes(cloudpickle.dumps(answer))


def _open_job(sealed: bytes) -> Job:
    """Unpickle a job, and check that this process computes what the manifest says. Raises WorkerError."""
    job: Job = cloudpickle.loads(sealed)
    torch.set_num_threads(job.manifest.threads)
    here = describe_run(replace(job.vit, digest=weights_digest(job.vit.model)), job.samples, job.plan)
    known = {name: getattr(job.manifest, name) for name in ("samples", "samples_digest")}
    if differences := job.manifest.differences(here.model_copy(update=known)):
        raise WorkerError(
            f"A worker would compute something else. {'; '.join(differences)}.",
            "Give all machines the same versions of the libraries and the same kind of device.",
        )
    return job


def _first_line(problem: Exception) -> str:
    return next(iter(str(problem).strip().splitlines()), "")[:300].rstrip(".")
