"""The family of Transformer Attribution against a slow float64 oracle, and what its rules promise."""

import copy

import pytest
import torch
from torch import nn

import vitreous as vt
from contracts.families import FAMILIES, WIDE, HandwrittenBlock, HandwrittenViT, random_images, scramble, timm_vit
from oracles import slow_relevance_zplus as slow
from oracles.compare import assert_same, case_name, trace_map
from vitreous.methods._method import METHODS
from vitreous.methods._zplus import propagate

CASES = [
    ("transformer_attribution", {}),
    ("transformer_attribution", {"start": 1, "precision": "single"}),
    ("transformer_attribution", {"start": -1}),
    ("lrp_rollout", {}),
    ("lrp_rollout", {"start": 1}),
    ("lrp_rollout", {"precision": "single"}),
    ("partial_lrp", {}),
    ("partial_lrp", {"relu": False, "precision": "single"}),
    ("full_lrp", {}),
    ("full_lrp", {"precision": "single"}),
]
TARGETS = [2, vt.Contrast(4, 1), None]
SCORES = [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits.max()]


@pytest.fixture(scope="module")
def answers(opened):
    _, oracle, _, pixels = opened
    return [slow.answer(oracle, image, score) for image, score in zip(pixels, SCORES, strict=True)]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, answers, case):
    """Of a float64 model, both precisions are the same pass."""
    vit, oracle, images, _ = opened
    name, parameters = case
    found = trace_map(vit, images, TARGETS, name, **parameters)
    given = {key: value for key, value in parameters.items() if key != "precision"}
    for image, known in enumerate(answers):
        assert_same(found[image], getattr(slow, name)(oracle, known, **given))


NAMES = sorted({name for name, _ in CASES})
