"""Gate: an identity in the graph that can be closed to gradients after the forward pass.

The published attention-guided CAM cuts every attention module off from the gradient. With gates around the attention
probabilities and values, one retained graph gives both the ordinary gradient (gates open) and that one (closed).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Switch:
    """Whether the gates of one graph are closed; shared by all of them."""

    def __init__(self) -> None:
        self.closed = False

    @contextmanager
    def close(self) -> Iterator[None]:
        """Close the gates within the block."""
        self.closed = True
        try:
            yield
        finally:
            self.closed = False


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, node: Tensor, switch: Switch) -> Tensor:
        ctx.switch = switch
        ctx.set_materialize_grads(False)
        return node.view_as(node)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, None]:
        # None, not zeros: the engine then skips the arithmetic of everything below.
        return (None if ctx.switch.closed else gradients[0]), None


def gate(node: Tensor, switch: Switch) -> Tensor:
    """Return `node` as a view whose gradient reaches `node` only while `switch` is open."""
    gated: Tensor = _Gate.apply(node, switch)
    return gated
