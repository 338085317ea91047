"""Marking: pixels above a threshold are said to be the object, and counted against the mask."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from skimage.filters import threshold_otsu
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._judged import Inside, Numbers, Row, each_row, stretched

Counts = Float[Tensor, "b 4"]
"""Pixels marked rightly, marked wrongly, wrongly not marked and rightly not marked; NaN where there is no mask."""


def above_mean(case: Case) -> Counts:
    """Mark the pixels whose relevance is above the mean of the pixels that count. A constant map marks none."""
    return _counts(case, lambda values: float(values.mean()))


def above_otsu(case: Case, confidence: float) -> Counts:
    """Mark the pixels whose relevance is above Otsu's threshold, which parts the values into two classes best.

    Of a histogram of 256 bins over the pixels that count, as scikit-image computes it. A constant map marks none. NaN
    for images of which the model gives no class a probability of `confidence`. Raises InputError for a confidence that
    is no probability.
    """
    if not 0 <= confidence <= 1:
        raise InputError(f"confidence={confidence} is no probability.", "Give 0 to 1; 0 keeps every image.")
    counts = _counts(case, lambda values: float(threshold_otsu(values)))
    return torch.where((likeliest(case) >= confidence)[:, None], counts, torch.nan)


def likeliest(case: Case) -> PerImage:
    """Give the largest probability that the model gives to any class."""
    return case.trace.logits.detach().double().cpu().softmax(1).amax(1)


def unsure(case: Case, parameters: Mapping[str, Any]) -> list[str]:
    """Say for each image that the model is too unsure of, why it is excluded; an empty text for the others."""
    least = parameters["confidence"]
    why = f"no class has a probability of {least}; with confidence=0.0 every image counts"
    return [why if found < least else "" for found in likeliest(case).tolist()]


def _counts(case: Case, threshold: Callable[[Numbers], float]) -> Counts:
    """Count with a threshold that moves and scales with the map, so that stretching it first changes nothing.

    It is done for maps of 1e-10, of which no histogram can be made.
    """

    def count(relevance: Numbers, inside: Inside) -> Row:
        values = stretched(relevance)
        marked = values > threshold(values)
        return np.array(
            [(marked & inside).sum(), (marked & ~inside).sum(), (~marked & inside).sum(), (~marked & ~inside).sum()],
            dtype=np.float64,
        )

    return each_row(case, count, 4)
