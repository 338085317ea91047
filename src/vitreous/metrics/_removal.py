"""Removal in tenths: whether the predicted class is still the true one while pixels or patches are taken away."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.metrics._case import Case
from vitreous.metrics._curve import First, without_first
from vitreous.metrics._rank import descending, descending_pixels
from vitreous.metrics._sets import answers, pixel_answers, whole_answers
from vitreous.vit.coalitions import AnyFill

Unit: TypeAlias = Literal["pixel", "patch"]


def still_right(case: Case, first: First, unit: Unit, fill: AnyFill) -> Float[Tensor, "b 10"]:
    """Give 1 where the predicted class is the true one and 0 where not: whole, and without 10, 20 … 90 % of the image.

    Shares that are no whole number of pixels or patches are rounded down. NaN for an image without a label. Raises
    InputError for fill="drop" with pixels, which are no tokens.
    """
    if unit == "pixel" and fill == "drop":
        raise InputError("fill='drop' takes patches away, not pixels.", "Use unit='patch', or another fill.")
    order = descending(case) if unit == "patch" else descending_pixels(case)
    order = order if first == "most" else order.flip(1)
    keep = without_first(order, torch.arange(1, 10) * order.shape[1] // 10)
    if unit == "patch":
        removed = answers(case, keep, fill).predicted
    else:
        removed = pixel_answers(case.trace, keep.reshape(*keep.shape[:2], *case.images.shape[2:]), fill).predicted
    predicted = torch.cat([whole_answers(case.trace).predicted, removed], 1)
    labels = torch.tensor([-1 if truth.label is None else truth.label for truth in case.truth])
    right = (predicted == labels[:, None]).double()
    return right.masked_fill(labels[:, None] < 0, torch.nan)
