"""Verify: whether a submission says what the models really do, by running a part of it again.

What is compared, for each pair of model and data set, and what the answer to a difference is:

refused    weights of another digest, another data set, other methods, metrics, parameters, target, fit, seed or batch
           size than the configuration says: nothing could be concluded from running it
wrong      for all rows: a row is missing, doubled or out of order, or a value does not follow from its parts
differs    for the rows of the sample, which are run again: image, target, prediction, status, parts or value

Whole batches are run again, as they were in the submission, so that on the same machine and versions values agree to
the bit. Elsewhere they agree within `TOLERANCE`, but for the rare map in which two patches were equal up to rounding.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vitreous.bench.benchmark import attempt, open_model, open_samples, pairs
from vitreous.bench.config import BenchmarkConfig, DataEntry, ModelEntry, check_names
from vitreous.bench.manifest import Manifest, describe_run
from vitreous.bench.plan import EvaluationPlan, plan_evaluation
from vitreous.bench.row import Row
from vitreous.bench.run import evaluate_samples
from vitreous.bench.submission import Submission
from vitreous.core.errors import InputError
from vitreous.core.seed import image_seed
from vitreous.metrics._metric import METRICS
from vitreous.vit.vit import Vit
from vitreous.worlds.sample import Samples

TOLERANCE = 1e-3
"""By how much a value may differ, as a share of the largest that the metric gives in the sample."""
LEAST = 1e-9
"""What may always differ, for metrics whose values are all zero."""
SURROUNDINGS = ("versions", "device", "threads", "weights_source", "model", "data")
"""Fields of a manifest that may differ: they change the last bits of numbers, or are mere names."""
SAME = ("sample", "image_digest", "method", "metric", "seed", "status", "target", "predicted")

Advance = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Checked:
    """What checking one pair found.

    refused    why it could not be run again; empty if it was
    wrong      what contradicts itself in the submission, over all rows
    differs    rows of the sample that came out differently, each in words
    rows       of the pair, all read; compared: those run again; agree: those that agree
    largest    difference between values that agree
    notes      what was not the same and may change last bits
    """

    pair: str
    refused: str = ""
    wrong: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    rows: int = 0
    compared: int = 0
    agree: int = 0
    largest: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def good(self) -> bool:
        """Whether it was run again and nothing is wrong or differs."""
        return not (self.refused or self.wrong or self.differs) and self.compared > 0


def verify(
    submission: Submission,
    sample: int = 20,
    seed: int = 0,
    own: BenchmarkConfig | None = None,
    tolerance: float = TOLERANCE,
    advance: Advance | None = None,
) -> list[Checked]:
    """Check every pair of a submission.

    sample   samples of each pair that are run again, at least: whole batches, drawn at random
    seed     of that draw. Whoever submits must not know it beforehand
    own      the reader's configuration, whose models and data sets of the same names are opened instead: the paths of
             the submission's are the submitter's. What is asked about the data stays that of the submission
    advance  is told the pair, how many samples of it are done, and of how many

    Gives what was found for each pair, also for those that the submission says are missing. Raises InputError for a
    sample or tolerance that checks nothing, and what `check_names` raises.
    """
    if sample < 1 or not 0 <= tolerance < 1:
        raise InputError(f"sample={sample}, tolerance={tolerance}.", "Give at least 1 sample, and a small tolerance.")
    config = submission.record.config
    check_names(config)
    models = {entry.name: _model_of(entry, own) for entry in config.models}
    data = {entry.name: _data_of(entry, own) for entry in config.data}
    found: list[Checked] = []
    opened: tuple[str, Vit | str] = "", "not opened"
    for model, name in pairs(config):
        if opened[0] != model:
            opened = model, attempt(open_model, models[model])
        asked = (model, sample, seed, tolerance)
        checked = attempt(_check, submission, config, opened[1], data[name], asked, advance)
        found.append(Checked(f"{model}/{name}", refused=checked) if isinstance(checked, str) else checked)
    return found


def _model_of(entry: ModelEntry, own: BenchmarkConfig | None) -> ModelEntry:
    return next((each for each in own.models if each.name == entry.name), entry) if own else entry


def _data_of(entry: DataEntry, own: BenchmarkConfig | None) -> DataEntry:
    """Take from the reader where the data are, and from the submission what is asked about them."""
    mine = next((each for each in own.data if each.name == entry.name), entry) if own else entry
    return entry.model_copy(update={"data": mine.data})


def _check(
    submission: Submission,
    config: BenchmarkConfig,
    vit: Vit | str,
    entry: DataEntry,
    asked: tuple[str, int, int, float],
    advance: Advance | None,
) -> Checked:
    model, sample, seed, tolerance = asked
    pair = f"{model}/{entry.name}"
    if pair in submission.record.missing:
        return Checked(pair, refused="The submission says that this pair is missing.")
    stated = submission.manifest(pair)
    if isinstance(vit, str):
        return Checked(pair, refused=vit)
    if vit.digest != stated.weights_digest:
        reason = f"Your weights have the digest {vit.digest}, the submission's {stated.weights_digest}."
        return Checked(pair, refused=f"{reason} They are other weights.")
    samples = open_samples(entry)
    plan = plan_evaluation(
        vit, config.methods, config.metrics, entry.asked, entry.fitted,
        config.batch_size or stated.batch_size, config.seed,
    )  # fmt: skip
    mine = describe_run(vit, samples, plan)
    differences = stated.differences(mine)
    decisive = [each for each in differences if each.split(":")[0].split()[0] not in SURROUNDINGS]
    if decisive:
        return Checked(pair, refused=f"It is not the evaluation of its configuration. {'; '.join(decisive)}.")
    rows = submission.rows(pair, mine)
    wrong = _contradictions(rows, samples, mine)
    batches = _draw(len(samples), plan.batch_size, sample, image_seed(seed, "verify", pair))
    both = _again(vit, samples, plan, batches, rows, advance, pair)
    sizes = _sizes([new for _, new in both])
    compared = [_difference(row, new, sizes.get(row.metric, ()), tolerance) for row, new in both]
    told = [difference for difference, _ in compared if difference]
    return Checked(
        pair=pair,
        wrong=wrong,
        differs=tuple(told),
        rows=len(rows),
        compared=len(compared),
        agree=len(compared) - len(told),
        largest=max((size for difference, size in compared if not difference), default=0.0),
        notes=tuple(differences),
    )


def _again(
    vit: Vit,
    samples: Samples,
    plan: EvaluationPlan,
    batches: Sequence[range],
    rows: Sequence[Row],
    advance: Advance | None,
    pair: str,
) -> list[tuple[Row, Row]]:
    """Run batches again; give each row of theirs with the new one."""
    each, total, done = len(plan.methods) * len(plan.metrics), sum(map(len, batches)), 0
    found: list[tuple[Row, Row]] = []
    for batch in batches:
        for place, new in zip(batch, evaluate_samples(vit, samples, batch, plan), strict=True):
            found += zip(rows[place * each : (place + 1) * each], new, strict=True)
            done += 1
            if advance is not None:
                advance(pair, done, total)
    return found


def _draw(samples: int, size: int, wanted: int, seed: int) -> list[range]:
    """Draw batches at random until they hold as many samples as wanted; in order."""
    batches = [range(start, min(start + size, samples)) for start in range(0, samples, size)]
    order = np.random.default_rng(seed).permutation(len(batches))
    chosen: list[range] = []
    for place in order.tolist():
        if sum(map(len, chosen)) < wanted:
            chosen.append(batches[place])
    return sorted(chosen, key=lambda batch: batch.start)


def _contradictions(rows: Sequence[Row], samples: Samples, manifest: Manifest) -> tuple[str, ...]:
    """Say what contradicts itself, over all rows, without running anything."""
    labels = [(method, metric) for method in manifest.methods for metric in manifest.metrics]
    keys = ((sample.id, *label) for sample in samples for label in labels)
    told: list[str] = []
    for row, key in zip(rows, keys, strict=True):
        if (row.sample, row.method, row.metric) != key:
            told.append(f"there is a row of {_named(row)} where that of {', '.join(key)} belongs")
        elif problem := _contradiction(row, str(manifest.metrics[row.metric]["name"]), manifest.seed):
            told.append(f"{_named(row)}: {problem}")
    return tuple(told)


def _contradiction(row: Row, metric: str, seed: int) -> str:
    if row.seed != seed:
        return f"the seed is {row.seed}, of the evaluation {seed}"
    if row.status != "ok":
        return "" if math.isnan(row.value) and not row.parts else f"it has a value, and is {row.status}"
    known, parts = METRICS[metric], np.array([row.parts], dtype=np.float64)
    if parts.size == 0 or (known.pool is None and parts.size != 1):
        return f"it has {parts.size} parts"
    value = known.value(parts if known.pool else parts[:, 0])
    return (
        "" if _near(value, row.value, 1e-12) else f"the value {row.value!r} does not follow from its parts: {value!r}"
    )


def _sizes(rows: Sequence[Row]) -> dict[str, tuple[float, ...]]:
    """Give for each metric how large its numbers are: of each part, the largest that was found again."""
    found: dict[str, tuple[float, ...]] = {}
    for row in rows:
        parts = tuple(abs(part) if math.isfinite(part) else 0.0 for part in row.parts)
        known = found.get(row.metric, (0.0,) * len(parts))
        if parts:
            found[row.metric] = tuple(map(max, known or parts, parts))
    return found


def _difference(row: Row, again: Row, sizes: Sequence[float], tolerance: float) -> tuple[str, float]:
    """Say how two rows differ, empty if they agree; and by how much their values do. Values follow from parts."""
    for name in SAME:
        if getattr(row, name) != getattr(again, name):
            return f"{_named(row)}: {name} is {getattr(row, name)!r}, again {getattr(again, name)!r}", math.nan
    far = [
        (one, other)
        for one, other, size in zip(row.parts, again.parts, sizes, strict=False)
        if not _near(one, other, tolerance * size + LEAST)
    ]
    if len(row.parts) != len(again.parts) or far:
        return f"{_named(row)}: the value is {row.value:.6g}, again {again.value:.6g}", math.nan
    return "", 0.0 if row.value == again.value or math.isnan(row.value) else abs(row.value - again.value)


def _near(one: float, other: float, most: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= most


def _named(row: Row) -> str:
    return f"{row.sample}, {row.method}, {row.metric}"
