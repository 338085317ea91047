"""The preprocessing of transformers: an image processor's settings, as size, normalisation and crop.

A processor computes (255 * image * rescale_factor - image_mean) / image_std, each step of which can be switched off;
Vitreous computes (image - mean) / std for images in [0, 1].
"""

from typing import Any

from vitreous.core.errors import WeightsError
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.families._config import numbers, preprocessing_of

_ORIGIN = "preprocessor_config.json"
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def read(processor: dict[str, Any], image_size: Any) -> Preprocessing:
    """Turn a processor's settings, and the image size of the model's configuration, into Preprocessing.

    Raises WeightsError for settings of the wrong type.
    """
    mean, std = _normalisation(processor)
    size, crop_share, guessed = _size(processor, image_size)
    resample = processor.get("resample", 3)
    interpolation = _RESAMPLING.get(resample, "bicubic") if isinstance(resample, int) else "bicubic"
    return preprocessing_of(
        _ORIGIN, size, mean=mean, std=std, interpolation=interpolation, crop_share=crop_share, guessed=guessed
    )


def _normalisation(
    processor: dict[str, Any],
) -> tuple[tuple[float, float, float] | None, tuple[float, float, float] | None]:
    factor = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    if not isinstance(factor, int | float) or not factor > 0:
        raise WeightsError(f"{_ORIGIN} sets rescale_factor={factor!r}, expected a positive number.", "Check the file.")
    unit = 255.0 * factor
    if processor.get("do_normalize", True):
        mean = numbers(processor["image_mean"], "image_mean", _ORIGIN) if "image_mean" in processor else None
        std = numbers(processor["image_std"], "image_std", _ORIGIN) if "image_std" in processor else None
    else:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if abs(unit - 1.0) < 1e-6:
        return mean, std
    return _divided(mean, unit), _divided(std, unit)


def _divided(values: tuple[float, float, float] | None, unit: float) -> tuple[float, float, float] | None:
    return None if values is None else (values[0] / unit, values[1] / unit, values[2] / unit)


def _size(processor: dict[str, Any], image_size: Any) -> tuple[tuple[int, int], float, tuple[str, ...]]:
    """Find the input size, the share of the shorter side that the crop keeps, and what had to be guessed."""
    resized = _edges(processor["size"]) if "size" in processor and processor.get("do_resize", True) else None
    if processor.get("do_center_crop") and "crop_size" in processor:
        crop = _edges(processor["crop_size"])
        return crop, min(1.0, min(crop) / min(resized)) if resized else 1.0, ()
    if resized is not None:
        return resized, 1.0, ()
    if image_size is not None:
        return _edges(image_size), 1.0, ()
    return (224, 224), 1.0, ("size",)


def _edges(size: Any) -> tuple[int, int]:
    """Read (height, width) from a number, a pair, {"height", "width"} or {"shortest_edge"}."""
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        size = (size.get("height", edge), size.get("width", edge))
    pair = size if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in pair):
        raise WeightsError(
            f"{_ORIGIN} sets a size of {size!r}, expected a number, a pair, height and width, or shortest_edge.",
            "Check the file, or pass preprocessing=….",
        )
    return int(pair[0]), int(pair[1])
