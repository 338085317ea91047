"""Configuration files of strangers: read as data, and refused where they could run code or exhaust the machine."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitreous.core.errors import (
    InputError,
    MemoryEstimateError,
    UnsafeWeightsError,
    VitreousError,
    WeightsError,
)
from vitreous.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from vitreous.vit.memory import GIB, free_bytes

MOST_BYTES = 32 * 1024 * 1024
"""No configuration of a model is larger; 21 843 class names take about one mebibyte."""
MOST_LAYERS = 1000
MOST_NUMBER = 1_000_000
_HARMLESS = (None, True, False, "eager", "sdpa")
_REPEATED = re.compile(r"layer|depth|block|stage")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object. Raises WeightsError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise WeightsError(f"{path.name} has {path.stat().st_size} bytes.", f"At most {MOST_BYTES} are read.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as problem:
        raise WeightsError(
            f"{path.name} is not valid JSON: {str(problem)[:200]}.", "Download or write it again."
        ) from problem
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path.name} holds a {type(content).__name__}, expected an object.",
            "Download or write it again.",
        )
    return content


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Read a model's configuration, refusing what could run code. Raises WeightsError or UnsafeWeightsError."""
    path = folder / name
    if not path.is_file():
        raise WeightsError(
            f"The folder {folder} has no {name}.",
            "Give a folder written by save_pretrained (transformers), save_for_hf (timm) or for open_clip.",
        )
    config = read_json(path)
    for key, value in _entries(config):
        _refuse_code(key, value, name)
        _refuse_size(key, value, name)
    return config


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Walk over all (key, value) of a configuration, at any depth; an element of a list carries the list's key."""
    waiting: list[tuple[str, Any]] = list(config.items())
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, element) for element in value)


def _refuse_code(key: str, value: Any, name: str) -> None:
    """Refuse keys by which a library would fetch and run code: CVE-2026-4372 and its relatives in transformers."""
    named_code = key in {"auto_map", "trust_remote_code"} and bool(value)
    # Besides the two names below, the value is taken for a repository of kernels, which is Python code.
    chosen_kernel = key.endswith("_implementation_internal") or (
        key.endswith("_implementation") and not (isinstance(value, str | bool | None) and value in _HARMLESS)
    )
    if named_code or chosen_kernel:
        raise UnsafeWeightsError(
            f"{name} sets {key!r}, which can make the library load code of its choice.",
            "Remove the key if you trust the file.",
        )


def _refuse_size(key: str, value: Any, name: str) -> None:
    """Refuse numbers that would keep a constructor busy for ever, before any constructor sees them."""
    if isinstance(value, bool) or not isinstance(value, int):
        return
    most = MOST_LAYERS if _REPEATED.search(key) else MOST_NUMBER
    if abs(value) > most:
        raise WeightsError(
            f"{name} sets {key}={value}, expected at most {most}.",
            "No Vision Transformer is that large: check the file.",
        )


@contextmanager
def explained_build(wanted: str, fix: str) -> Iterator[None]:
    """Turn whatever a constructor raises for settings it cannot use into one WeightsError."""
    try:
        yield
    except VitreousError:
        raise
    except Exception as problem:
        told = next(iter(str(problem).strip().splitlines()), "")[:200].rstrip(".")
        raise WeightsError(f"{wanted} cannot be built: {type(problem).__name__}: {told}.", fix) from problem


def sketch(build: Callable[[], nn.Module], wanted: str) -> nn.Module:
    """Build a model without memory for its numbers, and refuse it if the real one would not fit.

    Raises MemoryEstimateError, and whatever `build` raises.
    """
    with torch.device("meta"):
        model = build()
    needed = sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        raise MemoryEstimateError(
            f"The weights of {wanted} need {needed / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free.",
            "Choose a smaller model or image size, or a machine with more memory.",
        )
    return model


def numbers(value: Any, field: str, origin: str) -> tuple[float, float, float]:
    """Read one number for each colour from a configuration. Raises WeightsError."""
    given = list(value) if isinstance(value, list | tuple) else []
    if len(given) != 3 or not all(isinstance(x, int | float) and math.isfinite(x) for x in given):
        raise WeightsError(f"{origin} sets {field}={value!r}, expected three numbers.", "Check the file.")
    red, green, blue = (float(x) for x in given)
    return red, green, blue


def preprocessing_of(
    origin: str,
    size: tuple[int, int],
    *,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    interpolation: str,
    crop_share: float,
    guessed: tuple[str, ...] = (),
) -> Preprocessing:
    """Put together what a configuration states; ImageNet's mean and std where it is silent, marked as guessed.

    Raises WeightsError for values that no model can have.
    """
    silent = [name for name, value in (("mean", mean), ("std", std)) if value is None]
    known = {"bicubic", "bilinear", "nearest", "lanczos"}
    try:
        return Preprocessing(
            size=size,
            mean=mean or IMAGENET_MEAN,
            std=std or IMAGENET_STD,
            interpolation=interpolation if interpolation in known else "bicubic",  # type: ignore[arg-type]
            crop_share=min(1.0, crop_share),
            guessed=(*guessed, *silent),
        )
    except InputError as problem:
        raise WeightsError(f"{origin}: {problem.cause}", "Check the file, or pass preprocessing=….") from problem
