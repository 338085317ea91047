"""Curves: what becomes of the prediction while patches are taken away one group after the other."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.metrics._case import Case
from vitreous.metrics._rank import descending
from vitreous.metrics._sets import Answers, answers
from vitreous.vit.coalitions import AnyFill

Quantity: TypeAlias = Literal["probability", "logit"]
First: TypeAlias = Literal["most", "least"]


class Curve(NamedTuple):
    """What the model answers while patches are taken away.

    gone     the share of patches that are gone at each point, from 0 to 1
    answers  to what is left, "b s"
    """

    gone: Float[Tensor, " s"]
    answers: Answers


def removal_curve(case: Case, first: First, steps: int, fill: AnyFill) -> Curve:
    """Take patches away in `steps` equal steps, the most or the least relevant first, until none is left.

    Gives the answers to the whole image and after each step. A model with fewer patches than steps loses one at a time.
    The image is cut at the same counts whichever end is `first`, so that what "most" has taken away and what "least"
    has left are sets of one and the same ranking: inserting the most relevant first is removing the least relevant
    first, read backwards.

    Raises InputError for fewer than one step.
    """
    patches = case.per_patch.shape[1]
    if steps < 1:
        raise InputError(f"steps={steps} are no steps.", "Give 1 or more.")
    order = descending(case) if first == "most" else descending(case).flip(1)
    counts = removal_counts(patches, min(steps, patches))
    return Curve(counts.double() / patches, answers(case, without_first(order, counts), fill))


def removal_counts(patches: int, steps: int) -> Int[Tensor, " s"]:
    """Say how many patches are gone at the beginning and after each of `steps` steps, the same from both ends.

    Where steps do not divide the patches, counts are rounded, the second half as the mirror image of the first: k gone
    from one end leave what is gone from the other at the point as far from the end. Only the middle of an odd number
    of patches cannot have that.

    >>> removal_counts(12, 5).tolist()
    [0, 2, 5, 7, 10, 12]
    """
    ideal = torch.arange(steps + 1, dtype=torch.float64) * patches / steps
    counts = (ideal + 0.5).floor().long()
    half = (steps + 1) // 2
    counts[steps - half + 1 :] = patches - counts[:half].flip(0)
    return counts


def without_first(order: Int[Tensor, "b p"], counts: Int[Tensor, " s"]) -> Bool[Tensor, "b s p"]:
    """Give the sets that keep all patches but the first `counts` of each image's order."""
    places = order.argsort(1)
    return places[:, None, :] >= counts[None, :, None]


def area(values: Float[Tensor, "b s"], gone: Float[Tensor, " s"]) -> Float[Tensor, " b"]:
    """Give the area under each image's curve over the share of patches gone, by the trapezoid rule."""
    return torch.trapezoid(values, gone, dim=1)
