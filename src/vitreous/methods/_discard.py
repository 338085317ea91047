"""Discarding the smallest entries of fused attention, as a public implementation of rollout proposed it, done right.

Its source (jacobgil/vit-explain) discards in the first image of a batch only, spares one entry instead of the class
token, and then divides columns by the sums of rows.
"""

import torch
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.vit.trace import Trace


def check_discard(method: str, discard: float) -> None:
    """Raise InputError unless 0 <= discard < 1."""
    if not 0 <= discard < 1:
        raise InputError(f"{method} got discard={discard}.", "Expected 0 <= discard < 1.")


def drop_smallest(trace: Trace, fused: Tensor, discard: float) -> Tensor:
    """Set the smallest entries between patches to zero: the lowest `discard` of each image's matrix "b n n".

    The share is of all n * n entries, as in that implementation, but only those between patches are
    candidates. Of equal entries the first in row-major order goes first, on every device.
    """
    if discard == 0:
        return fused
    images, tokens, _ = fused.shape
    patches = trace.patches(torch.arange(tokens, device=fused.device))
    droppable = torch.zeros(tokens, tokens, dtype=torch.bool, device=fused.device)
    droppable[patches[:, None], patches[None, :]] = True
    drop = int(discard * tokens * tokens)
    if drop == 0:
        return fused
    entries = torch.where(droppable, fused, torch.inf).reshape(images, -1)
    last = entries.kthvalue(drop, dim=1, keepdim=True).values  # selecting one takes a tenth of the time of sorting all
    smaller, equal = entries < last, entries == last
    gone = smaller | (equal & (equal.cumsum(1) <= drop - smaller.sum(1, keepdim=True)))
    return fused.masked_fill(gone.reshape(fused.shape) & droppable, 0)
