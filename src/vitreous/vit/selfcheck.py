"""Self-check: what `open_vit` proves about a model before it believes its own findings.

Four checks on probe images: one attention call per block (made by every pass), tapped logits equal plain logits, the
logits can be read from the last block's tokens, and images of a batch do not influence each other.
"""

import torch
from torch import Tensor

from vitreous.core.errors import UnsupportedModelError
from vitreous.vit.body import Body
from vitreous.vit.passes import Capture, Pass, read_out, run_pass

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of logits that is rounding, relative to the largest logit (at least 1), by the model's dtype."""


def check_tapped(body: Body, inputs: Tensor) -> Pass:
    """Prove that watching changes nothing, that readout works, and that images are independent. Gives the watched pass."""
    with torch.inference_mode(mode=False), torch.no_grad():
        plain = body.forward(inputs)
        alone = body.forward(inputs[1:2])
    watched = run_pass(body, inputs, Capture(graph=False))
    _require_equal("tapped logits equal plain logits", watched.logits, plain, inputs.dtype, body)
    _require_equal("images do not influence each other", plain[1:2], alone, inputs.dtype, body)
    tokens = watched.recording.tokens[len(body.blocks)]
    _require_equal(
        "readout of the last tokens equals the logits",
        read_out(body, inputs, tokens),
        plain,
        inputs.dtype,
        body,
    )
    return watched


def _require_equal(check: str, found: Tensor, expected: Tensor, dtype: torch.dtype, body: Body) -> None:
    scale = max(1.0, float(expected.abs().max()))
    same_shape = found.shape == expected.shape
    difference = float((found - expected).abs().max()) / scale if same_shape else float("inf")
    if not difference <= TOLERANCE[dtype]:  # also true for NaN
        raise UnsupportedModelError(
            f"Check '{check}' failed for {type(body.model).__name__}: relative difference {difference:.2g}, "
            f"expected at most {TOLERANCE[dtype]:.0e}.",
            "Is the model random at evaluation, or does it normalise over the batch? If it needs other arguments, pass call=….",
        )
