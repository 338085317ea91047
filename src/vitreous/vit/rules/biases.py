"""Biases: what each bias of a model adds to the score, token by token, for FullGrad.

Beside every bias stands a leaf of zeros, one number for each token, that scales it: out + leaf * bias. The gradient of
the score with respect to the leaf is then the bias times its gradient, and one backward gives them all.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.vit.row_linear import row_linear
from vitreous.vit.rules.names import Function


class BiasProbes:
    """Collects the leaves of one pass; `around` puts them beside the biases that rules see.

    leaves  one for each bias that was met, "… 1" where the result was "… d": its gradient is what the bias adds at each
            place. Biases that act before the graph begins have none

    Found are biases of linear layers and LayerNorms, and tensors without gradient that are added to tokens: biases that
    a model keeps apart, and position embeddings inside of it. Numbers and constants that are subtracted are not.
    """

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []

    def around(self, rules: dict[Function, Function]) -> dict[Function, Function]:
        """Give rules that do the same, and probe the biases of linear layers, norms and additions of a constant."""
        return {
            **rules,
            F.linear: self._third(rules.get(F.linear, row_linear), "bias", 2),
            F.layer_norm: self._third(rules.get(F.layer_norm, F.layer_norm), "bias", 3),
            torch.native_layer_norm: self._native(rules.get(torch.native_layer_norm, torch.native_layer_norm)),
            torch.add: self._sum,
        }

    def _third(self, rule: Function, name: str, place: int) -> Callable[..., Tensor]:
        def probed(*args: Any, **kwargs: Any) -> Tensor:
            bias = args[place] if len(args) > place else kwargs.get(name)
            return self._probe(rule(*args, **kwargs), bias)

        return probed

    def _native(self, rule: Function) -> Callable[..., tuple[Tensor, ...]]:
        def probed(tokens: Tensor, shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
            normed, mean, inverse = rule(tokens, shape, weight, bias, eps)
            return self._probe(normed, bias), mean, inverse

        return probed

    def _sum(self, first: Any, second: Any, **kwargs: Any) -> Tensor:
        total = torch.add(first, second, **kwargs)
        for constant, stream in ((first, second), (second, first)):
            tensors = isinstance(constant, Tensor) and isinstance(stream, Tensor)
            if tensors and not constant.requires_grad and total.dim() in {2, 3}:
                return self._probe(total, constant)
        return total

    def _probe(self, result: Tensor, bias: Tensor | None) -> Tensor:
        """Add zero times the bias, in place: the result is a new tensor, and the same to the bit."""
        if bias is None or not result.requires_grad:
            return result
        leaf = result.new_zeros(*result.shape[:-1], 1).requires_grad_()
        self.leaves.append(leaf)
        return result.addcmul_(leaf, bias)
