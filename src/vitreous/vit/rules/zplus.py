"""The rules of Transformer Attribution: relevance by positive products. Chefer, Gur & Wolf 2021, arXiv:2012.09838.

What the backward carries is relevance itself, not a gradient (see `carry`). The rules are those of the published
implementation, with its offsets, and extended to what other families of models do:

linear        z+: only positive products x_j w_ij count, R_j = sum_i x_j w_ij R_i / (sum_j x_j w_ij), without bias
product       of two nodes: epsilon rule, each operand gets half; elementwise: half each
residual add  split by a R / (a + b), then each branch scaled so that it has the share of its |sum|, for each image
softmax, norms, nonlinearities, factors that are constants (scales, rotations): relevance passes unchanged
input         z^B at a convolution of three channels, between each image's lowest and highest value
mean, sum     linear layers of equal weights (an extension)
position      a constant that is added to tokens takes its share, as in the original; biases of units or scores do not
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.vit.row_linear import reached
from vitreous.vit.rules.carry import OFFSET, bare, carries, divide, share
from vitreous.vit.rules.closed import NONLINEARITIES, NORMS, STATISTICS, ClosedRules
from vitreous.vit.rules.names import Function, spellings


@dataclass
class Layout:
    """How images lie in the model's tensors, and what the rules measure on their way.

    images      how many there are
    batch_axis  their axis in token streams (three axes); in all other tensors it is the first
    cancelled   the largest ratio met so far, in any residual add, of a branch's summed |relevance| to its |sum|, "b"
    """

    images: int
    batch_axis: int = 0
    cancelled: Tensor = field(default_factory=lambda: torch.ones(()))

    def by_image(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over everything but images, keeping axes so that the sums can be broadcast back."""
        if tensor.dim() == 3 and self.batch_axis == 1:
            return tensor.sum((0, 2), keepdim=True)
        each = tensor.reshape(self.images, -1).sum(1)
        return each.repeat_interleave(tensor.shape[0] // self.images).reshape(-1, *[1] * (tensor.dim() - 1))

    def notice(self, relevance: Tensor, total: Tensor) -> None:
        """Remember how much relevance cancels in a branch."""
        ratio = (self.by_image(relevance.abs()) / total.abs()).nan_to_num(0.0, 0.0).reshape(self.images, -1).amax(1)
        self.cancelled = torch.maximum(self.cancelled.to(ratio), ratio)


def zplus_rules(layout: Layout) -> ClosedRules:
    """Make the rule set for one pass."""
    add = _residual(layout)
    rules: dict[Function, Function] = {
        F.linear: _linear,
        F.conv2d: _convolution,
        torch.matmul: _product(torch.matmul),
        torch.einsum: _einsum,
        torch.add: add,
        torch.sub: lambda first, second, alpha=1: add(first, second, alpha=-alpha),
        torch.mul: _multiplied,
        torch.div: _quotient,
        torch.mean: _pooled(torch.mean),
        torch.sum: _pooled(torch.sum),
    }
    unchanged: tuple[Function, ...] = (torch.softmax, torch.neg, *NORMS, *NONLINEARITIES)
    for function in unchanged:
        rules |= {spelling: _unchanged(spelling) for spelling in spellings(function)}
    rules |= {function: _constant(function) for function in STATISTICS}
    return ClosedRules(rules)


# -- passing relevance on ----------------------------------------------------------------------------------------------


def _unchanged(function: Function) -> Function:
    def rule(node: Tensor, *args: Any, **kwargs: Any) -> Any:
        return share(function(bare(node), *bare(args), **bare(kwargs)), node)

    return rule


def _constant(function: Function) -> Function:
    def rule(*args: Any, **kwargs: Any) -> Any:
        return function(*bare(args), **bare(kwargs))

    return rule


def _multiplied(first: Any, second: Any) -> Tensor:
    result = share(bare(first) * bare(second), first, second)
    if isinstance(second, float) and second > 0:
        setattr(result, _FACTOR, second)
    return result


_FACTOR = "relevance_factor"
"""Attribute of a tensor that was multiplied by a number. Queries are scaled before they meet the keys, or their product
is scaled after: that the offset in the denominator means the same in both, it is scaled along."""


def _quotient(first: Any, second: Any, **kwargs: Any) -> Tensor:
    quotient = torch.div(bare(first), bare(second), **kwargs)
    return share(quotient, first if carries(first) else second)


# -- linear layers -----------------------------------------------------------------------------------------------------


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(tokens, weight)
        return F.linear(tokens, weight, bias)

    @staticmethod
    def backward(ctx: Any, *relevances: Any) -> tuple[Tensor, None, None]:
        (relevance,) = relevances
        tokens, weight = ctx.saved_tensors
        weight = weight.to(tokens.dtype)
        if tokens.dim() != 3:
            return _zplus(tokens, weight, relevance), None, None
        start, stop = reached(relevance)
        if stop - start == tokens.shape[1]:
            return _zplus(tokens, weight, relevance), None, None
        result = torch.zeros_like(tokens)
        result[:, start:stop] = _zplus(tokens[:, start:stop], weight, relevance[:, start:stop])
        return result, None, None


def _zplus(tokens: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """Distribute relevance (…, out) over the inputs (…, in) of a linear layer, by their positive products."""
    raising, lowering = weight.clamp(min=0), weight.clamp(max=0)
    positive, negative = tokens.clamp(min=0), tokens.clamp(max=0)
    total = F.linear(positive, raising).add_(F.linear(negative, lowering))
    ratio = divide(relevance, total)
    return positive.mul_(ratio @ raising).addcmul_(negative, ratio @ lowering)


def _linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not carries(tokens):
        return F.linear(tokens, weight, bias)
    result: Tensor = _Linear.apply(tokens, bare(weight), bare(bias))
    return result


class _ByParts(torch.autograd.Function):
    """Any node whose backward is a function of its saved operands and the relevance: `rule(relevance, *operands)`."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, rule: Callable[..., tuple[Tensor | None, ...]], *operands: Tensor) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(*operands)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *relevances: Any) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.rule(relevances[0], *ctx.saved_tensors)


def _by_parts(result: Tensor, rule: Callable[..., tuple[Tensor | None, ...]], *operands: Tensor) -> Tensor:
    if not torch.is_grad_enabled() or not any(operand.requires_grad for operand in operands):
        return result
    same = [operand if carries(operand) else operand.to(result.dtype) for operand in operands]
    found: Tensor = _ByParts.apply(result, rule, *same)
    return found


Convolve: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _convolution(image: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
    kernel = bare(weight)

    def convolve(values: Tensor, by: Tensor) -> Tensor:
        return F.conv2d(values, by.to(values.dtype), None, *args, **kwargs)

    rule = _between_bounds if image.shape[1] == 3 else _positive_products
    return _by_parts(
        F.conv2d(bare(image), kernel, bare(bias), *args, **kwargs),
        lambda relevance, values: (rule(relevance, values, kernel, convolve),),
        image,
    )


def _between_bounds(relevance: Tensor, image: Tensor, kernel: Tensor, convolve: Convolve) -> Tensor:
    """z^B, for an input that lies between two bounds: x w - lowest w+ - highest w-."""
    values = (image, image.amin((1, 2, 3), True).expand_as(image), image.amax((1, 2, 3), True).expand_as(image))
    kernels = (kernel, kernel.clamp(min=0), kernel.clamp(max=0))
    parts = [_transposed(value, by, convolve) for value, by in zip(values, kernels, strict=True)]
    ratio = relevance / (parts[0][0] - parts[1][0] - parts[2][0] + OFFSET)
    (value, low, high) = (value * back(ratio) for value, (_, back) in zip(values, parts, strict=True))
    return value - low - high


def _positive_products(relevance: Tensor, image: Tensor, kernel: Tensor, convolve: Convolve) -> Tensor:
    values = (image.clamp(min=0), image.clamp(max=0))
    parts = [
        _transposed(values[0], kernel.clamp(min=0), convolve),
        _transposed(values[1], kernel.clamp(max=0), convolve),
    ]
    ratio = divide(relevance, parts[0][0] + parts[1][0])
    return values[0] * parts[0][1](ratio) + values[1] * parts[1][1](ratio)


def _transposed(values: Tensor, kernel: Tensor, convolve: Convolve) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Give a convolution's result, and the function that applies its transpose."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        result = convolve(leaf, kernel)
    return result.detach(), lambda ratio: torch.autograd.grad(result, leaf, ratio)[0]


def _pooled(function: Function) -> Function:
    def rule(node: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        def distribute(relevance: Tensor, values: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                positive = values.clamp(min=0).requires_grad_()
                total = function(positive, *args, **kwargs)
            (back,) = torch.autograd.grad(total, positive, divide(relevance, total.detach()))
            return (positive.detach() * back,)

        return _by_parts(function(bare(node), *args, **kwargs), distribute, node)

    return rule


# -- products and sums of nodes ----------------------------------------------------------------------------------------


def _product(function: Function) -> Function:
    def rule(first: Tensor, second: Tensor) -> Tensor:
        def distribute(relevance: Tensor, *operands: Tensor) -> tuple[Tensor | None, ...]:
            with torch.enable_grad():
                leaves = [operand.detach().requires_grad_() for operand in operands]
                result = function(*leaves)
            nodes = [leaf for leaf, want in zip(leaves, wanted, strict=True) if want]
            ratio = divide(relevance, result.detach(), offset) / len(nodes)
            slopes = iter(torch.autograd.grad(result, nodes, ratio))
            return tuple(
                leaf.detach() * next(slopes) if want else None for leaf, want in zip(leaves, wanted, strict=True)
            )

        wanted = [carries(first), carries(second)]
        offset = OFFSET * getattr(first, _FACTOR, 1.0) * getattr(second, _FACTOR, 1.0)
        return _by_parts(function(bare(first), bare(second)), distribute, first, second)

    return rule


def _einsum(equation: str, *operands: Any) -> Tensor:
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    first, second = operands
    product: Tensor = _product(lambda left, right: torch.einsum(equation, left, right))(first, second)
    return product


def _residual(layout: Layout) -> Function:
    def rule(first: Any, second: Any, alpha: float = 1) -> Tensor:
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return share(bare(first) + alpha * bare(second), first, second)
        if alpha != 1:
            second = share(alpha * bare(second), second)
        wanted = [carries(first), carries(second)]
        if not all(wanted) and _is_bias(*((second, first) if wanted[0] else (first, second))):
            return share(bare(first) + bare(second), first, second)

        def distribute(relevance: Tensor, *branches: Tensor) -> tuple[Tensor | None, ...]:
            total = branches[0] + branches[1]
            relevance = divide(relevance, total) * total  # it will be used twice: the published copy divides as well
            ratio = divide(relevance, total)
            parts = [ratio * branch for branch in branches]
            totals = [layout.by_image(part) for part in parts]
            for part, total in zip(parts, totals, strict=True):
                layout.notice(part, total)
            weight = totals[0].abs() + totals[1].abs()
            passed = layout.by_image(relevance)
            return tuple(
                (part * divide(divide(total.abs(), weight) * passed, total)).sum_to_size(branch.shape) if want else None
                for part, total, branch, want in zip(parts, totals, branches, wanted, strict=True)
            )

        return _by_parts(bare(first) + bare(second), distribute, first, second)

    return rule


def _is_bias(constant: Tensor, node: Tensor) -> bool:
    """Whether a constant is one number for each unit, or a bias of attention scores; else it belongs to tokens."""
    return node.dim() != 3 or constant.numel() == constant.shape[-1]
