"""Local weight files: read without running any code in them, and matched tensor by tensor.

Only `.safetensors`, and `.pth`/`.pt`/`.bin` through PyTorch's restricted unpickler. There is no fallback to unrestricted
unpickling: a file that needs it is refused.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vitreous.core.errors import UnsafeWeightsError, WeightsError, WeightsMismatchError

_NESTED = ("state_dict", "model", "model_state_dict", "state_dict_ema", "teacher")
_WRAPPERS = ("module.", "_orig_mod.", "model.")
SHOWN = 10


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file by name.

    Raises WeightsError if it cannot be read, UnsafeWeightsError if it holds anything but tensors and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"The weight file {path} does not exist.", "Give the path of a .safetensors or .pth file.")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if path.suffix in {".pth", ".pt", ".bin", ".ckpt"}:
        return _load_pickle(path)
    raise UnsafeWeightsError(
        f"The weight file {path.name} has the ending {path.suffix!r}.",
        "Give .safetensors, or .pth with tensors alone (torch.save(model.state_dict(), …)).",
    )


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as problem:
        raise WeightsError(
            f"{path.name} is no valid safetensors file: {problem}.", "Download or write it again."
        ) from problem


def _load_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        raise UnsafeWeightsError(
            f"{path.name} holds objects other than tensors, and loading them could run code.",
            "Save it again with torch.save(model.state_dict(), …), or convert it to safetensors where you trust it.",
        ) from problem
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as problem:
        raise WeightsError(
            f"{path.name} cannot be read: {str(problem).splitlines()[0][:200]}.", "Download or write it again."
        ) from problem
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the tensors in a checkpoint, which may keep them under a key such as 'state_dict'."""
    for name in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise WeightsError(
        f"{path.name} holds no tensors by name (found {type(content).__name__}).", "Save model.state_dict()."
    )


def apply_weights(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Load tensors into a model strictly. Nothing is loaded unless everything fits.

    Raises WeightsMismatchError listing the first missing, unexpected and differently shaped tensors; a classification
    head with another number of classes is explained as such.
    """
    wanted = model.state_dict()
    tensors = _unwrapped(tensors, wanted)
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted]
    shapes = [
        (name, tuple(tensors[name].shape), tuple(wanted[name].shape))
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    if missing or unexpected or shapes:
        raise _mismatch(missing, unexpected, shapes, origin)
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() != wanted[name].is_floating_point()]
    if bad:
        raise WeightsMismatchError(
            f"{origin}: {len(bad)} tensors have another kind of number than the model, the first is {bad[0]!r} "
            f"({tensors[bad[0]].dtype} for {wanted[bad[0]].dtype}).",
            "Give floating-point weights; quantised ones need the library that made them.",
        )
    model.load_state_dict(dict(tensors), strict=True)


def _unwrapped(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove a prefix that a training wrapper put before every name, if that makes the names known."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            shorter = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            if any(name in wanted for name in shorter):
                return shorter
    return tensors


def _mismatch(
    missing: list[str],
    unexpected: list[str],
    shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]],
    origin: str,
) -> WeightsMismatchError:
    heads = [shape for shape in shapes if shape[1][1:] == shape[2][1:] and shape[0].rpartition(".")[2] in {"weight", "bias"}]
    if heads and len(heads) == len(shapes) and not missing and not unexpected:
        _, given, expected = heads[0]
        return WeightsMismatchError(
            f"{origin} has a head of {given[0]} classes ({heads[0][0]}), and the model was built with {expected[0]}.",
            f"Open it with num_classes={given[0]}.",
        )
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({_first(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} unexpected ({_first(unexpected)})")
    if shapes:
        listed = [f"{name}: {given} instead of {expected}" for name, given, expected in shapes]
        parts.append(f"{len(shapes)} of another shape ({_first(listed)})")
    return WeightsMismatchError(
        f"{origin} does not fit the model: {'; '.join(parts)}.",
        "Open the architecture that these weights were trained with.",
    )


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
