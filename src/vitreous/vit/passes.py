"""One watched forward pass of an opened model: the place where Tap, hooks and grad mode come together."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitreous.core.errors import UnsupportedModelError
from vitreous.core.shapes import Logits, Tokens
from vitreous.vit.body import Body
from vitreous.vit.tap import Edit, Recording, RowReader, Rules, Tap
from vitreous.vit.watch import StopForward, watch


@dataclass(frozen=True)
class Capture:
    """What a pass is to keep.

    first   the first block whose attention and tokens are kept; earlier blocks run fused and without a graph
    graph   whether a graph is kept, so that gradients can be asked for
    pixels  whether the graph reaches back to the input; else it starts at the tokens entering block `first`
    inputs  whether the one backward also gives the gradients of what each attention projects: without, it ends a little
            earlier, at the probabilities of block `first`
    tokens  whether it also gives those of the tokens entering each block and leaving the last
    linears whether the results of linear layers are kept, for a pass under rules that would compute them again
    """

    first: int = 0
    graph: bool = True
    pixels: bool = True
    inputs: bool = True
    tokens: bool = True
    linears: bool = False


@dataclass
class Pass:
    """The result of one pass: its recording, its logits and the tensor the graph starts from.

    `cut` tells that pixels were to be part of the graph, and that the model itself lets no gradient through to them.
    """

    inputs: Tensor
    tap: Tap
    logits: Logits = field(default_factory=lambda: torch.empty(0, 0))
    cut: bool = False

    @property
    def recording(self) -> Recording:
        """What Tap and hooks left behind."""
        return self.tap.recording


def run_pass(
    body: Body,
    inputs: Tensor,
    capture: Capture,
    edit: Edit | None = None,
    rules: Rules | None = None,
    keep: bool = True,
) -> Pass:
    """Run the model on normalised inputs (b, 3, H, W) and keep what `capture` says.

    Raises UnsupportedModelError if a block that had one attention call when the model was opened has none now.
    """
    inputs = own_leaf(inputs, capture.graph and capture.pixels)
    last = len(body.blocks)
    keep = keep and last > 0  # a model opened without its blocks keeps its own operators
    tap = Tap(capture.first, keep, edit, rules, capture.graph, capture.linears)
    result = Pass(inputs, tap)

    def on_tokens(position: int, tokens: Tokens) -> Tokens | None:
        leaf = None
        if tokens.is_inference():
            raise UnsupportedModelError(
                f"{type(body.model).__name__} runs torch.inference_mode() inside its forward, which leaves nothing to "
                "watch.",
                "Take it out, or use torch.no_grad() there instead.",
            )
        if position == capture.first and capture.graph and not tokens.requires_grad:
            torch.set_grad_enabled(True)  # the pass began without; run_pass restores the caller's setting
            leaf = tokens = own_leaf(tokens, needs_gradient=True)
            result.cut = capture.pixels
        if keep and position >= capture.first:
            tap.recording.tokens[position] = tokens
        tap.enter_block(None if position == last else position, tokens.shape[0])
        return leaf

    grad = inputs.requires_grad
    with torch.inference_mode(mode=False), torch.set_grad_enabled(grad), tap, watch(body.anchors, on_tokens):
        result.logits = body.forward(inputs)
    if keep:
        _require_attention(tap.recording, capture.first, last)
    return result


ROWS = 64
"""Query tokens that are read at once. Fewer save memory and are slower, as matrix products become small."""


def run_by_rows(body: Body, inputs: Tensor, reader: RowReader, at_once: int) -> Logits:
    """Run the model on normalised inputs and hand the attention of each block to `reader`, some rows after others.

    Keeps nothing. Raises UnsupportedModelError if a block did not attend.
    """
    seen: set[int] = set()

    def read(block: int, rows: slice, attention: Tensor) -> None:
        seen.add(block)
        reader(block, rows, attention)

    tap, last = Tap(keep=False, reader=read, at_once=at_once), len(body.blocks)

    def on_tokens(position: int, tokens: Tokens) -> None:
        tap.enter_block(None if position == last else position, tokens.shape[0])

    with torch.inference_mode(mode=False), torch.no_grad(), tap, watch(body.anchors, on_tokens):
        logits = body.forward(inputs)
    if len(seen) != last:
        raise UnsupportedModelError(
            f"Attention was seen in {len(seen)} of {last} blocks.",
            "Was the model changed after open_vit? Open it again.",
        )
    return logits


def first_tokens(body: Body, inputs: Tensor) -> Tokens:
    """Compute the tokens that enter the first block, and nothing after them."""
    caught: list[Tensor] = []

    def on_tokens(_position: int, tokens: Tokens) -> None:
        caught.append(tokens)
        raise StopForward

    with torch.inference_mode(mode=False), torch.no_grad(), watch(body.anchors[:1], on_tokens):
        try:
            body.forward(inputs)
        except StopForward:
            return caught[0]
    raise UnsupportedModelError(
        "Check 'blocks are reached' failed: a forward pass did not reach the first block.",
        "Does the model's path depend on the image? Such models cannot be watched.",
    )


def own_leaf(tensor: Tensor, needs_gradient: bool) -> Tensor:
    """Give a leaf of our own, so that the caller's tensor is never changed nor given a gradient."""
    fresh = tensor.detach()
    if fresh.is_inference():
        with torch.inference_mode(mode=False):
            fresh = fresh.clone()
    return fresh.requires_grad_(needs_gradient)


def _require_attention(recording: Recording, first: int, last: int) -> None:
    seen = [call.block for call in recording.calls if call.block is not None]
    missing = sorted(set(range(first, last)) - set(seen))
    if missing or len(seen) != last - first:
        raise UnsupportedModelError(
            f"Attention was seen {len(seen)} times in blocks {first} to {last - 1}, expected once in each.",
            f"Blocks without: {missing}. Was the model changed after open_vit? Open it again.",
        )
