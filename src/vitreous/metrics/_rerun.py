"""Reruns: the same method on other images, another model, another target or another seed; its passes are counted."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitreous.core.shapes import Images
from vitreous.core.target import ResolvedTarget, label_of
from vitreous.metrics._case import Case, Relevance
from vitreous.vit.vit import Vit


def maps_of(case: Case, images: Images) -> Relevance:
    """Give the method's maps of changed images, of the same targets, raw, in float64 on the CPU."""
    with case.trace.again(images=images) as trace:
        return case.explain(trace).detach().double().cpu()


def maps_elsewhere(
    case: Case, vit: Vit | None = None, target: ResolvedTarget | None = None, seed: int | None = None
) -> Relevance:
    """Give the method's maps of the same images with another model, target or seed; what is not given stays.

    Raw, in float64 on the CPU. The passes count as those of the case's trace.
    """
    trace = case.trace
    with (vit or trace.vit).trace(
        trace.images, target or trace.target, capture=trace.capture, seed=trace.seed if seed is None else seed
    ) as other:
        found = case.explain(other).detach().double().cpu()
    trace.forwards += other.forwards
    trace.backwards += other.backwards
    return found


def patches_of(case: Case, maps: Relevance) -> Float[Tensor, "b p"]:
    """Give another map's relevance of each patch, as `Case.per_patch` does."""
    return replace(case, relevance=maps).per_patch


def has_class(case: Case) -> Bool[Tensor, " b"]:
    """Say for each image whether its target is a single class: no difference of two, and no embedding."""
    target = case.trace.target
    return ((target.plus >= 0) & (target.minus < 0)).cpu()


def class_target(case: Case, classes: Int[Tensor, " b"]) -> ResolvedTarget:
    """Make a target of one class for each image."""
    target = case.trace.target
    names = tuple(label_of(index, case.trace.vit.labels) for index in classes.tolist())
    plus = classes.to(target.plus.device)
    return ResolvedTarget("logit", plus, torch.full_like(plus, -1), names)
