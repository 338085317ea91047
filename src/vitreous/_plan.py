"""Planning: which methods with which parameters, which pass serves them all, and what each makes of its trace.

What a pass has to keep depends on all methods together, which is why this is neither in the methods nor in the trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from vitreous.core.errors import InputError, NonFiniteError
from vitreous.core.target import Target
from vitreous.methods._method import METHODS, Method
from vitreous.vit.memory import Held
from vitreous.vit.outliers import remark_outlying
from vitreous.vit.passes import Capture
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

Methods: TypeAlias = Sequence[str] | Mapping[str, Mapping[str, Any]]
Targets: TypeAlias = Target | Sequence[Target]


@dataclass(frozen=True)
class Planned:
    """A method with all its parameters: those that were given, and the defaults of the others."""

    method: Method
    parameters: dict[str, Any]


def plan_methods(vit: Vit, methods: Methods | None) -> list[Planned]:
    """Resolve method names and parameters before an image is read, so that a mistyped name costs nothing.

    None stands for all methods that apply and share one pass, without controls. Raises UnknownNameError,
    InputError for a parameter that a method does not have or for no method at all, and
    MethodNotApplicableError for a method named that means nothing on this model.
    """
    if methods is None:
        shared = [name for name in METHODS if METHODS[name].shares_pass and not METHODS[name].control]
        methods = [name for name in shared if not METHODS[name].why_not(vit)]
    if isinstance(methods, str):
        methods = [methods]
    given = methods if isinstance(methods, Mapping) else {name: {} for name in methods}
    if not given:
        raise InputError("methods is empty.", "Name at least one method; see vt.list_methods().")
    plan = [Planned(METHODS[name], METHODS[name].complete(parameters)) for name, parameters in given.items()]
    for item in plan:
        item.method.require_applicable(vit)
    return plan


def joint_capture(vit: Vit, plan: list[Planned]) -> Capture:
    """The least that one pass must keep to serve all methods: from the earliest block that any of them reads."""
    each = [item.method.capture(vit, item.parameters) for item in plan]
    return Capture(
        min(capture.first for capture in each),
        any(capture.graph for capture in each),
        any(capture.pixels for capture in each),
        any(capture.inputs for capture in each),
        any(capture.tokens for capture in each),
        any(capture.linears for capture in each),
    )


def held_by(vit: Vit, plan: list[Planned]) -> list[Held]:
    """What passes of the methods' own keep in memory, one after the other, beside the one they share."""
    each = [item.method.holds(vit, item.parameters) for item in plan]
    return [held for held in each if held is not None]


def one_target_each(target: Targets, count: int) -> list[Target]:
    """Give one target for each image.

    Only a list or tuple means one each: a name is a sequence of letters as well.
    """
    if not isinstance(target, list | tuple):
        return [target] * count  # type: ignore[list-item]
    if len(target) != count:
        raise InputError(
            f"target is a list of {len(target)} for {count} images.",
            "Give one target, or one for each image.",
        )
    return list(target)


@dataclass(frozen=True)
class Found:
    """One method's maps of a batch, "b gh gw" or "b H W", and what it remarked about each."""

    relevance: np.ndarray
    notes: list[tuple[str, ...]]


def relevance_of(item: Planned, trace: Trace) -> Found:
    """Ask one method, and give its map as float32 on the CPU.

    Raises NonFiniteError: a map with a single NaN would look whole after resampling, and mean nothing.
    """
    for notes in trace.notes:
        notes.clear()
    with torch.no_grad():  # what a method computes from the trace is no part of the trace's graph
        found = item.method.function(trace, **item.parameters).float()
        if item.method.shows_attention:
            remark_outlying(trace, item.method.blocks(trace.vit, item.parameters))
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteError(
            f"Method {item.method.name!r} gave NaN or infinity.",
            "Run the model in float32, or use another method.",
        )
    return Found(found.cpu().numpy(), [tuple(notes) for notes in trace.notes])
