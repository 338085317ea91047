"""Discovery: finds blocks, token layout and readout of a model from what it does on probe images.

Nothing here knows a class name. Blocks are the parts of one module that attend exactly once each and cover all
attention; the layout follows from which token changes when a corner of the image does; the readout from which tokens
of the last block the logits depend on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitreous.core.errors import UnsupportedModelError
from vitreous.vit.body import Body
from vitreous.vit.passes import first_tokens, own_leaf, read_out
from vitreous.vit.readout import Readout
from vitreous.vit.scout import SeenAttention, SeenModule, Sighting
from vitreous.vit.watch import Anchor

STILL_APPLIES = "Methods that need only gradients at the pixels still apply: open it with require_attention=False and use 'saliency'."


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
    _refuse_unplain(model, sighting, square)
    for module in model.modules():  # outermost first, so that ties go to the outermost
        parts = _attending_parts(module, square)
        if parts is not None:
            anchors = _anchors(parts, sighting)
            if anchors is not None:
                _refuse_other_axes(model, parts[0], square[0], sighting)
                return parts, anchors
    raise UnsupportedModelError(
        f"Check 'one attention call per block' failed: {type(model).__name__} makes {len(square)} attention calls, and no "
        "list of modules makes exactly one in each (hierarchical stages, shared or branching blocks).",
        STILL_APPLIES,
    )


def _refuse_unplain(model: nn.Module, sighting: Sighting, square: list[SeenAttention]) -> None:
    kind = type(model).__name__
    if not square:
        scripted = any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
        reason = (
            "it is scripted, and scripted code cannot be observed: open the Python model it was made from"
            if scripted
            else "it is convolutional, or computes attention in a way that is not recognised (linear, flex, custom kernel)"
        )
        raise UnsupportedModelError(
            f"Check 'attention captured' failed: {kind} showed no attention call; {reason}.", STILL_APPLIES
        )
    windowed = [seen for seen in square if seen.shape[0] != sighting.images]
    if windowed:
        raise UnsupportedModelError(
            f"Check 'attention over all tokens' failed: {kind} attends within windows "
            f"({windowed[0].shape[0]} windows of {windowed[0].shape[-1]} tokens for {sighting.images} images), so there is "
            "no class token row and no rollout.",
            STILL_APPLIES,
        )
    lengths = sorted({seen.shape[-1] for seen in square})
    if len(lengths) > 1:
        raise UnsupportedModelError(
            f"Check 'one set of tokens' failed: {kind} attends over {lengths} tokens in different blocks "
            "(pooling, merging or pruning of tokens).",
            STILL_APPLIES,
        )


def _refuse_other_axes(model: nn.Module, block: nn.Module, seen: SeenAttention, sighting: Sighting) -> None:
    """Refuse attention over something else than tokens, for instance over channels."""
    streams = {
        call.entering for call in sighting.modules if call.module is block and call.entering is not None
    }
    if streams and all(seen.shape[-1] not in stream[:2] for stream in streams):
        raise UnsupportedModelError(
            f"Check 'attention over all tokens' failed: {type(model).__name__} attends over {seen.shape[-1]} positions, and its "
            f"token stream is {next(iter(streams))} (attention over channels or merged tokens).",
            STILL_APPLIES,
        )


def _attending_parts(module: nn.Module, square: list[SeenAttention]) -> tuple[nn.Module, ...] | None:
    """Give the children of `module` that attend once each and together make all calls, in running order."""
    owner = {id(inner): child for child in module.children() for inner in child.modules()}
    parts = []
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
    """Find where the stream enters a block: the block itself or, for a bare list of modules, the first of them to run."""
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


def _batch_axis(shape: tuple[int, ...], sighting: Sighting) -> int:
    return 1 if shape[0] != sighting.images and shape[1] == sighting.images else 0


def find_layout(
    body: Body, size: tuple[int, int], tokens: int, stride: tuple[int, int] | None, like: Tensor
) -> Layout:
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
            f"Check 'token layout' failed: the upper left, upper right and lower right corner of the image reach tokens {first}, "
            f"{across} and {last} of {tokens}, which is no grid read row by row.",
            STILL_APPLIES,
        )
    grid = (patches // columns, columns)
    patch = (
        _patch_side(size[0], grid[0], stride and stride[0]),
        _patch_side(size[1], grid[1], stride and stride[1]),
    )
    return Layout(first, tokens - last - 1, grid, patch)


def _changed_token(body: Body, size: tuple[int, int], corner: tuple[int, int], like: Tensor) -> int:
    """Give the token that reacts to one pixel. Where the model ignores the edge, the pixel moves inwards."""
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(1, 3, *size, generator=generator)
    inwards = [1 if side == 0 else -1 for side in corner]
    for step in (0, 1, 2, 4, 8, 16, 24, 32):
        row, column = corner[0] + inwards[0] * step, corner[1] + inwards[1] * step
        if not (0 <= row < size[0] and 0 <= column < size[1]):
            break
        changed = base.clone()
        changed[..., row, column] += 8.0
        stream = first_tokens(body, torch.cat([base, changed]).to(like)).float()
        difference = (stream[1] - stream[0]).abs().amax(-1)
        if float(difference.max()) > 1e-4:
            return int(difference.argmax())
    raise UnsupportedModelError(
        f"Check 'token layout' failed: no token reacts to the image at its corner {corner}.", STILL_APPLIES
    )


def _patch_side(pixels: int, patches: int, stride: int | None) -> int:
    if pixels % patches == 0:
        return pixels // patches
    if stride is not None and patches in {pixels // stride, -(-pixels // stride)}:
        return stride
    raise UnsupportedModelError(
        f"Check 'token layout' failed: {patches} patches do not divide {pixels} pixels, and no patch convolution was seen.",
        "Use an image size that is a multiple of the patch size.",
    )


def find_readout(
    body: Body, sighting: Sighting, layout: Layout, inputs: Tensor, last_tokens: Tensor
) -> Readout:
    """Find which of the last block's tokens the logits depend on, by the gradient of a random mixture of them."""
    tokens = own_leaf(last_tokens, needs_gradient=True)
    logits = read_out(body, inputs, tokens)
    count = tokens.shape[1]
    patches = slice(layout.prefix, layout.prefix + layout.grid[0] * layout.grid[1])
    if not logits.requires_grad:
        raise UnsupportedModelError(
            "Check 'readout' failed: the logits do not depend on the last block's tokens by a differentiable path.",
            "Open the model before it is quantised or scripted.",
        )
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
    pooling = [
        seen for seen in sighting.attention if not any(id(running) in in_blocks for running in seen.running)
    ]
    if pooling:
        pooled = inside if pooling[-1].shape[-1] == int(inside.sum()) else torch.ones_like(inside)
        if pooling[-1].shape[-1] != int(pooled.sum()):
            raise UnsupportedModelError(
                f"Check 'readout' failed: the head attends over {pooling[-1].shape[-1]} tokens, and the blocks have {count}.",
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
