"""A linear layer whose backward skips the tokens that no gradient reaches.

A prediction that is read from the class token sends its gradient into that row alone, until an attention spreads it. So
the projection and the MLP behind the last attention need 1 row in 197 of their backward; and with every attention cut
off, as the published attention-guided CAM has it, no block ever spreads the gradient: all of them need just that row.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _RowLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return F.linear(tokens, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        weight = ctx.saved_tensors[0].to(gradient.dtype)  # a pass in float64 hands over the weights as they are
        if gradient.stride(1) == 0:  # the same for all tokens, as that of a sum over them: one row stands for all
            return (gradient[:, :1] @ weight).expand(-1, gradient.shape[1], -1), None, None
        start, stop = reached(gradient)
        if stop - start == gradient.shape[1]:
            return gradient @ weight, None, None
        result = gradient.new_zeros(*gradient.shape[:-1], weight.shape[1])
        result[:, start:stop] = gradient[:, start:stop] @ weight
        return result, None, None


def reached(gradient: Tensor) -> tuple[int, int]:
    """Give the span (start, stop) of tokens outside of which the gradient (b, n, d) is exactly zero."""
    tokens = gradient.shape[1]
    if gradient[:, 0].any() and gradient[:, -1].any():  # the ordinary case, told apart without reading the rest
        return 0, tokens
    reached = gradient.abs().sum((0, 2)).nonzero()  # three times as fast as any(); absolute values cannot cancel
    return (int(reached[0]), int(reached[-1]) + 1) if len(reached) else (0, 0)


def row_linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer to tokens (b, n, d), as `F.linear` does; only its backward differs, and only in speed."""
    if tokens.dim() != 3 or weight.requires_grad or torch.is_autocast_enabled(tokens.device.type):
        return F.linear(tokens, weight, bias)
    result: Tensor = _RowLinear.apply(tokens, weight, bias)
    return result
