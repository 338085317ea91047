"""Row-wise reading of attention: a few query tokens of one block at a time, so that no whole matrix is ever kept.

Attention of all blocks takes l * h * n * n numbers for each image: 6.8 GiB for a DINOv2-g at 518 pixels. Read by rows,
no more than h * rows * n of them exist at once, 8 MiB for 64 rows there. The model runs once, without a graph.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import Images, Logits
from vitreous.vit.passes import ROWS, Capture, run_by_rows, run_pass
from vitreous.vit.tap import RowReader
from vitreous.vit.vit import Vit, finite_logits


def read_by_rows(vit: Vit, images: Images, reader: RowReader, at_once: int = ROWS) -> Logits:
    """Run the model once and hand the attention of each block to `reader`, some query tokens after others.

    reader   is called with the block, a slice of query tokens, and their attention "b h rows n", whose rows sum to 1.
             It is to keep no reference to it
    at_once  query tokens in one call, at least 1

    Gives the logits. A model that spells its attention out, instead of calling an operator, makes the whole matrix of a
    block itself; then that is what exists at once. Raises MethodNotApplicableError for models without plain attention,
    and UnsupportedModelError if a block did not attend.
    """
    _ = vit.plain_readout
    if at_once < 1:
        raise InputError(f"at_once={at_once} is no number of query tokens.", "Give 1 or more.")
    return finite_logits(run_by_rows(vit.body, vit.prepare(images), reader, at_once))


def reading_attention(vit: Vit, images: Images, at_once: int = ROWS) -> Float[Tensor, "b l h n"]:
    """Give what the tokens that the head reads attend to, in every block and head, read by rows.

    For a class token that is its row; for a mean over patches the mean of their rows; for a pooling attention the mean
    weighted by its shares. The same as `Trace.reading` times `Trace.attention`, without keeping the latter.
    """
    shares = _shares(vit, images)
    found = shares.new_zeros(len(images), len(vit.blocks), vit.heads, shares.shape[1])

    def add(block: int, rows: slice, attention: Tensor) -> None:
        found[:, block] += torch.einsum("bn,bhnm->bhm", shares[:, rows], attention.float())

    read_by_rows(vit, images, add, at_once)
    return found


def _shares(vit: Vit, images: Images) -> Float[Tensor, "b n"]:
    """Give the share of each last token in the prediction; a pooling attention has to run for it."""
    readout = vit.plain_readout
    weights = readout.weights.float().to(vit.device).repeat(len(images), 1)
    if readout.kind == "attention":
        calls = run_pass(vit.body, vit.prepare(images), Capture(first=len(vit.blocks), graph=False)).recording.calls
        weights[:, readout.rows] = calls[-1].probabilities.float().mean((1, 2))
    return weights
