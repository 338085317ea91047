"""Scout: one forward pass that writes down which module was running at every attention call.

Discovery works on what a model does, not on what its modules are called.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitreous.core.errors import ModelOutputError, NonFiniteError, UnsupportedModelError, VitreousError
from vitreous.core.shapes import Logits
from vitreous.vit.ambient import compiler_loaded, exact, holds_compiled, uncompiled
from vitreous.vit.body import Call, pick_logits
from vitreous.vit.tap import Tap
from vitreous.vit.watch import is_stream


@dataclass(frozen=True)
class SeenAttention:
    """One attention call: the modules running at that time, outermost first, and the shape of its probabilities."""

    running: tuple[nn.Module, ...]
    shape: tuple[int, ...]
    kind: str

    @property
    def square(self) -> bool:
        """Whether tokens attend to themselves (a pooling query does not)."""
        return self.shape[-1] == self.shape[-2]


@dataclass(frozen=True)
class SeenModule:
    """One call of a module: the shapes of the token stream it was given and gave, if any."""

    module: nn.Module
    entering: tuple[int, ...] | None
    leaving: tuple[int, ...] | None


@dataclass
class Sighting:
    """All that the scout saw.

    modules  in the order in which their calls began
    stride   of the first convolution over RGB
    unused   softmax results over tokens that never met values
    eager    whether the compiler had to be switched off
    """

    images: int
    attention: list[SeenAttention] = field(default_factory=list)
    modules: list[SeenModule] = field(default_factory=list)
    stride: tuple[int, int] | None = None
    outputs: int = 0
    unused: int = 0
    eager: bool = False


class _ScoutTap(Tap):
    def __init__(self, sighting: Sighting, running: list[nn.Module]) -> None:
        super().__init__()
        self._sighting = sighting
        self._running = running
        self.enter_block(0, sighting.images)  # spelled-out attention is looked for inside blocks only

    def _scaled_dot_product(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.dim() <= 4:
            return super()._scaled_dot_product(query, key, value, *args, **kwargs)
        # Attention within windows may keep them as an axis of their own: seen as many windows, and refused later.
        windows = (
            query[..., 0, 0].numel() // query.shape[-3],
            query.shape[-3],
            query.shape[-2],
            key.shape[-2],
        )
        self._sighting.attention.append(SeenAttention(tuple(self._running), windows, "sdpa"))
        result: Tensor = F.scaled_dot_product_attention(query, key, value, *args, **kwargs)
        return result

    def _through(
        self, kind: str, probabilities: Tensor, values: Tensor, _scores: Callable[..., Tensor], _dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        self._sighting.attention.append(SeenAttention(tuple(self._running), tuple(probabilities.shape), kind))
        return probabilities, values

    @property
    def unused(self) -> int:
        """How many softmax results over tokens never met values."""
        return self._handwritten.unused

    def _inside_block(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is F.conv2d and args and self._sighting.stride is None and args[0].shape[1] == 3:
            stride = kwargs.get("stride", args[3] if len(args) > 3 else 1)
            self._sighting.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        return super()._inside_block(func, args, kwargs)


def scout(model: nn.Module, call: Call, inputs: Tensor) -> Sighting:
    """Run the model once on a few images and report its attention calls and module calls.

    Raises UnsupportedModelError if the model does not run on images of this size, ModelOutputError if its output is not
    one row of scores for each image, NonFiniteError if they are not finite.
    """
    eager = holds_compiled(model)
    try:
        return _scout(model, call, inputs, eager)
    except VitreousError:
        raise
    except Exception as problem:  # noqa: BLE001  (raised below as one error, whatever it is)
        fault = problem
    if not eager and compiler_loaded():
        # A function in it may be compiled, and then the compiler met our hooks. Without it, the fault may be gone.
        try:
            return _scout(model, call, inputs, eager=True)
        except VitreousError:
            raise
        except Exception as problem:  # noqa: BLE001
            fault = problem
    raise UnsupportedModelError(
        f"{type(model).__name__} does not run on images of {tuple(inputs.shape[2:])} pixels: "
        f"{type(fault).__name__}: {_first_line(fault)}.",
        "Pass preprocessing=vt.Preprocessing(size=(height, width), …), or call=… for other arguments.",
    ) from fault


def _scout(model: nn.Module, call: Call, inputs: Tensor, eager: bool) -> Sighting:
    sighting = Sighting(images=inputs.shape[0], eager=eager)
    running: list[nn.Module] = []
    entered: list[int] = []

    owner = threading.get_ident()

    def before(module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if threading.get_ident() != owner or kwargs is None:  # see `watch`: another thread may call it without
            return
        running.append(module)
        entered.append(len(sighting.modules))
        sighting.modules.append(SeenModule(module, _stream_shape([*args, *kwargs.values()]), None))

    def after(module: nn.Module, _args: Any, output: Any) -> None:
        if threading.get_ident() != owner:
            return
        running.pop()
        seen = sighting.modules[index := entered.pop()]
        first = output[0] if isinstance(output, tuple | list) and output else output
        sighting.modules[index] = SeenModule(module, seen.entering, _stream_shape([first]))

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after).remove)
        tap = _ScoutTap(sighting, running)
        stack.enter_context(exact(inputs.device))
        stack.enter_context(uncompiled() if eager else nullcontext())
        with torch.inference_mode(mode=False), torch.no_grad(), tap:
            logits = pick_logits(call(model, inputs))
    _check_logits(logits, inputs.shape[0])
    sighting.outputs = logits.shape[1]
    sighting.unused = tap.unused
    return sighting


def _check_logits(logits: Logits, images: int) -> None:
    if logits.shape[0] != images:
        raise ModelOutputError(
            f"The model returns {logits.shape[0]} rows of scores for {images} images.",
            "Pass call=lambda model, images: … to open_vit, returning one row of scores for each image.",
        )
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError(
            "The model returned NaN or infinity for random images.", "Check the weights, or run the model in float32."
        )


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines() or [""]
    return lines[0][:300].rstrip(".")


def _stream_shape(values: list[Any]) -> tuple[int, ...] | None:
    return next((tuple(value.shape) for value in values if is_stream(value)), None)
