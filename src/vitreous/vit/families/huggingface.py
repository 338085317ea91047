"""Hugging Face transformers: a hub repository (optionally @revision) or a checkpoint folder on disk.

Only JSON and safetensors files are fetched, remote code is never run, and a configuration that tries to choose an
attention implementation by itself is refused. A folder in the format of timm or open_clip is handed to that family.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitreous.core.errors import HubError, InputError, MissingExtraError, UnsafeWeightsError, WeightsError
from vitreous.vit.body import Call, plain_call
from vitreous.vit.families import Built, Request, huggingface_preprocessing, open_clip, timm
from vitreous.vit.families._config import explained_build, read_config, read_json, sketch
from vitreous.vit.hub import fetch_snapshot, pinned
from vitreous.vit.weights import check_numbers, load_weights, mismatch, unwrapped

_SETTINGS = ["config.json", "preprocessor_config.json", "processor_config.json", "open_clip_config.json"]
_WEIGHTS = ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"]
_TOWERS = {"CLIPModel": "CLIPVisionModelWithProjection", "SiglipModel": "SiglipVisionModel"}
_FIX = "Check config.json, or update transformers."
_INSTEAD = "Connect to the network once so that it is cached, or open a checkpoint folder instead of a name."


def build(request: Request) -> Built:
    """Open `ORGANISATION/NAME[@revision]` or a folder with config.json. Raises HubError or a WeightsError."""
    folder, source = _folder(request)
    config_file = "config.json" if (folder / "config.json").is_file() else "open_clip_config.json"
    config = read_config(folder, config_file if (folder / config_file).is_file() else "config.json")
    if "architectures" not in config and "architecture" in config:
        return timm.build_folder(request, folder, source)
    if "model_cfg" in config:
        return open_clip.build_folder(request, folder, source)
    try:
        import transformers  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "hf", "Opening Hugging Face models") from problem
    kind = _model_class(transformers, config)
    settings = _settings(transformers, kind, folder, request)
    with explained_build(f"hf:{request.name}", _FIX):
        outline = sketch(lambda: kind(settings), f"hf:{request.name}")
    if request.weights == "random":
        model, notes = kind(settings), ()
    else:
        tensors, origin = _weights(request, folder, source)
        model, notes = _loaded(transformers, kind, settings, outline, tensors, origin, request)
    built = describe(model.eval(), folder, source)
    return _resized(replace(built, warnings=(*built.warnings, *notes)), request.image_size)


def describe(model: Any, folder: Path | None = None, source: str = "the caller's own model") -> Built:
    """Read off a transformers model what its configuration says."""
    config = getattr(model.config, "vision_config", None) or model.config
    # Without outputs in its head, the model returns the embedding.
    classifies = "ForImageClassification" in type(model).__name__ and model.config.num_labels > 0
    return Built(
        model,
        huggingface_preprocessing.read(_processor(folder), getattr(config, "image_size", None)),
        _labels(model.config) if classifies else None,
        source,
        "classes" if classifies else "embedding",
    )


def _labels(config: Any) -> tuple[str, ...] | None:
    """Give the class names; None for the placeholders LABEL_0, LABEL_1, … and for names with gaps."""
    names = dict(getattr(config, "id2label", None) or {})
    if set(names) != set(range(config.num_labels)):
        return None
    labels = tuple(str(names[index]) for index in range(len(names)))
    return None if all(label == f"LABEL_{index}" for index, label in enumerate(labels)) else labels


def _processor(folder: Path | None) -> dict[str, Any]:
    """Read the image processor's settings, which newer versions keep within those of a processor of text and image."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if folder is not None and (folder / name).is_file():
            content = read_json(folder / name)
            inner = content.get("image_processor")
            return inner if isinstance(inner, dict) else content
    return {}


def _folder(request: Request) -> tuple[Path, str]:
    """Find the folder with the settings, fetching it where it is a name; and say where the weights are from."""
    folder = Path(request.name).expanduser()
    if folder.is_dir():
        return folder, request.source(f"folder {folder.resolve().name}")
    found = fetch_snapshot(request.name, _SETTINGS, f"hf:{request.name}", _INSTEAD)
    if not any((found / name).is_file() for name in ("config.json", "open_clip_config.json")):
        raise HubError(
            f"hf:{request.name} could not be fetched: it has no config.json, or the copy in the cache is incomplete.",
            f"Check that it holds a model of transformers or timm. {_INSTEAD}",
        )
    return found, request.source(pinned(request.name, found))


def _weights(request: Request, folder: Path, source: str) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of a local file or of a folder, after the settings turned out to be harmless."""
    if request.file is not None:
        return load_weights(request.file), Path(request.file).name
    hub = not Path(request.name).expanduser().is_dir()
    if hub:
        # The commit of the settings, so that weights pushed in between cannot be mixed with them.
        name = f"{request.name.partition('@')[0]}@{folder.name}"
        folder = fetch_snapshot(name, _WEIGHTS, f"hf:{request.name}", _INSTEAD)
    tensors: dict[str, Tensor] = {}
    for name in _shards(folder):
        if not (folder / name).is_file() and hub:
            raise HubError(f"hf:{request.name} could not be fetched: {name} is missing in the cache.", _INSTEAD)
        tensors |= load_weights(folder / name)
    return tensors, source


def _shards(folder: Path) -> list[str]:
    """List the safetensors files that make up a checkpoint. Raises UnsafeWeightsError if there are none."""
    index = folder / "model.safetensors.index.json"
    if not (folder / "model.safetensors").is_file() and index.is_file():
        named = read_json(index).get("weight_map")
        files = sorted(set(named.values())) if isinstance(named, dict) and named else []
        if not files or any(Path(str(name)).name != name or not str(name).endswith(".safetensors") for name in files):
            raise WeightsError(f"{index.name} names no safetensors files beside it.", "Download it again.")
        return files
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if "model.safetensors" in found or len(found) == 1:
        return ["model.safetensors"] if "model.safetensors" in found else found
    raise UnsafeWeightsError(
        f"{folder.name} holds no model.safetensors; other formats could run code when loaded.",
        "Convert the checkpoint with model.save_pretrained where you trust it.",
    )


def _model_class(transformers: Any, config: dict[str, Any]) -> Any:
    """Choose the class that the checkpoint was saved from; of an image-text model, its vision tower."""
    named = config.get("architectures")
    saved = named[0] if isinstance(named, list) and named else None
    if not isinstance(saved, str):
        raise WeightsError(
            f"config.json has architectures={named!r}, expected a list with the name of a model class.", _FIX
        )
    found = getattr(transformers, _TOWERS.get(saved, saved), None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise WeightsError(
            f"config.json names the architecture {saved!r}, which is no model of transformers {transformers.__version__}.",
            _FIX,
        )
    if config.get("quantization_config"):
        raise WeightsError(
            "config.json says that the weights are quantised.",
            "Load the model with transformers, and pass the module to open_vit.",
        )
    return found


def _settings(transformers: Any, kind: Any, folder: Path, request: Request) -> Any:
    """Read the configuration through the library; of an image-text model, that of its vision tower."""
    with explained_build(f"hf:{request.name}", _FIX), _quiet(transformers):
        settings = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        wanted = kind.config_class
        if not isinstance(settings, wanted) and isinstance(getattr(settings, "vision_config", None), wanted):
            settings = settings.vision_config
        if not isinstance(settings, wanted):
            raise TypeError(f"model_type {settings.model_type!r} is not that of {kind.__name__}")
        if request.num_classes is not None:
            if "ForImageClassification" not in kind.__name__:
                raise InputError(
                    f"num_classes={request.num_classes} was given, and {kind.__name__} has no classes.",
                    "Leave num_classes out.",
                )
            settings.num_labels = request.num_classes
    return settings


def _loaded(
    transformers: Any,
    kind: Any,
    settings: Any,
    outline: nn.Module,
    tensors: dict[str, Tensor],
    origin: str,
    request: Request,
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the model with these tensors, names converted by the library, and refuse any that it left out.

    The library itself only logs tensors that are missing, and goes on with random numbers in their place.
    """
    given, notes = unwrapped(tensors, outline.state_dict(), origin)
    notes = (*notes, *_cast_notes(given, origin))
    with explained_build(f"hf:{request.name}", _FIX), _quiet(transformers):
        model, report = kind.from_pretrained(
            None,
            config=settings,
            state_dict=given,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    missing, unexpected = sorted(report["missing_keys"]), _beside(kind, sorted(report["unexpected_keys"]))
    shapes = sorted((name, tuple(old), tuple(new)) for name, old, new in report["mismatched_keys"])
    if request.num_classes is not None and request.pretrained and shapes and not missing:
        heads = [name for name, _, _ in shapes if "classifier" in name]
        if len(heads) == len(shapes):
            return model, (*notes, new_head(request.num_classes))
    if missing or unexpected or shapes:
        raise mismatch(missing, unexpected, shapes, origin)
    return model, notes


def new_head(classes: int) -> str:
    """Say that a head was not trained."""
    return f"num_classes={classes} is not what the published weights have: the head is new and random."


def _cast_notes(given: dict[str, Tensor], origin: str) -> tuple[str, ...]:
    check_numbers(given, None, origin)
    return check_numbers(given, {name: torch.empty(0) for name in given if given[name].is_floating_point()}, origin)


def _beside(kind: Any, unexpected: list[str]) -> list[str]:
    """Leave out what belongs to the text tower, which is not built."""
    if kind.__name__ not in _TOWERS.values():
        return unexpected
    return [name for name in unexpected if not name.startswith(("text_", "logit_"))]


def _resized(built: Built, size: tuple[int, int] | None) -> Built:
    """Let a model run on another image size, where the library interpolates the position embeddings."""
    if size is None or built.preprocessing is None or built.preprocessing.size == size:
        return built
    asks = "interpolate_pos_encoding" in inspect.signature(built.model.forward).parameters
    call: Call = _interpolating_call if asks else plain_call
    note = f"image_size={size} is not the published {built.preprocessing.size}: position embeddings are interpolated."
    return replace(
        built,
        preprocessing=replace(built.preprocessing, size=size),
        call=call,
        warnings=(*built.warnings, note),
    )


def _interpolating_call(model: nn.Module, inputs: Tensor) -> Any:
    return model(inputs, interpolate_pos_encoding=True)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Hold back the library's report and progress bar: what matters in them becomes an error or a warning of ours."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
