"""Self-check: what `open_vit` proves about a model before it believes its own findings.

Checks on probe images: one attention call per block (made by every pass), tapped logits equal plain logits, the logits
can be read from the last block's tokens, an image's logits and attention are the same alone and in a batch, and no
block will run a second time in the backward, where nobody watches.
"""

import torch
from torch import Tensor

from vitreous.core.errors import UnsupportedModelError
from vitreous.vit.body import Body
from vitreous.vit.entering import read_out
from vitreous.vit.passes import Capture, Pass, run_pass

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


def check_tapped(body: Body, inputs: Tensor) -> Pass:
    """Prove that watching changes nothing, readout works, and images are independent. Gives the watched pass."""
    with torch.inference_mode(mode=False), torch.no_grad():
        plain = body.forward(inputs)
    watched = run_pass(body, inputs, Capture(pixels=False))
    _refuse_second_run(body, watched)
    # A model may compute in a lower type than its inputs have, by an autocast of its own.
    computed_in = {inputs.dtype, *(call.dtype for call in watched.recording.calls)}
    tolerance = max(TOLERANCE[dtype] for dtype in computed_in)
    _require_equal("tapped logits equal plain logits", watched.logits, plain, tolerance, body)
    alone = run_pass(body, inputs[1:2], Capture(graph=False))
    _require_equal("images do not influence each other", plain[1:2], alone.logits, tolerance, body)
    for call, single in zip(watched.recording.calls, alone.recording.calls, strict=True):
        check = "the attention of an image is its own"
        _require_equal(check, call.probabilities[1:2], single.probabilities, tolerance, body)
    tokens = watched.recording.tokens[len(body.blocks)].detach()
    check = "readout of the last tokens equals the logits"
    _require_equal(check, read_out(body, inputs, tokens), plain, tolerance, body)
    return watched


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
