"""Digests: names for weights that change whenever a single number does.

A file name or a tag on a hub can come to mean other weights; the digest in a heatmap's provenance cannot.
It is taken from the model in memory, after loading, so that it also tells what was cast, resampled or
fine-tuned since.
"""

import hashlib

import torch
from torch import Tensor, nn


def weights_digest(model: nn.Module) -> str:
    """Compute sha256 over the names, types, shapes and bytes of all parameters and buffers, in order of their names.

    Gives 64 hexadecimal digits, the same on every device. The architecture enters by the names and shapes
    alone. Entries of the state that are no tensors are left out.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    """View a tensor's numbers as bytes, in row-major order, without a copy where it is on the CPU and contiguous.

    Of a quantised tensor these are the stored integers; its scale and zero point are not among them.
    """
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy().data) if flat.numel() else memoryview(b"")
