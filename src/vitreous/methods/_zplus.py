"""What the methods of Transformer Attribution share: one pass under its rules, and what it says about rounding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.core.shapes import Attention, PerImage, PixelMap
from vitreous.vit.ambient import own_graph
from vitreous.vit.memory import Held
from vitreous.vit.passes import Capture
from vitreous.vit.rules.precision import in_double
from vitreous.vit.rules.zplus import Layout, zplus_rules
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

Precision: TypeAlias = Literal["mixed", "double", "single"]


@dataclass(frozen=True)
class Relevances:
    """Where one unit of relevance, put on the target, went.

    attention  at the attention probabilities of each block from the first asked for
    pixels     at the normalised input, channels added up; None if the pass began behind block 0, or is cut off
    cancelled  the largest ratio, in any residual add, of a branch's summed |relevance| to its |sum|
    """

    attention: tuple[Attention, ...]
    pixels: PixelMap | None
    cancelled: PerImage


def propagate(trace: Trace, first: int, precision: Precision) -> Relevances:
    """Propagate relevance down to the attention of block `first`, and for block 0 down to the pixels.

    The pass is made once for each `first` and precision, whichever method of a trace asks, and each that asks has the
    measured cancellation noted in its record.

    precision  "double" computes in float64 whatever the model's own type is; a model of half precision is never run in
               "single". "mixed" does the same but for one thing: relevance is distributed over the inputs of linear
               layers in float32. What ruins a pass in float32 is the rounding of activations, whose sums nearly cancel
               in the residual adds; linear layers divide by sums of positive products. "single" computes in the model's
               own type, and takes over the results of linear layers from the trace where that has kept them

    A target with outputs that count negatively, as a contrast has, gets the difference of two propagations: the rule of
    the residual add conserves sums, and would make a sum of zero into nothing.
    """
    if precision != "single" and trace.inputs.device.type == "mps":
        raise InputError(f"precision={precision!r} needs float64, which this device does not have.", "Use 'single'.")
    found = trace.once(("zplus", first, precision), lambda: _propagate(trace, first, precision))
    for image, ratio in enumerate(found.cancelled.tolist()):
        trace.note(
            image,
            f"Relevance cancels: in one residual add, a branch's absolute relevance is {ratio:.3g} times its sum.",
        )
    return found


def _propagate(trace: Trace, first: int, precision: Precision) -> Relevances:
    layout = Layout(len(trace.images), trace.vit.body.anchors[0].batch_axis)
    capture = Capture(first, pixels=first == 0, inputs=False, tokens=False)
    inputs = trace.inputs.detach()
    if precision != "single" or trace.vit.dtype in {torch.float16, torch.bfloat16}:
        rules = zplus_rules(layout, coarse=precision == "mixed")
        with in_double():
            again = trace.again(rules=rules, inputs=inputs.double(), capture=capture)
    else:
        rules = zplus_rules(layout, known=trace.linears)
        again = trace.again(rules=rules, inputs=inputs, capture=capture)
    with again:
        nodes = [*again.attention, *([again.inputs] if first == 0 else [])]
        found, cut = _from_target(again, nodes), again.cut
    blocks = len(again.vit.blocks) - first
    pixels = found[blocks].sum(1) if first == 0 and not cut else None
    return Relevances(found[:blocks], pixels, layout.cancelled.expand(len(inputs)))


def _from_target(again: Trace, nodes: list[Tensor]) -> tuple[Tensor, ...]:
    """Propagate from what the score counts positively, less what it counts negatively."""
    with own_graph():
        if not again.score.requires_grad:  # the trace refuses, and says why
            return again.grad(nodes)
        (slope,) = torch.autograd.grad(again.score.sum(), again.logits, retain_graph=True)
        found = again.grad(nodes, (again.logits * slope.clamp(min=0)).sum(1))
        if bool((slope < 0).any()):
            against = again.grad(nodes, (again.logits * (-slope).clamp(min=0)).sum(1))
            found = tuple(plus - minus for plus, minus in zip(found, against, strict=True))
    return found


def computes_again(parameters: Mapping[str, Any]) -> bool:
    """Whether the relevance pass computes in the type of the trace, and so gives the same numbers."""
    return bool(parameters["precision"] == "single")


def held_from_last_block(vit: Vit, parameters: Mapping[str, Any]) -> Held:
    """Say what a relevance pass keeps that begins at the last block; see `Method.holds` for the factor."""
    capture = Capture(len(vit.blocks) - 1, pixels=False, inputs=False, tokens=False)
    return Held(capture, item_size=4 if computes_again(parameters) else 8, times=1.5)


def require_pixels(trace: Trace, pixels: PixelMap | None) -> PixelMap:
    """Give the relevance of pixels; raises MethodNotApplicableError if the model lets nothing through to them."""
    if pixels is None:
        raise MethodNotApplicableError(
            f"No relevance reaches the pixels of {trace.vit.name}: the model cuts them off, perhaps by detach().",
            "Use 'transformer_attribution', which ends at the attention.",
        )
    return pixels
