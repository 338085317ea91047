"""Reading: the rows of a token-to-token matrix, averaged as the prediction reads them.

Papers write "the row of the class token". Here that is a special case: `open_vit` finds out which of the
last tokens the head reads, and in which shares, so that models with mean pooling or several prefix tokens
need no code of their own.
"""

import torch
from torch import Tensor

from vitreous.vit.trace import Trace


def read_rows(trace: Trace, matrix: Tensor) -> Tensor:
    """Average the query rows of "b … n m" with the shares in which the prediction reads them, giving "b … m".

    With a class token this is its row; with mean pooling the mean of the patches' rows; with pooling
    attention the pooling's own weights.
    """
    rows = trace.readout.rows
    return weigh_rows(trace, matrix[..., rows, :])


def weigh_rows(trace: Trace, rows: Tensor) -> Tensor:
    """The same for a matrix that holds only the rows `trace.readout.rows`: the others need not be computed."""
    if rows.shape[-2] == 1:
        return rows.squeeze(-2)
    shares = trace.reading[:, trace.readout.rows].to(rows.dtype)
    while shares.dim() < rows.dim() - 1:
        shares = shares.unsqueeze(1)
    return torch.matmul(shares.unsqueeze(-2), rows).squeeze(-2)
