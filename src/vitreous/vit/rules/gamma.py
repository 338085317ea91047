"""Gamma: contributions that have the sign of what they add up to count (1 + gamma) times.

Let z be the sum of contributions c_i, A the sum of their absolute values and s the sign of z. The generalised gamma
rule gives contribution i the share w_i c_i / sum_j w_j c_j of the relevance, with w = 1 + gamma where c has the sign of
z, and w = 1 elsewhere. What has the sign of z adds up to s (A + |z|) / 2, so

    sum_j w_j c_j = s (|z| + gamma (A + |z|) / 2)

which is never smaller than (1 + gamma / 2) |z|: nothing is divided by a sum that cancelled. For a linear layer
w c = (1 + gamma / 2) x W + gamma / 2 s |x| |W|, and the rule costs two products with |W| beside the two with W.
A bias is one more contribution, whose share goes nowhere.
"""

# ruff: noqa: A002  (arguments have the names that PyTorch gives them)

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.vit.row_linear import row_linear


def tamed(gradient: Tensor, total: Tensor, magnitude: Tensor, gamma: float) -> Tensor:
    """Multiply a gradient by |z| / (|z| + gamma (A + |z|) / 2), the ratio of the plain sum to the weighted one.

    gradient   with respect to z; relevance is z times it
    total      z
    magnitude  A, at least |z|

    Zero where nothing contributed, instead of 0 / 0: no relevance is there.
    """
    size = total.abs()
    below = (magnitude + size).mul_(gamma / 2).add_(size)
    return size.div_(below).nan_to_num_(nan=0.0).mul_(gradient)


class _GammaLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None, gamma: float) -> Tensor:
        result = F.linear(tokens, weight, bias)
        ctx.save_for_backward(tokens, weight, bias, result)
        ctx.gamma = gamma
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None, None]:
        tokens, weight, bias, result = ctx.saved_tensors
        width = tokens.shape[-1]
        gradient = gradients[0].reshape(-1, weight.shape[0])
        reached = gradient.abs().sum(1).nonzero().squeeze(1)  # behind the last attention, the class token's row alone
        rows, total = tokens.reshape(-1, width)[reached], result.reshape(-1, weight.shape[0])[reached]
        size = weight.abs()
        magnitude = F.linear(rows.abs(), size, None if bias is None else bias.abs())
        gradient = tamed(gradient[reached], total, magnitude, ctx.gamma)
        found = (gradient @ weight).mul_(1 + ctx.gamma / 2)
        found.addcmul_(rows.sign(), (gradient * total.sign()) @ size, value=ctx.gamma / 2)
        back = torch.zeros_like(tokens).view(-1, width)
        back[reached] = found
        return back.view_as(tokens), None, None, None


def gamma_linear(gamma: float) -> Callable[..., Tensor]:
    """Give the rule of a linear layer "… i" -> "… o"; the ordinary gradient for 0.

    The two products with |W| are made in the backward, and only for tokens that relevance reaches.
    """

    def rule(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if gamma == 0 or weight.requires_grad:
            return row_linear(input, weight, bias)
        result: Tensor = _GammaLinear.apply(input, weight, bias, gamma)
        return result

    return rule


class _GammaConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, gamma: float, function: Callable[..., Tensor]
    ) -> Tensor:
        result = function(images, weight, bias)
        ctx.save_for_backward(images, weight, bias, result)
        ctx.gamma, ctx.function = gamma, function
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None, None, None]:
        images, weight, bias, result = ctx.saved_tensors
        sizes = images.abs(), weight.abs()
        magnitude = ctx.function(*sizes, None if bias is None else bias.abs())
        gradient = tamed(gradients[0], result, magnitude, ctx.gamma)
        plain = _pull_back(ctx.function, images, weight, gradient)
        signed = _pull_back(ctx.function, sizes[0], sizes[1], gradient * result.sign())
        found = plain.mul_(1 + ctx.gamma / 2).addcmul_(images.sign(), signed, value=ctx.gamma / 2)
        return found, None, None, None, None


def _pull_back(function: Callable[..., Tensor], images: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    """Multiply a gradient by the transpose of a convolution."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(function(leaf, weight, None), leaf, gradient)[0]


def gamma_convolution(gamma: float) -> Callable[..., Tensor]:
    """Give the rule of `F.conv2d`, by which most models embed their patches; the ordinary gradient for 0.

    Where no gradient is asked for at the pixels nothing is replaced.
    """

    def rule(input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        if gamma == 0 or not input.requires_grad:
            return F.conv2d(input, weight, bias, *args, **kwargs)

        def function(images: Tensor, kernel: Tensor, shift: Tensor | None) -> Tensor:
            return F.conv2d(images, kernel, shift, *args, **kwargs)

        result: Tensor = _GammaConvolution.apply(input, weight, bias, gamma, function)
        return result

    return rule


class _GammaAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.gamma = gamma
        return first + second

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None]:
        first, second = ctx.saved_tensors
        total = first + second
        gradient = tamed(gradients[0], total, first.abs() + second.abs(), ctx.gamma)
        more = gradient * (1 + ctx.gamma)
        return (
            torch.where(first * total > 0, more, gradient),
            torch.where(second * total > 0, more, gradient),
            None,
        )


def gamma_add(gamma: float) -> Callable[..., Tensor]:
    """Give the rule of a residual connection: a sum of two token streams "b n d" that both carry gradient.

    Other sums have the ordinary gradient: what adds a bias or a position embedding has one stream only, and rotary
    embeddings add up streams of one head, which have four axes.
    """

    def rule(first: Any, second: Any, **kwargs: Any) -> Tensor:
        if gamma == 0 or not _is_residual(first, second) or kwargs.get("alpha", 1) != 1:
            return torch.add(first, second, **kwargs)
        result: Tensor = _GammaAdd.apply(first, second, gamma)
        return result

    return rule


def _is_residual(first: Any, second: Any) -> bool:
    streams = all(isinstance(part, Tensor) and part.requires_grad and part.dim() == 3 for part in (first, second))
    return streams and first.shape == second.shape
