"""Maps of a real DeiT-tiny, against those that the authors of methods with attention and gradient computed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vitreous as vt
from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

MAPS = {
    # prefix in golden.npz: method, parameters; official layers count from 1
    "bt_h": ("beyond_intuition_heads", {}),
    "bt_h_s1": ("beyond_intuition_heads", {"first": 0}),
    "bt_t": ("beyond_intuition_tokens", {}),
    "bt_t_s7": ("beyond_intuition_tokens", {"first": 6}),
    "bt_t_s1": ("beyond_intuition_tokens", {"first": 0}),
    "tam": ("transition_attention", {}),
    "tam_s4": ("transition_attention", {"first": 4}),
    "legrad_all": ("legrad", {}),
    "legrad_last2": ("legrad", {"first": -2}),
}
COSINE = {"legrad_all_l2norm": ("legrad", {}), "legrad_last2_l2norm": ("legrad", {"first": -2})}
PREFIXES = {*MAPS, *COSINE}
TOLERANCE = 1e-5


class CosineScores(nn.Module):
    """A DeiT that puts out the cosine of its feature and each class's weights, as CLIP does."""

    def __init__(self, deit: nn.Module) -> None:
        super().__init__()
        self.deit = deit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.deit.forward_head(self.deit.forward_features(images), pre_logits=True)
        return F.normalize(features, dim=-1) @ F.normalize(self.deit.head.weight, dim=-1).T


def explain_all(vit, golden, wanted):
    with torch.no_grad(), vit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        return {
            prefix: METHODS[name].function(trace, **METHODS[name].complete(given)).numpy()
            for prefix, (name, given) in wanted.items()
        }


@pytest.fixture(scope="module")
def maps(deit, golden):
    cosine = vt.open_vit(CosineScores(deit.model).eval(), preprocessing=deit.preprocessing)
    return explain_all(deit, golden, MAPS) | explain_all(cosine, golden, COSINE)


@pytest.mark.parametrize("prefix", [*MAPS, *COSINE])
def test_official_map(maps, golden, prefix):
    for question, found, expected in zip(golden.questions, maps[prefix], golden.expected(prefix), strict=True):
        assert relative_difference(found, expected) < TOLERANCE, question


def test_the_maps_cannot_be_mistaken_for_each_other(maps, golden):
    for one, other in (("bt_h", "bt_h_s1"), ("bt_t", "bt_t_s7"), ("tam", "tam_s4"), ("legrad_all", "legrad_last2")):
        for found, expected in zip(maps[one], golden.expected(other), strict=True):
            assert np.abs(found - expected).max() > 1e-3 * np.abs(expected).max()
