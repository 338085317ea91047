"""torchvision: its Vision Transformers, with published or local weights."""

from pathlib import Path
from typing import Any

from vitreous.core.errors import MissingExtraError, UnknownNameError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request
from vitreous.vit.hub import explained_hub_errors
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
        raise UnknownNameError(
            f"torchvision has no model {request.name!r}. {near}".strip(), "Try 'vit_b_16'."
        )
    published = models.get_model_weights(request.name).DEFAULT
    options: dict[str, Any] = {}
    if request.num_classes is not None:
        options["num_classes"] = request.num_classes
    if request.image_size is not None:
        options["image_size"] = request.image_size[0]
    with explained_hub_errors(f"torchvision:{request.name}"):
        model = models.get_model(request.name, weights=published if request.pretrained else None, **options)
    if request.file is not None:
        apply_weights(model, load_weights(request.file), Path(request.file).name)
    labels = tuple(published.meta["categories"])
    same_head = request.num_classes in {None, len(labels)}
    return Built(
        model.eval(),
        _preprocessing(published, request),
        labels if same_head else None,
        _source(request, str(published)),
    )


def _preprocessing(published: Any, request: Request) -> Preprocessing:
    transforms = published.transforms()
    crop = transforms.crop_size[0]
    return Preprocessing(
        size=request.image_size or (crop, crop),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        crop_share=crop / transforms.resize_size[0],
    )


def _source(request: Request, published: str) -> str:
    if request.weights == "random":
        return "random initialisation"
    return f"file {Path(request.file).name}" if request.file is not None else published
