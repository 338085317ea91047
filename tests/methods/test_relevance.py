"""Relevance methods against slow oracles, and what they promise: conservation, completeness, refusals."""

import re

import pytest
import torch

import vitreous as vt
from contracts.families import FAMILIES, WIDE, random_images, scramble, timm_vit
from oracles import slow_relevance
from oracles.compare import assert_same, case_name, trace_map
from vitreous.methods._method import METHODS
from vitreous.vit.rules.names import spelled
from vitreous.vit.rules.sets import attention_aware

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


# --- what they promise


def without_biases(vit):
    """Make all biases, position embeddings and extra tokens zero: nothing is left that could keep relevance."""
    extra = ("bias", "pos_embed", "pos_embedding", "position_embeddings", "cls_token", "class_token")
    with torch.no_grad():
        for name, parameter in vit.model.named_parameters():
            if name.endswith(extra):
                parameter.zero_()
    return vit


CONSERVED = ["timm", "torchvision", "transformers eager", "transformers sdpa", "eva rope registers", "handwritten"]


@pytest.mark.parametrize("family", CONSERVED)
def test_without_biases_relevance_adds_up_to_the_score(family):
    vit = without_biases(FAMILIES[family].open())
    if family == "eva rope registers":
        with torch.no_grad():
            vit.model.reg_token.zero_()
    elif family == "handwritten":
        with torch.no_grad():
            vit.model.positions.zero_()
    with vit.trace(random_images(vit, 3), TARGETS) as trace:
        relevance = METHODS["cp_lrp"].function(trace).sum((1, 2))
        complete = METHODS["libragrad"].function(trace, aggregate="fullgrad")
        assert (relevance - trace.score).abs().max() < 1e-4 * trace.score.abs().max()
        assert complete.isfinite().all()


@pytest.mark.parametrize("method", ["attnlrp", "reslrp"])
@pytest.mark.parametrize("family", ["timm", "torchvision", "transformers eager", "transformers sdpa"])
def test_without_biases_nothing_but_the_softmax_keeps_relevance(family, method):
    """With uniform attention nothing reaches the scores: half of what comes to each product with values is kept."""
    vit = without_biases(FAMILIES[family].open())
    kept = []

    def watched(scores, *args, **kwargs):
        dim = kwargs.get("dim", args[0] if args else -1)
        probabilities = torch.softmax(scores, dim)
        kept.append((scores, probabilities))
        return probabilities

    gammas = {"attnlrp": {"gamma_conv": 0.25}, "reslrp": {"gamma_add": 1.0}}[method]
    rules = spelled({**attention_aware(**gammas), torch.softmax: watched})
    with vit.trace(random_images(vit, 3), TARGETS) as trace, trace.again(rules=rules) as edited:
        nodes = [node for pair in kept for node in pair]
        pixels, *gradients = edited.grad([edited.inputs, *nodes])
        shares = [(node * gradient).flatten(1).sum(1) for node, gradient in zip(nodes, gradients, strict=True)]
        absorbed = sum(after - before for before, after in zip(shares[::2], shares[1::2], strict=True))
        relevance = (edited.inputs * pixels).flatten(1).sum(1)
        found = METHODS[method].function(trace).sum((1, 2))
        assert len(kept) == len(vit.blocks)
        assert (found - relevance).abs().max() < 1e-4 * trace.score.abs().max()
        assert (relevance + absorbed - trace.score).abs().max() < 1e-4 * trace.score.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_fullgrad_is_complete_on_every_family(family):
    vit = FAMILIES[family].open()
    with vit.trace(random_images(vit, 3), TARGETS) as trace:
        METHODS["libragrad"].function(trace)
        METHODS["libragrad"].function(trace, libra=False)
        for (note,) in trace.notes:
            total, score = (float(number) for number in re.findall(r"-?\d[\d.e-]*", note))
            assert abs(total - score) < 1e-3 * abs(score)


def test_reslrp_without_gamma_is_attnlrp():
    vit = FAMILIES["eva rope registers"].open()
    images = random_images(vit, 3)
    plain = trace_map(vit, images, TARGETS, "attnlrp", gamma_conv=0.0)
    assert torch.equal(trace_map(vit, images, TARGETS, "reslrp", gamma=0.0), plain)
    assert (trace_map(vit, images, TARGETS, "reslrp") - plain).abs().max() > 0.01 * plain.abs().max()


def test_methods_with_equal_rules_share_a_pass_and_all_passes_are_counted():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 3), TARGETS) as trace:
        for aggregate in ("fullgrad", "fullgrad_plus"):
            METHODS["libragrad"].function(trace, aggregate=aggregate)
        METHODS["cp_lrp"].function(trace)
        assert (trace.forwards, trace.backwards) == (3, 2)
        METHODS["attnlrp"].function(trace, gamma_conv=0.0)
        METHODS["reslrp"].function(trace, gamma=0.0)
        assert (trace.forwards, trace.backwards) == (4, 3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("attnlrp", {"gamma_linear": -0.1}), ("attnlrp", {"gamma_conv": -1.0}), ("reslrp", {"gamma": -0.5})],
)
def test_a_negative_gamma_is_refused(name, parameters):
    vit = FAMILIES["timm"].open()
    ((parameter, given),) = parameters.items()
    with pytest.raises(vt.VitreousError, match=f"{parameter}={given}"):
        vt.explain(vit, random_images(vit, 1), name, **parameters)


@pytest.mark.parametrize("name", ["cp_lrp", "attnlrp", "reslrp"])
def test_a_model_that_cuts_its_pixels_off_is_refused(name):
    model = scramble(timm_vit())
    embed = model.patch_embed.forward
    model.patch_embed.forward = lambda images: embed(images).detach()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=WIDE, mean=(0.5,) * 3, std=(0.5,) * 3))
    with pytest.raises(vt.VitreousError, match="No gradient reaches the pixels"):
        vt.explain(vit, random_images(vit, 1), name)
