"""Sets: the rules of each relevance method, under all spellings of the functions they replace."""

import torch
import torch.nn.functional as F

from vitreous.vit.rules import detach, gamma, products
from vitreous.vit.rules.names import Function

_SLOPES: dict[Function, float] = {F.gelu: 0.5, F.silu: 0.5, F.hardswish: 0.5, F.mish: 0.6, F.selu: 1.0507009873554805}
"""Activations of the form x times a gate, with their slope at zero."""


def linear_except_attention() -> dict[Function, Function]:
    """Norms, activations and products between streams conserve relevance; a softmax keeps its gradient.

    Relevance of a node is the node times its gradient. Input times ordinary gradient is already the rule that papers
    call epsilon, with epsilon zero, for linear layers, sums and pooling, and the rule of AttnLRP for a softmax: they
    need no replacement. ReLU and its leaky forms are gates by themselves.

    Not covered, and left with their ordinary gradient: group norm, batch norm (linear at evaluation, but its shift is
    no bias that `BiasProbes` sees), and products of two streams by `torch.baddbmm` or `torch.addmm`.
    """
    return {
        F.layer_norm: detach.layer_norm,
        torch.native_layer_norm: detach.native_layer_norm,
        F.rms_norm: detach.rms_norm,
        F.normalize: detach.normalize,
        torch.div: detach.divide,
        torch.mul: products.multiply,
        torch.matmul: products.multiply_matrices,
        torch.einsum: products.contract,
        torch.tanh: detach.gated(torch.tanh, 1.0, detach.Squashed),
        **{function: detach.gated(function, slope) for function, slope in _SLOPES.items()},
    }


def linear() -> dict[Function, Function]:
    """The same with constant attention: the model is a linear function of its tokens, plus biases.

    These are the rules of CP-LRP and of LibraGrad. Gated MLPs are of degree two, and halved.
    """
    return {**linear_except_attention(), torch.softmax: detach.constant_softmax}


def attention_aware(
    gamma_linear: float = 0.0, gamma_conv: float = 0.0, gamma_add: float = 0.0
) -> dict[Function, Function]:
    """Relevance flows through the attention weights as well: the rules of AttnLRP and ResLRP.

    gamma_linear, gamma_conv, gamma_add  of linear layers, convolutions and residual connections; see `gamma`. With 0 a
                                         function is not replaced at all, and costs no more than it does anyhow
    """
    return {
        **linear_except_attention(),
        **({F.linear: gamma.gamma_linear(gamma_linear)} if gamma_linear else {}),
        **({F.conv2d: gamma.gamma_convolution(gamma_conv)} if gamma_conv else {}),
        **({torch.add: gamma.gamma_add(gamma_add)} if gamma_add else {}),
    }
