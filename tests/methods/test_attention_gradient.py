"""Methods that weigh attention by gradients: against slow oracles, against the planted truth, and against each other."""

import functools
import itertools

import pytest
import torch

import vitreous as vt
from contracts.families import random_images, scramble, timm_vit
from oracles import slow_attention_gradient as slow
from oracles.compare import assert_same, case_name, trace_map
from oracles.planted import BRIGHTEST, DARKEST, GAIN, open_planted, planted_images
from vitreous.core.errors import InputError
from vitreous.methods._attention import handed_over
from vitreous.methods._method import METHODS
from vitreous.vit.passes import Capture

PLAIN = [
    ("gradient_rollout", {}),
    ("gradient_rollout", {"discard": 0.0}),
    ("gradient_rollout", {"discard": 0.5}),
    ("gradient_rollout", {"discard": 0.5, "head": 1}),
    ("gradient_rollout", {"first": 1, "last": -2}),
    ("legrad", {}),
    ("legrad", {"first": -2}),
    ("legrad", {"first": 1, "last": 1, "head": -1}),
    ("legrad", {"last": 0}),
    ("beyond_intuition_heads", {}),
    ("beyond_intuition_heads", {"first": 0, "points": 3}),
    ("beyond_intuition_heads", {"first": 0, "points": 3, "head": 2}),
    ("beyond_intuition_heads", {"last": 1, "points": 3}),
    ("beyond_intuition_tokens", {}),
    ("beyond_intuition_tokens", {"first": 0, "points": 3}),
    ("beyond_intuition_tokens", {"first": 1, "points": 3, "head": -3}),
    ("beyond_intuition_tokens", {"first": 0, "last": 1, "points": 3}),
    ("transition_attention", {}),
    ("transition_attention", {"first": 1, "points": 3}),
    ("transition_attention", {"last": -2, "points": 3, "head": 1}),
    ("token_transformation", {}),
    ("token_transformation", {"head": 1}),
    ("token_transformation", {"first": 1, "last": 1}),
    ("token_transformation", {"last": -2, "head": -1}),
    ("attcat", {}),
    ("attcat", {"side": "entering"}),
    ("attcat", {"side": "entering", "first": 1, "head": 0}),
    ("attcat", {"last": 0, "head": -1}),
    ("saw", {}),
    ("saw", {"weights": "gradient"}),
    ("saw", {"weights": "gradient", "head": 1, "first": 1}),
    ("saw", {"last": 1}),
    ("head_relevance", {}),
    ("head_relevance", {"block": 0}),
    ("head_relevance", {"head": 1}),
    ("head_relevance", {"head": -1}),
    ("head_relevance", {"block": 1, "head": 2}),
]
MASKED = [
    (name, {"outliers": "mask", **parameters})
    for name, parameters in [
        ("gradient_rollout", {}),
        ("legrad", {"first": 1}),
        ("beyond_intuition_heads", {"first": 0, "points": 3}),
        ("beyond_intuition_tokens", {"first": 1, "points": 3}),
        ("transition_attention", {"points": 3}),
        ("token_transformation", {}),
        ("attcat", {}),
        ("saw", {}),
        ("head_relevance", {}),
    ]
]
CASES = PLAIN + MASKED
PATH = ["beyond_intuition_heads", "beyond_intuition_tokens", "transition_attention"]
EXTREMES = [(0, 11), (5, 2), (11, 6)]
TARGETS = [2, vt.Contrast(4, 1), None]


@functools.cache
def scores(predicted):
    """The numbers that the targets name; the predicted class stays what it was for the image, all along its path."""
    return [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits[predicted]]


def assert_equals_oracle(model, case):
    vit, oracle, images, pixels = model
    name, parameters = case
    found = trace_map(vit, images, TARGETS, name, **parameters)
    for image, score in enumerate(scores(int(vit.logits(images)[2].argmax()))):
        expected = getattr(slow, name)(oracle, pixels[image], score, **parameters).detach()
        assert_same(found[image], expected)


@pytest.mark.parametrize("case", PLAIN, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    assert_equals_oracle(opened, case)


@pytest.mark.parametrize("case", MASKED, ids=case_name)
def test_method_equals_its_oracle_where_tokens_are_outlying(with_outliers, case):
    assert_equals_oracle(with_outliers, case)


# --- what must hold between maps


@functools.cache
def opened_float64(**options):
    return vt.open_vit(scramble(timm_vit(depth=3, **options)).double())


def test_the_heads_add_up_to_the_block_and_the_blocks_to_saw():
    vit = opened_float64(reg_tokens=4)
    images = random_images(vit, 2)
    blocks = []
    for block in range(3):
        heads = sum(trace_map(vit, images, 1, "head_relevance", block=block, head=head) for head in range(3))
        blocks.append(trace_map(vit, images, 1, "head_relevance", block=block))
        assert_same(heads, blocks[-1])
    assert_same(trace_map(vit, images, 1, "saw"), sum(blocks) / 9)


def test_head_relevance_is_what_the_score_loses_to_first_order():
    """Attention to one patch is taken away a little, in the row that is read: the score falls in that proportion."""
    vit = opened_float64()
    images = random_images(vit, 1)
    relevance = trace_map(vit, images, 3, "head_relevance", head=1).flatten()
    step = 1e-6
    for patch in (0, 7):

        def less(block, attention, values, patch=patch):
            if block == 2:
                attention = attention.clone()
                attention[:, 1, 0, 1 + patch] *= 1 - step
            return attention, values

        lost = (vit.logits(images)[0, 3] - vit.logits(images, less)[0, 3]) / step
        assert float(lost) == pytest.approx(float(relevance[patch]), rel=1e-4)


@pytest.mark.parametrize("discard", [0.0, 0.9])
def test_rows_of_gradient_rollout_sum_to_one(discard):
    vit = opened_float64(class_token=False, global_pool="avg")
    sums = trace_map(vit, random_images(vit, 3), 2, "gradient_rollout", discard=discard).sum((1, 2))
    assert sums.tolist() == pytest.approx([1.0] * 3, rel=1e-12)


def test_legrad_adds_block_after_block():
    vit = opened_float64()
    images = random_images(vit, 2)
    maps = [trace_map(vit, images, 2, "legrad", first=first) for first in (-1, -2, -3)]
    assert_same(maps[2], trace_map(vit, images, 2, "legrad"))
    blocks = [trace_map(vit, images, 2, "legrad", first=block, last=block) for block in range(3)]
    assert_same(sum(blocks), maps[2])
    for fewer, more in itertools.pairwise(maps):
        assert (more >= fewer).all()
        assert (more > fewer).any()


def test_legrad_leaves_out_how_a_block_acts_through_later_ones():
    """A change of the last block alone changes nothing in what the blocks before it count for."""
    model = scramble(timm_vit(depth=3)).double()
    images = random_images(opened_float64(), 2)
    earlier = []
    for factor in (1.0, 3.0):
        with torch.no_grad():
            model.blocks[2].mlp.fc1.weight.mul_(factor)
        vit = vt.open_vit(model)
        earlier.append(trace_map(vit, images, 2, "legrad") - trace_map(vit, images, 2, "legrad", first=-1))
    assert (earlier[0] - earlier[1]).abs().max() < 1e-12 * earlier[0].abs().max()


def test_the_path_is_walked_once_for_all_that_ask():
    vit = opened_float64()
    with vit.trace(random_images(vit, 2), 1) as trace:
        for name in PATH:
            METHODS[name].function(trace, points=5)
        assert (trace.forwards, trace.backwards) == (1 + 5, 1 + 5)
        METHODS[PATH[0]].function(trace, points=4)
        assert (trace.forwards, trace.backwards) == (1 + 5 + 4, 1 + 5 + 4)


def test_two_points_are_the_mean_colour_and_the_image():
    """With one block, and from its row alone, the transition map is attention times the mean of two gradients."""
    vit = vt.open_vit(scramble(timm_vit(depth=1)).double())
    images = random_images(vit, 2)
    found = trace_map(vit, images, 1, "transition_attention", points=2)
    with vit.trace(images, 1) as trace:
        grey = trace.again(inputs=torch.zeros_like(trace.inputs), capture=Capture(pixels=False))
        slope = (trace.attention_grad[0] + grey.attention_grad[0])[:, :, 0] / 2
        expected = trace.attention[0][:, :, 0].mean(1) * slope.clamp(min=0).mean(1)
        assert_same(found, trace.to_grid(expected).detach())
        grey.close()


@pytest.mark.parametrize(("name", "published"), [("beyond_intuition_heads", 3), ("beyond_intuition_tokens", 5)])
def test_a_published_first_block_behind_the_last_is_remarked(name, published):
    vit = opened_float64()
    with vit.trace(random_images(vit, 2), 1) as trace:
        beyond = METHODS[name].function(trace, points=2)
        assert [len(notes) for notes in trace.notes] == [1, 1]
        assert f"first block {published} lies behind block 2" in trace.notes[0][0]
        assert torch.equal(beyond, METHODS[name].function(trace, first=-1, points=2))
        assert len(trace.notes[0]) == 1
        earlier = METHODS[name].function(trace, last=1, points=2)
        assert "lies behind block 1" in trace.notes[0][1]
        assert torch.equal(earlier, METHODS[name].function(trace, first=1, last=1, points=2))
    deep = vt.open_vit(scramble(timm_vit(depth=7)))
    with deep.trace(random_images(deep, 2), 1) as trace:
        default = METHODS[name].function(trace, points=2)
        assert torch.equal(default, METHODS[name].function(trace, first=published, points=2))
        assert trace.notes == [[], []]


@pytest.mark.parametrize("name", ["gradient_rollout", "saw", "legrad", "attcat", "token_transformation", *PATH])
def test_a_later_first_block_is_all_that_is_kept(name):
    """A pass that keeps no earlier block gives the same map, though tokens entering it are then where its graph begins."""
    vit = opened_float64(reg_tokens=4, global_pool="avg")  # behind a class token, AttCAT's last two blocks are nothing
    images = random_images(vit, 2)
    method = METHODS[name]
    sides = [{"side": side} for side in ("leaving", "entering")] if name == "attcat" else [{}]
    for given in sides:
        parameters = method.complete({"first": 1, "head": 2, **({"points": 3} if name in PATH else {}), **given})
        assert method.capture(vit, parameters).first == 1
        with vit.trace(images, 1) as all_of_it, vit.trace(images, 1, capture=method.capture(vit, parameters)) as little:
            assert_same(method.function(little, **parameters), method.function(all_of_it, **parameters))


def test_what_heads_hand_over_adds_up_to_what_all_do():
    vit = opened_float64()
    with vit.trace(random_images(vit, 2), 1) as trace:
        each = [handed_over(trace, 1, head) for head in (0, 1, -1)]
        assert_same(sum(each), handed_over(trace, 1, None))


# --- the planted truth, where it can be worked out


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("target", [BRIGHTEST, DARKEST])
def test_legrad_of_the_planted_model_is_known_exactly(prefix, target):
    """Every query's attention to a patch raises the mean token by that patch's value: GAIN x value / tokens."""
    vit = open_planted(prefix=prefix)
    images, brightness = planted_images(vit, EXTREMES)
    value = brightness if target == BRIGHTEST else 1 - brightness
    expected = (GAIN * value / vit.tokens / vit.heads).reshape(-1, *vit.grid)
    assert torch.allclose(trace_map(vit, images, target, "legrad"), expected, rtol=1e-5)


@pytest.mark.parametrize("prefix", [1, 2, 5])
@pytest.mark.parametrize(("name", "given"), [("token_transformation", {}), ("attcat", {"side": "entering"})])
def test_what_the_contract_exempts_finds_the_patch_behind_a_class_token(prefix, name, given):
    vit = open_planted(prefix=prefix)
    images, _ = planted_images(vit, EXTREMES)
    for target, place in ((BRIGHTEST, 0), (DARKEST, 1)):
        found = trace_map(vit, images, target, name, **given).abs().flatten(1)
        assert found.argmax(1).tolist() == [pair[place] for pair in EXTREMES]


# --- the stream between attention and MLP


@pytest.mark.parametrize("options", [{}, {"init_values": 0.3}], ids=["plain", "layer scale"])
def test_the_stream_between_attention_and_mlp(options):
    model = scramble(timm_vit(depth=2, **options)).double()
    seen = []
    for block in model.blocks:
        block.norm2.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach()))
    vit = vt.open_vit(model)
    seen.clear()
    with vit.trace(random_images(vit, 3), 1) as trace:
        assert len(seen) == 2
        for block in range(2):
            assert torch.equal(trace.between(block), seen[block])


# --- refusals


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("gradient_rollout", {"discard": 1.0}),
        ("gradient_rollout", {"discard": -0.1}),
        ("legrad", {"last": 4}),
        *[(name, {"first": -4}) for name in PATH],
        *[(name, {"points": 1}) for name in PATH],
        ("head_relevance", {"head": 3}),
        ("head_relevance", {"head": -4}),
        ("head_relevance", {"block": 3}),
        ("attcat", {"side": "inside"}),
        ("saw", {"weights": "learned"}),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(name, given):
    vit = opened_float64()
    (value,) = given.values()
    with pytest.raises(InputError, match=str(value)):
        vt.explain(vit, random_images(vit, 1), name, 1, **given)
