"""open_clip: the vision tower of an image-text model. Its outputs are the image embedding, not classes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitreous.core.errors import HubError, InputError, MissingExtraError, UnknownNameError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request
from vitreous.vit.families._config import explained_build, numbers, preprocessing_of, read_config, sketch
from vitreous.vit.hub import explained_hub_errors, fetch_file, fetch_snapshot, pinned
from vitreous.vit.weights import apply_weights, load_weights

_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_CONFIG = "open_clip_config.json"
_FIX = "Check open_clip_config.json, or update open_clip."


def build(request: Request) -> Built:
    """Create the vision tower of `NAME`, `NAME/TAG`, `hf-hub:REPOSITORY[@REVISION]` or a folder.

    Raises UnknownNameError, HubError or a WeightsError.
    """
    if request.name.startswith("hf-hub:"):
        return _build_hub(request, request.name.removeprefix("hf-hub:"))
    folder = Path(request.name.removeprefix("local-dir:")).expanduser()
    if folder.is_dir():
        return build_folder(request, folder, request.source(f"folder {folder.resolve().name}"))
    library = _library()
    name, tag, entry = _named(library, request.name)
    path, source = None, "random initialisation"
    if request.pretrained:
        path, source = _fetch(entry, tag, request.name)
    options = {"force_quick_gelu": bool(entry.get("quick_gelu"))} if entry.get("quick_gelu") else {}
    built = _build(library, name, request, path, options)
    return _told(built, request.source(source), _stated(built[0].visual, _entries(library, name, tag, request)))


def build_folder(request: Request, folder: Path, source: str) -> Built:
    """Build from a folder with open_clip_config.json. Raises WeightsError or UnsafeWeightsError."""
    config = read_config(folder, _CONFIG)
    if not isinstance(config.get("model_cfg"), dict):
        raise HubError(f"{_CONFIG} has no model_cfg, expected an object.", _FIX)
    path = next((folder / name for name in (*_WEIGHTS, "model.safetensors") if (folder / name).is_file()), None)
    if path is None and request.pretrained:
        raise HubError(f"{folder.name} has none of {', '.join(_WEIGHTS)}.", "Name weights with weights=FILE.")
    built = _build(_library(), f"local-dir:{folder}", request, path if request.pretrained else None, {})
    stated = config.get("preprocess_cfg")
    return _told(built, source, _stated(built[0].visual, [stated if isinstance(stated, dict) else {}]))


def _build_hub(request: Request, name: str) -> Built:
    """Fetch the configuration first, and the weights only once it turned out to be harmless."""
    wanted = f"open_clip:{request.name}"
    folder = fetch_snapshot(name, [_CONFIG], wanted)
    if not (folder / _CONFIG).is_file():
        raise HubError(f"{wanted} could not be fetched: it has no {_CONFIG}.", "Check that it is a model of open_clip.")
    read_config(folder, _CONFIG)
    if request.pretrained:
        fetch_file(f"{name.partition('@')[0]}@{folder.name}", _WEIGHTS, wanted)
    return build_folder(request, folder, request.source(pinned(name, folder)))


def _library() -> Any:
    try:
        import open_clip  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("open_clip", "clip", "Opening open_clip models") from problem
    return open_clip


def _named(library: Any, spec: str) -> tuple[str, str, dict[str, Any]]:
    """Split NAME/TAG, take the first tag where none is given, and look up what the library knows of it."""
    name, _, tag = spec.partition("/")
    if name not in library.list_models():
        near = near_matches(name, library.list_models())
        raise UnknownNameError(f"open_clip has no model {name!r}. {near}".strip(), "See open_clip.list_models().")
    tags = library.list_pretrained_tags_by_model(name)
    entry = dict(library.get_pretrained_cfg(name, tag or tags[0])) if tag or tags else {}
    if tag and not entry:
        near = near_matches(tag, tags)
        raise UnknownNameError(f"open_clip has no tag {tag!r} of {name}. {near}".strip(), f"It has {', '.join(tags)}.")
    return name, tag or (tags[0] if tags else ""), entry


def _entries(library: Any, name: str, tag: str, request: Request) -> list[dict[str, Any]]:
    """Give the entry of the tag whose weights are used; for weights of one's own, those of all tags, which may differ."""
    if request.pretrained or "/" in request.name:
        return [library.get_pretrained_cfg(name, tag)]
    return [library.get_pretrained_cfg(name, each) for each in library.list_pretrained_tags_by_model(name)] or [{}]


def _fetch(entry: dict[str, Any], tag: str, name: str) -> tuple[Path, str]:
    where = str(entry.get("hf_hub") or "")
    if not where:
        raise HubError(
            f"open_clip:{name} has no published weights at the hub.", "Name local weights with weights=FILE."
        )
    repository, _, file = where.rpartition("/")
    candidates = (f"{Path(file).stem}.safetensors", file) if file else _WEIGHTS
    path = fetch_file(repository, candidates, f"open_clip:{name}")
    return path, f"{pinned(repository, path)} (tag {tag})"


def _build(
    library: Any, name: str, request: Request, path: Path | None, options: dict[str, Any]
) -> tuple[Any, tuple[str, ...]]:
    if request.num_classes is not None:
        raise InputError(
            f"num_classes={request.num_classes} was given, and open_clip models have no classes.", "Leave num_classes out."
        )
    if request.image_size:
        options = {**options, "force_image_size": request.image_size}
    wanted = f"open_clip:{request.name}"

    def create() -> Any:
        # Text towers out of transformers need their settings from the hub even here.
        with explained_hub_errors(wanted) if name.count("roberta") else _no_noise():
            return library.create_model(name, pretrained=None, load_weights=False, pretrained_text=False, **options)

    with explained_build(wanted, _FIX), _no_noise():
        sketch(create, wanted)
        model = create()
    file = path if request.file is None else Path(request.file)
    if file is None:
        return model, ()
    notes = apply_weights(model, load_weights(file), file.name, lambda given, _: _convert(library, given, model))
    return model, notes


def _convert(library: Any, tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    raise NotImplementedError


def _told(built: tuple[Any, tuple[str, ...]], source: str, preprocessing: Preprocessing) -> Built:
    model, notes = built
    return Built(model.visual.eval(), preprocessing, None, source, "embedding", warnings=notes)


def _stated(tower: Any, entries: list[dict[str, Any]]) -> Preprocessing:
    raise NotImplementedError


@contextmanager
def _no_noise() -> Iterator[None]:
    """Keep the library from setting up logging for the whole process, which its bare logging.warning does."""
    silent = logging.NullHandler()
    logging.getLogger().addHandler(silent)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(silent)
