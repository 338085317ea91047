"""Memory: what explaining one image costs, told before it is spent."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vitreous.core.errors import MemoryEstimateError
from vitreous.vit.passes import Capture
from vitreous.vit.vit import Vit

GIB = 1024**3
_ACTIVATIONS = 16
"""Tensors of a token's width that a block keeps for the backward: norms, q, k, v, output, and twice the MLP's 4-fold
width."""
_RESULTS = 5
"""Those that stay besides if the results of linear layers are kept: q, k, v, what attention gives, and what the MLP."""

_RECORDED = 7
"""The same without a graph, for what a trace records: tokens, what attention projects, q, k, v, and their scaling."""

_PASSING = 8
"""The same that an MLP holds for a moment without a graph."""


@dataclass(frozen=True)
class Held:
    """What a pass of a method's own keeps while the pass that all methods share is alive.

    capture    what that pass keeps
    item_size  bytes of its numbers, at least; the model's own type may take more
    times      how often, if rules keep more than an ordinary graph does
    """

    capture: Capture
    item_size: int = 1
    times: float = 1.0


def bytes_per_image(vit: Vit, capture: Capture, held: Sequence[Held] = ()) -> int:
    """Estimate the peak bytes that explaining one image needs: the shared pass, and the largest of those held beside.

    Own passes come one after the other, and each is freed before the next. The model's own weights are not counted,
    nor what does not grow with the batch: weights in double precision, and the many masked images of perturbation
    methods, whose passes have a size of their own.
    """
    own = max((held_bytes(vit, each) for each in held), default=0)
    return _one_pass(vit, capture, vit.dtype.itemsize) + own


def held_bytes(vit: Vit, held: Held) -> int:
    """Estimate what one image needs for a pass of a method's own."""
    return int(held.times * _one_pass(vit, held.capture, max(held.item_size, vit.dtype.itemsize)))


def _one_pass(vit: Vit, capture: Capture, item_size: int) -> int:
    """Estimate what one image needs in one pass.

    Counted are l * h * n * n probabilities of 4 bytes or more, as many gradients, the few that softmax and product hold
    of one block for a moment, activations, and pixels.
    """
    blocks, n, exact = len(vit.blocks) - capture.first, vit.tokens, max(4, item_size)
    square, tokens = vit.heads * n * n * exact, n * vit.width * item_size
    pixels = 3 * vit.preprocessing.size[0] * vit.preprocessing.size[1] * exact
    if not capture.graph:
        return (blocks + 3) * square + (blocks * _RECORDED + _PASSING) * tokens + 2 * pixels
    # where the graph reaches the pixels, blocks that are not watched are in it too, with fused attention
    active = len(vit.blocks) if capture.pixels else blocks
    widths = _ACTIVATIONS + (_RESULTS if capture.linears else 0)
    gradients = blocks * (capture.inputs + capture.tokens)
    moment = 4 * square if blocks else 0
    return 2 * blocks * square + moment + (active * widths + gradients) * tokens + 4 * pixels


def free_bytes(device: torch.device) -> int:
    """Say how much memory a trace may use on a device: all that is free there."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return _available_linux()
    except (OSError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4 * GIB


def _available_linux() -> int:
    """Read MemAvailable, which unlike free pages counts what the page cache would give back."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  (a kernel file, not a path of ours)
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    raise ValueError("no MemAvailable in /proc/meminfo")


def batch_that_fits(vit: Vit, capture: Capture, most: int, share: float = 0.5, *, held: Sequence[Held] = ()) -> int:
    """Give the largest batch up to `most` whose estimate stays within `share` of the free memory.

    held  what the methods' own passes keep beside the shared one

    Raises MemoryEstimateError if one image alone needs more than there is.
    """
    one, free = bytes_per_image(vit, capture, held), free_bytes(vit.device)
    if one > free:
        raise MemoryEstimateError(
            f"One image of {vit.tokens} tokens needs about {one / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free.",
            "Use a smaller image size, a method that reads one block ('gradcam'), or a machine with more memory.",
        )
    return max(1, min(most, int(free * share / max(one, 1))))
