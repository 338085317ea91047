"""Randomise: a copy of an opened model whose weights are drawn anew, to see whether a map depends on what was learned.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292, section 3.1: an explanation that stays the
same when the weights are random explains the image and the architecture, not the model.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitreous.core.digest import weights_digest
from vitreous.core.errors import InputError, UnsupportedModelError
from vitreous.core.seed import image_generator
from vitreous.vit.body import Body, is_quantised
from vitreous.vit.vit import Vit
from vitreous.vit.watch import watch


def randomised(vit: Vit, seed: int = 0, blocks: int | None = None, only: int | None = None) -> Vit:
    """Copy an opened model and draw its weights anew, all of them or from the top down; the original stays as it is.

    Every parameter tensor is filled with normal numbers of its own mean and standard deviation: weights, biases,
    norms, class and register tokens, position embeddings. So activations keep their order of magnitude in whatever
    architecture, and nothing that was learned is left but two numbers for each tensor. A tensor whose entries are all
    equal, as those of a norm that was never trained, therefore stays. Buffers are copied.

    seed    of the draw. What a tensor gets depends on this and on its name alone, so a cascade is nested: with one
            block more, those that were random already are the same
    blocks  None draws everything. A number k draws the head and all else behind the last block, and the last k blocks:
            the paper's cascading randomisation, from the outputs down. What is found to be used before those blocks,
            embeddings or a table that all blocks share, and what is not used at all, is kept
    only    a number k draws block k alone, counted from 0: the paper's independent randomisation. The number of blocks
            stands for the head and all else behind the last block

    Gives a `Vit` for any method, with a name, a digest and a warning that tell of it in every record. Needs memory
    for a second model. Deviation from the paper, which draws as its model was initialised: most models do not say how.

    Raises InputError for a number of blocks or a block that the model does not have, for both at once, and for a `call`
    that runs another model than the one it is given; UnsupportedModelError for a quantised model.

    >>> import vitreous as vt
    >>> vit = vt.randomised(vt.open_vit("timm:deit_tiny_patch16_224", "random"), blocks=2)
    >>> vit.name
    'timm:deit_tiny_patch16_224, weights random from block 10 on (seed 0)'
    """
    depth = len(vit.blocks)
    if blocks is not None and not 0 <= blocks <= depth:
        raise InputError(f"blocks={blocks} is more than there is.", f"Give 0 to {depth}, or None for all weights.")
    if only is not None and (blocks is not None or not 0 <= only <= depth):
        raise InputError(
            f"only={only} with blocks={blocks} is no place.", f"Give 0 to {depth}, and no number of blocks."
        )
    if is_quantised(vit.model):
        raise UnsupportedModelError(
            f"{vit.name} is quantised: its weights are no parameters.", "Randomise the model before it is quantised."
        )
    body = _copied(vit.body)
    used = _first_uses(body, vit)
    with torch.inference_mode(mode=False), torch.no_grad():
        for name, parameter in body.model.named_parameters():
            place = used.get(id(parameter), -1)
            if place == only if only is not None else blocks is None or place >= depth - blocks:
                _draw(parameter, image_generator(seed, "randomised", name))
    told = f"weights random{_where(depth, blocks, only)} (seed {seed})"
    return replace(
        vit,
        body=body,
        name=f"{vit.name}, {told}",
        digest=weights_digest(body.model),
        warnings=(*vit.warnings, f"The model is a copy with {told}: its maps are a control."),
    )


def _where(depth: int, blocks: int | None, only: int | None) -> str:
    """Say in words where weights are random."""
    if only is not None and only < depth:
        return f" in block {only}"
    if only == depth or blocks == 0:
        return " behind the last block"
    return "" if blocks is None else f" from block {depth - blocks} on"


def _copied(body: Body) -> Body:
    """Copy a model together with the places in it, which have to be places of the copy."""
    with torch.inference_mode(mode=False):
        model, blocks, anchors = copy.deepcopy((body.model, body.blocks, body.anchors))
    return replace(body, model=model, blocks=blocks, anchors=anchors)


def _draw(parameter: nn.Parameter, generator: torch.Generator) -> None:
    """Fill a tensor with normal numbers of its own mean and standard deviation, drawn on the CPU for every device."""
    if parameter.is_floating_point() and parameter.numel():  # a model without prefix tokens may hold an empty tensor
        numbers = parameter.detach().double()
        noise = torch.randn(parameter.shape, generator=generator).to(numbers)
        parameter.copy_(numbers.mean() + numbers.std(correction=0) * noise)


class _FirstUse(TorchFunctionMode):
    """Notes for each parameter the block that runs when an operator is first given it: -1 before the first block."""

    def __init__(self) -> None:
        super().__init__()
        self.block = -1
        self.found: dict[int, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one torch function; to be asked for its shape or type is no use of a parameter."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != "__get__" or isinstance(result, Tensor):
            for parameter in _parameters((args, kwargs)):
                self.found.setdefault(id(parameter), self.block)
        return result


def _parameters(value: Any) -> Iterator[nn.Parameter]:
    """Find the parameters among arguments, also inside lists and dicts."""
    if isinstance(value, nn.Parameter):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parameters(item)


def _first_uses(body: Body, vit: Vit) -> dict[int, int]:
    """Run the model once on a blank image and see where it first uses each parameter, by the parameter's id.

    What runs behind the last block has the number of blocks. Order of use, and not the place in the module tree, tells
    a head from an embedding.
    """
    uses = _FirstUse()

    def on_tokens(position: int, _tokens: Tensor) -> None:
        uses.block = position

    blank = torch.zeros(1, 3, *vit.preprocessing.size, dtype=vit.dtype, device=vit.device)
    with torch.inference_mode(mode=False), torch.no_grad(), uses, watch(body.anchors, on_tokens):
        body.forward(blank)
    if not uses.found.keys() & {id(parameter) for parameter in body.model.parameters()}:
        raise InputError(
            f"The `call` of {vit.name} runs another model than the one it is given, so a copy cannot be run.",
            "Open the model with call=lambda model, images: … that uses `model`.",
        )
    return uses.found
