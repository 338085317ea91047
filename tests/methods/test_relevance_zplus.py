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
from vitreous.vit.known import KnownLinears
from vitreous.vit.rules.precision import in_double
from vitreous.vit.rules.zplus import Layout, zplus_rules

CASES = [
    ("transformer_attribution", {}),
    ("transformer_attribution", {"start": 1, "precision": "single"}),
    ("transformer_attribution", {"start": -1, "precision": "double"}),
    ("lrp_rollout", {}),
    ("full_lrp", {"precision": "mixed"}),
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


def token_relevance(vit: vt.Vit, images: torch.Tensor, targets: list) -> torch.Tensor:
    """Relevance of the tokens that enter block 0, of 1 put on each target."""
    rules = zplus_rules(Layout(len(images), vit.body.anchors[0].batch_axis))
    with (
        vit.trace(images, targets) as trace,
        in_double(),
        trace.again(rules=rules, inputs=trace.inputs.detach().double()) as again,
    ):
        return again.grad([again.tokens[0]])[0].sum(2)


# --- what is conserved


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_share_the_one_unit_of_the_target(family):
    """Biases included: no rule gives them anything. Offsets and empty denominators may lose a little."""
    vit = FAMILIES[family].open()
    sums = token_relevance(vit, random_images(vit, 3), [0, 3, 6]).sum(1)
    assert sums.tolist() == pytest.approx([1.0] * 3, abs=1e-4)


def test_pixels_keep_what_their_patches_have():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 3)
    with torch.no_grad():
        vit.model.pos_embed.zero_()  # a position of zero takes nothing
    pixels = trace_map(vit, images, [0, 3, 6], "full_lrp").sum((1, 2))
    tokens = token_relevance(vit, images, [0, 3, 6])[:, vit.prefix :].sum(1)
    assert pixels.tolist() == pytest.approx(tokens.tolist(), abs=1e-6)
    assert pixels.abs().min() > 1e-3


def test_position_embeddings_take_a_share():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 3)
    pixels = trace_map(vit, images, [0, 3, 6], "full_lrp").sum((1, 2))
    tokens = token_relevance(vit, images, [0, 3, 6])[:, vit.prefix :].sum(1)
    assert (pixels - tokens).abs().min() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["timm", "torchvision"])
def test_residual_sums_are_those_of_each_image(family, name):
    """The published rule adds up the whole batch."""
    vit = FAMILIES[family].open()
    images, targets = random_images(vit, 3), [0, vt.Contrast(4, 1), 6]
    together = trace_map(vit, images, targets, name)
    for image, target in enumerate(targets):
        assert_same(together[image], trace_map(vit, images[image : image + 1], target, name)[0], 1e-5)


# --- precision


@pytest.mark.parametrize("family", ["timm", "eva rope registers", "transformers sdpa", "torchvision"])
@pytest.mark.parametrize(("precision", "tolerance"), [("double", 1e-6), ("mixed", 1e-4)])
def test_a_float32_model_is_propagated_through_in_float64(family, precision, tolerance):
    vit = FAMILIES[family].open()
    double = vt.open_vit(copy.deepcopy(vit.model).double(), preprocessing=vit.preprocessing)
    images = random_images(vit, 2)
    for name in ("lrp_rollout", "partial_lrp", "full_lrp"):
        found = trace_map(vit, images, [0, 3], name, precision=precision)
        assert_same(found, trace_map(double, images, [0, 3], name), tolerance)
    assert {parameter.dtype for parameter in vit.model.parameters()} == {torch.float32}


def test_single_precision_shows_its_rounding_and_double_does_not():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 2)
    single, double = (trace_map(vit, images, 0, "full_lrp", precision=how) for how in ("single", "double"))
    assert 1e-8 < float((single - double).abs().max() / double.abs().max()) < 1e-2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["timm", "handwritten", "transformers sdpa", "torchvision"])
def test_results_of_linear_layers_are_found_again(family, name):
    """A pass in the model's own type looks them up; without them it gives the same to the bit."""
    vit = FAMILIES[family].open()
    images, maps = random_images(vit, 2), []
    for linears in (True, False):
        with vit.trace(images, [0, 3], capture=vt.Capture(linears=linears)) as trace:
            maps.append(METHODS[name].function(trace, precision="single"))
    assert torch.equal(*maps)


def test_known_results_are_told_apart_and_dropped_when_overwritten():
    tokens, other, weight = torch.rand(2, 5, 3), torch.rand(2, 5, 3), torch.rand(4, 3)
    known = KnownLinears()
    results = [nn.functional.linear(entering, weight) for entering in (tokens, other)]
    for entering, result in zip((tokens, other), results, strict=True):
        known.add(entering, weight, result)
    assert torch.equal(known.find(other, weight), results[1])  # two blocks may share their weights
    assert known.find(other + 1, weight) is None
    assert known.find(other, weight.clone()) is None
    assert known.find(other.double(), weight) is None
    results[1].add_(1)
    assert known.find(other, weight) is None
    assert torch.equal(known.find(tokens, weight), results[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_models_of_half_precision_are_always_run_in_double(name, dtype):
    vit = vt.open_vit(scramble(timm_vit()).to(dtype), preprocessing=vt.Preprocessing(size=WIDE))
    images = random_images(vit, 2)
    single, double = (trace_map(vit, images, 0, name, precision=how) for how in ("single", "double"))
    assert torch.equal(single, double)
    assert single.isfinite().all()
    assert single.any()


def test_what_cancels_is_measured_and_noted():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 2)
    with vit.trace(images, 0) as trace:
        METHODS["lrp_rollout"].function(trace)
        ratios = propagate(trace, 0, "double").cancelled
        assert trace.notes[0][0] == (
            f"Relevance cancels: in one residual add, a branch's absolute relevance is {float(ratios[0]):.3g} times its sum."
        )
    assert (ratios > 1.1).all()
    assert ratios[0] != ratios[1]


# --- which models, and how their operators are spelled


class SpelledOtherwise(HandwrittenBlock):
    """The same arithmetic in other words: einsum, operators in place, operands by name and in the other order."""

    def forward(self, tokens):
        attention, normed = self.attention, self.before(tokens)
        heads, width = attention.heads, tokens.shape[-1] // attention.heads
        query, key, value = (
            part(normed).unflatten(-1, (heads, width)) for part in (attention.query, attention.key, attention.value)
        )
        scores = torch.einsum("bihe,bjhe->bhij", [query, key])
        weights = nn.functional.softmax(scores / width**0.5, dim=-1)
        mixed = attention.out(torch.einsum("bhij,bjhe->bihe", weights, value).flatten(2))
        tokens = torch.add(input=tokens, other=mixed)
        added = self.mlp[2](nn.functional.gelu(nn.functional.linear(self.behind(tokens), *self.mlp[0].parameters())))
        added += tokens
        return added


@pytest.mark.parametrize("name", NAMES)
def test_the_spelling_of_operators_does_not_matter(name):
    plain, other = scramble(HandwrittenViT()), scramble(HandwrittenViT())
    for block in other.layers:
        block.__class__ = SpelledOtherwise
    preprocessing = FAMILIES["handwritten"].open().preprocessing
    first, second = (vt.open_vit(model.double(), preprocessing=preprocessing) for model in (plain, other))
    images = random_images(first, 2)
    assert_same(trace_map(second, images, [0, 3], name), trace_map(first, images, [0, 3], name), 1e-6)


class Sorting(HandwrittenBlock):
    def forward(self, tokens):
        return super().forward(tokens) + 0.01 * tokens.cumsum(-1)


@pytest.mark.parametrize("name", NAMES)
def test_an_operator_without_a_rule_is_named(name):
    model = scramble(HandwrittenViT())
    for block in model.layers:
        block.__class__ = Sorting
    vit = vt.open_vit(model, preprocessing=FAMILIES["handwritten"].open().preprocessing)
    with pytest.raises(vt.VitreousError, match="'cumsum', for which there is no rule"):
        trace_map(vit, random_images(vit, 1), 0, name)


class CutOff(HandwrittenViT):
    def forward(self, images):
        return super().forward(images.detach())


def test_pixels_that_the_model_cuts_off_are_refused_and_attention_is_not():
    vit = vt.open_vit(scramble(CutOff()), preprocessing=FAMILIES["handwritten"].open().preprocessing)
    whole = FAMILIES["handwritten"].open()
    images = random_images(vit, 1)
    with pytest.raises(vt.VitreousError, match="No relevance reaches the pixels"):
        trace_map(vit, images, 0, "full_lrp")
    assert_same(trace_map(vit, images, 0, "lrp_rollout"), trace_map(whole, images, 0, "lrp_rollout"), 1e-6)


@pytest.mark.parametrize("name", ["transformer_attribution", "lrp_rollout"])
def test_a_start_outside_the_model_is_refused(name):
    vit = FAMILIES["timm"].open()
    with pytest.raises(vt.VitreousError, match="block=2 is outside the model"):
        trace_map(vit, random_images(vit, 1), 0, name, start=2)


def test_methods_of_one_trace_share_the_pass_under_rules():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 2), 0) as trace:
        for name in ("transformer_attribution", "lrp_rollout", "full_lrp"):
            METHODS[name].function(trace, precision="mixed")
        assert (trace.forwards, trace.backwards) == (2, 2)  # the other backward is the gradient of attention
        METHODS["partial_lrp"].function(trace, precision="mixed")
        assert (trace.forwards, trace.backwards) == (3, 3)  # the last block alone
