"""timm: any model name of the library, a hub repository in its format, or a folder, with published or local weights."""

import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from vitreous.core.errors import HubError, UnknownNameError, UnsupportedModelError, WeightsError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request, new_head
from vitreous.vit.families._config import explained_build, numbers, preprocessing_of, read_config, sketch
from vitreous.vit.hub import fetch_file, fetch_snapshot, fetch_url, pinned
from vitreous.vit.weights import apply_weights, check_numbers, load_weights

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
_HUB = ("hf-hub:", "hf_hub:")
_FIX = "Check config.json, or update timm."
_PROJECTIONS = {512, 640, 768, 1024, 1152, 1280}
"""Widths of image-text embeddings, which timm keeps where other models have the outputs of their head."""


def build(request: Request) -> Built:
    """Create the timm model `NAME[.TAG]`, `hf-hub:REPOSITORY[@REVISION]` or `local-dir:FOLDER`.

    Raises UnknownNameError, UnsupportedModelError, HubError or a WeightsError.
    """
    for prefix in _HUB:
        if request.name.startswith(prefix):
            return _build_hub(request, request.name.removeprefix(prefix))
    folder = Path(request.name.removeprefix("local-dir:")).expanduser()
    if folder.is_dir() or request.name.startswith("local-dir:"):
        return build_folder(request, folder, request.source(f"folder {folder.resolve().name}"))
    config = _published(request.name)
    options = _options(request)
    try:
        sketch(lambda: timm.create_model(request.name, **options), f"timm:{request.name}")
    except (TypeError, ValueError, AssertionError, RuntimeError) as problem:
        raise UnsupportedModelError(
            f"timm:{request.name} cannot be built with {options}: {problem}.",
            "Leave out image_size or num_classes.",
        ) from problem
    if request.pretrained:
        return _pretrained(request, config, options)
    model = timm.create_model(request.name, **options)
    return _with_file(model, request, "")


def build_folder(request: Request, folder: Path, source: str) -> Built:
    """Build from a folder in timm's hub format (config.json and weights). Raises WeightsError or UnsafeWeightsError."""
    config = read_config(folder)
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        near = near_matches(str(architecture), timm.list_models())
        raise WeightsError(
            f"config.json names the architecture {architecture!r}, which timm does not have. {near}".strip(), _FIX
        )
    options = _options(request)
    with explained_build(f"{folder.name} (timm)", _FIX):
        sketch(lambda: timm.create_model(f"local-dir:{folder}", **options), folder.name)
        model = timm.create_model(f"local-dir:{folder}", **options)
    stated = config["pretrained_cfg"] if isinstance(config.get("pretrained_cfg"), dict) else config
    guessed = tuple(name for name in ("mean", "std") if name not in stated)
    if not request.pretrained:
        return _guessing(_with_file(model, request, source), guessed)
    path = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise WeightsError(f"{folder.name} has none of {', '.join(_WEIGHTS)}.", "Name weights with weights=FILE.")
    published = config.get("num_classes", stated.get("num_classes", 1000))
    fresh = _classifier(model) if request.num_classes not in {None, published} else ()
    notes = apply_weights(model, load_weights(path), path.name, _convert, fresh)
    return _guessing(
        describe(model.eval(), source, (*notes, *(new_head(request.num_classes) if fresh else ()))), guessed
    )


def _build_hub(request: Request, name: str) -> Built:
    """Fetch the configuration first, and the weights only once it turned out to be harmless."""
    wanted = f"timm:{request.name}"
    folder = fetch_snapshot(name, ["config.json"], wanted)
    if not (folder / "config.json").is_file():
        raise HubError(f"{wanted} could not be fetched: it has no config.json.", "Check that it is a model of timm.")
    read_config(folder)
    if request.pretrained:
        fetch_file(f"{name.partition('@')[0]}@{folder.name}", _WEIGHTS[:2], wanted)
    return build_folder(request, folder, request.source(pinned(name, folder)))


def _published(name: str) -> Any:
    """Look up what the library knows of a name. Raises UnknownNameError."""
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = near_matches(base, timm.list_models())
        raise UnknownNameError(f"timm has no model {name!r}. {near}".strip(), "See timm.list_models('*vit*').")
    tags = [each.partition(".")[2] for each in timm.models.get_arch_pretrained_cfgs(base)]
    if tag and tag not in tags:
        near = near_matches(tag, tags)
        raise UnknownNameError(
            f"timm has no weights {tag!r} of {base}. {near}".strip(),
            f"It has {', '.join(filter(None, tags)) or 'none'}.",
        )
    return timm.models.get_pretrained_cfg(name)


def _options(request: Request) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.num_classes is not None:
        options["num_classes"] = request.num_classes
    if request.image_size is not None:
        options["img_size"] = request.image_size
    return options


def _pretrained(request: Request, config: Any, options: dict[str, Any]) -> Built:
    """Fetch the published weights at a known revision, and have timm load them from the file."""
    wanted = f"timm:{request.name}"
    if config is None or not (config.hf_hub_id or config.url):
        raise HubError(f"{wanted} could not be fetched: it has no published weights.", "Use weights=FILE or 'random'.")
    if config.hf_hub_id:
        path = fetch_file(config.hf_hub_id, _WEIGHTS[:2], wanted)
        source = f"{pinned(config.hf_hub_id, path)} (tag {config.tag or 'default'})"
    else:
        path = fetch_url(str(config.url), wanted)
        source = f"{config.url} (tag {config.tag or 'default'})"
    load_weights(path)  # read once without timm, so that a damaged or unsafe file is told as such
    # `custom_load` describes the format at `url`, not that of the file at the hub.
    overlay = {"file": str(path), "custom_load": False}
    with explained_build(wanted, f"Delete {path}, so that it is fetched again."):
        model = timm.create_model(request.name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    check_numbers(model.state_dict(), None, path.name)
    notes = new_head(request.num_classes) if request.num_classes not in {None, config.num_classes} else ()
    published = tuple(config.input_size[1:])
    if request.image_size not in {None, published} and getattr(model, "pos_embed", None) is not None:
        notes = (
            *notes,
            f"image_size={request.image_size} is not the published {published}: timm resampled the positions.",
        )
    return describe(model.eval(), source, notes)


def _with_file(model: nn.Module, request: Request, source: str) -> Built:
    notes: tuple[str, ...] = ()
    if request.file is not None:
        notes = apply_weights(model, load_weights(request.file), Path(request.file).name, _convert)
    return describe(model.eval(), request.source(source), notes)


def _convert(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Bring an official checkpoint, or one of another image size, into timm's names and shapes by its own function."""
    architecture = str(getattr(model, "pretrained_cfg", {}).get("architecture"))
    module = sys.modules[timm.models.model_entrypoint(architecture).__module__]
    own = module.checkpoint_filter_fn  # an AttributeError says: this module has none
    wanted = signature(own).parameters
    options: dict[str, Any] = {}
    if "adapt_layer_scale" in wanted and any(name.endswith("gamma_1") for name in tensors):
        options["adapt_layer_scale"] = True  # DeiT III, as timm's own entry passes it
    if "flexi" in architecture and "antialias" in wanted:
        options |= {"interpolation": "bilinear", "antialias": False}  # likewise
    converted: dict[str, Tensor] = own(tensors, model, **options)
    return converted


def _classifier(model: nn.Module) -> tuple[str, ...]:
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or "head"
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))


def _guessing(built: Built, guessed: tuple[str, ...]) -> Built:
    """Mark fields that a configuration left to timm's defaults."""
    if built.preprocessing is None or not guessed:
        return built
    return replace(built, preprocessing=replace(built.preprocessing, guessed=guessed))


def describe(model: nn.Module, source: str = "the caller's own model", notes: tuple[str, ...] = ()) -> Built:
    """Read off a timm model what its pretrained configuration says."""
    config: dict[str, Any] = dict(getattr(model, "pretrained_cfg", None) or {})
    classes = getattr(model, "num_classes", None)
    return Built(
        model,
        _preprocessing(model, config),
        _labels(model, config, classes),
        source,
        "classes" if classes and not _is_embedding(config, classes) else "embedding",
        warnings=notes,
    )


def _preprocessing(model: nn.Module, config: dict[str, Any]) -> Preprocessing:
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is None:
        size = tuple(config.get("input_size", (3, 224, 224)))[1:]
    high, wide = (size, size) if isinstance(size, int) else size
    mean, std = (numbers(config[name], name, "timm") if name in config else None for name in ("mean", "std"))
    interpolation = str(config.get("interpolation", "bicubic"))
    share = config.get("crop_pct") or 1.0
    return preprocessing_of(
        "timm", (int(high), int(wide)), mean=mean, std=std, interpolation=interpolation, crop_share=float(share)
    )


def _is_embedding(config: dict[str, Any], classes: int) -> bool:
    """Whether the outputs are an image-text embedding: timm keeps CLIP's projection where other models have a head."""
    if classes not in _PROJECTIONS or config.get("label_names"):
        return False
    return "clip" in str(config.get("architecture", "")) and classes == config.get("num_classes")


def _labels(model: nn.Module, config: dict[str, Any], classes: int | None) -> tuple[str, ...] | None:
    names = config.get("label_names")
    if isinstance(names, dict):  # index to name, where there may be gaps
        names = [names.get(str(index), names.get(index)) for index in range(len(names))]
    if names and len(names) == classes and None not in names:
        told = config.get("label_descriptions") or {}
        return tuple(str(told.get(name, name)) if isinstance(told, dict) else str(name) for name in names)
    if classes is None or classes != config.get("num_classes"):
        return None  # another head: the published names are not its classes
    subset = infer_imagenet_subset(model)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(classes))
