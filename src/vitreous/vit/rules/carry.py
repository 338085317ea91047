"""Carry: in place of a gradient, the backward carries relevance itself.

Operators that only move numbers (reshape, slicing, concatenation) then need no rule, because their ordinary backward
moves relevance as it should; and no rule divides by an activation, which may be zero where relevance is not.
"""

from typing import Any

import torch
from torch import Tensor

OFFSET = 1e-9
"""Added to every denominator, as the published implementation does."""


def divide(relevance: Tensor, denominator: Tensor, offset: float = OFFSET) -> Tensor:
    """Divide by denominator + offset; zero where the denominator is zero."""
    shifted = denominator + offset
    shifted.masked_fill_(shifted == 0, offset)
    return (relevance / shifted).masked_fill_(denominator == 0, 0.0)


class _Share(torch.autograd.Function):
    """Hands its relevance to nodes, in equal parts, each summed to the shape of its node if that was broadcast."""

    @staticmethod
    def forward(ctx: Any, boxed: tuple[Tensor], *nodes: Tensor) -> Tensor:
        ctx.shapes = [node.shape for node in nodes]
        return boxed[0]  # in a box, because an argument would have to be returned as a view, which nobody may overwrite

    @staticmethod
    def backward(ctx: Any, *relevances: Any) -> tuple[Tensor | None, ...]:
        (relevance,) = relevances
        if [relevance.shape] == ctx.shapes:
            return None, relevance
        return None, *[(relevance / len(ctx.shapes)).sum_to_size(shape) for shape in ctx.shapes]


def share(result: Tensor, *operands: Any) -> Tensor:
    """Give `result`, whose relevance goes to those operands that are nodes of the graph, the same to each."""
    nodes = [operand for operand in operands if carries(operand)]
    if not nodes or not torch.is_grad_enabled():
        return result
    shared: Tensor = _Share.apply((result,), *nodes)
    return shared


def carries(operand: Any) -> bool:
    """Whether an operand is a node of the graph, and so can be given relevance."""
    return isinstance(operand, Tensor) and operand.requires_grad


def bare(value: Any) -> Any:
    """Take the tensors in a call's arguments out of the graph."""
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) in {tuple, list}:
        return type(value)(bare(item) for item in value)
    return value
