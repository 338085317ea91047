"""Finds attention that a model spells out itself: a softmax over tokens, later multiplied with values.

Covers Hugging Face's eager attention, timm's unfused attention and hand-written models. The softmax is recognised by
its square last axes; its result is followed through operators that keep its meaning (dropout at evaluation, casts,
reshapes) to the product in which it is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.vit.attention import ScoreRows

_SOFTMAX = {torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax}
_KEEPS_MEANING = {
    F.dropout, torch.dropout, Tensor.to, Tensor.type, Tensor.type_as, Tensor.float, Tensor.half, Tensor.bfloat16,
    Tensor.contiguous, Tensor.reshape, Tensor.view, Tensor.clone,
}  # fmt: skip
_PRODUCT = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}


@dataclass(frozen=True)
class Contraction:
    """A product of attention probabilities (b, h, n, n) with values (b, h, n, e), taken out of the model's own code."""

    probabilities: Tensor
    values: Tensor
    scores: ScoreRows
    restore: Callable[[Tensor], Tensor]

    def result(self, probabilities: Tensor, values: Tensor) -> Tensor:
        """Give the product in the layout in which the model expects it."""
        return self.restore(probabilities @ values)


class HandwrittenAttention:
    """Follows the softmax results of the running block. Holds the tensors, so that their identities stay unique."""

    def __init__(self) -> None:
        self._followed: dict[int, tuple[Tensor, Tensor]] = {}

    def forget(self) -> None:
        """Forget what was followed; called between blocks."""
        self._followed.clear()

    def follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Take note of a result that is, or is still, a matrix of attention probabilities."""
        if not isinstance(result, Tensor) or not args:
            return
        if func in _SOFTMAX and _is_last_axis(result, args, kwargs) and result.dim() in {3, 4}:
            if result.shape[-1] == result.shape[-2] and result.shape[-1] > 1:
                self._followed[id(result)] = (result, args[0])
        elif (
            func in _KEEPS_MEANING and id(args[0]) in self._followed and result.shape[-1] == args[0].shape[-1]
        ):
            self._followed[id(result)] = (result, self._followed[id(args[0])][1])

    def contraction(self, func: Any, args: Any, kwargs: Any, images: int) -> Contraction | None:
        """Give the product that uses followed probabilities, if this call is one."""
        if not self._followed:
            return None
        if func in _PRODUCT and len(args) == 2 and id(args[0]) in self._followed:
            return self._from_product(args[0], args[1], images)
        if func is torch.einsum and not kwargs and len(args) == 3:
            return self._from_einsum(*args)
        return None

    def _from_product(self, probabilities: Tensor, values: Tensor, images: int) -> Contraction | None:
        scores = self._followed[id(probabilities)][1]
        if probabilities.dim() == 4:
            return Contraction(
                probabilities, values, lambda rows: scores[..., rows, :], lambda output: output
            )
        # (b * h, n, n) as torch.bmm wants it, or (b, n, n) with a single head.
        heads = probabilities.shape[0] // images
        split = (images, heads)
        return Contraction(
            probabilities.reshape(*split, *probabilities.shape[1:]),
            values.reshape(*split, *values.shape[1:]),
            lambda rows: scores.reshape(*split, *scores.shape[-2:])[..., rows, :],
            lambda output: output.reshape(images * heads, *output.shape[2:]),
        )

    def _from_einsum(self, equation: str, first: Tensor, second: Tensor) -> Contraction | None:
        letters, _, out = equation.replace(" ", "").partition("->")
        left, _, right = letters.partition(",")
        if id(second) in self._followed:
            first, second, left, right = second, first, right, left
        if id(first) not in self._followed or len(left) != 4 or len(right) != 4 or not out:
            return None
        image, head, row, column = left
        (width, *others) = sorted(set(right) - set(left)) or [""]
        wanted, produced = f"{image}{head}{column}{width}", f"{image}{head}{row}{width}"
        if others or sorted(right) != sorted(wanted) or sorted(out) != sorted(produced):
            return None
        scores = self._followed[id(first)][1]
        return Contraction(
            first,
            torch.einsum(f"{right}->{wanted}", second),
            lambda rows: scores[..., rows, :],
            lambda output: torch.einsum(f"{produced}->{out}", output),
        )


def _is_last_axis(result: Tensor, args: Any, kwargs: Any) -> bool:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis in {-1, result.dim() - 1}
