"""torchvision: its Vision Transformers, with published or local weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitreous.core.errors import (
    InputError,
    MissingExtraError,
    UnknownNameError,
    UnsupportedModelError,
    near_matches,
)
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request, new_head
from vitreous.vit.families._config import sketch
from vitreous.vit.hub import fetch_url
from vitreous.vit.weights import apply_weights, load_weights


def build(request: Request) -> Built:
    """Create a torchvision model. Raises UnknownNameError, HubError or a WeightsError."""
    try:
        from torchvision import models  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("torchvision", "all", "Opening torchvision models") from problem
    names = models.list_models(module=models)
    if request.name not in names:
        near = near_matches(request.name, names)
        raise UnknownNameError(f"torchvision has no model {request.name!r}. {near}".strip(), "Try 'vit_b_16'.")
    published = models.get_model_weights(request.name).DEFAULT
    options = _options(request)
    try:
        sketch(lambda: models.get_model(request.name, weights=None, **options), f"torchvision:{request.name}")
    except (TypeError, ValueError, RuntimeError) as problem:
        raise UnsupportedModelError(
            f"torchvision:{request.name} cannot be built with {options}: {problem}.",
            "Leave out image_size or num_classes.",
        ) from problem
    model = models.get_model(request.name, weights=None, **options)
    notes = _load(model, request, published)
    labels = tuple(published.meta["categories"])
    same_head = request.num_classes in {None, len(labels)}
    return Built(
        model.eval(),
        _preprocessing(published, request),
        labels if same_head else None,
        request.source(f"torchvision {published} ({Path(published.url).name})"),
        "embedding" if request.num_classes == 0 else "classes",
        warnings=notes,
    )


def _options(request: Request) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.num_classes is not None:
        options["num_classes"] = request.num_classes
    if request.image_size is not None:
        high, wide = request.image_size
        if high != wide:
            raise InputError(
                f"image_size={request.image_size} is not square, and torchvision builds square models only.",
                "Give one number, or open the same architecture from timm.",
            )
        options["image_size"] = high
    return options


def _load(model: nn.Module, request: Request, published: Any) -> tuple[str, ...]:
    if request.weights == "random":
        return ()
    if request.file is not None:
        return apply_weights(model, load_weights(request.file), Path(request.file).name, _resample)
    # Not through the library, which unpickles without restriction what lies in the cache, and prints to stdout.
    path = fetch_url(published.url, f"torchvision:{request.name}")
    new = request.num_classes not in {None, len(published.meta["categories"])}
    notes = apply_weights(
        model,
        load_weights(path),
        path.name,
        _resample,
        fresh=("heads.head.", "head.", "classifier.") if new else (),
    )
    return (*notes, *new_head(request.num_classes)) if new else notes


def _resample(tensors: dict[str, Tensor], model: nn.Module) -> Any:
    """Resample position embeddings to the model's image size, by the library's own function."""
    from torchvision.models.vision_transformer import interpolate_embeddings  # noqa: PLC0415  (imported by `build`)

    return interpolate_embeddings(model.image_size, model.patch_size, dict(tensors))


def _preprocessing(published: Any, request: Request) -> Preprocessing:
    transforms = published.transforms()
    crop = transforms.crop_size[0]
    stated = Preprocessing(
        size=(crop, crop),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        crop_share=crop / transforms.resize_size[0],
    )
    return stated if request.image_size is None else replace(stated, size=request.image_size)
