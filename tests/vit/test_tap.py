"""The Tap and its parts: the same numbers as PyTorch's operators, and exactly the changes that were asked for."""

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from watched import images_of, maps, normalised, plain_logits, preprocessing, relative, require_same_maps

import vitreous as vt
from contracts.families import WIDE, scramble, timm_vit
from oracles import handwritten as hand
from vitreous.core.errors import InputError, MethodNotApplicableError, ModelModeError, UnsupportedModelError
from vitreous.vit.attention import sdpa_operands
from vitreous.vit.gate import Switch, gate
from vitreous.vit.row_linear import row_linear
from vitreous.vit.tap import Tap

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SIZE = hand.SIZE


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def chance(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6


# -- F.scaled_dot_product_attention ------------------------------------------------------------------------------------

MASKS = ("none", "causal", "bool", "bool for each", "bool for keys", "scores", "scores for each", "scores for keys")
sizes = st.integers(1, 5)


def _mask(kind: str, images: int, heads: int, rows: int, keys: int, dtype: torch.dtype, seed: int) -> dict[str, Any]:
    if kind == "none":
        return {}
    if kind == "causal":
        return {"is_causal": True}
    each = (images, heads, rows, keys) if kind.endswith("each") else (rows, keys)
    shape = (images, 1, 1, keys) if kind.endswith("keys") else each
    if kind.startswith("bool"):
        return {"attn_mask": chance(shape, seed)}  # some rows may attend to nothing
    return {"attn_mask": random(*shape, seed=seed, dtype=dtype)}


@settings(max_examples=150, deadline=None)
@given(
    images=sizes, groups=st.integers(1, 3), repeats=st.integers(1, 3), rows=sizes, keys=sizes, width=sizes,
    kind=st.sampled_from(MASKS), scale=st.sampled_from([None, 0.3, -1.0]), dtype=st.sampled_from(list(TOLERANCE)),
    seed=st.integers(0, 100),
)  # fmt: skip
@example(
    images=2,
    groups=2,
    repeats=1,
    rows=3,
    keys=4,
    width=2,
    kind="bool for each",
    scale=None,
    dtype=torch.float64,
    seed=1,
)
def test_attention_and_gradients_are_pytorchs(images, groups, repeats, rows, keys, width, kind, scale, dtype, seed):
    """For every mask, scale and grouping of heads; a token that may attend to nothing gives zeros and no NaN."""
    heads = groups * repeats
    query = random(images, heads, rows, width, seed=seed, dtype=dtype).requires_grad_()
    key = random(images, groups, keys, width, seed=seed + 1, dtype=dtype).requires_grad_()
    value = random(images, groups, keys, width + 1, seed=seed + 2, dtype=dtype).requires_grad_()
    options = {**_mask(kind, images, heads, rows, keys, dtype, seed), "scale": scale, "enable_gqa": repeats > 1}
    weights = random(images, heads, rows, width + 1, seed=seed + 3, dtype=dtype)

    def run() -> tuple[Tensor, ...]:
        output = F.scaled_dot_product_attention(query, key, value, **options)
        return output, *torch.autograd.grad((output * weights).sum(), (query, key, value))

    expected = run()
    with Tap() as tap:
        tap.enter_block(0, images)
        found = run()
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) <= TOLERANCE[dtype]
    (call,) = tap.recording.calls
    assert call.probabilities.shape == (images, heads, rows, keys)
    sums = call.probabilities.detach().sum(-1)
    assert bool(((sums - 1).abs() < 1e-6).logical_or(sums == 0).all())
    if kind in {"none", "scores", "scores for each", "scores for keys"}:
        assert relative(call.scores(slice(None)).softmax(-1), call.probabilities) <= TOLERANCE[dtype]
        assert relative(call.scores(slice(0, 2)), call.scores(slice(None))[:, :, :2]) <= TOLERANCE[dtype]


@pytest.mark.parametrize("mask", [None, "bool", "scores"])
@pytest.mark.parametrize("flat", [False, True])
def test_attention_on_three_axes(mask, flat):
    """One head (b, n, e), or images and heads on one axis (b * h, n, e)."""
    images, heads = 2, 3 if flat else 1
    parts = [random(images * heads, 5, 4, seed=seed) for seed in range(3)]
    options = {"bool": chance((images * heads, 5, 5), 1), "scores": random(images * heads, 5, 5, seed=4)}
    attn_mask = options.get(mask)
    expected = F.scaled_dot_product_attention(*parts, attn_mask=attn_mask)
    with Tap() as tap:
        tap.enter_block(0, images)
        found = F.scaled_dot_product_attention(*parts, attn_mask=attn_mask)
    assert relative(found, expected) <= 1e-12
    (call,) = tap.recording.calls
    assert call.probabilities.shape == (images, heads, 5, 5)
    by_hand = (parts[0] @ parts[1].transpose(1, 2) / 2).unflatten(0, (images, heads))
    if mask is None:
        assert relative(call.scores(slice(None)), by_hand) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_in_half_precision_is_computed_in_float32(dtype):
    """Nearer to the exact result than the type's own rounding of the operands, and returned in that type."""
    parts = [random(2, 3, 7, 8, seed=seed, dtype=dtype) for seed in range(3)]
    exact = F.scaled_dot_product_attention(*(part.double() for part in parts))
    with Tap() as tap:
        found = F.scaled_dot_product_attention(*parts)
    assert found.dtype == dtype
    assert relative(found.double(), exact) <= 2 * torch.finfo(dtype).eps
    (call,) = tap.recording.calls
    assert (call.dtype, call.probabilities.dtype) == (dtype, torch.float32)


def test_attention_dropout_is_refused():
    parts = [random(1, 1, 3, 2)] * 3
    with pytest.raises(ModelModeError, match=r"dropout 0.1.*model.eval\(\)"):
        sdpa_operands(*parts, dropout_p=0.1)


def test_attention_on_five_axes_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"query of shape \(1, 1, 1, 3, 2\)"):
        sdpa_operands(*[random(1, 1, 1, 3, 2)] * 3)


# -- F.multi_head_attention_forward ------------------------------------------------------------------------------------


@st.composite
def multihead_cases(draw: st.DrawFn) -> dict[str, Any]:
    unbatched = draw(st.booleans())
    return {
        "heads": draw(st.integers(1, 3)),
        "images": 1 if unbatched else draw(st.integers(1, 3)),
        "unbatched": unbatched,
        "rows": draw(sizes),
        "keys": draw(st.one_of(st.none(), sizes)),  # None: attention of tokens to themselves
        "separate": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "need_weights": draw(st.booleans()),
        "average": draw(st.booleans()),
        "mask": draw(st.sampled_from(["none", "bool", "scores", "bool for each", "scores for each"])),
        "padding": draw(st.sampled_from(["none", "bool", "scores"])),
        "dtype": draw(st.sampled_from(list(TOLERANCE))),
        "seed": draw(st.integers(0, 100)),
    }


@settings(max_examples=200, deadline=None)
@given(multihead_cases())
@pytest.mark.filterwarnings("ignore:Support for mismatched")  # of PyTorch, for masks of two kinds at once
def test_multihead_attention_is_pytorchs(case):
    """Every way to call nn.MultiheadAttention: output, returned weights and gradients, with and without a batch."""
    width, dtype, seed = 2 * case["heads"], case["dtype"], case["seed"]
    sizes_of_others = {"kdim": 3, "vdim": 5} if case["separate"] and case["keys"] else {}
    torch.manual_seed(seed)
    module = nn.MultiheadAttention(
        width, case["heads"], bias=case["bias"], batch_first=case["batch_first"], dtype=dtype, **sizes_of_others
    ).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False).copy_(random(*parameter.shape, seed=seed, dtype=dtype))
    rows, keys = case["rows"], case["keys"] or case["rows"]

    def tokens(count: int, size: int, more: int) -> Tensor:
        shape = (count, size) if case["unbatched"] else (case["images"], count, size)
        made = random(*shape, seed=seed + more, dtype=dtype)
        made = made if case["batch_first"] or case["unbatched"] else made.transpose(0, 1).contiguous()
        return made.requires_grad_()

    query = tokens(rows, width, 1)
    key, value = (query, query)
    if case["keys"]:
        key, value = (
            tokens(keys, sizes_of_others.get("kdim", width), 2),
            tokens(keys, sizes_of_others.get("vdim", width), 3),
        )
    options = {"need_weights": case["need_weights"], "average_attn_weights": case["average"]}
    options |= _masks(case, rows, keys, dtype)

    def run() -> tuple[Tensor | None, ...]:
        output, weights = module(query, key, value, **options)
        return output, weights, *torch.autograd.grad((output**2).sum(), (query, key, value) if case["keys"] else query)

    expected = run()
    with Tap() as tap:
        tap.enter_block(0, case["images"])
        found = run()
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or relative(ours, theirs) <= TOLERANCE[dtype] * 10
    (call,) = tap.recording.calls
    assert call.probabilities.shape == (case["images"], case["heads"], rows, keys)


def _masks(case: dict[str, Any], rows: int, keys: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Masks under which every token may attend to the first, because PyTorch gives NaN where one may attend to none."""
    found: dict[str, Tensor] = {}
    if case["mask"] != "none":
        shape = (case["images"] * case["heads"], rows, keys) if case["mask"].endswith("each") else (rows, keys)
        forbidden = chance(shape, case["seed"])
        forbidden[..., 0] = False
        found["attn_mask"] = (
            forbidden if case["mask"].startswith("bool") else random(*shape, seed=case["seed"], dtype=dtype)
        )
    if case["padding"] != "none":
        shape = (keys,) if case["unbatched"] else (case["images"], keys)
        forbidden = chance(shape, case["seed"] + 1)
        forbidden[..., 0] = False
        scores = random(*shape, seed=case["seed"] + 1, dtype=dtype)
        found["key_padding_mask"] = forbidden if case["padding"] == "bool" else scores
    return found


@pytest.mark.parametrize(
    ("options", "name"), [({"add_bias_kv": True}, "bias_k, bias_v"), ({"add_zero_attn": True}, "add_zero_attn")]
)
def test_multihead_attention_with_tokens_of_its_own_is_refused(options, name):
    module = nn.MultiheadAttention(4, 2, **options).eval()
    rows = random(3, 1, 4, dtype=torch.float32)
    with Tap(), pytest.raises(UnsupportedModelError, match=f"{name}, which adds tokens that are no patches"):
        module(rows, rows, rows)


# -- attention written out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", hand.SPELLINGS)
@pytest.mark.parametrize("images", [1, 3])
def test_spellings_give_the_same_nodes(spelling, images):
    """Output, probabilities, values, scores and gradients of each spelling are those of the fused operator."""
    parts = [random(images, hand.HEADS, 6, hand.HEAD, seed=seed).requires_grad_() for seed in range(3)]

    def run(core: hand.Core) -> tuple[Tensor, Any, tuple[Tensor, ...]]:
        with Tap() as tap:
            tap.enter_block(0, images)
            output = core(*parts)
        (call,) = tap.recording.calls
        return output, call, torch.autograd.grad((output**2).sum(), [*parts, call.probabilities, call.values])

    output, call, gradients = run(hand.SPELLINGS[spelling])
    expected, reference, slopes = run(hand.by_sdpa)
    # One spelling computes its softmax in float32 on purpose.
    tolerance = 1e-6 if spelling == "matmul" else 1e-12
    pairs = [(output, expected), (call.probabilities, reference.probabilities), (call.values, reference.values),
             (call.scores(slice(None)), reference.scores(slice(None))), (call.scores(slice(2, 4)), reference.scores(slice(2, 4))),
             *zip(gradients, slopes, strict=True)]  # fmt: skip
    for ours, theirs in pairs:
        assert relative(ours, theirs) <= tolerance


def test_what_is_no_attention_is_let_through():
    """Products and softmaxes outside blocks, over other axes, or of matrices that are not square."""
    rows = random(2, 3, 4, 5)
    with Tap() as tap:
        (rows @ rows.transpose(2, 3)).softmax(-1) @ rows  # no block
        tap.enter_block(0, 2)
        (rows.transpose(2, 3) @ rows).softmax(-2) @ rows.transpose(2, 3)  # not over the last axis
        (rows[:, :, :2] @ rows.transpose(2, 3)).softmax(-1) @ rows  # a query of its own
        weights = (rows @ rows.transpose(2, 3)).softmax(-1)
        (2 * weights) @ rows  # changed
        weights.add_(1)
        weights @ rows  # changed in place
        tap.enter_block(1, 2)
        weights @ rows  # of the block before
    assert tap.recording.calls == []


# -- gates -------------------------------------------------------------------------------------------------------------


def test_a_gate_is_open_unless_closed():
    node = random(3).requires_grad_()
    switch = Switch()
    passed = gate(node, switch)
    total = (passed**2).sum() + node.sum()
    assert torch.equal(passed, node)
    (opened,) = torch.autograd.grad(total, node, retain_graph=True)
    assert torch.equal(opened, 2 * node + 1)
    with switch.close():
        (closed,) = torch.autograd.grad(total, node, retain_graph=True)
        (at_gate,) = torch.autograd.grad(total, passed, retain_graph=True)
    assert torch.equal(closed, torch.ones(3, dtype=torch.float64))
    assert torch.equal(at_gate, 2 * node)
    with pytest.raises(ZeroDivisionError), switch.close():
        1 / 0  # noqa: B018
    assert not switch.closed


def spelled(core: hand.Core) -> nn.Module:
    return scramble(hand.HandwrittenViT(hand.Blocks(lambda: hand.Block(hand.Attention(core)), 3))).double()


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("spelling", ["sdpa", "product", "bmm"])
def test_gradients_with_open_and_closed_gates(spelling, cut):
    """Those of a model written so: probabilities kept as nodes, and cut off from the input of their attention or not."""
    kept: list[Tensor] = []

    def by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = (query @ key.transpose(-2, -1) * hand.HEAD**-0.5).softmax(-1)
        if cut:
            weights, value = weights.detach().requires_grad_(), value.detach()
        kept.append(weights)
        return weights @ value

    images = images_of(SIZE)
    vit = vt.open_vit(spelled(hand.SPELLINGS[spelling]), preprocessing=preprocessing(SIZE))
    logits = spelled(by_hand)(vit.prepare(images))
    expected = torch.autograd.grad(logits[0, 1] + logits[1, 4] + logits[2, 0], kept)
    with vit.trace(images, target=[1, 4, 0]) as trace:
        found = trace.attention_grad_cut if cut else trace.attention_grad
        for ours, by_definition in zip(found, expected, strict=True):
            assert relative(ours, by_definition) <= 1e-12
        # Asked in the other order, both are still right: a closed gate is open again.
        again = trace.attention_grad
    assert (relative(again[0], expected[0]) <= 1e-12) is not cut


# -- row_linear --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    images=sizes, tokens=st.integers(1, 6), reached=st.lists(st.booleans(), min_size=6, max_size=6), bias=st.booleans(),
    cancel=st.booleans(), seed=st.integers(0, 50),
)  # fmt: skip
def test_row_linear_is_linear(images, tokens, reached, bias, cancel, seed):
    """Value and gradient, whichever tokens the gradient reaches, and even if it adds up to zero in one of them."""
    node = random(images, tokens, 3, seed=seed).requires_grad_()
    weight, offset = random(4, 3, seed=seed + 1), random(4, seed=seed + 2) if bias else None
    incoming = random(images, tokens, 4, seed=seed + 3)
    if cancel:
        incoming[..., 2:] = -incoming[..., :2]
    incoming = incoming * torch.tensor(reached[:tokens])[:, None]
    expected, found = F.linear(node, weight, offset), row_linear(node, weight, offset)
    assert torch.equal(found, expected)
    (slope,) = torch.autograd.grad(found, node, incoming)
    (reference,) = torch.autograd.grad(expected, node, incoming)
    assert relative(slope, reference) <= 1e-12


def test_row_linear_multiplies_only_rows_that_gradient_reaches():
    node = random(2, 6, 3).requires_grad_()
    weight = torch.full((4, 3), float("nan"), dtype=node.dtype)  # whatever is multiplied shows
    incoming = torch.zeros(2, 6, 4, dtype=node.dtype)
    incoming[1, 2:4] = 1.0
    (slope,) = torch.autograd.grad(row_linear(node, weight), node, incoming)
    assert slope.isnan().all(-1).any(0).tolist() == [False, False, True, True, False, False]


def test_row_linear_gives_way_where_it_does_not_apply():
    """To a weight that wants a gradient, and to rows without a batch."""
    node, weight = random(2, 4, 3).requires_grad_(), random(4, 3).requires_grad_()
    found = torch.autograd.grad(row_linear(node, weight)[:, 0].sum(), (node, weight))
    expected = torch.autograd.grad(F.linear(node, weight)[:, 0].sum(), (node, weight))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert torch.equal(row_linear(node[0], weight), F.linear(node[0], weight))


@pytest.mark.parametrize("token", ["first", "last", "two", "registers", "none"])
def test_row_linear_changes_no_gradient_of_a_model(token, monkeypatch):
    vit = vt.open_vit(
        scramble(hand.HandwrittenViT(hand.HOLDERS["list"](), token)).double(), preprocessing=preprocessing(SIZE)
    )
    images = images_of(SIZE)
    kinds = ("attention_grad", "attention_grad_cut", "attention_input_grad")
    with vit.trace(images, target=1) as trace:
        ours = {kind: getattr(trace, kind) for kind in kinds}
        pixels = trace.input_grad
    monkeypatch.setattr("vitreous.vit.tap.row_linear", F.linear)
    with vit.trace(images, target=1) as plain:
        for kind in kinds:
            assert all(relative(*pair) <= 1e-12 for pair in zip(ours[kind], getattr(plain, kind), strict=True))
        assert relative(pixels, plain.input_grad) <= 1e-12


def test_attention_inputs_left_out_of_the_backward():
    """The other gradients are the same, and whoever asks for those left out is told how to get them."""
    vit = vt.open_vit(
        scramble(hand.HandwrittenViT(hand.HOLDERS["list"](), "first")).double(), preprocessing=preprocessing(SIZE)
    )
    images = images_of(SIZE)
    with vit.trace(images, capture=vt.Capture(inputs=False)) as less, vit.trace(images) as all_of_it:
        assert relative(less.input_grad, all_of_it.input_grad) <= 1e-12
        for pair in zip(less.attention_grad, all_of_it.attention_grad, strict=True):
            assert relative(*pair) <= 1e-12
        with pytest.raises(InputError, match=r"inputs=True"):
            _ = less.attention_input_grad


# -- rules -------------------------------------------------------------------------------------------------------------


def steeper(rows: Tensor, approximate: str = "none") -> Tensor:
    """GELU with twice its gradient."""
    value = F.gelu(rows, approximate=approximate)
    return 2 * value - value.detach()


class Steeper(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return steeper(rows)


def test_rules_change_gradients_and_nothing_else():
    """They are those of a model whose activations were exchanged by hand."""
    images = images_of(SIZE)
    plain, exchanged = spelled(hand.by_sdpa), spelled(hand.by_sdpa)
    for layer in exchanged.blocks.layers:
        layer.mlp[1] = Steeper()
    vit, other = (vt.open_vit(model, preprocessing=preprocessing(SIZE)) for model in (plain, exchanged))
    with vit.trace(images, target=2) as trace, trace.again(rules={F.gelu: steeper}) as ruled:
        assert relative(ruled.logits, trace.logits) <= 1e-12
        assert ruled.target is trace.target
        assert relative(ruled.attention_grad[0], trace.attention_grad[0]) > 1e-2
        with other.trace(images, target=2) as expected:
            for kind in ("attention_grad", "attention_grad_cut", "attention_input_grad"):
                for ours, by_hand in zip(getattr(ruled, kind), getattr(expected, kind), strict=True):
                    assert relative(ours, by_hand) <= 1e-12
            assert relative(ruled.input_grad, expected.input_grad) <= 1e-12
    with vit.trace(images, target=2) as after:
        assert relative(after.input_grad, trace_gradient(plain, vit, images)) <= 1e-12


def trace_gradient(model: nn.Module, vit: vt.Vit, images: Tensor) -> Tensor:
    """Pixel gradient of output 2 without vitreous."""
    inputs = vit.prepare(images).requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs)[:, 2].sum(), inputs)
    return gradient


def test_a_rule_for_every_function_of_a_block():
    """Rules are looked up before anything else is done; one that calls its own function does not meet itself."""
    seen: dict[str, int] = {}

    def counting(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def rule(*args: Any, **kwargs: Any) -> Tensor:
            seen[function.__name__] = seen.get(function.__name__, 0) + 1
            return function(*args, **kwargs)

        return rule

    vit = vt.open_vit(spelled(hand.by_sdpa), preprocessing=preprocessing(SIZE))
    rules = {function: counting(function) for function in (F.gelu, F.layer_norm, F.conv2d)}
    images = images_of(SIZE)
    with vit.trace(images, target=0, rules=rules) as trace, vit.trace(images, target=0) as plain:
        assert relative(trace.logits, plain.logits) <= 1e-12
        assert relative(trace.attention_grad[0], plain.attention_grad[0]) <= 1e-12
    assert seen == {"gelu": 3, "layer_norm": 7, "conv2d": 1}


# -- edits -------------------------------------------------------------------------------------------------------------

EDITED = {
    "sdpa": lambda: hand.Blocks(lambda: hand.Block(hand.Attention(hand.by_sdpa)), 2),
    "handwritten": lambda: hand.Blocks(lambda: hand.Block(hand.Attention(hand.by_bmm)), 2),
    "multihead": hand.HOLDERS["multihead"],
}
each_kind = pytest.mark.parametrize("kind", EDITED)


def edited_model(kind: str) -> tuple[nn.Module, vt.Vit, Tensor]:
    model = scramble(hand.HandwrittenViT(EDITED[kind]())).double()
    return model, vt.open_vit(model, preprocessing=preprocessing(SIZE)), images_of(SIZE)


def projections(model: nn.Module, block: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of query, key and value, as "3 h e d" and "3 h e"."""
    attention = model.blocks.layers[block].attn
    inner = attention.inner if isinstance(attention, hand.Multihead) else attention
    weight, bias = (
        (inner.in_proj_weight, inner.in_proj_bias) if inner is not attention else (inner.qkv.weight, inner.qkv.bias)
    )
    return weight.data.view(3, hand.HEADS, hand.HEAD, hand.WIDTH), bias.data.view(3, hand.HEADS, hand.HEAD)


@each_kind
def test_an_edit_that_changes_nothing(kind):
    model, vit, images = edited_model(kind)
    blocks: list[int] = []

    def edit(block: int, probabilities: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        blocks.append(block)
        assert probabilities.shape == (3, hand.HEADS, 13, 13)
        assert values.shape == (3, hand.HEADS, 13, hand.HEAD)
        return probabilities, values

    assert relative(vit.logits(images, edit=edit), plain_logits(model, vit.prepare(images))) <= 1e-12
    assert blocks == [0, 1]


@each_kind
def test_switching_a_head_off(kind):
    """Zero values, or zero probabilities: as if the head's value projection were zero."""
    model, vit, images = edited_model(kind)
    ablated = copy.deepcopy(model)
    weight, bias = projections(ablated, 1)
    weight[2, 0], bias[2, 0] = 0, 0
    expected = plain_logits(ablated, vit.prepare(images))

    def without(part: int) -> Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]:
        def edit(block: int, *parts: Tensor) -> tuple[Tensor, Tensor]:
            changed = [each.clone() for each in parts]
            if block == 1:
                changed[part][:, 0] = 0
            return changed[0], changed[1]

        return edit

    assert relative(expected, plain_logits(model, vit.prepare(images))) > 1e-3
    for part in (0, 1):
        assert relative(vit.logits(images, edit=without(part)), expected) <= 1e-12
    with vit.trace(images, target=3) as trace:
        assert relative(trace.rescore(edit=without(0)), expected[:, 3]) <= 1e-12


@each_kind
def test_uniform_attention(kind):
    """Equal shares for all tokens: as if queries were zero."""
    model, vit, images = edited_model(kind)
    level = copy.deepcopy(model)
    for block in (0, 1):
        weight, bias = projections(level, block)
        weight[0], bias[0] = 0, 0

    def edit(_block: int, probabilities: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(probabilities, 1 / 13), values

    assert relative(vit.logits(images, edit=edit), plain_logits(level, vit.prepare(images))) <= 1e-12


# -- capture -----------------------------------------------------------------------------------------------------------

CAPTURED = {
    "fused": (lambda: timm_vit(depth=4), WIDE),
    "bmm": (lambda: hand.HandwrittenViT(hand.Blocks(lambda: hand.Block(hand.Attention(hand.by_bmm)), 4)), SIZE),
    "pairs": (lambda: hand.HandwrittenViT(hand.PairBlocks(hand.by_sdpa, 4), "none"), SIZE),
    "tokens first": (
        lambda: hand.HandwrittenViT(hand.Blocks(lambda: hand.encoder_layer(batch_first=False), 4, sequence_first=True)), SIZE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CAPTURED)
@pytest.mark.parametrize("pixels", [False, True])
def test_a_limited_capture_gives_the_same_nodes(name, pixels):
    build, size = CAPTURED[name]
    vit = vt.open_vit(scramble(build()).double(), preprocessing=preprocessing(size))
    images = images_of(size)
    with vit.trace(images, target=[0, 1, 2]) as full:
        for first in range(1, 4):
            with vit.trace(images, target=[0, 1, 2], capture=vt.Capture(first=first, pixels=pixels)) as trace:
                assert trace.first == first
                assert relative(trace.logits, full.logits) <= 1e-12
                for kind in ("attention", "values", "attention_grad", "attention_grad_cut", "attention_inputs",
                             "attention_input_grad", "tokens"):  # fmt: skip
                    ours, all_of_them = getattr(trace, kind), getattr(full, kind)
                    assert len(ours) == 4 - first + (kind == "tokens")
                    for found, expected in zip(ours, all_of_them[first:], strict=True):
                        assert relative(found, expected) <= 1e-12, kind
                assert relative(trace.scores(0), full.scores(first)) <= 1e-12
                if pixels:
                    assert relative(trace.input_grad, full.input_grad) <= 1e-12
                else:
                    with pytest.raises(InputError, match=r"without pixels.*Capture\(pixels=True\)"):
                        trace.input_grad  # noqa: B018


def test_a_capture_without_a_graph():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=preprocessing(WIDE))
    images = images_of(WIDE)
    with vit.trace(images, capture=vt.Capture(graph=False)) as trace, vit.trace(images) as full:
        for found, expected in zip(trace.attention, full.attention, strict=True):
            assert not found.requires_grad
            assert relative(found, expected) <= 1e-6
        with pytest.raises(MethodNotApplicableError, match=r"VX-E206.*traced without a graph"):
            trace.attention_grad  # noqa: B018


def test_a_method_that_reads_one_block_captures_one():
    """`gradcam` of the last block asks for no more, and gives what a full capture gives."""
    vit = vt.open_vit(scramble(timm_vit(depth=3)), preprocessing=preprocessing(WIDE))
    images = images_of(WIDE)
    alone = maps(vit, images, ("gradcam",))
    together = maps(vit, images, ("gradcam", "rollout", "saliency"))
    require_same_maps(alone, {"gradcam": together["gradcam"]}, 1e-6)
    with vit.trace(images, capture=vt.Capture(first=2)) as trace:
        assert len(trace.attention) == 1


# -- the end of a trace ------------------------------------------------------------------------------------------------


def test_a_closed_trace_keeps_numbers_and_frees_the_rest():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=preprocessing(WIDE))
    images = images_of(WIDE)
    with vit.trace(images, target=[0, 1, 2]) as trace:
        trace.attention_grad, trace.attention_grad_cut  # noqa: B018
        held = [
            weakref.ref(tensor) for tensor in (*trace.attention, *trace.attention_grad, *trace.tokens, trace.inputs)
        ]
        score = trace.score.detach().clone()
    gc.collect()
    assert not any(reference() is not None for reference in held)
    assert torch.equal(trace.score, score)
    assert not trace.logits.requires_grad
    assert relative(trace.logits, plain_logits(vit.model, normalised(vit, images))) <= 1e-5
    for name in ("attention", "tokens", "attention_grad", "attention_grad_cut", "input_grad", "inputs"):
        with pytest.raises(InputError, match=r"The trace is closed.*`with` block"):
            getattr(trace, name)
