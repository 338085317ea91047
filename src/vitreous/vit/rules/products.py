"""Products: where two streams are multiplied, each gets half of the relevance.

A product is of degree two, and input times gradient would count it twice. A factor that carries no gradient is a
weight: rotary embeddings, layer scales and learned queries take no share. A gate takes none either.
"""

# ruff: noqa: A002  (arguments have the names that PyTorch gives them)

from typing import Any

import torch
from torch import Tensor

_GATES = {
    "SigmoidBackward0", "HardsigmoidBackward0", "TanhBackward0", "SquashedBackward", "ErfBackward0", "RsqrtBackward0",
    "ReciprocalBackward0",
}  # fmt: skip
_AFFINE = {"AddBackward0", "SubBackward0", "RsubBackward1", "MulBackward0", "DivBackward0", "ToCopyBackward0"}
"""Nodes of the graph, by their names."""


def multiply(input: Any, other: Any, **kwargs: Any) -> Tensor:
    """Multiply entry by entry; each factor gets half, but for a gate, which is a constant.

    A gate is a sigmoid, tanh, erf or inverse root, shifted and scaled by constants: activations and norms that a model
    writes out end in a product with one.
    """
    if _carry_gradient(input, other):
        gates = _is_gate(input), _is_gate(other)
        if gates == (True, False):
            return torch.mul(input.detach(), other, **kwargs)
        if gates == (False, True):
            return torch.mul(input, other.detach(), **kwargs)
        return _halved(torch.mul(input, other, **kwargs))
    return torch.mul(input, other, **kwargs)


def multiply_matrices(input: Tensor, other: Tensor, **kwargs: Any) -> Tensor:
    """Multiply matrices, such as queries with keys or attention with values; each gets half."""
    product = torch.matmul(input, other, **kwargs)
    return _halved(product) if _carry_gradient(input, other) else product


def contract(equation: Any, *operands: Any) -> Tensor:
    """The same for `torch.einsum` of two streams."""
    product = torch.einsum(equation, *operands)
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    return _halved(product) if len(given) == 2 and _carry_gradient(*given) else product


def _carry_gradient(first: Any, second: Any) -> bool:
    return all(isinstance(factor, Tensor) and factor.requires_grad for factor in (first, second))


def _halved(product: Tensor) -> Tensor:
    product.register_hook(lambda gradient: gradient / 2)  # type: ignore[no-untyped-call]  # on our own node of the graph, which dies with it
    return product


def _is_gate(factor: Tensor) -> bool:
    """Follow the graph through constants that were added or multiplied, to the function they were done to."""
    node = factor.grad_fn
    while node is not None and node.name() in _AFFINE:
        origins = [origin for origin, _ in node.next_functions if origin is not None]
        if len(origins) != 1:
            return False
        node = origins[0]
    return node is not None and node.name() in _GATES
