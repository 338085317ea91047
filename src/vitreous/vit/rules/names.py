"""Names: every spelling under which PyTorch offers an operator, so that a rule written once meets them all.

A model may write `a + b`, `torch.add(a, b)` or `a.add_(b)`; the mode sees three different functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Function: TypeAlias = Callable[..., Any]

_PLACES = {"torch": torch, "F": F, "Tensor": Tensor, "special": torch.special, "linalg": torch.linalg}


def _named(names: str) -> tuple[Function, ...]:
    """Find functions by their names, such as "torch.add Tensor.add_"; a version of PyTorch may lack some."""
    split = [name.split(".") for name in names.split()]
    return tuple(getattr(_PLACES[place], name) for place, name in split if hasattr(_PLACES[place], name))


_SPELLED: dict[Function, tuple[Function, ...]] = {
    torch.add: _named("torch.add Tensor.add Tensor.__add__ Tensor.__radd__"),
    torch.sub: _named("torch.sub torch.subtract Tensor.sub Tensor.subtract Tensor.__sub__"),
    torch.mul: _named("torch.mul torch.multiply Tensor.mul Tensor.multiply Tensor.__mul__ Tensor.__rmul__"),
    torch.div: _named("torch.div torch.divide torch.true_divide Tensor.div Tensor.divide Tensor.true_divide "
                      "Tensor.__truediv__ Tensor.__div__"),
    torch.matmul: _named("torch.matmul torch.bmm torch.mm linalg.matmul Tensor.matmul Tensor.bmm Tensor.mm "
                         "Tensor.__matmul__"),
    torch.softmax: _named("torch.softmax F.softmax special.softmax Tensor.softmax"),
    torch.mean: _named("torch.mean Tensor.mean"),
    torch.sum: _named("torch.sum Tensor.sum"),
    torch.pow: _named("torch.pow Tensor.pow Tensor.__pow__"),
    torch.square: _named("torch.square Tensor.square"),
    torch.neg: _named("torch.neg torch.negative Tensor.neg Tensor.negative Tensor.__neg__"),
    torch.exp: _named("torch.exp Tensor.exp"),
    torch.sqrt: _named("torch.sqrt Tensor.sqrt"),
    torch.rsqrt: _named("torch.rsqrt Tensor.rsqrt"),
    torch.relu: _named("torch.relu F.relu Tensor.relu"),
    torch.sigmoid: _named("torch.sigmoid F.sigmoid special.expit Tensor.sigmoid"),
    torch.tanh: _named("torch.tanh F.tanh Tensor.tanh"),
    torch.erf: _named("torch.erf Tensor.erf special.erf"),
    torch.clamp: _named("torch.clamp torch.clip Tensor.clamp Tensor.clip"),
    F.conv2d: _named("F.conv2d torch.conv2d"),
    F.layer_norm: _named("F.layer_norm torch.layer_norm"),
    F.rms_norm: _named("F.rms_norm torch.rms_norm"),
    F.group_norm: _named("F.group_norm torch.group_norm"),
    F.batch_norm: _named("F.batch_norm torch.batch_norm"),
}  # fmt: skip
"""Spellings with the same order of operands, under the function that stands for them. Functions not listed have one."""

_REVERSED: dict[Function, tuple[Function, ...]] = {
    torch.sub: _named("Tensor.__rsub__ torch.rsub"),
    torch.div: _named("Tensor.__rtruediv__ Tensor.__rdiv__"),
    torch.matmul: _named("Tensor.__rmatmul__"),
}
"""Spellings with the second operand first."""

_IN_PLACE: dict[Function, tuple[Function, ...]] = {
    torch.add: _named("Tensor.add_ Tensor.__iadd__"),
    torch.sub: _named("Tensor.sub_ Tensor.subtract_ Tensor.__isub__"),
    torch.mul: _named("Tensor.mul_ Tensor.multiply_ Tensor.__imul__"),
    torch.div: _named("Tensor.div_ Tensor.divide_ Tensor.true_divide_ Tensor.__itruediv__ Tensor.__idiv__"),
    torch.relu: _named("torch.relu_ F.relu_ Tensor.relu_"),
    torch.sigmoid: _named("Tensor.sigmoid_"),
    torch.tanh: _named("Tensor.tanh_"),
    torch.exp: _named("Tensor.exp_"),
    torch.clamp: _named("Tensor.clamp_"),
}
"""Spellings that overwrite their first operand."""


_OPERANDS = ("input", "self", "other", "mat2", "tensor2", "tensor")
"""Names that PyTorch gives to leading operands, in their order."""


def spelled(rules: Mapping[Function, Function]) -> dict[Function, Function]:
    """Expand {function: rule} to all spellings of each function.

    Rules are called with the arguments of the call, operands by position and one written on the other side brought into
    place. What else a spelling can be given is not unified: `torch.layer_norm` takes an argument more than
    `F.layer_norm`. A spelling that writes into its first operand still does so: the rule gets a copy, and its result is
    copied back, which passes gradients on as they are.
    """
    found: dict[Function, Function] = {}
    for function, given in rules.items():
        rule = _by_position(given)
        found.update(dict.fromkeys(spellings(function), rule))
        found.update(dict.fromkeys(_REVERSED.get(function, ()), _with_operands_exchanged(rule)))
        found.update(dict.fromkeys(_IN_PLACE.get(function, ()), _writing_back(rule)))
    return found


def spellings(function: Function) -> tuple[Function, ...]:
    """Give the functions that compute the same as `function`, with their operands in the same order, and itself."""
    return _SPELLED.get(function, (function,))


def _by_position(rule: Function) -> Function:
    """Let a rule be called with operands by name, as PyTorch's functions can be."""

    def positional(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            return rule(*args)
        operands = [kwargs.pop(name) for name in _OPERANDS if name in kwargs]
        return rule(*args, *operands, **kwargs)

    return positional


def _with_operands_exchanged(rule: Function) -> Function:
    """Let a rule stand for the reflected operator: `1 - x` reaches PyTorch as rsub(x, 1)."""

    def exchanged(first: Any, second: Any, *args: Any, **kwargs: Any) -> Any:
        return rule(second, first, *args, **kwargs)

    return exchanged


def _writing_back(rule: Function) -> Function:
    """Let a rule stand for the operator that overwrites its first operand, which the model may go on to use."""

    def write_back(target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return target.copy_(rule(target.clone(), *args, **kwargs))

    return write_back
