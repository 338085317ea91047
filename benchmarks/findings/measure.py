"""What all parts share: models, pictures as the model sees them, and means with their intervals."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

import vitreous as vt
from vitreous._prepare import Prepared, prepare
from vitreous.bench.data import open_data
from vitreous.core.errors import VitreousError
from vitreous.core.frame import Fit
from vitreous.core.on_input import pixel_centres, sampled
from vitreous.worlds.sample import Sample

Found: TypeAlias = dict[str, Any]
DRAWS = 4999
SEED = 0
BATCH = 10


@dataclass(frozen=True)
class Places:
    """Where the data lie, and whether this is a trial with few pictures."""

    shared: Path
    held_out: Path
    quick: bool = False

    def deit(self) -> vt.Vit:
        """The DeiT-tiny for photographs."""
        folder = self.shared / "deit_tiny"
        labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
        weights = str(folder / "deit_tiny_patch16_224.safetensors")
        return vt.open_vit("timm:deit_tiny_patch16_224", weights, labels=labels)

    def model(self, name: str) -> vt.Vit:
        return self.deit() if name == "deit" else vt.open_vit("bundled:scenes")

    def photographs(self, name: str, count: int | None = None) -> list[Sample]:
        """A data set of photographs; so many of them at random, but the same ones every time."""
        if name == "coco":
            folder = self.shared / "coco128"
            samples = vt.worlds.coco(folder / "annotations.json", folder / "images", bad="skip")
        else:
            samples = open_data(f"{name}:{self.shared / {'imagenet': 'imagenet_val'}.get(name, name)}")
        return self.some(list(samples), count)

    def scenes(self, count: int | None = None) -> list[Sample]:
        """The scenes that were rendered for this, which no model was trained on."""
        return self.some(list(vt.worlds.scenes(self.held_out)), count)

    def packaged(self) -> list[Sample]:
        """The scenes of the package."""
        return self.some(list(vt.worlds.scenes()), None)

    def some(self, samples: list[Sample], count: int | None) -> list[Sample]:
        """Draw so many at random; of a trial far fewer. All stay in their order if no number is given."""
        if count is not None and count < len(samples):
            drawn = np.random.default_rng(SEED).permutation(len(samples))[:count]
            samples = [samples[int(place)] for place in sorted(drawn)]
        return samples[:: max(1, len(samples) // 12)][:12] if self.quick else samples


def prepared(vit: vt.Vit, sample: Sample, fit: Fit = "crop") -> Prepared:
    """Prepare one picture as the library does for its maps."""
    found = prepare(vit, [sample.image], 0, fit)
    if isinstance(found, VitreousError):
        raise found
    return found


def parts_of(values: Tensor, size: int = BATCH) -> list[Tensor]:
    """Cut along the first axis."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def inputs_of(vit: vt.Vit, samples: Sequence[Sample], fit: Fit = "crop") -> Tensor:
    """Give pictures as the model is shown them, "n 3 H W" in [0, 1]."""
    return torch.stack([prepared(vit, sample, fit).image for sample in samples])


def masks_of(vit: vt.Vit, sample: Sample, fit: Fit = "crop") -> tuple[Tensor, list[str]]:
    """Give the masks of a sample's objects on the pixels of the model's input, "k H W", and their names.

    Groups of objects under one mask are no object, and are left out.
    """
    frame = prepared(vit, sample, fit).frame
    down, across = pixel_centres(frame)
    found, names = [], []
    for region in sample.regions:
        if region.read is not None and not region.crowd:
            found.append(torch.from_numpy(sampled(region.read().inside, down, across)))
            names.append(region.name or "object")
    size = vit.preprocessing.size
    return torch.stack(found) if found else torch.zeros(0, *size, dtype=torch.bool), names


def salient_of(vit: vt.Vit, sample: Sample) -> Tensor:
    """Give the pixels of all objects of a photograph together, "H W"."""
    frame = prepared(vit, sample).frame
    mask = sample.mask()
    if mask is None:
        raise ValueError(f"{sample.id} has no mask.")
    return torch.from_numpy(sampled(mask.inside, *pixel_centres(frame)))


def mean(values: Tensor | np.ndarray | Sequence[float]) -> Found:
    """Give the mean over images with its 95 % bootstrap interval (percentiles); what is NaN is left out and counted."""
    return statistic(np.asarray(values, dtype=np.float64), lambda drawn: drawn.mean(-1))


def statistic(values: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> Found:
    """Give a number of the images, such as their mean or median, with its 95 % bootstrap interval."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"value": None, "low": None, "high": None, "n": 0}
    drawn = known[np.random.default_rng(SEED).integers(len(known), size=(DRAWS, len(known)))]
    low, high = np.quantile(of(drawn), [0.025, 0.975])
    return {"value": float(of(known)), "low": float(low), "high": float(high), "n": len(known)}


def each(values: Tensor) -> list[Found]:
    """Give the mean over images of every column of "n l"."""
    return [mean(column) for column in values.double().T.numpy()]


def with_depth(values: Tensor) -> Found:
    """Give the mean over images of Spearman's correlation of a number with the block: how steadily it rises."""
    from scipy.stats import spearmanr

    blocks = np.arange(values.shape[1])
    return mean([float(spearmanr(blocks, row).statistic) for row in values.double().numpy()])


def given(value: float | Tensor, low: float | Tensor, high: float | Tensor, count: int) -> Found:
    """Put together what a function of the library measured."""
    return {"value": float(value), "low": float(low), "high": float(high), "n": int(count)}


def save(path: Path, found: Found) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
