"""Methods that cover an image with its own features, against slow float64 oracles, and what they must not do."""

from operator import itemgetter

import pytest
import torch
from scipy.ndimage import gaussian_filter

import vitreous as vt
from contracts.families import FAMILIES, random_images, scramble, timm_vit
from oracles import slow_features
from oracles.compare import assert_same, case_name, trace_map
from oracles.slow import SlowViT
from vitreous.methods import _features
from vitreous.methods._method import METHODS
from vitreous.vit.entering import read_out, run_from

CASES = [
    ("score_cam", {}),
    ("score_cam", {"block": 0, "relu": False, "channels": 6, "fill": "mean"}),
    ("score_cam", {"channels": 5, "fill": "blur", "relu": False}),
    ("score_cam", {"channels": 4, "plus": True}),
    ("score_cam", {"channels": 3, "block": 0, "plus": True, "relu": False}),
    ("ablation_cam", {}),
    ("ablation_cam", {"plus": True}),
    ("ablation_cam", {"plus": True, "relu": False, "block": 1}),
    ("ablation_cam", {"relu": False}),
    ("ablation_cam", {"block": 1, "relu": False}),
    ("vit_cx", {}),
    ("vit_cx", {"block": 0, "distance": 0.6, "noise": 0.4}),
    ("vit_cx", {"distance": 0.4, "noise": 0.0}),
    ("tis", {"masks": 8}),
    ("tis", {"masks": 5, "keep": 0.3}),
]
TARGETS = [2, vt.Contrast(4, 1), None]
CONFIDENT = {"vit_cx", "tis"}
"""Methods that explain a probability where there is one, and draw random numbers."""


def probability(index):
    return lambda logits: torch.exp(logits[index]) / torch.exp(logits).sum()


def filling(pixels, mean, std):
    """What shows where a mask is zero, worked out from the definitions."""

    def behind(fill):
        if fill == "black":
            return ((0 - mean) / std).double() + torch.zeros_like(pixels)
        if fill == "mean":
            return pixels.mean((1, 2), keepdim=True) + torch.zeros_like(pixels)
        blurred = [gaussian_filter(each, 24 / 8, mode="mirror", truncate=3.0) for each in pixels.numpy()]
        return torch.stack([torch.from_numpy(each) for each in blurred])

    return behind


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    vit, oracle, images, pixels = opened
    name, parameters = case
    method, run = METHODS[name], getattr(slow_features, name)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (vit.preprocessing.mean, vit.preprocessing.std))
    with vit.trace(images, TARGETS) as trace:
        found = method.function(trace, **method.complete(parameters))
        generators, best = trace.generators(name), int(trace.logits[2].argmax())
    explain = probability if name in CONFIDENT else itemgetter
    scores = [explain(2), lambda logits: logits[4] - logits[1], explain(best)]
    for image, score in enumerate(scores):
        extra = {"score_cam": filling(pixels[image].double(), mean, std), "ablation_cam": None}
        given = extra.get(name, generators[image])
        more = () if given is None else (given,)
        with torch.no_grad():
            expected = run(oracle, pixels[image].double(), score, *more, **parameters)
        assert_same(found[image], expected)


# --- running a model from one of its blocks on


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_runs_from_any_block_on(family):
    vit = FAMILIES[family].open()
    images = random_images(vit, 2)
    inputs = vit.prepare(images)
    with vit.trace(images, 0) as trace:
        entering, projected, expected = trace.tokens, trace.attention_inputs, trace.logits.detach()
        for block in range(len(vit.blocks)):
            seen = []

            def look(rows, seen=seen):
                seen.append(rows)
                return rows

            found = run_from(vit.body, inputs[1:], entering[block].detach(), block, look)
            assert_same(found.detach(), expected, 1e-5)
            (rows,) = seen  # once, whether query, key and value are projected together or one by one
            assert_same(rows.detach(), projected[block].detach(), 1e-5)
            nothing = run_from(vit.body, inputs, entering[block].detach(), block, torch.zeros_like)
            assert (nothing - expected).abs().max() > 0.01
    assert_same(read_out(vit.body, inputs, entering[-1].detach()).detach(), expected, 1e-5)


@pytest.mark.parametrize("family", ["timm", "torchvision", "transformers sdpa", "handwritten"])
def test_ablating_all_there_is_to_read_leaves_nothing_of_the_patches(family):
    """With every channel of every token at zero, the first block's attention is the same for all images."""
    vit = FAMILIES[family].open()
    images = random_images(vit, 2)
    with vit.trace(images, 0) as trace:
        tokens = trace.tokens[0].detach()
        same = tokens[:1].expand_as(tokens)
        edited = [run_from(vit.body, trace.inputs, start, 0, torch.zeros_like) for start in (tokens, same)]
    assert (edited[0][0] - edited[1][0]).abs().max() < 1e-5
    assert (edited[0][1] - edited[1][1]).abs().max() > 1e-3


# --- properties


def test_masks_reach_from_0_to_1_and_a_constant_map_shows_nothing():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    with vit.trace(random_images(vit, 2), 0) as trace:
        maps = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
        maps[1, 2] = 4.0
        masks = _features.pixel_masks(trace, maps)
    assert masks.shape == (2, 3, 24, 32)
    assert masks.amin((2, 3)).abs().max() == 0
    assert masks.amax((2, 3)).tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]


def test_a_probability_is_explained_only_where_there_is_one():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    images = random_images(vit, 3)
    with vit.trace(images, TARGETS) as trace:
        logits, owner = trace.logits.detach(), torch.tensor([2, 0, 1, 0])
        found = _features.confidence(trace, logits[owner], owner)
        best = int(logits[2].argmax())
    expected = [logits[2].softmax(0)[best], logits[0].softmax(0)[2], logits[1, 4] - logits[1, 1]]
    assert found.tolist() == pytest.approx([*map(float, expected), float(expected[1])], rel=1e-5)
    with vit.trace(images, "embedding") as trace:
        found = _features.confidence(trace, trace.logits.detach(), torch.arange(3))
        assert found.tolist() == pytest.approx(trace.score.tolist())


def test_score_cam_of_one_channel_is_that_channel():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    images = random_images(vit, 2)
    with vit.trace(images, 0) as trace:
        maps = _features.feature_maps(trace, -1)
        liveliest = torch.stack([each[each.var(1).argmax()] for each in maps])
    found = trace_map(vit, images, 0, "score_cam", channels=1, relu=False)
    assert_same(found, liveliest.reshape(2, 3, 4), 1e-6)


@pytest.mark.parametrize(("name", "channels"), [("score_cam", 4), ("ablation_cam", 24)])
@pytest.mark.parametrize("relu", [True, False])
def test_plus_is_the_sum_over_blocks_at_the_cost_of_all(name, channels, relu):
    vit = vt.open_vit(scramble(timm_vit(depth=3)).double(), preprocessing=vt.Preprocessing(size=(24, 32)))
    images, method = random_images(vit, 2), METHODS[name]
    given = {"relu": relu} | ({"channels": channels} if name == "score_cam" else {})
    with vit.trace(images, [0, 3]) as trace:
        total = method.function(trace, plus=True, **given)
        assert trace.forwards == 1 + 3 * channels
        assert torch.equal(total, sum(method.function(trace, block=block, **given) for block in range(3)))
    assert method.capture(vit, method.complete({"plus": True})).first == 0
    assert method.capture(vit, method.complete({})).first == 2


def test_a_question_without_content_has_no_answer():
    vit = vt.open_vit(scramble(timm_vit()).double(), preprocessing=vt.Preprocessing(size=(24, 32)))
    found = trace_map(vit, random_images(vit, 2), vt.Contrast(1, 1), "ablation_cam", relu=False)
    assert found.abs().max() == 0


def test_tis_takes_each_map_by_itself_where_there_are_no_more_than_masks():
    model = scramble(timm_vit(depth=1)).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=(24, 32), mean=(0.0,) * 3, std=(1.0,) * 3))
    images, oracle = random_images(vit, 1), SlowViT.of(model)
    with vit.trace(images, 2) as trace:
        found, (generator,) = METHODS["tis"].function(trace), trace.generators("tis")
        assert trace.forwards == 1 + 24
    with torch.no_grad():
        assert_same(found[0], slow_features.tis(oracle, images[0].double(), probability(2), generator))


def test_tis_with_all_patches_kept_says_the_same_everywhere():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    images = random_images(vit, 2)
    found = trace_map(vit, images, 3, "tis", masks=4, keep=1.0)
    expected = vit.logits(images).softmax(1)[:, 3]
    assert_same(found, expected[:, None, None].expand_as(found), 1e-5)


def test_remarks_tell_of_groups_and_of_patches_in_no_mask():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    maps = vt.compare(vit, random_images(vit, 1), {"tis": {"masks": 1, "keep": 0.25}, "vit_cx": {}}, 0)[0]
    assert maps["tis"].provenance.notes == ("9 patches are in no mask and have relevance 0",)
    assert (maps["tis"].relevance == 0).sum() == 9
    assert maps["vit_cx"].provenance.notes[0].startswith("24 channels made ")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("score_cam", {"channels": 0}),
        ("score_cam", {"block": 2}),
        ("ablation_cam", {"block": -3}),
        ("vit_cx", {"distance": 2.5}),
        ("vit_cx", {"noise": -0.1}),
        ("tis", {"masks": 0}),
        ("tis", {"keep": 0.0}),
        ("tis", {"keep": 1.5}),
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters):
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=vt.Preprocessing(size=(24, 32)))
    ((key, value),) = parameters.items()
    with pytest.raises(vt.VitreousError, match=f"{key}={value}"):
        vt.explain(vit, random_images(vit, 1), name, 0, **parameters)
