"""Ambient: what surrounds a pass is made the same for every caller, and is the caller's own again afterwards.

Autocast around the caller's code would change the numbers, and the record would still say float32. Compiled parts of a
model cannot be watched: the compiler would trace our hooks as well. Their own Python code runs instead, which computes
the same.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off on a device within the block."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@contextmanager
def own_graph() -> Iterator[None]:
    """Record a graph within the block, whatever the caller switched off: for arithmetic that is differentiated."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def holds_compiled(model: nn.Module) -> bool:
    """Whether the model or a part of it was handed to torch.compile."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def compiler_loaded() -> bool:
    """Whether this process ever loaded the compiler: if not, nothing in it can be compiled."""
    return "torch._dynamo.eval_frame" in sys.modules


class _Eager:
    """Switches the compiler off while anybody needs it off.

    PyTorch keeps that setting for the whole process: the first who asks sets it, the last who leaves restores it, and
    meanwhile compiled models of other threads run uncompiled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._stance: AbstractContextManager[object] = nullcontext()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._stance.__exit__(None, None, None)


uncompiled = _Eager()
"""A context manager: within it, compiled models and functions run as the Python they were made from."""
