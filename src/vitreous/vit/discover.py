"""Discovery: finds blocks, token layout and readout of a model from what it does on probe images.

Nothing here knows a class name. Blocks are the parts of one module that attend exactly once each and cover all
attention; the layout follows from which token changes when a corner of the image does; the readout from which tokens
of the last block the logits depend on.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from vitreous.core.errors import UnsupportedModelError
from vitreous.vit.body import Body
from vitreous.vit.entering import read_out
from vitreous.vit.passes import first_tokens, own_leaf
from vitreous.vit.readout import Readout
from vitreous.vit.reasons import (
    STILL_APPLIES,
    refuse_other_axes,
    refuse_silent,
    refuse_unplain,
    unblocked,
)
from vitreous.vit.scout import SeenAttention, SeenModule, Sighting
from vitreous.vit.watch import Anchor

_CHANGES = 8
"""How many changes of one pixel are averaged over."""
_STEPS = (0, 1, 2, 4, 8, 16, 32)
"""How far inwards a pixel is moved: a patch wider than the edge that the model ignores is met by one of them."""


@dataclass(frozen=True)
class Layout:
    """Where the patch tokens are: `prefix` tokens, then the grid row by row, then `suffix` tokens."""

    prefix: int
    suffix: int
    grid: tuple[int, int]
    patch: tuple[int, int]


def find_blocks(model: nn.Module, sighting: Sighting) -> tuple[tuple[nn.Module, ...], tuple[Anchor, ...]]:
    """Find the blocks in running order, and the anchors where the token stream enters them and leaves the last.

    Raises UnsupportedModelError with the reason if the model is not a plain Vision Transformer.
    """
    square = [seen for seen in sighting.attention if seen.square]
    refuse_unplain(model, sighting, square)
    for module in model.modules():  # outermost first, so that ties go to the outermost
        parts = _attending_parts(module, square)
        anchors = _anchors(parts, sighting) if parts is not None else None
        if parts is not None and anchors is not None:
            refuse_silent(model, sighting)
            refuse_other_axes(model, square[0].shape[-1], _tokens(anchors[0], sighting))
            return parts, anchors
    raise unblocked(model, square)


def _attending_parts(module: nn.Module, square: list[SeenAttention]) -> tuple[nn.Module, ...] | None:
    """Give the children of `module` that attend once each and together make all calls, in running order."""
    owner = {id(inner): child for child in module.children() for inner in child.modules()}
    parts: list[nn.Module] = []
    for seen in square:
        child = next((owner[id(running)] for running in reversed(seen.running) if id(running) in owner), None)
        if child is None or any(child is part for part in parts):
            return None
        parts.append(child)
    return tuple(parts)


def _anchors(parts: tuple[nn.Module, ...], sighting: Sighting) -> tuple[Anchor, ...] | None:
    entries = [_entry(part, sighting) for part in parts]
    leaving = _exit(parts[-1], sighting)
    if leaving is None or any(entry is None for entry in entries):
        return None
    return (*[entry for entry in entries if entry is not None], leaving)


def _entry(part: nn.Module, sighting: Sighting) -> Anchor | None:
    """Find where the stream enters a block: the block itself or, for a bare list of modules, the first to run."""
    inside = {id(module) for module in part.modules()}
    calls = [seen for seen in sighting.modules if id(seen.module) in inside]
    if not calls or calls[0].entering is None:
        return None
    return Anchor(calls[0].module, "input", _batch_axis(calls[0].entering, sighting))


def _exit(part: nn.Module, sighting: Sighting) -> Anchor | None:
    """Find where the stream leaves the last block: its output or, for a bare list, the input of what runs next."""
    own: list[SeenModule] = [seen for seen in sighting.modules if seen.module is part]
    if own:
        return Anchor(part, "output", _batch_axis(own[0].leaving, sighting)) if own[0].leaving else None
    inside = {id(module) for module in part.modules()}
    last = max(index for index, seen in enumerate(sighting.modules) if id(seen.module) in inside)
    following = sighting.modules[last + 1 :]
    if following and following[0].entering is not None:
        return Anchor(following[0].module, "input", _batch_axis(following[0].entering, sighting))
    return None


def _tokens(entry: Anchor, sighting: Sighting) -> int:
    """How many tokens enter the first block."""
    shape = next(seen.entering for seen in sighting.modules if seen.module is entry.module and seen.entering)
    return shape[1 - entry.batch_axis]


def _batch_axis(shape: tuple[int, ...], sighting: Sighting) -> int:
    return 1 if shape[0] != sighting.images and shape[1] == sighting.images else 0


def find_layout(body: Body, size: tuple[int, int], tokens: int, stride: tuple[int, int] | None, like: Tensor) -> Layout:
    """Find the token layout by changing the image's corners and seeing which token changes most.

    `like` gives device and dtype. Raises UnsupportedModelError if the tokens are no grid read row by row.
    """
    first = _changed_token(body, size, (0, 0), like)
    across = _changed_token(body, size, (0, size[1] - 1), like)
    last = _changed_token(body, size, (size[0] - 1, size[1] - 1), like)
    columns = across - first + 1
    patches = last - first + 1
    if columns < 1 or patches < columns or patches % columns or last >= tokens:
        raise UnsupportedModelError(
            f"Check 'token layout' failed: the upper left, upper right and lower right corner of the image reach "
            f"tokens {first}, {across} and {last} of {tokens}, which is no grid read row by row.",
            STILL_APPLIES,
        )
    grid = (patches // columns, columns)
    patch = (
        _patch_side(size[0], grid[0], stride and stride[0]),
        _patch_side(size[1], grid[1], stride and stride[1]),
    )
    return Layout(first, tokens - last - 1, grid, patch)


def _changed_token(body: Body, size: tuple[int, int], corner: tuple[int, int], like: Tensor) -> int:
    """Give the token that reacts most to one pixel, on average over changes of its colour.

    Patches may overlap: a convolutional stem lets several tokens see one pixel, and one change alone may by chance move
    a neighbour more. Where the model ignores the edge, the pixel moves inwards.
    """
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(1, 3, *size, generator=generator)
    ways = [
        range(side, length) if side == 0 else range(side, -1, -1) for side, length in zip(corner, size, strict=True)
    ]
    for down, across in sorted(product(_STEPS, _STEPS), key=sum):
        if down >= size[0] or across >= size[1]:
            continue
        changed = base.repeat(_CHANGES, 1, 1, 1)
        changed[..., ways[0][down], ways[1][across]] += 8.0 * torch.randn(_CHANGES, 3, generator=generator)
        stream = first_tokens(body, torch.cat([base, changed]).to(like)).float()
        difference = (stream[1:] - stream[:1]).norm(dim=-1).mean(0)
        if float(difference.max()) > 1e-4:
            return int(difference.argmax())
    raise UnsupportedModelError(
        f"Check 'token layout' failed: no token reacts to the image at its corner {corner}.", STILL_APPLIES
    )


def _patch_side(pixels: int, patches: int, stride: int | None) -> int:
    # A patch convolution leaves out what does not fill a patch; a stem's first convolution has a smaller stride.
    if stride is not None and patches in {pixels // stride, -(-pixels // stride)}:
        return stride
    if pixels % patches == 0:
        return pixels // patches
    raise UnsupportedModelError(
        f"Check 'token layout' failed: {patches} patches do not divide {pixels} pixels, and no patch convolution was "
        "seen.",
        "Use an image size that is a multiple of the patch size.",
    )


def find_readout(body: Body, sighting: Sighting, layout: Layout, inputs: Tensor, last_tokens: Tensor) -> Readout:
    """Find which of the last block's tokens the logits depend on, by the gradient of a random mixture of them."""
    tokens = own_leaf(last_tokens, needs_gradient=True)
    logits = read_out(body, inputs, tokens)
    count = tokens.shape[1]
    patches = slice(layout.prefix, layout.prefix + layout.grid[0] * layout.grid[1])
    if not logits.requires_grad:
        raise UnsupportedModelError(
            "Check 'readout' failed: the logits do not depend on the last block's tokens by a differentiable path "
            "(detach(), a quantised or scripted head, class numbers instead of scores).",
            "Pass call=… that returns scores with their graph, or open the model before it is quantised or scripted.",
        )
    with torch.inference_mode(mode=False), torch.enable_grad():
        mixture = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
        (gradient,) = torch.autograd.grad((logits * mixture).sum(), tokens)
    strength = gradient.float().norm(dim=-1).mean(0).cpu()
    if not float(strength.max()) > 0:
        raise UnsupportedModelError(
            "Check 'readout' failed: the outputs do not depend on the image at all (is the head still all zeros?).",
            "Load trained weights: a constant output has no explanation.",
        )
    read = strength > 1e-7 * strength.max()
    inside = torch.zeros(count, dtype=torch.bool)
    inside[patches] = True
    in_blocks = {id(module) for block in body.blocks for module in block.modules()}
    pooling = [seen for seen in sighting.attention if not any(id(running) in in_blocks for running in seen.running)]
    if pooling:
        pooled = inside if pooling[-1].shape[-1] == int(inside.sum()) else torch.ones_like(inside)
        if pooling[-1].shape[-1] != int(pooled.sum()):
            raise UnsupportedModelError(
                f"Check 'readout' failed: the head attends over {pooling[-1].shape[-1]} tokens, and the blocks have "
                f"{count}.",
                STILL_APPLIES,
            )
        return Readout("attention", pooled.double() / pooled.sum())
    if not bool(read[inside].any()):
        return Readout("token", read.double() / read.sum())
    outside = read & ~inside
    emphasised = bool(outside.any()) and float(strength[outside].min()) > 5 * float(strength[inside].mean())
    if emphasised:
        weights = 0.5 * outside.double() / outside.sum() + 0.5 * inside.double() / inside.sum()
        return Readout("token and mean", weights)
    return Readout("mean", read.double() / read.sum())
