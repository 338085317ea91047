"""What the tests of methods share: models in double precision with an oracle beside them, and the golden maps."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import vitreous as vt
from contracts.families import WIDE, random_images, scramble, timm_vit
from oracles import slow

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODELS = {
    "class token": {},
    "registers": {"reg_tokens": 4},
    "mean": {"class_token": False, "global_pool": "avg"},
    "pooling attention": {"class_token": False, "global_pool": "map"},
    "registers, pooling attention": {"class_token": False, "global_pool": "map", "reg_tokens": 4},
}


OUTLYING = [(0, 3), (1, 1), (1, 2)]
"""Patches whose tokens are made to stand out: a corner, and two neighbours in the middle."""


@pytest.fixture(scope="module", params=MODELS)
def opened(request):
    """A float64 model in three forms: opened, as an oracle, and the oracle's normalised images."""
    model = scramble(timm_vit(depth=3, **MODELS[request.param])).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=WIDE, mean=MEAN, std=STD))
    images = random_images(vit, 3)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return vit, slow.SlowViT.of(model), images, (images - mean) / std


@pytest.fixture(scope="module", params=MODELS)
def with_outliers(request):
    """A float64 model whose position embedding gives three patches a norm far above the others', and its oracle."""
    model = scramble(timm_vit(depth=3, **MODELS[request.param])).double()
    with torch.no_grad():
        for row, column in OUTLYING:
            model.pos_embed[0, model.num_prefix_tokens + row * 4 + column] *= 30
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=WIDE, mean=MEAN, std=STD))
    images = random_images(vit, 3)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return vit, slow.SlowViT.of(model), images, (images - mean) / std


@dataclass(frozen=True)
class Golden:
    """Arrays of the official implementations, and the questions that they answer."""

    arrays: dict[str, np.ndarray]
    questions: list[tuple[str, int]]
    """Pairs of a photo and a class index."""

    def images(self) -> torch.Tensor:
        stored = [self.arrays[f"image/{photo}"] for photo, _ in self.questions]
        return torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2) / 255

    def expected(self, prefix: str, class_free: bool = False) -> list[np.ndarray]:
        keys = [(photo, "any" if class_free else target) for photo, target in self.questions]
        return [self.arrays[f"{prefix}/{photo}/{target}"] for photo, target in keys]


@pytest.fixture(scope="module")
def golden(shared):
    info = json.loads((shared / "golden" / "golden.json").read_text())
    photos = {photo: about["targets"] for photo, about in info["photos"].items()}
    questions = [(photo, target["class"]) for photo, targets in photos.items() for target in targets]
    with np.load(shared / "golden" / "golden.npz") as stored:
        return Golden(dict(stored), questions)


@pytest.fixture(scope="module")
def deit(deit_weights):
    return vt.open_vit("timm:deit_tiny_patch16_224", weights=deit_weights)
