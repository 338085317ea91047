"""Hugging Face transformers: a hub repository (optionally @revision) or a checkpoint folder on disk.

Only JSON and safetensors files are fetched, remote code is never run, and a configuration that tries to choose an
attention implementation by itself is refused.
"""

import json
from pathlib import Path
from typing import Any

from vitreous.core.errors import MissingExtraError, UnsafeWeightsError, WeightsError
from vitreous.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from vitreous.vit.families import Built, Request
from vitreous.vit.hub import explained_hub_errors
from vitreous.vit.weights import apply_weights, load_weights

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_SAFE_FILES = ["*.json", "*.safetensors"]


def build(request: Request) -> Built:
    """Open `ORGANISATION/NAME[@revision]` or a folder with config.json. Raises HubError or a WeightsError."""
    try:
        import transformers  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "hf", "Opening Hugging Face models") from problem
    folder, source = _folder(request)
    config = read_config(folder)
    settings = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if request.num_classes is not None:
        settings.num_labels = request.num_classes
    kind = _model_class(transformers, config)
    if request.pretrained:
        _require_safetensors(folder)
        with explained_hub_errors(f"hf:{request.name}"):
            model = kind.from_pretrained(folder, config=settings, use_safetensors=True)
    else:
        model = kind(settings)
    if request.file is not None:
        apply_weights(model, load_weights(request.file), Path(request.file).name)
    return describe(model.eval(), folder, source)


def describe(model: Any, folder: Path | None = None, source: str = "the caller's own model") -> Built:
    """Read off a transformers model what its configuration says."""
    config = getattr(model.config, "vision_config", None) or model.config
    classifies = "ForImageClassification" in type(model).__name__
    names = dict(getattr(model.config, "id2label", None) or {})
    labels = tuple(str(names[index]) for index in range(len(names))) if classifies and names else None
    default_names = labels is not None and all(label.startswith("LABEL_") for label in labels)
    processor = folder / "preprocessor_config.json" if folder is not None else None
    preprocessing = _preprocessing(_json(processor) if processor and processor.is_file() else {}, config)
    return Built(
        model,
        preprocessing,
        None if default_names else labels,
        source,
        "classes" if classifies else "embedding",
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json, refusing what could run code. Raises WeightsError or UnsafeWeightsError."""
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"The folder {folder} has no config.json.", "Give a folder written by save_pretrained."
        )
    config = _json(path)
    chosen = [key for key in config if key.startswith("_attn") or key == "auto_map"]
    if chosen:
        raise UnsafeWeightsError(
            f"config.json sets {', '.join(chosen)}, which can make the library load code of its choice.",
            "Remove the key if you trust the file.",
        )
    return config


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as problem:
        raise WeightsError(
            f"{path.name} is not valid JSON: {problem}.", "Download or write it again."
        ) from problem
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path.name} holds a {type(content).__name__}, expected an object.", "Write it again."
        )
    return content


def _folder(request: Request) -> tuple[Path, str]:
    folder = Path(request.name)
    if folder.is_dir():
        return folder, f"folder {folder.name}" if request.weights is None else _local_source(request)
    repository, _, revision = request.name.partition("@")
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (comes with transformers)

    with explained_hub_errors(f"hf:{request.name}"):
        found = Path(snapshot_download(repository, revision=revision or None, allow_patterns=_SAFE_FILES))
    # The folder of a snapshot is named by its commit: the revision that provenance pins.
    return found, f"{repository}@{found.name}" if request.weights is None else _local_source(request)


def _local_source(request: Request) -> str:
    return "random initialisation" if request.file is None else f"file {Path(request.file).name}"


def _require_safetensors(folder: Path) -> None:
    if not list(folder.glob("*.safetensors")):
        raise UnsafeWeightsError(
            f"{folder.name} holds no safetensors file; other formats could run code when loaded.",
            "Convert the checkpoint with model.save_pretrained where you trust it.",
        )


def _model_class(transformers: Any, config: dict[str, Any]) -> Any:
    """Choose the class that the checkpoint was saved from; of an image-text model, its vision tower."""
    saved = (config.get("architectures") or [""])[0]
    tower = {"CLIPModel": "CLIPVisionModelWithProjection", "SiglipModel": "SiglipVisionModel"}.get(
        saved, saved
    )
    found = getattr(transformers, tower, None)
    if found is None or not tower:
        raise WeightsError(
            f"config.json names the architecture {saved!r}, which this version of transformers does not have.",
            "Update transformers, or check config.json.",
        )
    return found


def _preprocessing(processor: dict[str, Any], config: Any) -> Preprocessing:
    size = processor.get("crop_size") or processor.get("size") or getattr(config, "image_size", 224)
    guessed = () if "image_mean" in processor else ("mean", "std")
    return Preprocessing(
        size=_size(size),
        mean=tuple(processor.get("image_mean", IMAGENET_MEAN)),
        std=tuple(processor.get("image_std", IMAGENET_STD)),
        interpolation=_RESAMPLING.get(processor.get("resample", 3), "bicubic"),  # type: ignore[arg-type]
        crop_share=_crop_share(processor),
        guessed=guessed,
    )


def _size(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        return (int(size.get("height", edge)), int(size.get("width", edge)))
    high, wide = size if isinstance(size, list | tuple) else (size, size)
    return int(high), int(wide)


def _crop_share(processor: dict[str, Any]) -> float:
    edge = (
        (processor.get("size") or {}).get("shortest_edge")
        if isinstance(processor.get("size"), dict)
        else None
    )
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    return min(1.0, _size(crop)[0] / edge) if edge and crop else 1.0
