"""open_clip: the vision tower of an image-text model. Its outputs are the image embedding, not classes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitreous.core.errors import (
    HubError,
    InputError,
    MissingExtraError,
    UnknownNameError,
    WeightsError,
    near_matches,
)
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families import Built, Request
from vitreous.vit.families._config import explained_build, numbers, preprocessing_of, read_config, sketch
from vitreous.vit.hub import fetch_file, fetch_snapshot, pinned
from vitreous.vit.weights import apply_weights, load_weights

_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
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
    config = library.get_model_config(name)
    path, source = None, "random initialisation"
    notes: tuple[str, ...] = ()
    if request.pretrained:
        path, source = _fetch(entry, tag, request.name)
    entries = _entries(library, request, tag)
    # Trained with another GELU than the plain name builds; the library warns and computes something else.
    quick = {bool(each.get("quick_gelu")) and not config.get("quick_gelu") for each in entries}
    if quick == {True}:
        notes = (f"Tag {tag!r} was trained with QuickGELU, which was switched on.",)
    elif True in quick and request.weights != "random":
        notes = (f"Some tags of {name} were trained with QuickGELU, which is off: name yours as {name}/TAG.",)
    model, adapted = _build(library, name, config, request, path, force_quick_gelu=quick == {True})
    return _built(model, request.source(source), entries, (*notes, *adapted))


def build_folder(request: Request, folder: Path, source: str) -> Built:
    """Build from a folder with open_clip_config.json. Raises WeightsError or UnsafeWeightsError."""
    config = read_config(folder, _CONFIG)
    model_config, stated = config.get("model_cfg"), config.get("preprocess_cfg") or {}
    if not isinstance(model_config, dict) or not isinstance(stated, dict):
        raise WeightsError(f"{_CONFIG} lacks an object model_cfg.", _FIX)
    path = next((folder / name for name in (*_WEIGHTS, "model.safetensors") if (folder / name).is_file()), None)
    if path is None and request.pretrained:
        raise WeightsError(f"{folder.name} has none of {', '.join(_WEIGHTS)}.", "Name weights with weights=FILE.")
    model, notes = _build(
        _library(), f"local-dir:{folder}", model_config, request, path if request.pretrained else None
    )
    return _built(model, source, [stated], notes)


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


def _entries(library: Any, request: Request, tag: str) -> list[dict[str, Any]]:
    """Give the entry of the tag that was asked for; for weights of one's own, those of all tags, which may differ."""
    name, _, named = request.name.partition("/")
    tags = [tag] if request.pretrained or named else library.list_pretrained_tags_by_model(name)
    return [library.get_pretrained_cfg(name, each) for each in tags] or [{}]


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
    library: Any, name: str, config: dict[str, Any], request: Request, path: Path | None, **options: Any
) -> tuple[Any, tuple[str, ...]]:
    """Build the whole model, load what is to be loaded, and say what was adapted."""
    if request.num_classes is not None:
        raise InputError(
            f"num_classes={request.num_classes} was given, and open_clip models have no classes.",
            "Leave num_classes out.",
        )
    wanted, size = f"open_clip:{request.name}", request.image_size
    vision, text = config.get("vision_cfg") or {}, config.get("text_cfg") or {}
    if text.get("hf_model_name"):
        # The library reads the settings of a text tower out of transformers from the hub, even for random weights.
        read_config(fetch_snapshot(str(text["hf_model_name"]), ["config.json"], wanted))
    from_timm = bool(vision.get("timm_model_name"))  # such towers take another size after loading, not before
    if size and not from_timm:
        options["force_image_size"] = size
    file = path if request.file is None else Path(request.file)
    with explained_build(wanted, _FIX), _no_noise():

        def create(device: str) -> Any:
            return library.create_model(name, device=device, load_weights=False, pretrained_text=False, **options)

        sketch(lambda: create("meta"), wanted)
        model = create("cpu")
        notes = apply_weights(model, load_weights(file), file.name, _convert) if file is not None else ()
        if size and from_timm:
            model.visual.set_input_size(size)
            notes = (
                *notes,
                f"image_size={size} is not the published one: position embeddings are resampled by timm.",
            )
    return model, notes


def _convert(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Bring a checkpoint of an older version or another image size into today's names, as open_clip itself does."""
    from open_clip.convert import convert_state_dict  # noqa: PLC0415  (imported by `_library`)
    from open_clip.model import (  # noqa: PLC0415
        convert_to_custom_text_state_dict,
        resize_pos_embed,
        resize_text_pos_embed,
    )

    found: dict[str, Tensor] = convert_state_dict(model, tensors)
    if "positional_embedding" in found and not hasattr(model, "positional_embedding"):
        found = convert_to_custom_text_state_dict(found)
    for name in ("logit_scale", "logit_bias"):
        wanted = getattr(model, name, None)
        if name in found and wanted is not None:
            found[name] = found[name].reshape(wanted.shape)
    found.pop("text.transformer.embeddings.position_ids", None)
    resize_pos_embed(found, model)
    resize_text_pos_embed(found, model)
    return found


def _built(model: Any, source: str, entries: list[dict[str, Any]], notes: tuple[str, ...]) -> Built:
    return Built(model.visual.eval(), _preprocessing(model.visual, entries), None, source, "embedding", warnings=notes)


def _preprocessing(tower: Any, entries: list[dict[str, Any]]) -> Preprocessing:
    """Read the normalisation that a tag states; the library's own attribute is right only for weights it loaded itself.

    Where weights of one's own could belong to several tags that differ, the first is taken and marked as guessed.
    """
    size = tower.image_size
    found = [_entry(entry, tower) for entry in entries]
    guessed = ("mean", "std") if any(each[:2] != found[0][:2] for each in found) else ()
    mean, std, interpolation = found[0]
    high, wide = (size, size) if isinstance(size, int) else size
    return preprocessing_of(
        "open_clip",
        (high, wide),
        mean=mean,
        std=std,
        interpolation=interpolation,
        crop_share=1.0,
        guessed=guessed,
    )


def _entry(entry: dict[str, Any], tower: Any) -> tuple[tuple[float, float, float], tuple[float, float, float], str]:
    mean = numbers(entry.get("mean") or tower.image_mean, "mean", "open_clip")
    std = numbers(entry.get("std") or tower.image_std, "std", "open_clip")
    return mean, std, str(entry.get("interpolation") or "bicubic")


@contextmanager
def _no_noise() -> Iterator[None]:
    """Keep the library from setting up logging for the whole process, which its bare logging.warning does."""
    silent = logging.NullHandler()
    logging.getLogger().addHandler(silent)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(silent)
