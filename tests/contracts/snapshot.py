"""Everything about a model and its process that explaining must leave as it was.

Python's own random numbers are missing here, because beartype draws from them while it checks types in tests.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as module_room
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack


def snapshot(model: nn.Module) -> dict[str, object]:
    """Describe a model to the last bit and the last hook, and the state of this process, by name."""
    found: dict[str, object] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        grad = tensor.grad if tensor.is_leaf else None
        found[f"tensor {name}"] = (
            id(tensor), type(tensor), tensor.data_ptr(), tensor.requires_grad, tensor.is_leaf, tensor.dtype,
            _bits(tensor), id(grad), None if grad is None else _bits(grad),
        )  # fmt: skip
    for name, module in model.named_modules():
        found[f"module {name}"] = (id(module), type(module), type(module).forward, module.training)
        found[f"attributes of {name}"] = {key: id(value) for key, value in vars(module).items()}
        for key, hooks in vars(module).items():
            if "_hooks" in key and hooks is not None:
                found[f"{key} of {name}"] = [(number, id(hook)) for number, hook in hooks.items()]
    return found | _process()


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


def _process() -> dict[str, object]:
    everywhere = {key: dict(value) for key, value in vars(module_room).items() if key.startswith("_global_") and value}
    functional = torch.nn.functional
    return {
        "hooks on all modules": everywhere,
        "random numbers of torch": _bits(torch.get_rng_state()),
        "random numbers of numpy": str(np.random.get_state()),  # noqa: NPY002  (the global one is what is looked at)
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "function modes": [id(mode) for mode in _get_current_function_mode_stack()],
        "dispatch modes": [id(mode) for mode in _get_current_dispatch_mode_stack()],
        "default type": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "fused attention": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
        ),
        "functions": [
            id(function)
            for room in (functional, torch, torch.Tensor)
            for function in vars(room).values()
            if callable(function)
        ],
    }


@contextmanager
def nothing_changes(model: nn.Module):
    """Fail if anything of `model` or of the process is different at the end of the block, also after an exception."""
    before = snapshot(model)
    try:
        yield
    finally:
        after = snapshot(model)
        assert after.keys() == before.keys()
        changed = [name for name in before if before[name] != after[name]]
        assert not changed, f"changed: {changed}"
