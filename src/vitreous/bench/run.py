"""Running an evaluation: one trace for each batch of images, all methods on it, all metrics on each of their maps.

What fails is a row with its reason, not the end: a bad photograph, a method that a model does not allow, a metric that
meets an error. Where a batch fails, its images are done one by one to find the one at fault.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from vitreous._plan import Planned, relevance_of
from vitreous._prepare import Prepared, prepare
from vitreous.bench.plan import TRUE_CLASS, EvaluationPlan, PlannedMetric
from vitreous.bench.row import Row
from vitreous.bench.truth import class_of, truth_of
from vitreous.core.errors import InputError, MethodNotApplicableError, VitreousError
from vitreous.core.target import Target, label_of
from vitreous.metrics._case import Case, Relevance, Truth
from vitreous.vit.ambient import exact
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit
from vitreous.worlds.sample import Sample, Samples

NO_DIGEST = ""
Result = TypeVar("Result")
KeepMaps = Callable[[str, str, np.ndarray], None]
"""Is given sample, label of the method and map, for whoever keeps the maps."""


@dataclass(frozen=True, eq=False)
class _Item:
    """One sample, ready: its picture, what is known about it, and why some of that is not."""

    sample: Sample
    prepared: Prepared
    truth: Truth
    problem: str
    target: Target


@dataclass(frozen=True, eq=False)
class _Facts:
    """What all rows of one image share."""

    sample: str
    image_digest: str
    seed: int
    target: str = ""
    predicted: str = ""
    probability: float = float("nan")

    def row(self, method: str, metric: str, **told: Any) -> Row:
        """Fill in what is particular to one method and one metric."""
        empty = {"value": float("nan"), "parts": (), "seconds": 0.0, "forwards": 0, "backwards": 0, "reason": ""}
        return Row(method=method, metric=metric, **(vars(self) | empty | told))


def evaluate_samples(
    vit: Vit, samples: Samples, places: Sequence[int], plan: EvaluationPlan, keep: KeepMaps | None = None
) -> Iterator[list[Row]]:
    """Evaluate some samples of a data set, one batch at a time: gives the rows of each sample, in their order.

    Within a sample rows go by method, then by metric, as the plan names them.
    """
    for start in range(0, len(places), plan.batch_size):
        some = [samples[place] for place in places[start : start + plan.batch_size]]
        ready = [_ready(vit, samples, sample, plan) for sample in some]
        rows = iter(_batch(vit, [item for item in ready if isinstance(item, _Item)], plan, keep))
        for item in ready:
            yield next(rows) if isinstance(item, _Item) else item


def _ready(vit: Vit, samples: Samples, sample: Sample, plan: EvaluationPlan) -> _Item | list[Row]:
    """Read one sample; a photograph that cannot be read, or lacks the class asked for, gives its rows at once."""
    facts = _Facts(sample.id, NO_DIGEST, plan.seed)
    try:  # readers are the data set's own functions, and may raise what they like
        prepared = prepare(vit, [sample.image], 0, plan.fit)
    except Exception as problem:  # noqa: BLE001
        return _all_rows(facts, plan, status="failed", reason=_in_words(problem))
    if isinstance(prepared, VitreousError):
        return _all_rows(facts, plan, status="failed", reason=str(prepared))
    target, facts = plan.target, replace(facts, image_digest=prepared.digest)
    if target == TRUE_CLASS:
        target = class_of(vit, samples, sample)
        if target is None:
            reason = "the sample's class is none of the model's outputs"
            return _all_rows(facts, plan, status="excluded", reason=reason)
    try:
        return _Item(sample, prepared, truth_of(vit, samples, sample, prepared), "", target)
    except Exception as problem:  # noqa: BLE001
        return _Item(sample, prepared, Truth(), _in_words(problem), target)


def _all_rows(facts: _Facts, plan: EvaluationPlan, **told: Any) -> list[Row]:
    return [facts.row(method, metric, **told) for method in plan.methods for metric in plan.metrics]


class _AtFaultError(Exception):
    """Something failed in a batch of several images, one of which may be at fault."""


def _batch(vit: Vit, items: list[_Item], plan: EvaluationPlan, keep: KeepMaps | None) -> list[list[Row]]:
    """Evaluate a batch; where something fails that may be one image's fault, each image alone."""
    if not items:
        return []
    try:
        return _whole_batch(vit, items, plan, keep)
    except _AtFaultError:
        return [rows for item in items for rows in _batch(vit, [item], plan, keep)]


def _whole_batch(vit: Vit, items: list[_Item], plan: EvaluationPlan, keep: KeepMaps | None) -> list[list[Row]]:
    """Trace a batch and ask all methods. A batch of one that cannot be traced gives the reason in its rows."""
    images = torch.stack([item.prepared.image for item in items])
    targets = [item.target for item in items]
    trace = _attempt(lambda: vit.trace(images, targets, capture=plan.capture(vit), seed=plan.seed), items)
    if isinstance(trace, _Failure):
        facts = [_Facts(item.sample.id, item.prepared.digest, plan.seed) for item in items]
        return [_all_rows(each, plan, status="failed", reason=trace.reason) for each in facts]
    rows: list[list[Row]] = [[] for _ in items]
    with exact(vit.device), trace:
        facts = _facts(vit, trace, items, plan)
        for named in plan.methods.items():
            for place, more in enumerate(_method_rows(trace, items, facts, plan, named, keep)):
                rows[place] += more
    return rows


def _facts(vit: Vit, trace: Trace, items: list[_Item], plan: EvaluationPlan) -> list[_Facts]:
    """Say what was asked about each image and what the model predicts."""
    logits = trace.logits.detach().double().cpu()
    shares, best = logits.softmax(1), logits.argmax(1).tolist()
    single = (trace.target.plus >= 0) & (trace.target.minus < 0)
    return [
        _Facts(
            item.sample.id,
            item.prepared.digest,
            plan.seed,
            trace.target.names[place],
            label_of(best[place], vit.labels) if vit.has_classes else "",
            float(shares[place, trace.target.plus[place]]) if single[place] and vit.has_classes else float("nan"),
        )
        for place, item in enumerate(items)
    ]


def _method_rows(
    trace: Trace,
    items: list[_Item],
    facts: list[_Facts],
    plan: EvaluationPlan,
    method: tuple[str, Planned],
    keep: KeepMaps | None,
) -> list[list[Row]]:
    """Make one method's maps and judge them by all metrics. Gives the rows of each image."""
    label, planned = method
    relevance = _attempt(lambda: _map_of(planned, trace), items)
    if isinstance(relevance, _Failure):
        failed = {"status": "failed", "reason": relevance.reason}
        return [[each.row(label, metric, **failed) for metric in plan.metrics] for each in facts]
    if keep is not None:
        for item, one in zip(items, relevance.numpy(), strict=True):
            keep(item.sample.id, label, one)
    case = Case(trace, relevance, partial(_map_of, planned), tuple(item.truth for item in items))
    columns = [_metric_rows(case, items, facts, label, (name, metric)) for name, metric in plan.metrics.items()]
    return [list(rows) for rows in zip(*columns, strict=True)]


def _map_of(planned: Planned, trace: Trace) -> Relevance:
    return torch.from_numpy(relevance_of(planned, trace).relevance)


def _metric_rows(
    case: Case, items: list[_Item], facts: list[_Facts], method: str, named: tuple[str, PlannedMetric]
) -> list[Row]:
    """Judge one method's maps by one metric. Gives a row for each image."""
    label, planned = named
    lacking = [_lacking(planned, item, case) for item in items]
    if planned.metric.excludes is not None and not all(lacking):
        reasons = planned.metric.excludes(case, planned.parameters)
        lacking = [told or (("excluded", why) if why else None) for told, why in zip(lacking, reasons, strict=True)]
    if all(lacking):
        return [
            each.row(method, label, status=status, reason=reason)
            for each, (status, reason) in zip(facts, (told for told in lacking if told), strict=True)
        ]
    trace, began = case.trace, time.perf_counter()
    forwards, backwards = trace.forwards, trace.backwards
    found = _attempt(lambda: _judge(planned, case), items)
    if isinstance(found, _Failure):
        return [each.row(method, label, status="failed", reason=found.reason) for each in facts]
    spent = {
        "seconds": (time.perf_counter() - began) / len(items),
        "forwards": trace.forwards - forwards,
        "backwards": trace.backwards - backwards,
    }
    rows = []
    for place, each in enumerate(facts):
        value = planned.metric.value(found[place : place + 1])
        told = lacking[place] or (
            ("undefined", "the metric has no value for this image and map") if np.isnan(value) else None
        )
        if told is None:
            parts = tuple(np.atleast_1d(found[place]).tolist())
            rows.append(each.row(method, label, status="ok", value=value, parts=parts, **spent))
        else:
            rows.append(each.row(method, label, status=told[0], reason=told[1], **spent))
    return rows


def _judge(planned: PlannedMetric, case: Case) -> np.ndarray:
    with torch.no_grad():
        found: torch.Tensor = planned.metric.function(case, **planned.parameters)
    return found.double().cpu().numpy()


def _lacking(planned: PlannedMetric, item: _Item, case: Case) -> tuple[str, str] | None:
    """Say with which status and for what reason a metric cannot judge an image; None if it can."""
    if planned.metric.needs and item.problem:
        return "failed", item.problem
    if planned.metric.classes and not case.trace.vit.has_classes:
        return "excluded", "the model's outputs are no classes"
    missing = planned.metric.missing(item.truth)
    return ("excluded", missing) if missing else None


@dataclass(frozen=True)
class _Failure:
    """Why something could not be done, in words."""

    reason: str


def _attempt(do: Callable[[], Result], items: list[_Item]) -> Result | _Failure:
    """Do something for a batch; give an error's reason for the rows, or have images done alone if one may be at fault.

    All errors end here, not only those of this package: what the operators of some model refuse must not end the
    evaluation of a million images. It is in the rows, and every table counts it.
    """
    try:
        return do()
    except Exception as problem:
        # What concerns a model or a parameter concerns all images alike.
        if len(items) > 1 and not isinstance(problem, MethodNotApplicableError | InputError):
            raise _AtFaultError from problem
        return _Failure(_in_words(problem))


def _in_words(problem: Exception) -> str:
    """Give the reason for rows: the words of an error of this package, kind and first line of any other."""
    if isinstance(problem, VitreousError):
        return str(problem)
    text = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {text[0][:300] if text else ''}"
