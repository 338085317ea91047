"""Heatmaps built by hand, without any model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitreous.core.frame import frame_photo
from vitreous.core.heatmap import Heatmap
from vitreous.core.images import Photo, read_photo
from vitreous.core.provenance import Provenance


def noise_photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A colourful photograph of `size` (height, width)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def build_heatmap(
    relevance: object,
    *,
    photo: Image.Image | Photo | None = None,
    size: tuple[int, int] | None = None,
    fit: str = "squash",
    patch: tuple[int, int] = (4, 4),
    grid: tuple[int, int] | None = None,
    unit: str = "attention mass",
    signed: bool = False,
    method: str = "rollout",
    target: str = "tabby cat",
    image: str = "cat.jpg",
    attached: bool = True,
) -> Heatmap:
    """A patch map on its own grid, or with `grid` given a pixel map; `size` is that of the photograph."""
    values = np.asarray(relevance, np.float32)
    cells = grid or values.shape
    input_size = (cells[0] * patch[0], cells[1] * patch[1])
    found = read_photo(photo if photo is not None else noise_photo(size or input_size))
    record = Provenance(
        method=method,
        parameters={"residual": 0.5},
        paper=None,
        target=target,
        score=8.25,
        predictions=(),
        model="planted",
        weights_digest="0" * 64,
        weights_source="none",
        image=image,
        image_digest=found.digest,
        preprocessing={},
        seed=0,
        versions={},
        device="cpu",
        dtype="float32",
        seconds=0.1,
        batch=1,
        forwards=1,
        backwards=0,
    )
    frame = frame_photo(found.size, input_size, patch, cells, fit=fit)  # type: ignore[arg-type]
    return Heatmap(values, unit, signed, frame, record, photo=(lambda: found) if attached else None)


@pytest.fixture
def make() -> Callable[..., Heatmap]:
    """`build_heatmap`, for tests."""
    return build_heatmap


@pytest.fixture
def photo_of() -> Callable[..., Image.Image]:
    """`noise_photo`, for tests."""
    return noise_photo


@pytest.fixture
def golden(shared: Path) -> Callable[[str, bool, str], Heatmap]:
    """Maps that the official implementations computed for real photographs."""
    arrays = np.load(shared / "golden" / "golden.npz")

    def load(key: str, signed: bool, unit: str) -> Heatmap:
        method, name, target = key.split("/")
        return build_heatmap(
            arrays[key].astype(np.float32),
            photo=Image.fromarray(arrays[f"image/{name}"]),
            patch=(16, 16),
            grid=(14, 14),
            unit=unit,
            signed=signed,
            method=method,
            target=target,
        )

    return load
