"""Finds attention that a model spells out itself: a softmax over tokens, later multiplied with values.

Covers Hugging Face's eager attention, timm's unfused attention and hand-written models. The softmax is recognised by
its square last axes; its result is followed through operators that keep its meaning (dropout at evaluation, casts,
reshapes) to the product in which it is used. Anything else done to it ends that: mixed, gated or overwritten, it is no
attention.
"""

import string
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
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
_NAMES = {
    F.softmax: ("input",), torch.softmax: ("input",), torch.special.softmax: ("input",), F.dropout: ("input",),
    torch.dropout: ("input",), torch.matmul: ("input", "other"), torch.bmm: ("input", "mat2"),
    F.linear: ("input", "weight", "bias"), Tensor.matmul: ("self", "tensor2"), Tensor.bmm: ("self", "mat2"),
}  # fmt: skip
"""Names of the leading parameters of functions that are looked at, for callers who pass them by name."""


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


@dataclass(frozen=True)
class _Followed:
    """A tensor that holds probabilities, its version when it was seen, the scores, and the number of its softmax.

    Held weakly, so that it lives no longer than the model lets it; a dead one's identity may be another's by now.
    """

    tensor: Callable[[], Tensor | None]
    version: int
    scores: Tensor
    origin: int


class HandwrittenAttention:
    """Follows the softmax results of the running block."""

    def __init__(self) -> None:
        self._followed: dict[int, _Followed] = {}
        self._begun = 0
        self._used: set[int] = set()

    def forget(self) -> None:
        """Forget what was followed; called between blocks."""
        self._followed.clear()

    @property
    def unused(self) -> int:
        """How many softmax results over tokens never met values: changed on the way, or not used at all."""
        return self._begun - len(self._used)

    def follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Take note of a result that is, or is still, a matrix of attention probabilities."""
        if not isinstance(result, Tensor) or not args:
            return
        if func in _SOFTMAX and _is_last_axis(result, args, kwargs) and result.dim() in {3, 4}:
            if result.shape[-1] == result.shape[-2] and result.shape[-1] > 1:
                self._begun += 1
                self._note(result, args[0], self._begun)
        elif func in _KEEPS_MEANING and (known := self._find(args[0])) and result.shape[-1] == args[0].shape[-1]:
            self._note(result, known.scores, known.origin)

    def contraction(self, func: Any, args: Any, kwargs: Any, images: int) -> Contraction | None:
        """Give the product that uses followed probabilities, if this call is one."""
        if not self._followed or kwargs:
            return None
        found = None
        if func in _PRODUCT and len(args) == 2 and self._find(args[0]):
            found = self._from_product(args[0], args[1], images)
        if func is torch.einsum and len(args) == 3 and (self._find(args[1]) or self._find(args[2])):
            found = self._from_einsum(args[0], args[1], args[2], images)
        return found

    def _note(self, tensor: Tensor, scores: Tensor, origin: int) -> None:
        self._followed = {key: known for key, known in self._followed.items() if known.tensor() is not None}
        self._followed[id(tensor)] = _Followed(weakref.ref(tensor), _version(tensor), scores, origin)

    def _find(self, tensor: Any) -> _Followed | None:
        known = self._followed.get(id(tensor))
        alive = known.tensor() if known is not None else None
        if known is None or alive is None or alive is not tensor or known.version != _version(alive):
            return None
        return known

    def _from_product(self, probabilities: Tensor, values: Tensor, images: int) -> Contraction | None:
        known = self._find(probabilities)
        if known is None or values.dim() != probabilities.dim():
            return None
        scores = known.scores
        if probabilities.dim() == 4:
            self._used.add(known.origin)
            # Heads may share their values (multi-query attention).
            values = values.expand(*probabilities.shape[:2], -1, -1)
            return Contraction(probabilities, values, lambda rows: scores[..., rows, :], lambda output: output)
        # (b * h, n, n) as torch.bmm wants it, or (b, n, n) with a single head.
        heads = probabilities.shape[0] // images
        if heads * images != probabilities.shape[0]:
            return None
        self._used.add(known.origin)
        split = (images, heads)
        return Contraction(
            probabilities.reshape(*split, *probabilities.shape[1:]),
            values.reshape(*split, *values.shape[1:]),
            lambda rows: scores.reshape(*split, *scores.shape[-2:])[..., rows, :],
            lambda output: output.reshape(images * heads, *output.shape[2:]),
        )

    def _from_einsum(self, equation: str, first: Tensor, second: Tensor, images: int) -> Contraction | None:
        """Rewrite a product by einsum as one by matmul, with the axes of images and heads in front."""
        letters, _, out = equation.replace(" ", "").partition("->")
        left, _, right = letters.partition(",")
        if self._find(second):
            first, second, left, right = second, first, right, left
        spare = [letter for letter in string.ascii_letters if letter not in equation]
        left, right, out = (
            _spelled_out(part, dims, spare)
            for part, dims in ((left, first.dim()), (right, second.dim()), (out, first.dim()))
        )
        lead, row, column = left[:-2], left[-2:-1], left[-1:]
        (width, *others) = sorted(set(right) - set(left)) or [""]
        wanted, produced = f"{lead}{column}{width}", f"{lead}{row}{width}"
        if others or sorted(right) != sorted(wanted) or sorted(out) != sorted(produced):
            return None
        product = self._from_product(first, torch.einsum(f"{right}->{wanted}", second), images)
        if product is None:
            return None
        return replace(product, restore=lambda output: torch.einsum(f"{produced}->{out}", product.restore(output)))


def positional(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Give the leading arguments of a function that is looked at by position, however the caller passed them."""
    names = _NAMES.get(func, ())[len(args) :]
    if not kwargs or not any(name in kwargs for name in names):
        return args, kwargs
    leading = [kwargs[name] for name in names if name in kwargs]
    return (*args, *leading), {name: value for name, value in kwargs.items() if name not in names}


def _spelled_out(letters: str, dims: int, spare: list[str]) -> str:
    """Replace the ellipsis of an einsum operand by letters of its own, the last of them for the last of its axes."""
    missing = dims - len(letters.replace("...", ""))
    return letters.replace("...", "".join(spare[:missing][::-1]) if missing > 0 else "")


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place: after once, it is no softmax any more."""
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001  (the documented name, underscore and all)


def _is_last_axis(result: Tensor, args: Any, kwargs: Any) -> bool:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis in {-1, result.dim() - 1}
