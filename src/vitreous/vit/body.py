"""Body: where things are in a model, as far as a pass through it needs to know."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from vitreous.core.errors import ModelModeError, ModelOutputError
from vitreous.core.shapes import Logits
from vitreous.vit.ambient import exact, uncompiled
from vitreous.vit.watch import Anchor

Call = Callable[[nn.Module, Tensor], Any]


def plain_call(model: nn.Module, inputs: Tensor) -> Any:
    """Call a model the ordinary way."""
    return model(inputs)


@dataclass(frozen=True, eq=False)
class Body:
    """A model, its blocks, and the places where the token stream enters each block and leaves the last one.

    eager  whether the compiler must be switched off, because it would compile the watching as well
    """

    model: nn.Module
    call: Call
    blocks: tuple[nn.Module, ...]
    anchors: tuple[Anchor, ...]
    eager: bool = False

    def forward(self, inputs: Tensor) -> Logits:
        """Run the model on normalised inputs and give one row of scores per image, in float32 at least."""
        refuse_random(self.model)
        with exact(inputs.device), uncompiled() if self.eager else nullcontext():
            logits = pick_logits(self.call(self.model, inputs))
        return logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits


_RANDOM_IN_TRAINING = ("Dropout", "DropPath", "StochasticDepth", "PatchDropout", "BatchNorm")


def refuse_random(model: nn.Module) -> None:
    """Raise ModelModeError if a module in training mode would make the output random or change the model."""
    for name, module in model.named_modules():
        kind = type(module).__name__
        if not module.training or not any(random in kind for random in _RANDOM_IN_TRAINING):
            continue
        rate = getattr(module, "p", getattr(module, "drop_prob", getattr(module, "prob", 1.0)))
        if rate:
            raise ModelModeError(
                f"The model is in training mode, and its module {name!r} ({kind}) acts in it.",
                "Call model.eval() before explaining the model.",
            )


def is_quantised(model: nn.Module) -> bool:
    """Whether PyTorch's integer layers are in a model. They have no gradient; some let it pass by as if not there."""
    return any("quantized" in type(module).__module__.split(".") for module in model.modules())


def pick_logits(output: Any) -> Logits:
    """Find the scores (b, k) in whatever a model returns.

    Takes a tensor, the field `logits`, `image_embeds` or `pooler_output` of an output object or dict, or the only
    such tensor of a tuple. Raises ModelOutputError for anything ambiguous.
    """
    fix = "Pass call=lambda model, images: … to open_vit, returning one row of scores for each image."
    if isinstance(output, Tensor):
        if _is_scores(output):
            return output
        raise ModelOutputError(
            f"The model returns {output.dtype} of shape {tuple(output.shape)}, expected floats (images, classes).",
            fix,
        )
    fields = dict(output.items()) if hasattr(output, "items") else {}
    for name in ("logits", "image_embeds", "pooler_output"):
        if isinstance(fields.get(name), Tensor):
            return pick_logits(fields[name])
    parts = list(fields.values()) or (list(output) if isinstance(output, tuple | list) else [])
    rows = [part for part in parts if _is_scores(part)]
    if len(rows) == 1:
        return rows[0]
    found = ", ".join(str(name) for name in fields) or type(output).__name__
    raise ModelOutputError(f"The model returns {found}, with {len(rows)} candidates for scores.", fix)


def _is_scores(part: Any) -> TypeGuard[Tensor]:
    return isinstance(part, Tensor) and part.dim() == 2 and part.is_floating_point()
