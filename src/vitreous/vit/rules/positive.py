"""Positive products: the z+ rule of linear layers, which takes most of the time of a relevance pass.

Three multiplications of matrices are needed for each layer, as many as for the ordinary backward and two more. What
goes on between them, entry by entry, runs over pieces of the tables that stay in the processor's cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.vit.known import KnownLinears
from vitreous.vit.row_linear import reached
from vitreous.vit.rules.carry import OFFSET

_PIECE = 2**17
"""Entries of a piece: three or four of them fit the second cache of one core."""


class PositiveLinear(torch.autograd.Function):
    """A linear layer under z+, which skips the tokens that no relevance reaches: see `row_linear`.

    Weights are kept as the model holds them, and promoted in the backward for as long as it takes. With `coarse` it is
    the tokens that are turned into the weights' type: what is divided by is a sum of positive products, so little is
    lost by that.
    """

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None, coarse: bool, known: KnownLinears | None
    ) -> Tensor:
        """Apply the layer, or give its result if that is known."""
        result = None if known is None else known.find(tokens, weight)
        if result is None:
            result = F.linear(tokens, weight, bias)
        ctx.save_for_backward(tokens, weight, bias)
        ctx.coarse = coarse
        ctx.result, ctx.version = result.detach(), result._version  # noqa: SLF001  (the documented name)
        return result

    @staticmethod
    def backward(ctx: Any, *relevances: Any) -> tuple[Tensor | None, ...]:
        """Distribute relevance over the tokens."""
        (relevance,) = relevances
        tokens, weight, bias = ctx.saved_tensors
        result = ctx.result
        if result._version != ctx.version:  # noqa: SLF001
            result, bias = F.linear(tokens, weight.to(tokens.dtype)), None  # the model has overwritten it since
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32) if ctx.coarse else tokens.dtype)
        start, stop = reached(relevance) if tokens.dim() == 3 else (0, 0)
        if tokens.dim() != 3 or stop - start == tokens.shape[1]:
            return by_positive_products(tokens, weight, result, bias, relevance), None, None, None, None
        found = torch.zeros_like(tokens)
        rows = (slice(None), slice(start, stop))
        found[rows] = by_positive_products(tokens[rows], weight, result[rows], bias, relevance[rows])
        return found, None, None, None, None


def by_positive_products(
    tokens: Tensor, weight: Tensor, result: Tensor, bias: Tensor | None, relevance: Tensor
) -> Tensor:
    """Distribute relevance (…, out) over the inputs (…, in) of a linear layer, by their positive products.

    result  what the layer gives. Without bias it is, added to the sum of absolute products, twice the sum of positive
            ones: one multiplication of matrices in place of two. What is within rounding of zero there is zero

    In the same way a positive product is half of x w + |x| |w|, so that no copies of the weight by sign are needed.
    Computed in the type of the weight, and given in that of the tokens.
    """
    rows, magnitude = tokens.reshape(-1, weight.shape[1]).to(weight.dtype), weight.abs()
    sizes = rows.abs()
    ratio = sizes @ magnitude.mT
    outputs = (table.reshape(-1, weight.shape[0]) for table in (result, relevance))
    rounding = 32 * torch.finfo(weight.dtype).eps
    for absolute, given, arriving in _pieces(ratio, *outputs):
        total = (given if bias is None else given - bias) + absolute
        nothing = total <= absolute * rounding
        absolute.copy_(arriving / total.add_(2 * OFFSET)).masked_fill_(nothing, 0.0)
    found, beside = ratio @ weight, ratio @ magnitude
    for signed, entering, size, unsigned in _pieces(found, rows, sizes, beside):
        signed.mul_(entering).addcmul_(size, unsigned)
    return found.view(tokens.shape).to(tokens.dtype)


def _pieces(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tables of as many rows in the same places, into what a cache holds; elsewhere than on a CPU, not."""
    first = tables[0]
    rows = max(1, _PIECE // max(1, first.shape[1]) if first.device.type == "cpu" else len(first))
    return zip(*(torch.split(table, rows) for table in tables), strict=True)
