"""Precision: a model runs in float64 without being changed, for propagation rules that float32 cannot carry.

Wrapped around a pass, the mode below promotes every tensor on its way into a function, parameters one layer at a time,
so that no second copy of the model is ever held. Casts down that the model itself writes lead to float64 as well.

    with in_double():
        trace.again(rules=…, inputs=trace.inputs.detach().double())
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_LOWER = {torch.float32, torch.float16, torch.bfloat16}
_CASTS = {Tensor.float, Tensor.half, Tensor.bfloat16}
_KEEPS = {Tensor.detach, Tensor.requires_grad_, Tensor.is_inference}
"""Functions that hand a tensor on, and compute nothing: a parameter is promoted where it is used, and not kept."""


class _Double(TorchFunctionMode):
    """Stands behind the Tap, and so sees what the Tap passes on, and the arithmetic that it does itself."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer one call with all its floating-point tensors, and types that it names, in float64."""
        if getattr(func, "__name__", "") in {"__get__", "__set__"} or func in _KEEPS:
            return func(*args, **kwargs or {})
        if func in _CASTS and args[0].is_floating_point():
            return promoted(args[0])
        return promoted(func(*promoted(args), **promoted(kwargs or {})))


def promoted(value: Any) -> Any:
    """Turn lower floating-point tensors and types into float64, also inside lists and dictionaries."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype in _LOWER else value
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _LOWER else value
    if type(value) in {tuple, list}:
        return type(value)(promoted(item) for item in value)
    if type(value) is dict:
        return {key: promoted(item) for key, item in value.items()}
    return value


@contextmanager
def in_double() -> Iterator[None]:
    """Compute in float64 whatever runs in the block; in this thread alone.

    Backward passes belong outside: their tensors are float64 already. Not for devices without float64.
    """
    with _Double():
        yield
