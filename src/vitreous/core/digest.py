"""Digests: names for weights that change whenever a single number does.

A file name or a tag on a hub can come to mean other weights; the digest in a heatmap's provenance cannot.
It is taken from the model in memory, after loading, so that it also tells what was cast, resampled or
fine-tuned since.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn


def weights_digest(model: nn.Module) -> str:
    """Compute sha256 over the names, types, shapes and bytes of all parameters and buffers, in order of their names.

    Gives 64 hexadecimal digits, the same on every device. The architecture enters by the names and shapes
    alone. Quantised layers keep tensors in tuples, with scales as plain numbers: both count.
    """
    digest = hashlib.sha256()
    for name, entry in sorted(model.state_dict().items()):
        digest.update(f"{name}|".encode())
        _add(digest, entry)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", entry: Any) -> None:
    """Add one entry of a state: a tensor, a tuple of entries, or a plain value by its text."""
    if isinstance(entry, tuple | list):
        for part in entry:
            _add(digest, part)
    elif isinstance(entry, Tensor):
        digest.update(f"{entry.dtype}|{tuple(entry.shape)}|{_quantiser(entry)}".encode())
        digest.update(_bytes(entry))
    else:
        digest.update(f"{entry!r}|".encode())


def _quantiser(tensor: Tensor) -> str:
    """Say how the stored integers of a quantised tensor become numbers; empty for any other tensor."""
    if not tensor.is_quantized:
        return ""
    if tensor.qscheme() in {torch.per_tensor_affine, torch.per_tensor_symmetric}:
        return f"{tensor.q_scale()}|{tensor.q_zero_point()}|"
    return f"{tensor.q_per_channel_scales().tolist()}|{tensor.q_per_channel_zero_points().tolist()}|"


def _bytes(tensor: Tensor) -> memoryview:
    """View a tensor's numbers as bytes, in row-major order, without a copy where it is on the CPU and contiguous.

    Of a quantised tensor these are the stored integers.
    """
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy().data) if flat.numel() else memoryview(b"")
