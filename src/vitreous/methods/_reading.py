"""What attention methods share: following what the prediction reads down through token-to-token matrices."""

import torch
from torch import Tensor

from vitreous.core.shapes import PerToken
from vitreous.vit.reading import read_rows, weigh_rows
from vitreous.vit.trace import Trace

__all__ = ["follow_down", "read_rows", "weigh_rows"]


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
