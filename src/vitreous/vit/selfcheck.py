"""Self-check: what `open_vit` proves about a model before it believes its own findings.

Checks on probe images: one attention call per block (made by every pass), tapped logits equal plain logits, the logits
can be read from the last block's tokens, an image's logits and attention are the same alone and in a batch, and no
block will run a second time in the backward, where nobody watches.
"""

import math

import torch
from torch import Tensor

from vitreous.core.errors import UnsupportedModelError
from vitreous.core.shapes import Logits, Tokens
from vitreous.vit.body import Body
from vitreous.vit.entering import read_out
from vitreous.vit.passes import ROWS, Capture, Pass, run_by_rows, run_pass

CHECKS = (
    "one attention call per block",
    "no block runs twice",
    "tapped logits equal plain logits",
    "images do not influence each other",
    "the attention of an image is its own",
    "readout of the last tokens equals the logits",
)
"""What is proved about every model that is opened with its blocks, in the order in which it is proved."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of logits that is rounding, relative to the largest (at least 1), by the type computed in."""


MOST_BYTES = 2 * 1024**3
"""Attention of two images that is kept to check a model; ViT-L/14 at 336 pixels has half of it."""

_DIRECTIONS = 4
"""Random sums of each row of attention that stand for the row where attention is too large to keep."""


def check_tapped(body: Body, inputs: Tensor, attention: tuple[int, ...]) -> Tokens:
    """Prove that watching changes nothing, readout works, and images are independent. Gives the last block's tokens.

    attention  shape of the probabilities of one block, (images, heads, tokens, tokens). If those of all blocks and two
               images are more than `MOST_BYTES`, they are kept for the last block alone, and read by rows elsewhere
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        plain = body.forward(inputs)
    large = 4 * len(inputs) * math.prod(attention[1:]) * len(body.blocks) > MOST_BYTES
    first = len(body.blocks) - 1 if large else 0
    watched = run_pass(body, inputs, Capture(first, pixels=False))
    _refuse_second_run(body, watched)
    # A model may compute in a lower type than its inputs have, by an autocast of its own.
    computed_in = {inputs.dtype, *(call.dtype for call in watched.recording.calls)}
    tolerance = max(TOLERANCE[dtype] for dtype in computed_in)
    _require_equal("tapped logits equal plain logits", watched.logits, plain, tolerance, body)
    alone = run_pass(body, inputs[1:2], Capture(first, graph=False))
    _require_equal("images do not influence each other", plain[1:2], alone.logits, tolerance, body)
    for call, single in zip(watched.recording.calls, alone.recording.calls, strict=True):
        check = "the attention of an image is its own"
        _require_equal(check, call.probabilities[1:2], single.probabilities, tolerance, body)
    if large:
        _check_rows(body, inputs, plain, tolerance)
    tokens = watched.recording.tokens[len(body.blocks)].detach()
    check = "readout of the last tokens equals the logits"
    _require_equal(check, read_out(body, inputs, tokens), plain, tolerance, body)
    return tokens


def _check_rows(body: Body, inputs: Tensor, plain: Tensor, tolerance: float) -> None:
    """Prove the same of the blocks whose attention is read by rows, from random sums of each row."""
    summed, together = _sums_of_rows(body, inputs)
    single, alone = _sums_of_rows(body, inputs[1:2])
    _require_equal("tapped logits equal plain logits", together, plain, tolerance, body)
    _require_equal("images do not influence each other", plain[1:2], alone, tolerance, body)
    for block, sums in summed.items():
        _require_equal("the attention of an image is its own", sums[1:2], single[block], tolerance, body)


def _sums_of_rows(body: Body, inputs: Tensor) -> tuple[dict[int, Tensor], Logits]:
    """Give random sums of each row of attention, "b h n directions" for each block, and the logits."""
    found: dict[int, list[Tensor]] = {}

    def add(block: int, rows: slice, attention: Tensor) -> None:
        del rows
        generator = torch.Generator().manual_seed(block)
        directions = torch.randn(attention.shape[-1], _DIRECTIONS, generator=generator).to(attention)
        found.setdefault(block, []).append(attention @ directions)

    logits = run_by_rows(body, inputs, add, ROWS)
    return {block: torch.cat(pieces, -2) for block, pieces in found.items()}, logits


def check_plain(body: Body, inputs: Tensor) -> None:
    """Prove of a model that is not watched that its logits are the same every time, and images are independent."""
    with torch.inference_mode(mode=False), torch.no_grad():
        plain, again, alone = (body.forward(part) for part in (inputs, inputs, inputs[1:2]))
    _require_equal("the same images give the same logits", again, plain, TOLERANCE[inputs.dtype], body)
    _require_equal("images do not influence each other", plain[1:2], alone, TOLERANCE[inputs.dtype], body)


def _refuse_second_run(body: Body, watched: Pass) -> None:
    for tokens in watched.recording.tokens.values():
        if "Checkpoint" in type(tokens.grad_fn).__name__:
            raise UnsupportedModelError(
                f"Check 'no block runs twice' failed: {type(body.model).__name__} runs its blocks under "
                "torch.utils.checkpoint, which runs them again, unwatched, in the backward.",
                "Switch gradient checkpointing off.",
            )


def _require_equal(check: str, found: Tensor, expected: Tensor, tolerance: float, body: Body) -> None:
    found, expected = found.detach(), expected.detach()
    same_shape = found.shape == expected.shape
    scale = max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max()) / scale if same_shape else float("inf")
    if not difference <= tolerance:  # also true for NaN
        raise UnsupportedModelError(
            f"Check '{check}' failed for {type(body.model).__name__}: relative difference {difference:.2g}, "
            f"expected at most {tolerance:.0e}.",
            _FIXES.get(check, _FIX),
        )


_FIX = (
    "Is the model random at evaluation, or does it normalise or quantise over the batch? If it needs other arguments, "
    "pass call=…."
)
_FIXES = {
    "the attention of an image is its own": (
        "Does the model lay its heads before its images? Lay them behind: (images, heads, …)."
    ),
    "readout of the last tokens equals the logits": (
        "Does the prediction read anything but the last block's tokens, or is there no module that holds a whole block?"
    ),
}
