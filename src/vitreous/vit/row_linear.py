"""A linear layer whose backward skips the tokens that no gradient reaches.

Where the prediction is read from the class token, the last block's projection and MLP carry gradient in the prefix rows
alone. Their backward then needs 1 row in 197, not all: about 6 % of the whole backward of a 12-block model.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _RowLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None, rows: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.rows = rows
        return F.linear(tokens, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        (weight,) = ctx.saved_tensors
        start, stop = ctx.rows
        # The rows are a prediction of where gradient can be; whether it holds is looked at, never assumed.
        if gradient[:, :start].any() or gradient[:, stop:].any():
            return gradient @ weight, None, None, None
        result = gradient.new_zeros(*gradient.shape[:-1], weight.shape[1])
        result[:, start:stop] = gradient[:, start:stop] @ weight
        return result, None, None, None


def row_linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None, *, rows: tuple[int, int]) -> Tensor:
    """Apply a linear layer to tokens (b, n, d); `rows` are the tokens (start, stop) that gradient is expected in."""
    if tokens.dim() != 3 or weight.requires_grad or torch.is_autocast_enabled(tokens.device.type):
        return F.linear(tokens, weight, bias)
    result: Tensor = _RowLinear.apply(tokens, weight, bias, rows)
    return result
