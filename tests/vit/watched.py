"""What the tests of this folder ask of an opened model, each by a way that does not go through vitreous."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import vitreous as vt

MEAN, STD = (0.4, 0.5, 0.6), (0.25, 0.3, 0.35)
METHODS = ("agcam", "generic_attention", "rollout", "saliency")
"""One that cuts gradients, one that multiplies them over blocks, one without gradient and one at the pixels."""


def preprocessing(size: tuple[int, int]) -> vt.Preprocessing:
    """A normalisation that no library has, the same for all models here."""
    return vt.Preprocessing(size=size, mean=MEAN, std=STD)


def images_of(size: tuple[int, int], count: int = 3, seed: int = 0) -> Tensor:
    """Different images in [0, 1]."""
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def normalised(vit: vt.Vit, images: Tensor) -> Tensor:
    """Normalise as the model's own library would, in the model's type."""
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (vit.preprocessing.mean, vit.preprocessing.std))
    return ((images - mean) / std).to(vit.dtype)


def plain_logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Run a model as its own users do."""
    with torch.no_grad():
        output = model(inputs)
    if isinstance(output, Tensor):
        return output
    found = [getattr(output, name, None) for name in ("logits", "image_embeds", "pooler_output")]
    return next(part for part in found if part is not None)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected number or 1."""
    assert found.shape == expected.shape
    return float((found - expected).detach().abs().max()) / max(1.0, float(expected.detach().abs().max()))


@contextmanager
def hooked(modules: list[nn.Module], note: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    """Call `note(module, (args, kwargs), output)` after each call of the modules."""
    handles = [
        module.register_forward_hook(
            lambda module, args, kwargs, out: note(module, (args, kwargs), out), with_kwargs=True
        )
        for module in modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def streams(blocks: tuple[nn.Module, ...], run: Callable[[], object]) -> list[Tensor]:
    """Tokens "b n d" (or "n b d") that enter each block and leave the last, by ordinary hooks around `run()`."""
    entering, leaving = [], []

    def note(_module: nn.Module, given: Any, output: Any) -> None:
        args, kwargs = given
        entering.append((*args, *kwargs.values())[0])
        leaving.append(output[0] if isinstance(output, tuple) else output)

    with torch.no_grad(), hooked(list(blocks), note):
        run()
    return [*entering, leaving[-1]]


# -- attention from the libraries themselves -----------------------------------------------------------------------------


def attention_unfused(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """timm: switch fused attention off and read what the attention dropout is given. Switches it on again."""
    fused = [module for module in model.modules() if getattr(module, "fused_attn", False)]
    drops = [module for name, module in model.named_modules() if name.endswith(".attn_drop") and "pool" not in name]
    found: list[Tensor] = []
    for module in fused:
        module.fused_attn = False
    try:
        with torch.no_grad(), hooked(drops, lambda _module, _given, output: found.append(output)):
            model(inputs)
    finally:
        for module in fused:
            module.fused_attn = True
    return found


def attention_eager(model: Any, inputs: Tensor) -> list[Tensor]:
    """transformers: a copy with eager attention and the same weights, asked for its attentions."""
    config = type(model.config)(**model.config.to_dict())
    config._attn_implementation = "eager"
    twin = type(model)(config).to(inputs.dtype).eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        return list(twin(inputs, output_attentions=True).attentions)


def attention_weights(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """nn.MultiheadAttention: ask each for its weights, on what it was given."""
    modules = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    given: list[tuple[nn.Module, Any]] = []
    with torch.no_grad():
        with hooked(modules, lambda module, call, _output: given.append((module, call))):
            model(inputs)
        return [
            module(*args[:3], **{**kwargs, "need_weights": True, "average_attn_weights": False})[1]
            for module, (args, kwargs) in given
        ]


def maps(vit: vt.Vit, images: Tensor, methods: tuple[str, ...] = METHODS, target: Any = (0, 1, 2)) -> dict[str, Tensor]:
    """Explain images by the methods; a map for each, batch first."""
    wanted = [target[index % len(target)] for index in range(len(images))] if isinstance(target, tuple) else target
    found = vt.compare(vit, images, methods=list(methods), target=wanted)
    return {name: torch.stack([torch.from_numpy(each[name].relevance.copy()) for each in found]) for name in methods}


def require_same_maps(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Compare maps, each relative to its largest number."""
    for name, map_ in expected.items():
        peak = float(map_.abs().max())
        assert peak > 0, f"{name} is blank: nothing is compared"
        assert float((found[name] - map_).abs().max()) <= tolerance * peak, name
