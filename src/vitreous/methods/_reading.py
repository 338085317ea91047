"""What attention methods share: following what the prediction reads down through token-to-token matrices.

Papers write "the row of the class token". Here that is a special case: `open_vit` finds out which of the
last tokens the head reads, and in which shares, so that models with mean pooling or several prefix tokens
need no code of their own.
"""

import torch
from torch import Tensor

from vitreous.core.shapes import PerToken
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


def follow_down(trace: Trace, mixing: list[Tensor], residual: list[float] | None = None) -> PerToken:
    """Follow the reading from the last block to the first: row <- row @ mixing + residual * row, for each block.

    mixing    one matrix "b n n" for each block, the first block's first
    residual  share of the skip connection in each block; 1 for each if left out

    Gives "b n": the row of the product of all matrices (mixing + residual * I) that the prediction reads,
    at the cost of a vector. The product itself would take n times as long, to be read in one row.
    """
    row = trace.reading.to(mixing[0].dtype).unsqueeze(1)
    shares = residual if residual is not None else [1.0] * len(mixing)
    for matrix, share in zip(reversed(mixing), reversed(shares), strict=True):
        row = torch.baddbmm(row, row, matrix, beta=share)
    return row.squeeze(1)
