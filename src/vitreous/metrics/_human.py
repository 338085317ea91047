"""People: their maps of one image beside the relevance of the same places, and how well the two agree."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case, HumanTruth, Truth
from vitreous.metrics._judged import Numbers, seen

At: TypeAlias = Literal["pixels", "patches"]
Measure: TypeAlias = Callable[[Numbers, Numbers], float]
"""Compares relevance, or whatever predicts people, with a human map of the same places; in this order."""

_NOBODY = ""


def against_people(case: Case, measure: Measure, asked: str | None, at: At) -> PerImage:
    """Measure each image's relevance against what people said when asked `asked`; None: the mean over all questions.

    Where a question has a map of all people, that one is taken, else the mean of the single people's. Questions about
    which the measure says nothing (NaN) are left out; NaN if all are.

    at  "pixels": the map as pictures show it, at every pixel that is not void; "patches": the patches' own relevance,
        against the mean of the human map over the pixels of each patch that are not void
    """
    found = []
    for image, truth in enumerate(case.truth):
        groups = by_question(truth, asked).values()
        relevance = places(case, truth, image, at)
        found.append(mean([measure(relevance, of_all(case, truth, group, at)) for group in groups if len(relevance)]))
    return torch.tensor(found, dtype=torch.float64)


def by_question(truth: Truth, asked: str | None) -> dict[str, list[HumanTruth]]:
    """Group an image's human maps by what was asked; only the question `asked`, unless it is None."""
    groups: dict[str, list[HumanTruth]] = {}
    for human in truth.human:
        if asked in {None, human.name}:
            groups.setdefault(human.name, []).append(human)
    return groups


def places(case: Case, truth: Truth, image: int, at: At) -> Numbers:
    """Give the relevance of all places of an image that count."""
    if at == "pixels":
        pixels = case.per_pixel[image]
        return np.asarray(pixels[seen(truth, pixels)])
    return np.asarray(case.per_patch[image][_share_seen(case, truth, image) > 0])


def of_all(case: Case, truth: Truth, group: list[HumanTruth], at: At) -> Numbers:
    """Give the map of all people at the places that count, or without one the mean of single people's maps."""
    together = [human for human in group if human.judge == _NOBODY] or group
    values = torch.stack([human.values for human in together]).double().cpu().mean(0)
    counts = seen(truth, values)
    if at == "pixels":
        return np.asarray(values[counts])
    share = per_patch(case, counts.double())
    return np.asarray((per_patch(case, torch.where(counts, values, 0.0)) / share)[share > 0])


def per_patch(case: Case, pixels: Float[Tensor, "H W"]) -> Float[Tensor, " p"]:
    """Give the mean over each patch, row by row. Pixels beyond the last whole patch are in none."""
    (rows, columns), (high, wide) = case.trace.vit.grid, case.trace.vit.patch
    covered = pixels[: rows * high, : columns * wide].double()
    return covered.reshape(rows, high, columns, wide).mean((1, 3)).flatten()


def _share_seen(case: Case, truth: Truth, image: int) -> Float[Tensor, " p"]:
    return per_patch(case, seen(truth, case.per_pixel[image]).double())


def mean(values: list[float]) -> float:
    """Give the mean of the numbers that are not NaN; NaN without any."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def fixated(human: Numbers, share: float) -> Bool[np.ndarray, " m"]:
    """Say which places count as fixated: the `share` with the highest values, ties included, never the lowest value.

    A map of points, which is 0 at all other places, so keeps its points and nothing else, if they are fewer than the
    share.
    """
    count = max(1, round(share * len(human)))
    return np.asarray((human >= np.partition(human, -count)[-count]) & (human > human.min()))


def check_share(share: float) -> None:
    """Raise InputError for a share outside 0 to 1."""
    if not 0 < share < 1:
        raise InputError(f"fixated={share} is no share of places.", "Give a number between 0 and 1, such as 0.2.")
