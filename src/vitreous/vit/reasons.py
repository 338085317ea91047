"""Reasons: why a model cannot be watched block by block, each as one error that names the check and the cause."""

import torch
from torch import nn

from vitreous.core.errors import UnsupportedModelError
from vitreous.vit.scout import SeenAttention, Sighting

STILL_APPLIES = (
    "Methods that need only gradients at the pixels still apply: "
    "open it with require_attention=False and use 'saliency'."
)


def refuse_unplain(model: nn.Module, sighting: Sighting, square: list[SeenAttention]) -> None:
    """Refuse models whose attention is none over one set of tokens, before looking for blocks."""
    kind = type(model).__name__
    if not square:
        raise _refusal("attention captured", f"{kind} showed no attention call; {_why_none(model, sighting)}.")
    windowed = [seen for seen in square if seen.shape[0] != sighting.images]
    if windowed:
        raise _refusal(
            "attention over all tokens",
            f"{kind} attends within windows ({windowed[0].shape[0]} windows of {windowed[0].shape[-1]} tokens for "
            f"{sighting.images} images), so there is no class token row and no rollout.",
        )
    lengths = sorted({seen.shape[-1] for seen in square})
    if len(lengths) > 1:
        raise _refusal(
            "one set of tokens",
            f"{kind} attends over {lengths} tokens in different blocks (pooling, merging or pruning of tokens).",
        )
    last = max(index for index, seen in enumerate(sighting.attention) if seen.square)
    reduced = next((seen for seen in sighting.attention[:last] if not seen.square), None)
    if reduced is not None:
        raise _refusal(
            "one set of tokens",
            f"{kind} has {reduced.shape[-2]} tokens attend to {reduced.shape[-1]} others before its last block "
            "(spatial reduction, or attention to something else than the image's own tokens).",
        )


def refuse_other_axes(model: nn.Module, attends: int, tokens: int) -> None:
    """Refuse attention over something else than the tokens, for instance over channels."""
    if attends != tokens:
        raise _refusal(
            "attention over all tokens",
            f"{type(model).__name__} attends over {attends} positions, and its token stream has {tokens} tokens "
            "(attention over channels or merged tokens).",
        )


def refuse_silent(model: nn.Module, sighting: Sighting) -> None:
    """Refuse if a block ran beside attending ones and showed no attention: it would be left out without a word."""
    names = {id(module): name for name, module in model.named_modules()}
    attending = {id(module) for seen in sighting.attention for module in seen.running}
    called = {id(seen.module) for seen in sighting.modules}
    for holder in model.modules():
        children = list(holder.children())
        kinds = {_kind(child) for child in children if id(child) in attending} - {"Sequential", "ModuleList"}
        for child in children:
            unseen = isinstance(child, torch.jit.ScriptModule | torch.fx.GraphModule)
            if id(child) in attending or not kinds or not (unseen or id(child) in called):
                continue
            if _kind(child) in kinds or (unseen and isinstance(holder, nn.Sequential | nn.ModuleList)):
                why = "it is scripted or exported" if unseen else "it is changed behind the softmax, or is no softmax"
                raise _refusal(
                    "attention in every block",
                    f"{names[id(child)]!r} ({_kind(child)}) of {type(model).__name__} showed no attention, beside "
                    f"others that did: {why}.",
                )


def unblocked(model: nn.Module, square: list[SeenAttention]) -> UnsupportedModelError:
    """Say why no list of modules attends once each."""
    names = {id(module): name or type(module).__name__ for name, module in model.named_modules()}
    callers = [seen.running[-1] for seen in square if seen.running]
    repeated = next((module for module in callers if sum(module is other for other in callers) > 1), None)
    if repeated is not None:
        times = sum(repeated is other for other in callers)
        return _refusal(
            "one attention call per block",
            f"the module {names[id(repeated)]!r} ({type(repeated).__name__}) of {type(model).__name__} attends {times} "
            "times in one pass: it is shared by several blocks, or computes several attentions at once.",
        )
    return _refusal(
        "one attention call per block",
        f"{type(model).__name__} makes {len(square)} attention calls, and no list of modules makes exactly one in each "
        "(hierarchical stages, parallel branches, or blocks that no module holds).",
    )


def _why_none(model: nn.Module, sighting: Sighting) -> str:
    modules = list(model.modules())
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return "it is scripted, and scripted code cannot be observed: open the Python model it was made from"
    if any(isinstance(module, torch.fx.GraphModule) for module in modules):
        return "it is exported, and its operators cannot be observed: open the Python model it was made from"
    if sighting.unused:
        return (
            f"it computes {sighting.unused} softmaxes over tokens and changes them before they meet the values "
            "(talking heads, gated or differential attention)"
        )
    return "it is convolutional, or computes attention in a way that is not recognised (linear, flex, custom kernel)"


def _kind(module: nn.Module) -> str:
    """Name the class that a module had before it was compiled or scripted."""
    inner = getattr(module, "_orig_mod", module)
    return str(getattr(inner, "original_name", type(inner).__name__))


def _refusal(check: str, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"Check '{check}' failed: {reason}", STILL_APPLIES)
