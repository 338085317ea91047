"""The gradient family against slow float64 oracles, and what its definitions promise."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

import vitreous as vt
from contracts.families import CLASSES, HandwrittenViT, random_images, scramble, timm_vit
from oracles import slow_gradient_family as slow
from oracles.compare import assert_same, case_name, trace_map
from oracles.planted import BRIGHTEST, DARKEST, GAIN, LIGHT, open_planted, planted_images
from vitreous.core.errors import InputError
from vitreous.methods import xgradcam
from vitreous.methods._method import METHODS
from vitreous.methods.integrated_gradients import gauss_legendre
from vitreous.vit.entering import read_out
from vitreous.vit.passes import Capture

BLOCKS = [
    (name, parameters)
    for name in ("gradcam", "hirescam", "layercam", "xgradcam", "gradcam_plus_plus")
    for parameters in ({}, {"relu": name == "hirescam"}, {"block": 1, "relu": False}, {"plus": True, "relu": True})
]
CASES = [
    *BLOCKS,
    ("layercam", {"positive": "product"}),
    ("layercam", {"positive": "product", "block": 0, "relu": False}),
    ("hirescam", {"plus": True}),
    ("xgradcam", {"absolute": True}),
    ("xgradcam", {"absolute": True, "block": 0, "relu": False}),
    ("eigencam", {}),
    ("eigencam", {"block": 0}),
    ("eigencam", {"centre": False}),
    ("eigencam", {"plus": True}),
    ("input_x_gradient", {}),
    ("smoothgrad", {"copies": 3}),
    ("smoothgrad", {"copies": 2, "sigma": 0.4, "signed": True}),
    ("integrated_gradients", {"nodes": 4}),
    ("integrated_gradients", {"nodes": 3, "baseline": "black"}),
    ("cam", {}),
    ("cam", {"plus": True}),
]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TARGETS = [2, vt.Contrast(4, 1), None]
SCORES = [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits.max()]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    vit, oracle, images, pixels = opened
    name, parameters = case
    if METHODS[name].why_not(vit):
        assert name == "cam"
        assert vit.readout.kind != "mean"
        return
    found = trace_map(vit, images, TARGETS, name, **parameters)
    with vit.trace(images, TARGETS) as trace:
        generators = trace.generators("smoothgrad")
    predicted = int(vit.logits(images[2:]).argmax())  # resolved once, not again on noisy copies and along paths
    scores = [*SCORES[:2], lambda logits: logits[predicted]]
    mean, std = (torch.tensor(constants).view(3, 1, 1) for constants in (MEAN, STD))
    black = ((torch.zeros_like(images[0]) - mean) / std).double()
    for image, score in enumerate(scores):
        further = {"smoothgrad": {"generator": generators[image]}, "integrated_gradients": {"black": black}}
        given = parameters | further.get(name, {})
        expected = getattr(slow, name)(oracle, pixels[image], score, **given).detach()
        assert_same(found[image], expected)


# --- CAM


def test_cam_sums_to_the_score_minus_the_bias_of_the_head():
    model = scramble(timm_vit(depth=2, class_token=False, global_pool="avg")).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=(24, 32)))
    images, oracle = random_images(vit, 3), slow.SlowViT.of(model)
    with vit.trace(images, TARGETS) as trace:
        sums, scores = METHODS["cam"].function(trace).sum((1, 2)), trace.score.detach()
    biases = [slow.cam_bias(oracle, pixels, score) for pixels, score in zip(vit.prepare(images), SCORES, strict=True)]
    assert (sums - scores).abs().min() > 1e-2  # there is a bias to be left out
    assert sums.tolist() == pytest.approx(
        [score - bias for score, bias in zip(scores.tolist(), biases, strict=True)], rel=1e-10
    )


def test_cam_of_all_blocks_sums_to_what_the_head_reads_behind_each_of_them():
    vit = _float64(class_token=False, global_pool="avg")
    images, oracle = random_images(vit, 2), slow.SlowViT.of(vit.model)
    with vit.trace(images, 2) as trace:
        total, last = METHODS["cam"].function(trace, plus=True), METHODS["cam"].function(trace)
        assert trace.forwards == 1 + 1 + 1
        lens = [read_out(vit.body, trace.inputs, tokens.detach())[:, 2] for tokens in trace.tokens[1:]]
        alone = [each.sum() for each in (total - last)]
    bias = slow.cam_bias(oracle, vit.prepare(images)[0], SCORES[0])
    assert total.sum((1, 2)).tolist() == pytest.approx((sum(lens) - 3 * bias).tolist(), rel=1e-9)
    assert [float(each) for each in alone] == pytest.approx((sum(lens[:2]) - 2 * bias).tolist(), rel=1e-9)
    with vit.trace(images, 2, capture=Capture(first=1)) as trace, pytest.raises(InputError, match="not captured"):
        METHODS["cam"].function(trace, plus=True)


class NormThenMean(HandwrittenViT):
    """As in the paper: features, their mean, one linear layer. Here with a norm before the mean, of either kind."""

    def __init__(self, root_mean_square: bool = False, deep_head: bool = False) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(24) if root_mean_square else nn.LayerNorm(24)
        if deep_head:
            self.classifier = nn.Sequential(nn.Linear(24, 24), nn.GELU(), nn.Linear(24, CLASSES))

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2) + self.positions[:, 1:]
        self.features = self.norm(self.layers(patches))
        return self.classifier(self.features.mean(1))


def _norm_then_mean(**kind):
    model = scramble(NormThenMean(**kind)).double()
    return vt.open_vit(model, preprocessing=vt.Preprocessing(size=(24, 32)))


@pytest.mark.parametrize("root_mean_square", [False, True])
def test_cam_with_the_norm_before_the_mean_is_the_paper_up_to_a_constant(root_mean_square):
    vit = _norm_then_mean(root_mean_square=root_mean_square)
    images = random_images(vit, 3)
    found = trace_map(vit, images, [0, 3, 6], "cam").flatten(1)
    vit.logits(images)
    head, features = vit.model.classifier, vit.model.features
    paper = torch.stack([features[image] @ head.weight[target] for image, target in enumerate([0, 3, 6])]) / 12
    if root_mean_square:  # has no shift
        assert_same(found, paper.detach())
    assert_same(found - found.mean(1, keepdim=True), (paper - paper.mean(1, keepdim=True)).detach())
    shift = 0 if root_mean_square else (head.weight @ vit.model.norm.bias)[[0, 3, 6]]
    expected = vit.logits(images)[range(3), [0, 3, 6]] - head.bias[[0, 3, 6]] - shift
    assert found.sum(1).tolist() == pytest.approx(expected.tolist(), rel=1e-10)


def test_cam_refuses_a_head_that_is_not_linear():
    vit = _norm_then_mean(deep_head=True)
    assert vit.readout.kind == "mean"
    assert METHODS["cam"].why_not(vit) == "its head is not linear on the mean of the patch tokens"
    with pytest.raises(vt.VitreousError, match="not linear"):
        vt.explain(vit, random_images(vit, 1), "cam")
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(vt.VitreousError, match="not linear"):
        METHODS["cam"].function(trace)


def test_cam_refuses_a_class_token_and_says_so():
    vit = _float64()
    with pytest.raises(vt.VitreousError, match="class token"):
        vt.explain(vit, random_images(vit, 1), "cam")


# --- the CAM family


@pytest.mark.parametrize("block", [0, 1, 2])
def test_xgradcam_keeps_the_sum_of_hirescam(block):
    vit = _float64()
    images = random_images(vit, 3)
    kept = trace_map(vit, images, TARGETS, "xgradcam", block=block, relu=False).sum((1, 2))
    expected = trace_map(vit, images, TARGETS, "hirescam", block=block).sum((1, 2))
    assert kept.tolist() == pytest.approx(expected.tolist(), rel=1e-4)  # 1e-7 in each divisor


def test_xgradcam_by_size_never_weighs_more_than_a_gradient():
    """Features that cancel to nothing blow up the weight of their channel, but not that by their sizes."""
    features = torch.tensor([[[1.0, -1.0, 2.0, -2.0]]], dtype=torch.float64)
    gradient = torch.tensor([[[0.1, 0.3, -0.2, 0.5]]], dtype=torch.float64)
    assert xgradcam._weigh(features, gradient).abs().max() > 1e6
    weight = (0.1 + 0.3 - 0.4 + 1.0) / 6
    assert_same(xgradcam._weigh_by_size(features, gradient), weight * features[0], 1e-7)


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "layercam", "xgradcam", "gradcam_plus_plus", "eigencam"])
def test_plus_is_the_sum_over_blocks_from_the_same_pass(name):
    vit = _float64()
    images, function = random_images(vit, 2), METHODS[name].function
    with vit.trace(images, [0, 3]) as trace:
        total = function(trace, plus=True)
        assert_same(sum(function(trace, block=block) for block in range(3)), total)
        assert (trace.forwards, trace.backwards) == (1, int(METHODS[name].gradient))
    assert METHODS[name].capture(vit, METHODS[name].complete({"plus": True, "block": -1})).first == 0
    assert METHODS[name].capture(vit, METHODS[name].complete({})).first == 2


def test_the_sign_of_eigencam_makes_the_patches_that_stand_out_positive():
    vit = open_planted(prefix=0)
    images, brightness = planted_images(vit, [(0, 11), (5, 2)])
    images[0] = images[0].clamp(max=0.5)  # a single dark patch among others of one brightness
    images[0][images[0] > 0.2] = 0.5
    found = trace_map(vit, images, 0, "eigencam").flatten(1)
    assert found[0].argmax() == 11
    assert (found[0][:11] < 0).all()
    assert found.sum(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)  # centred
    lopsided = brightness[1] - brightness[1].mean()
    assert_same(found[1], lopsided * lopsided.pow(3).sum().sign(), tolerance=1e-5)


def test_eigencam_records_how_much_its_direction_holds():
    vit = _float64()
    images = random_images(vit, 1)
    heatmap = vt.explain(vit, images, "eigencam")[0]
    with vit.trace(images) as trace:
        tokens = trace.attention_inputs[-1][0, vit.prefix :].detach().numpy()
    strengths = np.linalg.svd(tokens - tokens.mean(0), compute_uv=False) ** 2
    assert heatmap.provenance.notes == (
        f"block 2: the first direction holds {strengths[0] / strengths.sum():.0%} of the features",
    )


def test_gradcam_plus_plus_finds_a_patch_that_counts_by_being_high_and_not_one_by_being_low():
    """Why it is exempt from the contract: the only positive gradient for the darkest patch is that of a constant."""
    vit = open_planted()
    images, _ = planted_images(vit, [(0, 11), (5, 2), (7, 8)])
    bright = trace_map(vit, images, BRIGHTEST, "gradcam_plus_plus", relu=False).flatten(1)
    assert bright.argmax(1).tolist() == [0, 5, 7]
    dark = trace_map(vit, images, DARKEST, "gradcam_plus_plus", relu=False).flatten(1)
    assert (dark.amax(1) - dark.amin(1)).max() < 1e-6


# --- pixels


def test_input_x_gradient_is_complete_where_the_score_is_linear():
    vit = open_planted()
    images, _ = planted_images(vit, [(0, 11), (5, 2)])
    found = trace_map(vit, images, BRIGHTEST, "input_x_gradient")
    assert found.sum((1, 2)).tolist() == pytest.approx([GAIN * LIGHT] * 2, rel=1e-5)


@pytest.mark.parametrize("nodes", [1, 2, 7, 50])
def test_gauss_legendre_is_that_of_numpy_and_exact_for_polynomials(nodes):
    places, weights = gauss_legendre(nodes)
    expected = np.polynomial.legendre.leggauss(nodes)
    assert np.abs(places.numpy() - (expected[0] + 1) / 2).max() < 1e-14
    assert np.abs(weights.numpy() - expected[1] / 2).max() < 1e-14
    degree = 2 * nodes - 1
    assert float((weights * places**degree).sum()) == pytest.approx(1 / (degree + 1), rel=1e-12)


@pytest.mark.parametrize("baseline", ["zero", "black"])
def test_integrated_gradients_is_complete_and_records_by_how_much_it_is_not(baseline):
    vit = _float64()
    images = random_images(vit, 2)
    errors = []
    for nodes in (2, 40):
        heatmaps = vt.explain(vit, images, "integrated_gradients", TARGETS[:2], baseline=baseline, nodes=nodes)
        start = torch.zeros(2, 3, 24, 32) if baseline == "black" else torch.full((2, 3, 24, 32), 0.0)
        if baseline == "zero":
            start = start + torch.tensor(vit.preprocessing.mean).view(3, 1, 1)
        for image, heatmap in enumerate(heatmaps):
            score = SCORES[image]
            difference = float(score(vit.logits(images)[image]) - score(vit.logits(start)[image]))
            errors.append(float(heatmap.relevance.astype("float64").sum()) - difference)
            (note,) = heatmap.provenance.notes
            assert float(note.split()[2]) == pytest.approx(errors[-1], rel=0.02, abs=1e-4)
            assert float(note.split()[-1]) == pytest.approx(difference, rel=0.01)
    assert max(map(abs, errors[2:])) < 1e-3
    assert max(map(abs, errors[:2])) > 10 * max(map(abs, errors[2:]))


def test_smoothgrad_without_noise_is_saliency():
    vit = _float64()
    images = random_images(vit, 2)
    found = trace_map(vit, images, 1, "smoothgrad", copies=2, sigma=0.0)
    assert_same(found, trace_map(vit, images, 1, "saliency"))


def test_smoothgrad_evens_out_what_a_gradient_has_of_chance():
    """Two draws of many copies are closer to each other than two draws of few."""
    vit = _float64()
    images, function = random_images(vit, 1), METHODS["smoothgrad"].function
    distances = []
    for copies in (2, 16):
        maps = []
        for seed in (0, 1):
            with vit.trace(images, 1, seed=seed) as trace:
                maps.append(function(trace, copies=copies, signed=True))
        distances.append(float((maps[0] - maps[1]).norm()))
    assert distances[1] < 0.6 * distances[0]


@pytest.mark.parametrize(
    ("name", "passes"), [("smoothgrad", (4, 3)), ("integrated_gradients", (5, 3)), ("cam", (2, 0))]
)
def test_passes_are_counted_and_images_keep_to_their_own_generators(name, passes):
    vit = _float64(class_token=False, global_pool="avg")
    given = {"smoothgrad": {"copies": 3}, "integrated_gradients": {"nodes": 3}}.get(name, {})
    with vit.trace(random_images(vit, 2), 0) as trace:
        METHODS[name].function(trace, **given)
        assert (trace.forwards, trace.backwards) == passes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("smoothgrad", {"copies": 0}),
        ("smoothgrad", {"sigma": -0.5}),
        ("integrated_gradients", {"nodes": 0}),
        *[(name, {"block": 3}) for name in ("hirescam", "layercam", "xgradcam", "gradcam_plus_plus", "eigencam")],
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters):
    vit = _float64()
    (given,) = parameters.values()
    with pytest.raises(vt.VitreousError, match=f"{given}"):
        vt.explain(vit, random_images(vit, 1), name, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters"), [("integrated_gradients", {"baseline": "white"}), ("layercam", {"positive": "feature"})]
)
def test_words_that_mean_nothing_are_refused(name, parameters):
    (given,) = parameters.values()
    with pytest.raises(InputError, match=given):
        vt.explain(_float64(), random_images(_float64(), 1), name, **parameters)


@functools.cache
def _float64(**options):
    return vt.open_vit(scramble(timm_vit(depth=3, **options)).double())
