"""Watch: ordinary forward hooks that hand the token stream between blocks to a function of ours.

Hooks live on modules and so in every thread; these act only in the thread that set them, and are gone afterwards.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

OnTokens: TypeAlias = Callable[[int, Tensor], Tensor | None]


@dataclass(frozen=True)
class Anchor:
    """A place where the token stream passes: the input or output of a module.

    `batch_axis` is 1 where the model keeps tokens as (n, b, d).
    """

    module: nn.Module
    side: Literal["input", "output"]
    batch_axis: int = 0


class StopForward(Exception):  # noqa: N818  (control flow, not an error)
    """Ends a forward pass whose remainder nobody needs."""


@contextmanager
def watch(anchors: Sequence[Anchor], on_tokens: OnTokens) -> Iterator[None]:
    """Call `on_tokens(position, tokens)` with tokens (b, n, d) at each anchor; what it returns replaces them."""
    owner = threading.get_ident()
    with ExitStack() as handles:
        for position, anchor in enumerate(anchors):
            hook = _input_hook if anchor.side == "input" else _output_hook
            handles.callback(hook(anchor, position, on_tokens, owner).remove)
        yield


def _input_hook(anchor: Anchor, position: int, on_tokens: OnTokens, owner: int) -> Any:
    # A thread that runs the model while another takes this hook off may be about to call it, and PyTorch has then
    # forgotten already that it wants keyword arguments.
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        if threading.get_ident() != owner or kwargs is None:
            return None
        for index, value in enumerate(args):
            if is_stream(value):
                changed = _offer(anchor, position, value, on_tokens)
                return ((*args[:index], changed, *args[index + 1 :]), kwargs)
        for name, value in kwargs.items():
            if is_stream(value):
                return (args, {**kwargs, name: _offer(anchor, position, value, on_tokens)})
        return None

    return anchor.module.register_forward_pre_hook(hook, with_kwargs=True)


def _output_hook(anchor: Anchor, position: int, on_tokens: OnTokens, owner: int) -> Any:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        if threading.get_ident() != owner:
            return None
        if isinstance(output, Tensor):
            return _offer(anchor, position, output, on_tokens)
        if isinstance(output, tuple | list) and output and is_stream(output[0]):
            return type(output)([_offer(anchor, position, output[0], on_tokens), *output[1:]])
        return None

    return anchor.module.register_forward_hook(hook)


def is_stream(value: Any) -> bool:
    """Whether a value can be a token stream: three axes of floats."""
    return isinstance(value, Tensor) and value.dim() == 3 and value.is_floating_point()


def _offer(anchor: Anchor, position: int, stream: Tensor, on_tokens: OnTokens) -> Tensor:
    # The transposed view itself is offered and passed on, so that it is a node on the path of the gradient.
    tokens = stream.transpose(0, 1) if anchor.batch_axis == 1 else stream
    replaced = on_tokens(position, tokens)
    tokens = tokens if replaced is None else replaced
    return tokens.transpose(0, 1) if anchor.batch_axis == 1 else tokens
