"""LibraGrad: what every patch token and every bias adds to the score, with balanced gradients. Mehri et al. 2025."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vitreous.core.shapes import PatchMap, PerToken
from vitreous.methods._method import method
from vitreous.vit.passes import Capture
from vitreous.vit.rules.biases import BiasProbes
from vitreous.vit.rules.names import spelled
from vitreous.vit.rules.sets import linear
from vitreous.vit.trace import Trace


@dataclass(frozen=True)
class _Terms:
    """Token times gradient at the input of each block, and bias times gradient of all biases."""

    blocks: list[PerToken]
    biases: PerToken


@method(
    family="relevance propagation",
    paper="arXiv:2411.16760",
    class_specific=True,
    signed=True,
    unit="share of the score, once for each block",
    cost="2F1B",
    repeats=True,
)
def libragrad(
    trace: Trace,
    libra: bool = True,
    aggregate: Literal["fullgrad_plus", "fullgrad", "input_x_gradient_plus", "input_x_gradient"] = "fullgrad_plus",
) -> PatchMap:
    """Add up token times gradient at the input of every block, and bias times gradient of all biases: FullGrad+.

    The gradients are those of a model in which attention weights, standard deviations of norms and gates of activations
    are constant, and the factors of a gated MLP count half. Then FullGrad is complete: tokens and biases add up to the
    score. The error is measured and noted in the record.

    libra      False takes ordinary gradients, with which FullGrad misses the score
    aggregate  "fullgrad_plus" as above; "fullgrad" has the tokens of the first block alone, which adds up to the score
               over all tokens; "input_x_gradient_plus" and "input_x_gradient" are the same two without biases

    A bias counts at the token where it is added; behind the pooling, at the tokens in the shares in which the head
    reads them. Ignores class and register tokens, which are left out of the map but not of the sum, and by which
    queries and keys attention came about.

    Deviations: none known; equal to the official code on a DeiT. Raises MethodNotApplicableError for models without
    gradient.
    """
    terms = trace.once(("libragrad", libra), lambda: _terms(trace, libra))
    tokens = sum(terms.blocks[1:], terms.blocks[0]) if "plus" in aggregate else terms.blocks[0]
    return trace.to_grid(tokens + terms.biases if aggregate.startswith("fullgrad") else tokens)


def _terms(trace: Trace, libra: bool) -> _Terms:
    """Run one pass with probes beside all biases, and take all gradients from one backward."""
    probes = BiasProbes()
    rules = spelled(probes.around(linear() if libra else {}))
    with trace.again(rules=rules, inputs=trace.inputs, capture=Capture(pixels=False, inputs=False)) as edited:
        gradients = edited.grad([*edited.tokens, *probes.leaves])
        blocks = len(trace.vit.blocks)
        inputs = zip(edited.tokens[:blocks], gradients[:blocks], strict=True)
        products = [(tokens * gradient).sum(-1).detach() for tokens, gradient in inputs]
        biases = torch.zeros_like(products[0])
        for added in gradients[blocks + 1 :]:
            biases = biases + _at_tokens(edited, added)
        if libra:
            _note_completeness(trace, products[0] + biases)
    return _Terms(products, biases)


def _at_tokens(edited: Trace, added: Tensor) -> PerToken:
    """Bring what biases added, one number for each row of a layer, onto the tokens, "b n".

    Rows are all tokens or the patches alone. Of anything else, such as a pooled vector, the sum goes to the tokens in
    the shares in which the head reads them.
    """
    images, tokens = edited.reading.shape
    (rows, columns), prefix = edited.vit.grid, edited.vit.prefix
    each = added.reshape(images, -1)
    if each.shape[1] == tokens:
        return each
    if each.shape[1] == rows * columns:
        return torch.nn.functional.pad(each, (prefix, tokens - prefix - rows * columns))
    return each.sum(1, keepdim=True) * edited.reading


def _note_completeness(trace: Trace, fullgrad: PerToken) -> None:
    """Write down how far FullGrad is from the score: rounding, unless a model has operators without a rule."""
    for image, (total, score) in enumerate(zip(fullgrad.sum(1).tolist(), trace.score.tolist(), strict=True)):
        trace.note(image, f"libragrad: tokens and biases add up to {total:.6g}, the score is {score:.6g}")
