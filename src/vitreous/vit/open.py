"""open_vit: from a name, a folder or any module to a Vit that passed its self-check."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from vitreous.core.digest import weights_digest
from vitreous.core.errors import InputError, UnknownNameError, UnsupportedModelError, VitreousError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.body import Body, Call, refuse_random
from vitreous.vit.discover import Layout, find_blocks, find_layout, find_readout
from vitreous.vit.families import Built, Request
from vitreous.vit.reasons import STILL_APPLIES
from vitreous.vit.scout import Sighting, scout
from vitreous.vit.selfcheck import check_plain, check_tapped
from vitreous.vit.vit import Vit

FAMILIES: dict[str, str] = {
    "timm": "vitreous.vit.families.timm",
    "hf": "vitreous.vit.families.huggingface",
    "torchvision": "vitreous.vit.families.torchvision",
    "open_clip": "vitreous.vit.families.open_clip",
    "bundled": "vitreous.vit.families.bundled",
}


def open_vit(
    model: str | Path | nn.Module,
    weights: str | Path | None = None,
    *,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    call: Call | None = None,
    device: str | torch.device | None = None,
    require_attention: bool = True,
) -> Vit:
    """Open a Vision Transformer and prove that it can be watched.

    model          "timm:NAME", "hf:ORGANISATION/NAME[@revision]", "torchvision:NAME", "open_clip:NAME[/TAG]", "timm:"
                   or "open_clip:" followed by "hf-hub:ORGANISATION/NAME[@revision]", a folder in the format of one of
                   these libraries, or any nn.Module, which stays the caller's and is not changed
    weights        None for the library's published weights, a local .safetensors or .pth file, or "random"
    num_classes    outputs of the head, where they differ from the published model
    image_size     (height, width) in pixels, or one number for both, where it differs from the published model
    labels         class names in the order of the outputs
    preprocessing  what the model expects of its input; needed for a module that does not say it
    call           how to run the model and pick its scores: call(model, inputs) -> "b k"
    device         where to put a model that is built here; a module given by the caller stays where it is
    require_attention  False opens a model without plain attention as well, for pixel methods alone

    Raises UnsupportedModelError naming the check that failed, ModelModeError for a model in training mode, HubError or
    a WeightsError if weights cannot be had, UnknownNameError for unknown names.
    """
    built, name = _build(model, weights, num_classes, image_size, device)
    labels_used = tuple(labels) if labels is not None else built.labels
    body_call = call or built.call
    wanted, warnings = _preprocessing(preprocessing, built, image_size)
    net = unwrap(built.model)
    refuse_random(net)
    _refuse_elsewhere(net)
    _refuse_checkpointing(net)
    probes = _probes(net, wanted.size)
    sighting = scout(net, body_call, probes)
    classes = built.outputs == "classes" or labels is not None
    _check_labels(labels_used, sighting.outputs)
    common = {
        "name": name,
        "source": built.source,
        "digest": weights_digest(net),
        "preprocessing": wanted,
        "outputs": sighting.outputs,
        "labels": labels_used,
        "has_classes": classes,
        "warnings": (*built.warnings, *warnings),
    }
    try:
        return _open_plain(net, body_call, sighting, probes, common)
    except UnsupportedModelError as problem:
        if require_attention:
            raise
        common["warnings"] = (*built.warnings, *warnings, f"Only pixel methods apply. {problem.cause}")
    body = Body(net, body_call, (), (), eager=sighting.eager)
    check_plain(body, probes)
    return _open_opaque(body, wanted, common)


def _open_plain(net: nn.Module, call: Call, sighting: Sighting, probes: torch.Tensor, common: dict[str, object]) -> Vit:
    """Open a model with plain attention: discover, check, and only then believe."""
    blocks, anchors = find_blocks(net, sighting)
    body = Body(net, call, blocks, anchors, eager=sighting.eager)
    shape = next(seen.shape for seen in sighting.attention if seen.square)
    size = (int(probes.shape[2]), int(probes.shape[3]))
    with _faults_explained(net):
        last = check_tapped(body, probes[:2], shape)  # first, since a random model would confuse all that follows
        layout = find_layout(body, size, shape[-1], sighting.stride, probes)
        readout = find_readout(body, sighting, layout, probes, last)
    return _vit(
        body,
        layout,
        common,
        heads=shape[1],
        width=last.shape[-1],
        readout=readout,
        attention_kind=next(seen.kind for seen in sighting.attention if seen.square),
    )


@contextmanager
def _faults_explained(net: nn.Module) -> Iterator[None]:
    """Turn whatever a model raises while it is watched, though it runs unwatched, into one error."""
    try:
        yield
    except (VitreousError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as problem:
        told = (str(problem).strip().splitlines() or [""])[0][:300].rstrip(".")
        raise UnsupportedModelError(
            f"Check 'runs while it is watched' failed: {type(net).__name__} raised {type(problem).__name__}: {told}.",
            STILL_APPLIES,
        ) from problem


def _open_opaque(body: Body, preprocessing: Preprocessing, common: dict[str, object]) -> Vit:
    """Open a model whose inside stays closed: only pixel methods apply, and the whole image is one patch."""
    layout = Layout(0, 0, (1, 1), preprocessing.size)
    return _vit(body, layout, common, heads=0, width=0, readout=None, attention_kind="none")


def _vit(body: Body, layout: Layout, common: dict[str, object], **found: object) -> Vit:
    build: Callable[..., Vit] = Vit
    return build(
        body=body,
        prefix=layout.prefix,
        suffix=layout.suffix,
        patch=layout.patch,
        grid=layout.grid,
        **common,
        **found,
    )


def _build(
    model: str | Path | nn.Module,
    weights: str | Path | None,
    num_classes: int | None,
    image_size: int | tuple[int, int] | None,
    device: str | torch.device | None,
) -> tuple[Built, str]:
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if isinstance(model, nn.Module):
        if weights is not None or num_classes is not None:
            raise InputError(
                "weights or num_classes was given together with a module.",
                "Load them into the module before opening it.",
            )
        return _describe(model), type(model).__name__
    family, name = _parse(str(model))
    request = Request(name, None if weights is None else str(weights), num_classes, size)
    built: Built = import_module(FAMILIES[family]).build(request)
    built.model.to(device)
    return built, f"{family}:{Path(name).name if Path(name).is_dir() else name}"


def _parse(spec: str) -> tuple[str, str]:
    if Path(spec).is_dir():
        return "hf", spec
    family, colon, name = spec.partition(":")
    if colon and family in FAMILIES and name:
        return family, name
    near = near_matches(family, FAMILIES) if colon else f"Did you mean 'timm:{spec}'?"
    raise UnknownNameError(
        f"model={spec!r} names no model family and no folder. {near}".strip(),
        f"Use one of {', '.join(f'{known}:NAME' for known in FAMILIES)}, a checkpoint folder, or a module.",
    )


def _describe(model: nn.Module) -> Built:
    """Ask a caller's module, inside its wrappers, what its library would know about it."""
    inner = unwrap(model)
    library = type(inner).__module__.partition(".")[0]
    if library in {"timm", "transformers"}:
        family = "timm" if library == "timm" else "hf"
        return import_module(FAMILIES[family]).describe(inner)  # type: ignore[no-any-return]
    # A tower of open_clip gives an embedding, whose largest number is no class.
    return Built(model, outputs="embedding" if library == "open_clip" else "classes")


def unwrap(model: nn.Module) -> nn.Module:
    """Take off wrappers that only change how a model runs: torch.compile, DataParallel, DistributedDataParallel."""
    while True:
        compiled_from = getattr(model, "_orig_mod", None)
        if isinstance(compiled_from, nn.Module):
            model = compiled_from
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def _preprocessing(
    given: Preprocessing | None, built: Built, image_size: int | tuple[int, int] | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    if given is not None:
        return given, ()
    if built.preprocessing is None:
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        guess = Preprocessing(size=size or (224, 224), guessed=("size", "mean", "std"))
    else:
        guess = built.preprocessing
    if not guess.guessed:
        return guess, ()
    told = (
        f"Preprocessing was guessed ({', '.join(guess.guessed)}): size {guess.size}, mean {guess.mean}, "
        f"std {guess.std}. If the model was trained otherwise, pass preprocessing=…."
    )
    return guess, (told,)


def _probes(net: nn.Module, size: tuple[int, int]) -> torch.Tensor:
    """Make three different random inputs; three, so that the axis of the images can be told from the others."""
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    probes = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    return probes.to(parameter.device, parameter.dtype)


def _refuse_elsewhere(net: nn.Module) -> None:
    """Refuse a model whose weights are not all here."""
    kinds = {base.__name__ for module in net.modules() for base in type(module).__mro__}
    if kinds & {"FSDPModule", "FullyShardedDataParallel"}:
        raise UnsupportedModelError(
            f"The weights of {type(net).__name__} are sharded over processes (FSDP).",
            "Gather them into an unsharded copy of the model and open that.",
        )
    if any(parameter.device.type == "meta" for parameter in net.parameters()):
        raise UnsupportedModelError(
            f"{type(net).__name__} has weights on the device 'meta', which holds no numbers.",
            "Load the weights before opening the model.",
        )


def _refuse_checkpointing(net: nn.Module) -> None:
    for name, module in net.named_modules():
        if getattr(module, "grad_checkpointing", False) is True:
            raise UnsupportedModelError(
                f"Gradient checkpointing is on in {name or type(module).__name__}: blocks would run again in the "
                "backward.",
                "Switch it off with model.set_grad_checkpointing(False).",
            )


def _check_labels(labels: tuple[str, ...] | None, outputs: int) -> None:
    if labels is not None and len(labels) != outputs:
        raise InputError(
            f"labels has {len(labels)} names, and the model has {outputs} outputs.",
            "Give one name for each output, in order.",
        )
