"""Evaluate: methods, metrics and samples in; rows with statistics out. `vt.evaluate` is here."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from vitreous.bench._section import Table
from vitreous.bench.engines.job import Done, Job
from vitreous.bench.manifest import Manifest, describe_run
from vitreous.bench.plan import CONTROL, Asked, plan_evaluation
from vitreous.bench.row import Row
from vitreous.bench.store import RunFolder
from vitreous.bench.table import summarise
from vitreous.core.errors import InputError
from vitreous.core.frame import Fit
from vitreous.core.target import Target
from vitreous.metrics._metric import METRICS
from vitreous.vit.vit import Vit
from vitreous.worlds.sample import Sample, Samples

Engine: TypeAlias = Literal["local", "processes", "ray"]
"""Who computes: a module of `bench.engines`."""

Advance = Callable[[int, int], None]
"""Is told after each sample how many are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found: a row for each sample, method and metric.

    rows      in the order of samples, then methods, then metrics. Those of an evaluation that was written to a folder
              stay there, and are read when they are gone through
    manifest  what they were made of
    """

    rows: Sequence[Row] = field(repr=False)
    manifest: Manifest

    def table(self, seed: int = 0) -> Table:
        """Summarise the rows: for each metric and method the value, its 95 % interval, n, tests against the control.

        seed  of the resampling behind intervals

        Print it, or give it to a function of `bench.table.FORMATS`; see `bench.table.summarise` for what is tested how.
        """
        known = {label: METRICS[str(told["name"])].under(told) for label, told in self.manifest.metrics.items()}
        facts = {
            "Model": f"{self.manifest.model}, weights {self.manifest.weights_digest}",
            "Data": f"{self.manifest.data}, {self.manifest.samples} samples, fitted by {self.manifest.fit}",
            "Target": "the predicted class"
            if self.manifest.target in {None, "predicted"}
            else str(self.manifest.target),
            "Versions": ", ".join(f"{name} {number}" for name, number in self.manifest.versions.items()),
        }
        return summarise(self.rows, known, CONTROL, seed, facts)

    @staticmethod
    def load(path: str | Path) -> "Evaluation":
        """Read the folder of an evaluation, finished or not. Raises RunFolderError if it is none."""
        folder = RunFolder(path)
        manifest = folder.manifest
        if manifest is None:
            raise InputError(f"{path} holds no evaluation.", "Give a folder that `evaluate` wrote.")
        return Evaluation(folder.rows(), manifest)


def evaluate(
    vit: Vit,
    samples: Samples | Sequence[Sample],
    methods: Asked | None = None,
    metrics: Asked | None = None,
    target: Target = None,
    fit: Fit = "crop",
    *,
    batch_size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    keep_maps: bool = False,
    advance: Advance | None = None,
    engine: Engine = "local",
    workers: int | None = None,
) -> Evaluation:
    """Find out how far the maps of methods can be trusted: every method by every metric on every sample.

    vit         an opened model, see `open_vit`
    samples     a data set of `vt.worlds`, or a list of samples
    methods     names, with parameters in brackets where they need any: ["rollout", "gradcam(plus=True)"]; or a mapping
                from names to parameters. None takes every method that applies and lives on the shared pass. The random
                control is always evaluated as well, since no number means anything without it
    metrics     likewise; None takes the quick ones of `bench.plan.USUAL`. A metric that needs a truth, a mask for
                instance, leaves out samples without one, and its rows say so
    target      as in `explain`; or "label", each sample's own class
    fit         how photographs become model inputs: "crop", "squash" or "pad"
    batch_size  images traced together; if left out, at most 8 and as many as half of the free memory holds. Values
                differ between sizes by rounding
    seed        master seed. What an image gets depends on this and on itself alone: all methods meet the same draws
    out         folder in which rows are kept, shard by shard (extra "data"). If it holds part of the same evaluation,
                that is gone on with; values are those of a run that was never interrupted, to the bit
    keep_maps   keep the raw maps as well; needs `out`
    advance     is called after each sample with the number done and the number of all
    engine      who computes: "local", this process; "processes", worker processes on this machine; "ray", a
                cluster or a local Ray (extra "ray"). Rows are the same to the bit; see `bench.engines`
    workers     how many processes or actors; None takes as many as there are cores for, or GPUs for Ray

    Gives an `Evaluation`. A photograph, method or metric that fails gives rows with its reason. Raises InputError for
    arguments that do not fit together, UnknownNameError, MethodNotApplicableError for a method that means nothing on
    the model, RunFolderError if `out` holds something else or is being written, OutputError, and WorkerError.

    >>> import vitreous as vt
    >>> vit = vt.open_vit("bundled:scenes")
    >>> found = vt.evaluate(vit, vt.worlds.scenes()[:2], ["generic_attention"], ["pointing_game"])
    >>> [(row.method, row.value) for row in found.rows]
    [('generic_attention', 1.0), ('random', 0.0), ('generic_attention', 1.0), ('random', 0.0)]
    """
    samples = samples if isinstance(samples, Samples) else Samples("samples", tuple(samples))
    if not len(samples):
        raise InputError("samples is empty.", "Give at least one sample.")
    if keep_maps and out is None:
        raise InputError("keep_maps=True without out.", "Say in which folder they are to be kept: out=….")
    compute = _engine(engine, workers)
    folder = None if out is None else RunFolder(out)
    begun = None if folder is None else folder.manifest
    if batch_size is None and begun is not None:
        batch_size = begun.batch_size  # what the free memory allows now must not matter
    plan = plan_evaluation(vit, methods, metrics, target, fit, batch_size, seed)
    manifest = describe_run(vit, samples, plan)
    done = count(1)

    def tell() -> None:
        if advance is not None:
            advance(next(done), len(samples))

    job = Job(vit, plan, manifest, samples, keep_maps)
    if folder is None:
        with closing(compute(job, range(len(job.shards)), workers, tell)) as found:
            by_number = {shard.number: shard.rows for shard in found}
        return Evaluation(tuple(row for number in sorted(by_number) for row in by_number[number]), manifest)
    with folder.writing(manifest):
        finished = folder.finished()
        for _ in (place for number in finished for place in job.shards[number]):
            tell()
        todo = [number for number in range(len(job.shards)) if number not in finished]
        with closing(compute(job, todo, workers, tell)) as found:
            for shard in found:
                folder.write_shard(shard.number, shard.rows, shard.maps)
        return Evaluation(folder.rows(), manifest)


def list_metrics(pattern: str = "*") -> list[str]:
    """List the names of the metrics that match a shell pattern such as 'human*', in alphabetical order.

    >>> list_metrics("point*")
    ['pointing_game']
    """
    return METRICS.names(pattern)


def _engine(name: str, workers: int | None) -> Callable[..., Generator[Done, None, None]]:
    """Find an engine. Raises InputError for another name, or a number of workers that is none."""
    if name not in get_args(Engine):
        raise InputError(f"engine={name!r} is unknown.", f"Use one of {', '.join(map(repr, get_args(Engine)))}.")
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers} is no number of workers.", "Give 1 or more, or leave it out.")
    run: Callable[..., Generator[Done, None, None]] = import_module(f"vitreous.bench.engines.{name}").run
    return run
