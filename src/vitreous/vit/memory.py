"""Memory: what tracing one image costs, told before it is spent."""

import os

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


def bytes_per_image(vit: Vit, capture: Capture) -> int:
    """Estimate the peak bytes that tracing one image needs.

    Counted are l * h * n * n probabilities of 4 bytes, as many gradients, the few that softmax and product hold of one
    block for a moment, and the activations kept for the backward. The model's own weights are not counted.
    """
    blocks = len(vit.blocks) - capture.first
    n = vit.tokens
    attention = blocks * vit.heads * n * n * 4
    if not capture.graph:
        return attention + 3 * vit.heads * n * n * 4
    widths = _ACTIVATIONS + (_RESULTS if capture.linears else 0)
    activations = blocks * n * vit.width * widths * vit.dtype.itemsize
    pixels = 4 * 3 * vit.preprocessing.size[0] * vit.preprocessing.size[1] * 4
    # probabilities and their gradients stay; softmax and product hold a few more of one block for a moment
    return 2 * attention + 4 * vit.heads * n * n * 4 + activations + pixels


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


def batch_that_fits(vit: Vit, capture: Capture, most: int, share: float = 0.5) -> int:
    """Give the largest batch up to `most` whose estimate stays within `share` of the free memory.

    Raises MemoryEstimateError if one image alone needs more than there is.
    """
    one, free = bytes_per_image(vit, capture), free_bytes(vit.device)
    if one > free:
        raise MemoryEstimateError(
            f"One image of {vit.tokens} tokens needs about {one / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free.",
            "Use a smaller image size, a method that reads one block ('gradcam'), or a machine with more memory.",
        )
    return max(1, min(most, int(free * share / max(one, 1))))
