"""open_clip: the vision tower of an image-text model. Its outputs are the image embedding, not classes."""

from pathlib import Path
from typing import Any

from vitreous.core.errors import MissingExtraError, UnknownNameError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request
from vitreous.vit.hub import explained_hub_errors
from vitreous.vit.weights import apply_weights, load_weights


def build(request: Request) -> Built:
    """Create the vision tower of `NAME` or `NAME/TAG`. Raises UnknownNameError, HubError or a WeightsError."""
    try:
        import open_clip  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("open_clip", "clip", "Opening open_clip models") from problem
    name, _, tag = request.name.partition("/")
    if name not in open_clip.list_models():
        near = near_matches(name, open_clip.list_models())
        raise UnknownNameError(
            f"open_clip has no model {name!r}. {near}".strip(), "See open_clip.list_models()."
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    tag = tag or (tags[0] if tags else "")
    with explained_hub_errors(f"open_clip:{request.name}"):
        options: dict[str, Any] = {"force_image_size": request.image_size} if request.image_size else {}
        model = open_clip.create_model(name, pretrained=tag if request.pretrained else None, **options)
    if request.file is not None:
        apply_weights(model, load_weights(request.file), Path(request.file).name)
    return Built(model.visual.eval(), _preprocessing(model.visual), None, _source(request, tag), "embedding")


def _preprocessing(tower: Any) -> Preprocessing:
    size = tower.image_size
    return Preprocessing(
        size=(size, size) if isinstance(size, int) else tuple(size),
        mean=tuple(tower.image_mean),
        std=tuple(tower.image_std),
    )


def _source(request: Request, tag: str) -> str:
    if request.weights == "random":
        return "random initialisation"
    return f"file {Path(request.file).name}" if request.file is not None else f"open_clip tag {tag}"
