"""Closed: a rule set that knows every operator on the path of relevance, or refuses the model.

A backward that no rule replaced would move relevance like a gradient, and the map would be wrong without a word. Only
operators that move numbers about, and change none, may keep their own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.errors import MethodNotApplicableError
from vitreous.vit.rules.names import Function, spelled

_MOVING = """
    reshape view view_as reshape_as flatten unflatten ravel permute transpose swapaxes swapdims movedim t squeeze
    unsqueeze expand expand_as broadcast_to repeat repeat_interleave tile contiguous clone cat concat concatenate stack
    split chunk unbind tensor_split narrow select index_select gather take_along_dim __getitem__ __setitem__ flip roll
    rot90 where masked_fill masked_fill_ copy_ to type type_as float double half bfloat16 pad dropout alpha_dropout
    requires_grad_ broadcast_tensors hstack vstack dstack atleast_2d atleast_3d unfold fold pixel_shuffle
    pixel_unshuffle dropout1d dropout2d _set_grad_enabled scaled_dot_product_attention multi_head_attention_forward
"""
"""Operators that hand numbers on; and attention, whose arithmetic the Tap does itself, by operators that have rules."""

_NAMES = set(_MOVING.split())


class ClosedRules(dict[Function, Function]):
    """Rules in all spellings; any other operator that gives a node of the graph is refused, unless it only moves.

    The Tap asks for the rule of each function by `get`, with the function itself in its place. What computes something
    that is no node, such as a position embedding that is resized, is left alone.
    """

    def __init__(self, rules: dict[Function, Function]) -> None:
        super().__init__(spelled(rules))

    def get(self, function: Function, default: Any = None) -> Any:
        """Give the rule for a torch function, or what runs in its place if it has none."""
        if function in self or getattr(function, "__name__", "") in _NAMES:
            return super().get(function, default)
        return _refusing(function)


def _refusing(function: Function) -> Callable[..., Any]:
    """Give the function, which raises MethodNotApplicableError if its result is a node of the graph."""

    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if torch.is_grad_enabled() and any(node.requires_grad for node in nodes(result)):
            name = getattr(function, "__name__", str(function))
            raise MethodNotApplicableError(
                f"The model computes with {name!r}, for which there is no rule of relevance.",
                "Use a method that goes by gradients, for instance 'generic_attention'.",
            )
        return result

    return run


def nodes(value: Any) -> Iterator[Tensor]:
    """Give the tensors in a value, also those inside lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from nodes(item)


STATISTICS = (torch.norm, Tensor.norm, torch.linalg.norm, torch.linalg.vector_norm, torch.var, Tensor.var, torch.std,
              Tensor.std, torch.var_mean, torch.std_mean)  # fmt: skip
"""Functions whose result, the size of something, is taken as a constant by all rule sets."""

NORMS = (F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm, F.normalize)
NONLINEARITIES = (
    F.gelu, F.silu, F.elu, F.selu, F.celu, F.leaky_relu, F.relu6, F.hardswish, F.mish, F.softplus, torch.relu,
    torch.sigmoid, torch.tanh, torch.erf, torch.exp, torch.sqrt, torch.rsqrt, torch.square, torch.pow, torch.clamp,
)  # fmt: skip
