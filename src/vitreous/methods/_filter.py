"""The statistical filter of RFEM: what is left of each head's rollout above its mean and `k` standard deviations."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerToken
from vitreous.methods._reading import weigh_rows
from vitreous.vit.trace import Trace

Statistics: TypeAlias = Literal["matrix", "row"]


def filtered_rollout(trace: Trace, mixing: Sequence[Tensor], k: float, statistics: Statistics) -> PerToken:
    """Multiply (mixing + I) through the blocks in each head, filter, and add the heads up by their largest entry.

    mixing      "b h n n" of each block, the first block's first
    k           standard deviations above the mean, of n in the denominator, that an entry has to reach
    statistics  over which entries of a head mean, deviation and largest entry are taken: "matrix" or "row"

    Raises InputError for a `k` that is no finite number.
    """
    if not math.isfinite(k):
        raise InputError(f"k={k} is no finite number.", "Expected standard deviations, such as 0.5.")
    if statistics == "matrix":
        product = _products(mixing)
        high, largest = _bar(product.flatten(2), k)
        passed = weigh_rows(trace, (product[..., trace.readout.rows, :] >= high.unsqueeze(-1)).to(product.dtype))
    elif statistics == "row":
        row = _rows(trace, mixing)
        high, largest = _bar(trace.patches(row), k)
        passed = (row >= high).to(row.dtype)
    else:
        raise InputError(f"statistics={statistics!r} is unknown.", "Use 'matrix' or 'row'.")
    return (largest * passed).sum(1)


def _bar(entries: Tensor, k: float) -> tuple[Tensor, Tensor]:
    """Of each head's entries "b h m", what one has to reach to pass, and the largest; "b h 1" both."""
    deviation, mean = torch.std_mean(entries, -1, correction=0, keepdim=True)
    return mean + k * deviation, entries.amax(-1, keepdim=True)


def _products(mixing: Sequence[Tensor]) -> Tensor:
    """Multiply the matrices (mixing + I) of each head, the last block's leftmost: "b h n n"."""
    tokens = mixing[0].shape[-1]
    identity = torch.eye(tokens, dtype=mixing[0].dtype, device=mixing[0].device)
    product = (mixing[0] + identity).flatten(0, 1)
    for matrix in mixing[1:]:
        product = torch.baddbmm(product, matrix.flatten(0, 1), product)
    return product.reshape(mixing[0].shape)


def _rows(trace: Trace, mixing: Sequence[Tensor]) -> Tensor:
    """The row of each of those products that the prediction reads, "b h n", at the cost of vectors."""
    row = trace.reading.to(mixing[0].dtype)[:, None, None].expand(-1, mixing[0].shape[1], -1, -1)
    for matrix in reversed(mixing):
        row = row + row @ matrix
    return row.squeeze(2)
