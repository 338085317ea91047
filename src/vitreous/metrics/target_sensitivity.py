"""Target sensitivity: whether relevance moves to the right things when the method is asked about another class.

FunnyBirds' TS (Hesse, Schaub-Meyer & Roth 2023), for whole things of rendered scenes.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._rerun import class_target, has_class, maps_elsewhere
from vitreous.metrics._things import Things, density, drops, known_things, relevance_on

ROUNDING = 1e-5
"""Difference, relative to the larger of two numbers, up to which they are the same."""


@metric(
    category="known truth",
    better="higher",
    unit="share of comparisons",
    cost="the method once more, and one forward for each thing, shared",
    paper="arXiv:2308.06248",
    needs=("scene",),
    reruns=True,
    classes=True,
)
def target_sensitivity(case: Case) -> PerImage:
    """Ask for the map of the strongest other class, and compare two things that speak for the one and for the other.

    The other class is the output with the largest logit beside the target. Of the things, one speaks most for the
    target: when it is taken out, the target's logit falls most, less the fall of the other's. One speaks most for
    the other class, likewise. The first should have more relevance in the target's map than in the other's, the second
    more in the other's: the share of the two that is so, 0, 1/2 or 1, higher is better. A method that knows no classes
    gets 0, as two equal maps satisfy neither; equal means up to rounding, 1e-5 of the larger.

    Maps are compared raw, as in the paper, so a method whose maps grow with the logit tends to 1/2. NaN for an image
    that is no scene, a target that is no single class, and a scene in which the two things do not really differ: the
    one has to matter more than the other to the target, and less to the other class (the paper leaves those out too).
    Deviations: the paper takes two classes other than the bird's, that share two of its parts each, and takes out both
    parts at once; scenes have one thing of a class, so the target is one of the two, and single things are taken out.
    """
    judged, logits = has_class(case), case.trace.logits.detach().double().cpu()
    result = torch.full((len(judged),), torch.nan, dtype=torch.float64)
    known = known_things(case)
    if logits.shape[1] == 1 or not bool(judged.any()) or all(things is None for things in known):
        return result
    other = class_target(case, _strongest_beside(case.trace.target.plus.cpu(), logits))
    first, second = density(case), density(replace(case, relevance=maps_elsewhere(case, target=other)))
    for image, things in enumerate(known):
        if things is not None and bool(judged[image]):
            lost, lost_other = drops(case, image, things), drops(case, image, things, other)
            relevance, relevance_other = relevance_on(first[image], things), relevance_on(second[image], things)
            result[image] = _share(lost, lost_other, relevance, relevance_other)
    return result


def _strongest_beside(target: Int[Tensor, " b"], logits: Float[Tensor, "b k"]) -> Int[Tensor, " b"]:
    """Give the class with the largest logit beside the target's; of an image without a class, anything."""
    return logits.scatter(1, target.clamp(min=0)[:, None], -torch.inf).argmax(1)


def _share(lost: Things, lost_other: Things, relevance: Things, relevance_other: Things) -> float:
    speaks = lost - lost_other
    mine, others = int(speaks.argmax()), int(speaks.argmin())
    if not (lost[mine] > lost[others] and lost_other[others] > lost_other[mine]):
        return float("nan")
    right = (
        _is_more(relevance[mine], relevance_other[mine]),
        _is_more(relevance_other[others], relevance[others]),
    )
    return sum(right) / 2


def _is_more(one: Tensor, other: Tensor) -> bool:
    """Say whether one number is larger, by more than rounding: two runs on a GPU need not agree to the last bit."""
    return bool(one - other > ROUNDING * torch.maximum(one.abs(), other.abs()))
