"""Relevance methods against slow oracles, and what they promise: conservation, completeness, refusals."""

import pytest
import torch

import vitreous as vt
from oracles import slow_relevance
from oracles.compare import assert_same, case_name, trace_map

CASES = [
    ("cp_lrp", {}),
    ("attnlrp", {}),
    ("attnlrp", {"gamma_linear": 0.25}),
    ("attnlrp", {"gamma_conv": 0.5}),
    ("attnlrp", {"gamma_linear": 1.0, "gamma_conv": 100.0}),
    ("attnlrp", {"gamma_linear": 0.0, "gamma_conv": 0.0}),
    ("reslrp", {}),
    ("reslrp", {"gamma": 0.3}),
    ("reslrp", {"gamma": 0.0}),
    *[
        ("libragrad", {"libra": libra, "aggregate": aggregate})
        for libra in (True, False)
        for aggregate in ("fullgrad_plus", "fullgrad", "input_x_gradient_plus", "input_x_gradient")
    ],
    ("libragrad", {}),
]
TARGETS = [2, vt.Contrast(4, 1), None]
SCORES = [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits.max()]


def test_the_oracle_is_the_same_model(opened):
    vit, oracle, images, pixels = opened
    slow = slow_relevance.RelevanceViT.like(oracle, constant_attention=False, gamma_linear=0.5, gamma_add=0.5)
    logits = torch.stack([slow.relevance_run(image)[1] for image in pixels]).detach()
    assert_same(vit.logits(images), logits)


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    vit, oracle, images, pixels = opened
    name, parameters = case
    found = trace_map(vit, images, TARGETS, name, **parameters)
    for image, score in enumerate(SCORES):
        expected = getattr(slow_relevance, name)(oracle, pixels[image], score, **parameters).detach()
        assert_same(found[image], expected)
