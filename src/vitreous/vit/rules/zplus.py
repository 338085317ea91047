"""The rules of Transformer Attribution: relevance by positive products. Chefer, Gur & Wolf 2021, arXiv:2012.09838.

What the backward carries is relevance itself, not a gradient (see `carry`). The rules are those of the published
implementation, with its offsets, and extended to what other families of models do:

linear        z+: only positive products x_j w_ij count, R_j = sum_i x_j w_ij R_i / (sum_j x_j w_ij), without bias
product       of two nodes: epsilon rule, each operand gets half; elementwise: half each
residual add  split by a R / (a + b), then each branch scaled so that it has the share of its |sum|, for each image
softmax, norms, nonlinearities, factors that are constants (scales, rotations): relevance passes unchanged
input         z^B at a convolution of three channels, between each image's lowest and highest value
mean, sum     over tokens, say: each term by its absolute value (an extension: positive terms alone would lose the
              relevance of a channel that is negative throughout)
position      a constant that is added to tokens takes its share, as in the original; biases of units or scores do not
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.errors import MethodNotApplicableError
from vitreous.vit.known import KnownLinears
from vitreous.vit.rules.carry import OFFSET, bare, carries, divide, share
from vitreous.vit.rules.closed import NONLINEARITIES, NORMS, STATISTICS, ClosedRules
from vitreous.vit.rules.names import Function, spellings
from vitreous.vit.rules.positive import PositiveLinear, by_positive_products


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
        """Sum a tensor over everything but images, keeping axes so that the sums can be broadcast back.

        The first axis may hold images and heads together, images first. Raises MethodNotApplicableError if it cannot.
        """
        if tensor.dim() == 3 and self.batch_axis == 1:
            return tensor.sum((0, 2), keepdim=True)
        if tensor.shape[0] % self.images:
            raise MethodNotApplicableError(
                f"The model adds tensors of shape {tuple(tensor.shape)}, in which {self.images} images are not found.",
                "Explain one image at a time, or use a method that goes by gradients.",
            )
        each = tensor.reshape(self.images, -1).sum(1)
        return each.repeat_interleave(tensor.shape[0] // self.images).reshape(-1, *[1] * (tensor.dim() - 1))

    def notice(self, relevance: Tensor, total: Tensor) -> None:
        """Remember how much relevance cancels in a branch."""
        ratio = (self.by_image(relevance.abs()) / total.abs()).nan_to_num(0.0, 0.0).reshape(self.images, -1).amax(1)
        self.cancelled = torch.maximum(self.cancelled.to(ratio), ratio)


def zplus_rules(layout: Layout, coarse: bool = False, known: KnownLinears | None = None) -> ClosedRules:
    """Make the rule set for one pass.

    It holds what is to be known about that pass alone, and measures in `layout` what happens in its backward.

    coarse  distribute the relevance of linear layers in the weights' own type, whatever the pass computes in
    known   what linear layers gave in a pass of the same type, where they need not run again
    """
    add = _residual(layout)
    rules: dict[Function, Function] = {
        F.linear: _linear(coarse, known),
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
    """Make the rule of an operator on one node: all relevance of the result is the node's, unit by unit."""

    def rule(node: Tensor, *args: Any, **kwargs: Any) -> Any:
        return share(function(bare(node), *bare(args), **bare(kwargs)), node)

    return rule


def _constant(function: Function) -> Function:
    """Make the rule of an operator that measures a size, by which something else is divided: it gets no relevance."""

    def rule(*args: Any, **kwargs: Any) -> Any:
        return function(*bare(args), **bare(kwargs))

    return rule


def _multiplied(first: Any, second: Any) -> Tensor:
    """Multiply element by element: half the relevance to each of two nodes, as SwiGLU has; constants get none."""
    result = share(bare(first) * bare(second), first, second)
    if isinstance(second, float) and second > 0:
        setattr(result, _FACTOR, second)
    return result


_FACTOR = "relevance_factor"
"""Attribute of a tensor that was multiplied by a number. Queries are scaled before they meet the keys, or their product
is scaled after: that the offset in the denominator means the same in both, it is scaled along."""


def _quotient(first: Any, second: Any, **kwargs: Any) -> Tensor:
    """Divide: what is divided keeps the relevance, and what it is divided by is a norm, which gets none."""
    quotient = torch.div(bare(first), bare(second), **kwargs)
    return share(quotient, first if carries(first) else second)


# -- linear layers -----------------------------------------------------------------------------------------------------


def _linear(coarse: bool, known: KnownLinears | None) -> Function:
    """Make the rule of linear layers; see `PositiveLinear`."""

    def rule(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not carries(tokens):
            return F.linear(tokens, weight, bias)
        result: Tensor = PositiveLinear.apply(tokens, bare(weight), bare(bias), coarse, known)
        return result

    return rule


Distribute: TypeAlias = Callable[..., tuple[Tensor | None, ...]]


class _ByParts(torch.autograd.Function):
    """Any node whose backward is a function of its saved operands and the relevance: `rule(relevance, *operands)`.

    Operands are saved, and not caught by the function, so that autograd frees them with the graph.
    """

    @staticmethod
    def forward(ctx: Any, boxed: tuple[Tensor], rule: Distribute, *operands: Tensor) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(*operands)
        return boxed[0]

    @staticmethod
    def backward(ctx: Any, *relevances: Any) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.rule(relevances[0], *ctx.saved_tensors)


def _by_parts(result: Tensor, rule: Distribute, *operands: Tensor) -> Tensor:
    """Give `result`, whose relevance `rule` distributes over the operands; it gives None for one that is a constant."""
    if not torch.is_grad_enabled() or not any(operand.requires_grad for operand in operands):
        return result
    same = [operand if carries(operand) else operand.to(result.dtype) for operand in operands]
    found: Tensor = _ByParts.apply((result,), rule, *same)
    return found


def _convolution(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Apply a convolution: z^B if what enters has three channels, as images have, and z+ further inside a model.

    Raises MethodNotApplicableError for convolutions in groups, and for padding that is named and not counted.
    """
    result = F.conv2d(bare(image), bare(weight), bare(bias), stride, padding, dilation, groups)
    if not carries(image):
        return result
    if groups != 1 or isinstance(padding, str):
        raise MethodNotApplicableError(
            "The model has a convolution in groups, or padded by name, for which there is no rule of relevance.",
            "Use a method that goes by gradients, for instance 'generic_attention'.",
        )
    window = {"kernel_size": weight.shape[2:], "dilation": dilation, "padding": padding, "stride": stride}

    def distribute(relevance: Tensor, values: Tensor) -> tuple[Tensor]:
        kernel = bare(weight).flatten(1).to(values.dtype)  # windows become rows, and the convolution a linear layer
        rows, arriving = F.unfold(values, **window).mT, relevance.flatten(2).mT
        if values.shape[1] == 3:
            low, high = (
                F.unfold(bound(values, (1, 2, 3), True).expand_as(values), **window).mT
                for bound in (torch.amin, torch.amax)
            )
            found = _between_bounds(rows, low, high, kernel, arriving)
        else:
            found = by_positive_products(rows, kernel, F.linear(rows, kernel), None, arriving)
        return (F.fold(found.mT, values.shape[2:], **window),)

    return _by_parts(result, distribute, image)


def _between_bounds(rows: Tensor, low: Tensor, high: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """z^B, for an input that lies between two bounds: by the products x w - low w+ - high w-.

    None of them is negative, and so nothing cancels. `rows`, `low` and `high` are windows of the image and its bounds.
    """
    raising, lowering = weight.clamp(min=0), weight.clamp(max=0)
    total = F.linear(rows, weight) - F.linear(low, raising) - F.linear(high, lowering)
    ratio = relevance / (total + OFFSET)
    return rows * (ratio @ weight) - low * (ratio @ raising) - high * (ratio @ lowering)


def _pooled(function: Function) -> Function:
    """Make the rule of a mean or sum: each term gets the share that its absolute value has."""

    def rule(node: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        def distribute(relevance: Tensor, values: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                sizes = values.abs().requires_grad_()
                total = function(sizes, *args, **kwargs)
            (back,) = torch.autograd.grad(total, sizes, divide(relevance, total.detach()))
            return (sizes.detach() * back,)

        return _by_parts(function(bare(node), *args, **kwargs), distribute, node)

    return rule


# -- products and sums of nodes ----------------------------------------------------------------------------------------


def _product(function: Function) -> Function:
    """Make the rule of a bilinear function: a_ik b_kj R_ij / sum_k a_ik b_kj, half of it to each of two nodes.

    A constant operand, such as the learned query of a pooling attention, gets nothing, and the other all.
    """

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
    """Apply the rule of products to an einsum of two operands, given one by one or in a list.

    One operand is rearranged, which moves its relevance along, or summed. Raises MethodNotApplicableError for three.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if len(operands) == 1:
        taken, _, given = equation.replace(" ", "").partition("->")
        moved = partial(torch.einsum, equation)
        result: Tensor = (moved if sorted(taken) == sorted(given) else _pooled(moved))(operands[0])
        return result
    if len(operands) > 2:
        raise MethodNotApplicableError(
            f"The model multiplies {len(operands)} operands in one einsum, for which there is no rule of relevance.",
            "Use a method that goes by gradients, for instance 'generic_attention'.",
        )
    first, second = operands
    product: Tensor = _product(lambda left, right: torch.einsum(equation, left, right))(first, second)
    return product


def _residual(layout: Layout) -> Function:
    """Make the rule of sums for one pass: see the top of the file.

    Two nodes share by image, so does a constant that belongs to tokens, whose share is lost. Numbers and biases get
    nothing, and the node all.
    """

    def rule(first: Any, second: Any, alpha: float = 1) -> Tensor:
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return share(bare(first) + alpha * bare(second), first, second)
        if alpha != 1:
            second = share(alpha * bare(second), second)
        wanted = [carries(first), carries(second)]
        if not all(wanted) and _is_bias(*((second, first) if wanted[0] else (first, second))):
            return share(bare(first) + bare(second), first, second)

        def distribute(relevance: Tensor, *branches: Tensor) -> tuple[Tensor | None, ...]:
            whole = branches[0] + branches[1]
            relevance = divide(relevance, whole) * whole  # it will be used twice: the published copy divides as well
            ratio = divide(relevance, whole)
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
