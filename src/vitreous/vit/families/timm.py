"""timm: any model name of the library, with its published or local weights."""

from pathlib import Path
from typing import Any

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import nn

from vitreous.core.errors import UnknownNameError, UnsupportedModelError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request
from vitreous.vit.hub import explained_hub_errors
from vitreous.vit.weights import apply_weights, load_weights


def build(request: Request) -> Built:
    """Create a timm model. Raises UnknownNameError, HubError or a WeightsError."""
    base = request.name.split(".")[0]
    local = request.name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not local and not timm.is_model(base):
        near = near_matches(base, timm.list_models())
        raise UnknownNameError(
            f"timm has no model {request.name!r}. {near}".strip(), "See timm.list_models('*vit*')."
        )
    options: dict[str, Any] = {}
    if request.num_classes is not None:
        options["num_classes"] = request.num_classes
    if request.image_size is not None:
        options["img_size"] = request.image_size
    with explained_hub_errors(f"timm:{request.name}"):
        try:
            model = timm.create_model(request.name, pretrained=request.pretrained, **options)
        except TypeError as problem:
            raise UnsupportedModelError(
                f"timm:{request.name} cannot be built with {sorted(options)}: {problem}.",
                "Leave out image_size or num_classes.",
            ) from problem
    if request.file is not None:
        apply_weights(model, load_weights(request.file), Path(request.file).name)
    return describe(model.eval(), request)


def describe(model: nn.Module, request: Request | None = None) -> Built:
    """Read off a timm model what its pretrained configuration says."""
    config: dict[str, Any] = dict(getattr(model, "pretrained_cfg", None) or {})
    classes = getattr(model, "num_classes", None)
    size = _size(model, config)
    return Built(
        model,
        Preprocessing(
            size=size,
            mean=tuple(config.get("mean", (0.485, 0.456, 0.406))),
            std=tuple(config.get("std", (0.229, 0.224, 0.225))),
            interpolation=_interpolation(str(config.get("interpolation", "bicubic"))),
            crop_share=float(config.get("crop_pct") or 1.0),
        ),
        _labels(model, config, classes),
        _source(config, request),
        "classes" if classes and not _is_embedding(config, classes) else "embedding",
    )


def _size(model: nn.Module, config: dict[str, Any]) -> tuple[int, int]:
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is None:
        size = tuple(config.get("input_size", (3, 224, 224)))[1:]
    high, wide = (size, size) if isinstance(size, int) else size
    return int(high), int(wide)


def _interpolation(name: str) -> Any:
    return name if name in {"bicubic", "bilinear", "nearest", "lanczos"} else "bicubic"


def _is_embedding(config: dict[str, Any], classes: int) -> bool:
    """Whether the outputs are an image-text embedding: timm keeps CLIP's projection where other models have a head."""
    return (
        "clip" in str(config.get("architecture", ""))
        and classes == config.get("num_classes")
        and classes < 1000
    )


def _labels(model: nn.Module, config: dict[str, Any], classes: int | None) -> tuple[str, ...] | None:
    names = config.get("label_names")
    if names and len(names) == classes:
        return tuple(map(str, names))
    if classes is None or classes != config.get("num_classes"):
        return None  # another head: the published names are not its classes
    subset = infer_imagenet_subset(model)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(classes))


def _source(config: dict[str, Any], request: Request | None) -> str:
    if request is None:
        return "the caller's own model"
    if request.weights == "random":
        return "random initialisation"
    if request.file is not None:
        return f"file {Path(request.file).name}"
    where = config.get("hf_hub_id") or config.get("url") or "timm"
    return f"{where} ({config.get('tag') or 'default tag'})"
