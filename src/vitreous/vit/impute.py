"""Imputation: unseen pixels as the weighted mean of the pixels around them, with a little noise. Rong et al. 2022.

What is cut out of a picture tells by its outline what was there; imputation blurs that outline, so that a model
cannot read the class off the shape of a hole.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu
from torch import Tensor

NOISE = "noise of imputation"
"""Under this name the noise is drawn."""

DEVIATION = 0.01
"""Standard deviation of the noise, in units of the normalised input."""

_AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


def imputed(
    pixels: Float[Tensor, "3 H W"], known: Bool[Tensor, "H W"], noise: Float[Tensor, "3 H W"]
) -> Float[Tensor, "3 H W"]:
    """Give `pixels` with the unknown ones filled in: each the mean of its eight neighbours, plus its noise.

    Direct neighbours weigh 1/6, diagonal ones 1/12; at the border the weights of those that exist are scaled to sum to
    1. Neighbours may be unknown themselves, so all unknown pixels are the
    solution of one sparse system. Where nothing is known, the mean colour takes the place of everything. In float64 on
    the CPU.

    noise  standard normal; it is scaled by `DEVIATION` and added to unknown pixels alone
    """
    seen = known.numpy()
    if seen.all():
        return pixels
    filled = pixels.numpy().copy()
    if not seen.any():
        filled[:] = filled.mean((1, 2), keepdims=True)
    else:
        filled[:, ~seen] = _solve(filled, ~seen).T
    filled[:, ~seen] += DEVIATION * noise.numpy()[:, ~seen]
    return torch.from_numpy(filled)


def _solve(pixels: Float[np.ndarray, "3 H W"], unknown: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "n 3"]:
    """Solve (sum of weights) * pixel - weights of unknown neighbours = weights of known neighbours, for all at once.

    The matrix is symmetric with a dominant diagonal: it needs no pivoting, and an ordering for symmetric matrices.
    """
    row, column = np.nonzero(unknown)
    count = len(row)
    number = np.full(np.add(unknown.shape, 2), -2)  # -2 beyond the border, -1 known, otherwise the unknown's number
    number[1:-1, 1:-1] = -1
    number[row + 1, column + 1] = np.arange(count)
    around = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    weights, given = np.zeros(count), np.zeros((count, 3))
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for down, right in _AROUND:
        weight = 1 / 6 if 0 in (down, right) else 1 / 12
        neighbour = number[row + 1 + down, column + 1 + right]
        weights += weight * (neighbour > -2)
        known = neighbour == -1
        given[known] += weight * around[:, row[known] + 1 + down, column[known] + 1 + right].T
        (free,) = np.nonzero(neighbour >= 0)
        entries.append((np.full(len(free), -weight), free, neighbour[free]))
    entries.append((weights, np.arange(count), np.arange(count)))
    values, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
    matrix = csc_array((values, (rows, columns)), shape=(count, count))
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(given))
