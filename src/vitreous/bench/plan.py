"""Plan: what an evaluation is to do, resolved before an image is read. The same plan gives the same rows everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from vitreous._plan import Planned, held_by, joint_capture
from vitreous.core.calls import read_call
from vitreous.core.errors import InputError
from vitreous.core.frame import Fit
from vitreous.core.target import Target
from vitreous.methods._method import METHODS
from vitreous.metrics._metric import METRICS, Metric
from vitreous.vit.memory import batch_that_fits
from vitreous.vit.passes import Capture
from vitreous.vit.vit import Vit

Asked: TypeAlias = str | Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Names, each with parameters in brackets if it needs any, "gradcam(plus=True)"; or a mapping from names to
parameters."""

TRUE_CLASS = "label"
"""The target that is each image's own class, as the data set knows it."""

MOST_PER_BATCH = 8
USUAL = (
    "srg", "deletion", "insertion", "pixel_average_precision", "relevance_mass_accuracy", "pointing_game",
    "human_spearman", "counterfactual_rank", "mass_on_target",
)  # fmt: skip
"""Metrics that are asked for by default: of each category one or two that are quick, which share their passes."""

CONTROL = "random"
"""The control without which no table says how much chance is in it; it is always evaluated."""


@dataclass(frozen=True)
class PlannedMetric:
    """A metric with all its parameters."""

    metric: Metric
    parameters: dict[str, Any]


@dataclass(frozen=True)
class EvaluationPlan:
    """Methods and metrics by label, and how images become batches.

    target      as in `explain`; or "label", the class that the data set gives
    batch_size  images traced together. Numbers differ by rounding between sizes, so it is part of the plan
    """

    methods: dict[str, Planned]
    metrics: dict[str, PlannedMetric]
    target: Target
    fit: Fit
    seed: int
    batch_size: int

    def capture(self, vit: Vit) -> Capture:
        """The least that a pass must keep for all methods."""
        return joint_capture(vit, list(self.methods.values()))


def plan_evaluation(
    vit: Vit, methods: Asked | None, metrics: Asked | None, target: Target, fit: Fit, batch_size: int | None, seed: int
) -> EvaluationPlan:
    """Resolve names and parameters.

    methods     None takes every method that applies and lives on the shared pass. The random control is always added
    metrics     None takes `USUAL`
    batch_size  None takes at most 8, and as many as half of the free memory holds

    Raises UnknownNameError, InputError for parameters or an empty list, and MethodNotApplicableError.
    """
    if methods is None:
        methods = [name for name in METHODS if METHODS[name].shares_pass and not METHODS[name].why_not(vit)]
    if metrics is None:
        metrics = USUAL
    asked = read_asked(methods, "methods")
    if all(name != CONTROL for name, _ in asked.values()):
        asked[CONTROL] = (CONTROL, {})
    planned = {label: Planned(METHODS[name], METHODS[name].complete(given)) for label, (name, given) in asked.items()}
    for item in planned.values():
        item.method.require_applicable(vit)
    chosen = {
        label: PlannedMetric(METRICS[name], METRICS[name].complete(given))
        for label, (name, given) in read_asked(metrics, "metrics").items()
    }
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size={batch_size} is no number of images.", "Give 1 or more, or leave it out.")
    each = list(planned.values())
    size = batch_size or batch_that_fits(vit, joint_capture(vit, each), MOST_PER_BATCH, held=held_by(vit, each))
    return EvaluationPlan(planned, chosen, target, fit, seed, size)


def check_asked(methods: Asked | None, metrics: Asked | None) -> None:
    """Raise what `plan_evaluation` raises for names and parameters, before a model is opened or data are read."""
    for asked, argument, known in ((methods, "methods", METHODS), (metrics, "metrics", METRICS)):
        if asked is not None:
            for name, given in read_asked(asked, argument).values():
                known[name].complete(given)


def read_asked(asked: Asked, argument: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Give name and parameters of each label. Raises InputError for an empty list, or one that is not understood.

    >>> read_asked(["rollout", "gradcam(plus=True)"], "methods")
    {'rollout': ('rollout', {}), 'gradcam(plus=True)': ('gradcam', {'plus': True})}
    """
    if isinstance(asked, Mapping):
        found = {_label(name, given): (name, dict(given)) for name, given in asked.items()}
    else:
        texts: list[object] = [asked] if isinstance(asked, str) else list(asked)
        calls = [read_call(_name(text, argument), argument) for text in texts]
        found = {_label(name, given): (name, given) for name, given in calls}
    if not found:
        raise InputError(f"{argument} is empty.", f"Name at least one; see vt.list_{argument}().")
    return found


def _name(asked: object, argument: str) -> str:
    """Give what was asked for if it is a text. Raises InputError for anything else, such as the function itself."""
    if isinstance(asked, str):
        return asked
    name = getattr(asked, "__name__", "name")
    raise InputError(f"{argument} has a {type(asked).__name__}.", f"Give names, such as {name!r}.")


def _label(name: str, given: Mapping[str, Any]) -> str:
    """Write name and parameters as one would type them."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})" if given else name
