"""Detach: nonlinear operators become linear ones in the backward, with what they depend on held constant.

The forward pass computes what it did. In the backward a softmax is a constant matrix, a norm divides by a constant, and
an activation multiplies by a constant gate, so that input times gradient gives back the operator's output: relevance
is conserved. Without rules the gradient of a norm is orthogonal to its input, and input times gradient vanishes.

Arguments have the names that PyTorch gives them, because models may pass them by name.
"""

# ruff: noqa: A002  (arguments have the names that PyTorch gives them)

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def constant_softmax(
    input: Tensor, dim: int | None = None, *rest: Any, dtype: torch.dtype | None = None, _stacklevel: int = 3
) -> Tensor:
    """Compute a softmax over tokens as a constant; one over the outputs of a model, "b k", keeps its gradient."""
    named = [item for item in rest if isinstance(item, torch.dtype)]  # the spellings differ in what comes third
    probabilities = F.softmax(input, dim, dtype=named[0] if named else dtype)
    return probabilities.detach() if input.dim() > 2 else probabilities


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed, mean, inverse = torch.native_layer_norm(tokens, shape, weight, bias, eps)
        ctx.save_for_backward(inverse, weight)
        ctx.axes = tuple(range(-len(shape), 0))
        ctx.mark_non_differentiable(mean, inverse)
        return normed, mean, inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        inverse, weight = ctx.saved_tensors
        scaled = gradients[0] if weight is None else gradients[0] * weight
        centred = scaled - scaled.mean(ctx.axes, keepdim=True)
        return centred.mul_(inverse).to(gradients[0].dtype), None, None, None, None


def native_layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise tokens by a standard deviation that is constant in the backward; subtracting the mean stays."""
    found: tuple[Tensor, Tensor, Tensor] = _LayerNorm.apply(input, tuple(normalized_shape), weight, bias, eps)
    return found


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """The same under the signature of `torch.layer_norm`."""
    del cudnn_enable
    return native_layer_norm(input, normalized_shape, weight, bias, eps)[0]


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Normalise tokens by a root mean square that is constant in the backward."""
    axes = tuple(range(-len(normalized_shape), 0))
    smallest = torch.finfo(input.dtype).eps if eps is None else eps
    normed = input * (input.detach().square().mean(axes, keepdim=True) + smallest).rsqrt()
    return normed if weight is None else normed * weight


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """Divide by a length that is constant in the backward, under the signature of `F.normalize`."""
    del out
    found: Tensor = input / torch.linalg.vector_norm(input.detach(), p, dim, keepdim=True).clamp_min(eps)
    return found


def divide(input: Any, other: Any, **kwargs: Any) -> Tensor:
    """Divide by a constant: norms that a model writes out end in this."""
    return torch.div(input, other.detach() if isinstance(other, Tensor) else other, **kwargs)


class Gated(torch.autograd.Function):
    """y = x * gate(x) with a constant gate: the backward multiplies by y / x, and by the slope where x is zero."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, function: Callable[[Tensor], Tensor], slope: float) -> Tensor:
        """Apply the activation itself."""
        result = function(values)
        ctx.save_for_backward(values, result)
        ctx.slope = slope
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        """Multiply by the gate."""
        values, result = ctx.saved_tensors
        gate: Tensor = (result / values).nan_to_num_(nan=ctx.slope)
        return gate.mul_(gradients[0]), None, None


class Squashed(Gated):
    """The same for a function that models also use as a gate; `products` looks for its name."""


def gated(function: Callable[..., Tensor], slope: float, kind: type[Gated] = Gated) -> Callable[..., Tensor]:
    """Give the rule of an activation through zero, which passes relevance on as it is. `slope` is that at zero."""

    def rule(input: Tensor, inplace: bool = False, **kwargs: Any) -> Tensor:
        del inplace  # what is overwritten is read in the backward
        result: Tensor = kind.apply(input, lambda values: function(values, **kwargs), slope)
        return result

    return rule
