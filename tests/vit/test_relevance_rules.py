"""Relevance rules on single operators, in every spelling that a model may use."""

import math

import pytest
import torch
import torch.nn.functional as F

from vitreous.vit.rules.biases import BiasProbes
from vitreous.vit.rules.gamma import gamma_add, gamma_convolution, gamma_linear
from vitreous.vit.rules.names import spelled
from vitreous.vit.rules.sets import attention_aware, linear
from vitreous.vit.tap import Ruling

RULES = spelled(linear())


def draw(*shape, seed=0):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_()


def ruled(function, *streams, rules=RULES):
    with Ruling(rules):
        return function(*streams)


def relevance(function, *streams, rules=RULES):
    """The result, and what each stream gets of a relevance that is its product with random numbers."""
    found = ruled(function, *streams, rules=rules)
    weights = draw(*found.shape, seed=9).detach()
    gradients = torch.autograd.grad((found * weights).sum(), streams, allow_unused=True)
    shares = [
        torch.zeros_like(stream) if gradient is None else stream * gradient
        for stream, gradient in zip(streams, gradients, strict=True)
    ]
    return found, found * weights, shares


WEIGHT, BIAS = draw(4, seed=5).detach(), torch.zeros(4, dtype=torch.float64)
ONE_STREAM = {
    "F.gelu": F.gelu,
    "F.gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu by erf": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "gelu by tanh": lambda x: 0.5 * x * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3)))),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "F.silu": F.silu,
    "F.silu in place": lambda x: F.silu(x + 0, inplace=True),
    "silu by hand, in place": lambda x: (x + 0).mul_(x.sigmoid()),
    "F.hardswish": F.hardswish,
    "F.mish": F.mish,
    "F.selu": F.selu,
    "torch.tanh": torch.tanh,
    "Tensor.tanh_": lambda x: (x + 0).tanh_(),
    "rms norm": lambda x: F.rms_norm(x, (4,), WEIGHT),
    "rms norm by rsqrt": lambda x: WEIGHT * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "rms norm by division": lambda x: x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "F.normalize": lambda x: F.normalize(x, dim=-1),
    "length by hand": lambda x: x / x.norm(dim=-1, keepdim=True),
    "division in place": lambda x: (x + 0).div_(x.norm(dim=-1, keepdim=True)),
}


@pytest.mark.parametrize("name", ONE_STREAM)
def test_entry_by_entry_relevance_is_handed_on(name):
    stream = draw(2, 3, 4)
    found, given, (share,) = relevance(ONE_STREAM[name], stream)
    assert torch.allclose(found, ONE_STREAM[name](stream), rtol=1e-14)
    assert torch.allclose(share, given, rtol=1e-12, atol=1e-15)


NORMS = {
    "F.layer_norm": lambda x: F.layer_norm(x, (4,), WEIGHT, BIAS, 1e-6),
    "by name": lambda x: F.layer_norm(input=x, normalized_shape=(4,), weight=WEIGHT, eps=1e-6),
    "torch.layer_norm": lambda x: torch.layer_norm(x, (4,), WEIGHT, BIAS, 1e-6, False),
    "torch.native_layer_norm": lambda x: torch.native_layer_norm(x, (4,), WEIGHT, BIAS, 1e-6)[0],
    "by hand": lambda x: (
        (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt() * WEIGHT
    ),
    "without weight": lambda x: F.layer_norm(x, (4,), eps=1e-6),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_layer_norm_conserves_the_relevance_of_each_token(name):
    stream = draw(2, 3, 4)
    found, given, (share,) = relevance(NORMS[name], stream)
    assert torch.allclose(found, NORMS[name](stream), rtol=1e-14)
    assert torch.allclose(share.sum(-1), given.sum(-1), rtol=1e-12)
    _, _, (plain,) = relevance(NORMS[name], stream, rules={})
    assert plain.sum(-1).abs().max() < 1e-4  # which is what the rule is for


PRODUCTS = {
    "*": lambda x, y: x * y,
    "mul_": lambda x, y: (x + 0).mul_(y),
    "silu gate": lambda x, y: F.silu(x) * y,
    "@": lambda x, y: x @ y.transpose(1, 2),
    "bmm": lambda x, y: torch.bmm(x, y.mT),
    "einsum": lambda x, y: torch.einsum("bnd,bmd->bnm", x, y),
    "einsum of a list": lambda x, y: torch.einsum("bnd,bmd->bnm", [x, y]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_both_factors_get_half(name):
    streams = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    _, given, shares = relevance(PRODUCTS[name], *streams)
    for share in shares:
        assert torch.allclose(share.sum(), given.sum() / 2, rtol=1e-12)


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_constant_factor_takes_nothing(name):
    first, second = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    _, given, (share,) = relevance(lambda x: PRODUCTS[name](x, second.detach()), first)
    assert torch.allclose(share.sum(), given.sum(), rtol=1e-12)


def test_a_gate_takes_nothing():
    first, second = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    _, given, shares = relevance(lambda x, y: torch.sigmoid(x) * y, first, second)
    assert not shares[0].any()
    assert torch.allclose(shares[1], given, rtol=1e-12)


SOFTMAX = {
    "F.softmax": lambda x: F.softmax(x, dim=-1),
    "with type": lambda x: F.softmax(x, dim=-1, dtype=torch.float64),
    "torch.softmax": lambda x: torch.softmax(x, -1),
    "Tensor.softmax": lambda x: x.softmax(-1, torch.float64),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_softmax_over_tokens_is_constant_and_one_over_outputs_is_not(name):
    assert not ruled(SOFTMAX[name], draw(2, 3, 4)).requires_grad
    assert ruled(SOFTMAX[name], draw(2, 4)).requires_grad


def test_the_softmax_rule_of_attnlrp():
    # R_i = x_i (R_i - s_i sum_j R_j), with s the softmax, as the paper writes it.
    scores = draw(2, 3, 4)
    found, given, (share,) = relevance(lambda x: x.softmax(-1), scores, rules=spelled(attention_aware()))
    expected = scores * (given - found * given.sum(-1, keepdim=True))
    assert torch.allclose(share, expected, rtol=1e-12)


# --- gamma: every contribution formed


def shares_by_hand(contributions, given, gamma):
    """w_i c_i / sum_j w_j c_j of what is given, with w = 1 + gamma for those of the sign of the sum."""
    agree = (contributions * contributions.sum(-1, keepdim=True) > 0).double()
    weighed = (1 + gamma * agree) * contributions
    return weighed / weighed.sum(-1, keepdim=True) * given[..., None]


@pytest.mark.parametrize("gamma", [0.05, 1.0, 100.0])
def test_gamma_in_a_linear_layer(gamma):
    tokens, weight, bias = draw(2, 3, 4), draw(5, 4, seed=1).detach(), draw(5, seed=2).detach()
    rules = {F.linear: gamma_linear(gamma)}
    _, given, (share,) = relevance(lambda x: F.linear(x, weight, bias), tokens, rules=rules)
    contributions = torch.cat([tokens[..., None, :] * weight, bias[:, None].expand(2, 3, 5, 1)], -1)
    assert torch.allclose(share, shares_by_hand(contributions, given, gamma)[..., :-1].sum(2), rtol=1e-10)


def test_gamma_in_a_linear_layer_conserves_without_bias_and_leaves_unreached_tokens_alone():
    tokens, weight = draw(2, 3, 4), draw(5, 4, seed=1).detach()
    found = ruled(lambda x: F.linear(x, weight), tokens, rules={F.linear: gamma_linear(0.7)})
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), tokens)
    assert torch.allclose((tokens * gradient)[:, 1].sum(-1), found[:, 1].sum(-1), rtol=1e-10)
    assert not gradient[:, [0, 2]].any()


def test_gamma_in_a_convolution_is_that_of_a_linear_layer_on_patches():
    images, weight, bias = draw(2, 3, 4, 6), draw(5, 3, 2, 2, seed=1).detach(), draw(5, seed=2).detach()
    rules = {F.conv2d: gamma_convolution(0.4), F.linear: gamma_linear(0.4)}

    def by_hand(x):
        patches = x.reshape(2, 3, 2, 2, 3, 2).permute(0, 2, 4, 1, 3, 5).reshape(2, 6, 12)
        return F.linear(patches, weight.flatten(1), bias).transpose(1, 2).reshape(2, 5, 2, 3)

    _, _, (share,) = relevance(lambda x: F.conv2d(x, weight, bias, stride=2), images, rules=rules)
    _, _, (expected,) = relevance(by_hand, images, rules=rules)
    assert torch.allclose(share, expected, rtol=1e-10)


@pytest.mark.parametrize("spelling", ["+", "add", "in place"])
def test_gamma_at_a_residual_connection(spelling):
    sums = {"+": lambda x, y: x + y, "add": torch.add, "in place": lambda x, y: (x * 1).add_(y)}
    streams = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    _, given, shares = relevance(sums[spelling], *streams, rules=spelled({torch.add: gamma_add(0.5)}))
    expected = shares_by_hand(torch.stack(streams, -1), given, 0.5)
    assert torch.allclose(torch.stack(shares, -1), expected, rtol=1e-10)
    size = (shares[0].abs() + shares[1].abs()) / given.abs()
    assert size.max() <= 1 + 2 / 0.5


def test_sums_that_are_no_residual_connection_keep_their_gradient():
    rules = spelled({torch.add: gamma_add(1.0)})
    for first, second in [
        (draw(2, 3, 4), draw(4, seed=1).detach()),
        (draw(2, 2, 3, 4), draw(2, 2, 3, 4, seed=1)),
        (draw(2, 4), draw(2, 4, seed=1)),
        (draw(2, 3, 4), draw(1, 3, 4, seed=1)),
    ]:
        (gradient,) = torch.autograd.grad(ruled(torch.add, first, second, rules=rules).sum(), first)
        assert torch.equal(gradient, torch.ones_like(first))


def test_nothing_in_gives_nothing_and_no_nan():
    stream = torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True)
    update = draw(2, 3, 4)
    found = ruled(torch.add, F.gelu(stream), update - update, rules=spelled(attention_aware(1.0, 1.0, 1.0)))
    (gradient,) = torch.autograd.grad(found.sum(), stream)
    assert gradient.isfinite().all()


# --- biases


def test_probes_give_every_bias_times_its_gradient_at_each_token():
    tokens, weight, bias = draw(2, 3, 4), draw(4, 4, seed=1).detach(), draw(4, seed=2).detach()
    probes = BiasProbes()
    rules = spelled(probes.around(linear()))
    for function in (
        lambda x: F.linear(x, weight, bias),
        lambda x: F.linear(x, weight, bias=bias),
        lambda x: F.layer_norm(x, (4,), WEIGHT, bias),
        lambda x: torch.native_layer_norm(x, (4,), WEIGHT, bias, 1e-6)[0],
        lambda x: x + bias,
        lambda x: bias + x,
        lambda x: (x * 1).add_(bias),
    ):
        probes.leaves.clear()
        found = ruled(function, tokens, rules=rules)
        assert torch.allclose(found, function(tokens), rtol=1e-14)
        weights = draw(*found.shape, seed=9).detach()
        (added,) = torch.autograd.grad((found * weights).sum(), probes.leaves)
        assert torch.allclose(added.squeeze(-1), (weights * bias).sum(-1), rtol=1e-12)


def test_a_sum_of_two_streams_and_a_layer_without_bias_have_no_probe():
    probes = BiasProbes()
    rules = spelled(probes.around(linear()))
    ruled(lambda x, y: F.linear(x + y, WEIGHT.diag()) + 1, draw(2, 3, 4), draw(2, 3, 4, seed=1), rules=rules)
    assert not probes.leaves
