"""Hugging Face transformers: a hub repository (optionally @revision) or a checkpoint folder on disk.

Only JSON and safetensors files are fetched, remote code is never run, and a configuration that tries to choose an
attention implementation by itself is refused. A folder in the format of timm or open_clip is handed to that family.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitreous.core.errors import HubError, InputError, MissingExtraError, UnsafeWeightsError, WeightsError
from vitreous.vit.body import Call, plain_call
from vitreous.vit.families import Built, Request, huggingface_preprocessing, new_head, open_clip, timm
from vitreous.vit.families._config import explained_build, read_config, read_json, sketch
from vitreous.vit.hub import fetch_snapshot, pinned
from vitreous.vit.weights import check_numbers, load_weights, mismatch, unwrapped

_SETTINGS = ["config.json", "preprocessor_config.json", "processor_config.json", "open_clip_config.json"]
_WEIGHTS = ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"]
_TOWERS = {"CLIPModel": "CLIPVisionModelWithProjection", "SiglipModel": "SiglipVisionModel"}
_FIX = "Check config.json, or update transformers."
_INSTEAD = "Connect to the network once so that it is cached, or open a checkpoint folder instead of a name."


@dataclass(frozen=True)
class _Plan:
    """What is to be built: the library, the class of the model, its settings, and the model without numbers."""

    request: Request
    library: Any
    kind: Any
    settings: Any
    outline: nn.Module


def build(request: Request) -> Built:
    """Open `ORGANISATION/NAME[@revision]` or a folder with config.json. Raises HubError or a WeightsError."""
    folder, source = _folder(request)
    only_open_clip = not (folder / "config.json").is_file() and (folder / "open_clip_config.json").is_file()
    config = {} if only_open_clip else read_config(folder)
    if only_open_clip or ("architectures" not in config and "architecture" in config):
        build_other = open_clip.build_folder if only_open_clip else timm.build_folder
        if _is_folder(request):
            return build_other(request, folder, source)
        pinned_request = replace(request, name=f"hf-hub:{pinned(request.name, folder)}")
        return open_clip.build(pinned_request) if only_open_clip else timm.build(pinned_request)
    try:
        import transformers  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "hf", "Opening Hugging Face models") from problem
    plan = _plan(request, transformers, folder, config)
    model, notes = _filled(plan, folder, source)
    built = describe(model.eval(), folder, source)
    return _resized(replace(built, warnings=(*built.warnings, *notes)), request.image_size)


def _plan(request: Request, library: Any, folder: Path, config: dict[str, Any]) -> _Plan:
    kind = _model_class(library, config)
    settings = _settings(library, kind, folder, request)
    with explained_build(f"hf:{request.name}", _FIX):
        outline = sketch(lambda: kind(settings), f"hf:{request.name}")
    return _Plan(request, library, kind, settings, outline)


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


def _is_folder(request: Request) -> bool:
    return Path(request.name).expanduser().is_dir()


def _folder(request: Request) -> tuple[Path, str]:
    """Find the folder with the settings, fetching it where it is a name; and say where the weights are from."""
    if _is_folder(request):
        folder = Path(request.name).expanduser()
        return folder, request.source(f"folder {folder.resolve().name}")
    found = fetch_snapshot(request.name, _SETTINGS, f"hf:{request.name}", _INSTEAD)
    if not any((found / name).is_file() for name in ("config.json", "open_clip_config.json")):
        raise HubError(
            f"hf:{request.name} could not be fetched: it has no config.json, or the cached copy is incomplete.",
            f"Check that it holds a model of transformers or timm. {_INSTEAD}",
        )
    return found, request.source(pinned(request.name, found))


def _weights(request: Request, folder: Path, source: str) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of a local file or of a folder, after the settings turned out to be harmless."""
    if request.file is not None:
        return load_weights(request.file), Path(request.file).name
    hub = not _is_folder(request)
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
            f"config.json names the architecture {saved!r}: no model of transformers {transformers.__version__}.",
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


def _filled(plan: _Plan, folder: Path, source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the model with its tensors, names converted by the library, and refuse any that it left out.

    The library itself only logs tensors that are missing, and goes on with random numbers in their place.
    """
    request, wanted = plan.request, f"hf:{plan.request.name}"
    if request.weights == "random":
        return plan.kind(plan.settings), ()
    tensors, origin = _weights(request, folder, source)
    given, notes = _checked(plan, tensors, origin)
    with explained_build(wanted, _FIX), _quiet(plan.library):
        model, report = plan.kind.from_pretrained(
            None,
            config=plan.settings,
            state_dict=given,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    shapes = sorted((name, tuple(old), tuple(new)) for name, old, new in report["mismatched_keys"])
    if request.pretrained and request.num_classes is not None:
        heads = [*unexpected, *(name for name, _, _ in shapes)]
        if heads and not missing and all("classifier" in name for name in heads):
            return model, (*notes, *new_head(request.num_classes))
    if missing or unexpected or shapes:
        raise mismatch(missing, unexpected, shapes, origin)
    return model, notes


def _checked(plan: _Plan, tensors: dict[str, Tensor], origin: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take off wrappers and what no model of today has, and refuse numbers of the wrong kind."""
    others = ("text_", "logit_") if plan.kind.__name__ in _TOWERS.values() else ()  # the text tower is not built
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.endswith(".position_ids") and not (others and name.startswith(others))
    }
    outline = plan.outline.state_dict()
    given, notes = unwrapped(kept, outline, origin)
    # Names of older versions are not those of the outline; what they name are floats.
    cast = check_numbers(given, {name: outline.get(name, torch.empty(0)) for name in given}, origin)
    return given, (*notes, *cast)


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
