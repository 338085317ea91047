"""Every method and parameter against a slow float64 oracle, and against numbers worked out by hand."""

import functools

import pytest
import torch
from torch import nn

import vitreous as vt
from contracts.families import PATCH, random_images, scramble, timm_vit
from oracles import slow, slow_attention
from oracles.compare import assert_same, case_name, trace_map
from vitreous.methods._method import METHODS

PLAIN = [
    ("raw_attention", {}),
    ("raw_attention", {"block": 0}),
    ("raw_attention", {"block": -2}),
    ("raw_attention", {"head": 0}),
    ("raw_attention", {"block": 1, "head": -1, "outliers": "mask"}),
    ("mean_attention", {}),
    ("mean_attention", {"head": 1}),
    ("mean_attention", {"first": 1, "last": 1}),
    ("mean_attention", {"last": -2, "outliers": "mask"}),
    ("rollout", {}),
    ("rollout", {"residual": 0.0}),
    ("rollout", {"residual": 0.8}),
    ("rollout", {"residual": 1.0}),
    ("rollout", {"fusion": "max"}),
    ("rollout", {"fusion": "min"}),
    ("rollout", {"discard": 0.3}),
    ("rollout", {"discard": 0.9}),
    ("rollout", {"fusion": "max", "discard": 0.5, "residual": 0.2}),
    ("rollout", {"fusion": "min", "discard": 0.7, "residual": 0.6}),
    ("rollout", {"head": 2}),
    ("rollout", {"head": -3, "discard": 0.3, "residual": 0.4}),
    ("rollout", {"first": 1}),
    ("rollout", {"first": -2, "last": -2}),
    ("rollout", {"last": 1, "fusion": "max", "outliers": "mask"}),
    ("attention_gradcam", {}),
    ("attention_gradcam", {"relu": False}),
    ("attention_gradcam", {"block": 0, "relu": False}),
    ("attention_gradcam", {"head": 1, "relu": False}),
    ("agcam", {}),
    ("agcam", {"head": -1}),
    ("agcam", {"first": 1, "last": 1, "detach": False}),
    ("agcam", {"detach": False}),
    ("generic_attention", {}),
    ("generic_attention", {"head": 0}),
    ("generic_attention", {"first": 1, "last": -2}),
    ("gradcam", {}),
    ("gradcam", {"relu": False}),
    ("gradcam", {"block": 1, "relu": False}),
    ("saliency", {}),
    ("saliency", {"channels": "sum"}),
]
MASKED = [
    (name, {"outliers": "mask", **parameters})
    for name, parameters in [
        ("attention_gradcam", {"relu": False}),
        ("agcam", {"first": 1}),
        ("generic_attention", {}),
    ]
]
CASES = PLAIN + MASKED
TARGETS = [2, vt.Contrast(4, 1), None]
SCORES = [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits.max()]


def test_the_oracle_is_the_same_model(opened):
    vit, oracle, images, pixels = opened
    logits = torch.stack([oracle.run(image).logits for image in pixels]).detach()
    assert_same(vit.logits(images), logits)


def oracle_of(name):
    return getattr(slow_attention if hasattr(slow_attention, name) else slow, name)


def assert_equals_oracle(model, case):
    vit, oracle, images, pixels = model
    name, parameters = case
    found = trace_map(vit, images, TARGETS, name, **parameters)
    for image, score in enumerate(SCORES):
        expected = oracle_of(name)(oracle, pixels[image], score, **parameters).detach()
        assert_same(found[image], expected)


@pytest.mark.parametrize("case", PLAIN, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    assert_equals_oracle(opened, case)


@pytest.mark.parametrize("case", MASKED, ids=case_name)
def test_method_equals_its_oracle_where_tokens_are_outlying(with_outliers, case):
    assert_equals_oracle(with_outliers, case)


def test_the_two_gradients_of_agcam_are_different_maps(opened):
    vit, _, images, _ = opened
    cut, ordinary = (trace_map(vit, images, 2, "agcam", detach=detach) for detach in (True, False))
    assert (cut - ordinary).abs().max() > 0.01 * ordinary.abs().max()


def test_the_order_of_the_two_agcam_gradients_does_not_matter(opened):
    vit, _, images, _ = opened
    function = METHODS["agcam"].function
    with vit.trace(images, 2) as trace:
        first = function(trace, detach=True), function(trace, detach=False)
    with vit.trace(images, 2) as trace:
        second = function(trace, detach=False), function(trace, detach=True)
    assert torch.equal(first[0], second[1])
    assert torch.equal(first[1], second[0])


# --- rollout by hand: a class token and two patches, one head, two blocks with known attention


class KnownAttention(nn.Module):
    """Attends as it was told to, whatever the image: the bias is the logarithm of the probabilities."""

    def __init__(self, probabilities: list) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([probabilities], dtype=torch.float64).log())

    def forward(self, tokens):
        heads = self.bias.shape[1]
        value = tokens.unsqueeze(1).expand(-1, heads, -1, -1)
        nothing = torch.zeros_like(value)
        output = nn.functional.scaled_dot_product_attention(nothing, nothing, value, attn_mask=self.bias)
        return tokens + output.mean(1)


class KnownViT(nn.Module):
    """Two patches beside each other, with or without a class token before them."""

    def __init__(self, blocks: list, class_token: bool = True) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 4, PATCH, PATCH).double()
        self.class_token = nn.Parameter(torch.ones(1, int(class_token), 4, dtype=torch.float64))
        self.blocks = nn.ModuleList([KnownAttention(heads) for heads in blocks])
        self.head = nn.Linear(4, 3).double()

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0] if self.class_token.shape[1] else tokens.mean(1))


def rollout_of(blocks, class_token=True, **parameters):
    torch.manual_seed(0)
    size = (PATCH, 2 * PATCH)
    vit = vt.open_vit(KnownViT(blocks, class_token).eval(), preprocessing=vt.Preprocessing(size=size))
    found = trace_map(vit, random_images(vit, 2), 0, "rollout", **parameters)
    assert torch.equal(found[0], found[1])
    return found[0].flatten().tolist()


FIRST = [[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2]]
LAST = [[0.6, 0.3, 0.1], [0.3, 0.3, 0.4], [0.2, 0.7, 0.1]]


def test_rollout_by_hand():
    # Half of LAST plus half the identity gives the class row (.8, .15, .05); FIRST becomes
    # (.6, .25, .15), (.05, .8, .15), (.2, .2, .6). Their product at the patches:
    # .8 * .25 + .15 * .8 + .05 * .2 = .33 and .8 * .15 + .15 * .15 + .05 * .6 = .1725
    assert rollout_of([[FIRST], [LAST]]) == pytest.approx([0.33, 0.1725], rel=1e-12)


def test_rollout_without_residual_by_hand():
    # .6 * .5 + .3 * .6 + .1 * .4 = .52 and .6 * .3 + .3 * .3 + .1 * .2 = .29
    assert rollout_of([[FIRST], [LAST]], residual=0.0) == pytest.approx([0.52, 0.29], rel=1e-12)


def test_rollout_fusions_by_hand():
    # Class rows (.2, .5, .3) and (.6, .3, .1). Largest: (.6, .5, .3) with sum 1.4, half of it plus half the identity
    # has sum 1.2: (.25, .15) / 1.2. Smallest: (.2, .3, .1) with sum .6, then .8: (.15, .05) / .8
    assert rollout_of([[FIRST, LAST]], fusion="max") == pytest.approx([0.25 / 1.2, 0.15 / 1.2], rel=1e-12)
    assert rollout_of([[FIRST, LAST]], fusion="min") == pytest.approx([0.15 / 0.8, 0.05 / 0.8], rel=1e-12)


def test_rollout_discard_by_hand():
    # Two of nine entries go: of FIRST the .2 and .3 between patches, never the .1 and .2 of the class token. Its rows
    # become (.6, .25, .15), (.05, .8, 0) / .85 and (.2, .2, .5) / .9. The class row above stays (.8, .15, .05).
    second = 0.8 * 0.25 + 0.15 * 0.8 / 0.85 + 0.05 * 0.2 / 0.9
    third = 0.8 * 0.15 + 0.05 * 0.5 / 0.9
    assert rollout_of([[FIRST], [LAST]], discard=0.23) == pytest.approx([second, third], rel=1e-12)


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("residual", [0.1, 0.5, 1.0])
def test_rows_of_rollout_sum_to_one(fusion, discard, residual):
    # Without prefix tokens the map is the mean of all rows, and so it sums to one if every row does.
    vit = _float64(class_token=False, global_pool="avg")
    given = {"fusion": fusion, "discard": discard, "residual": residual}
    sums = trace_map(vit, random_images(vit, 3), 0, "rollout", **given).sum((1, 2))
    assert sums.tolist() == pytest.approx([1.0] * 3, rel=1e-12)


def test_discard_of_one_image_ignores_the_others_of_the_batch():
    vit = _float64()
    images = random_images(vit, 3)
    images[1] = 0.01 * images[1]  # a faint image, whose attention is of another kind
    together = trace_map(vit, images, 0, "rollout", discard=0.5)
    for image in range(3):
        assert_same(together[image], trace_map(vit, images[image : image + 1], 0, "rollout", discard=0.5)[0])
    assert (together[0] - trace_map(vit, images[:1], 0, "rollout")[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("rollout", {"residual": -0.1}),
        ("rollout", {"residual": 1.1}),
        ("rollout", {"discard": 1.0}),
        ("rollout", {"discard": -0.1}),
        ("raw_attention", {"block": 3}),
        ("gradcam", {"block": -4}),
        ("attention_gradcam", {"block": 17}),
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters):
    vit = _float64()
    (given,) = parameters.values()
    with pytest.raises(vt.VitreousError, match=f"{given}"):
        vt.explain(vit, random_images(vit, 1), name, **parameters)


def test_a_rollout_of_which_nothing_is_left_is_refused():
    vit = _float64(class_token=False, global_pool="avg")
    with pytest.raises(vt.VitreousError, match=r"residual=0 and discard=0\.95"):
        vt.explain(vit, random_images(vit, 1), "rollout", residual=0.0, discard=0.95)


@functools.cache
def _float64(**options):
    return vt.open_vit(scramble(timm_vit(depth=3, **options)).double())
