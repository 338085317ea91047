"""Maps across blocks: one of several by stated weights, or each smoothed with its neighbours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.errors import InputError, near_matches
from vitreous.core.shapes import PatchMap

BlockMaps: TypeAlias = Float[Tensor, "b l gh gw"]
BlockWeights: TypeAlias = Float[Tensor, " l"]
Kind: TypeAlias = Literal["uniform", "linear", "exponential", "last", "given"]
KINDS = get_args(Kind)
Ends: TypeAlias = Literal["reflect", "renormalise"]
REACH = 6.0
"""Widths at which the Gaussian is cut off, where it has fallen to 1.5e-8 of its height."""


@dataclass(frozen=True, eq=False)
class Aggregated:
    """One map made of one for each block, and the share that each block had in it; shares sum to 1."""

    map: PatchMap
    weights: BlockWeights


@dataclass(frozen=True, eq=False)
class Smoothed:
    """One map for each block, and in row i of `weights` the share of each block in map i; rows sum to 1."""

    maps: BlockMaps
    weights: Float[Tensor, "l l"]


def layer_weights(
    kind: Kind, blocks: int, decay: float = 0.5, last: int = 1, given: Sequence[float] | None = None
) -> BlockWeights:
    """Give the share of each of some blocks, in the order in which they run; shares sum to 1.

    uniform      all alike
    linear       1, 2, 3, …: the last block has as many times the share of the first as there are blocks
    exponential  each block has `decay` times the share of the one behind it; 1 is uniform
    last         the last `last` blocks alike, the others nothing
    given        in proportion to `given`, one number for each block, none negative

    No kind is right: which blocks matter differs between models, so weights that were chosen by looking at results are
    a parameter that was fitted. Raises InputError for numbers that make no shares.

    >>> layer_weights("exponential", 3, decay=0.5).tolist()
    [0.1428571428571428, 0.2857142857142857, 0.5714285714285714]
    """
    if blocks < 1:
        raise InputError(f"blocks={blocks} leaves nothing to weigh.", "Give at least 1.")
    if not 0 < decay <= 1:
        raise InputError(f"decay={decay} is out of range.", "Give a number in (0, 1].")
    if not 1 <= last <= blocks:
        raise InputError(f"last={last} of {blocks} blocks.", f"Give a number from 1 to {blocks}.")
    if (given is not None) != (kind == "given"):
        raise InputError(f"given={given} with kind={kind!r}.", 'Use given with kind="given", and there alone.')
    place = torch.arange(blocks, dtype=torch.float64)
    weights = {
        "uniform": torch.ones_like(place),
        "linear": place + 1,
        "exponential": decay ** (blocks - 1 - place),
        "last": (place >= blocks - last).double(),
        "given": torch.tensor(given or [], dtype=torch.float64),
    }
    if kind not in weights:
        raise InputError(f"kind={kind!r} is unknown. {near_matches(kind, weights)}".strip(), f"Use one of {KINDS}.")
    return _shares(weights[kind], blocks)


def aggregate(maps: BlockMaps, weights: Float[Tensor, " given"]) -> Aggregated:
    """Average one map for each block, "b l gh gw", with weights that are first divided by their sum.

    The maps are taken as they are: where blocks differ in scale, as gradients do, the mean is that of the large ones
    whatever the weights say. Make each sum to 1 before, if shares are meant. Raises InputError for weights that are
    not one for each block, or make no shares.
    """
    shares = _shares(weights, maps.shape[1]).to(maps)
    return Aggregated(torch.einsum("blij,l->bij", maps, shares), shares)


def smooth(maps: BlockMaps, width: float = 1.0, ends: Ends = "reflect") -> Smoothed:
    """Average each block's map with those of its neighbours, by a Gaussian along the blocks.

    width  standard deviation, in blocks; 0 leaves the maps as they are
    ends   beyond the first and last block, "reflect" goes back from where it stands, which keeps the mean over all
           blocks as it is; "renormalise" goes on with what there is, which gives the end blocks more say

    A picture for the eye: what differs between neighbouring blocks is gone, and numbers from smoothed maps are no
    longer those of a block. Raises InputError for a width below zero and for other ends.
    """
    if not 0 <= width < math.inf:
        raise InputError(f"width={width} is out of range.", "Give 0 or more, in blocks.")
    if ends not in get_args(Ends):
        raise InputError(f"ends={ends!r} is unknown.", f"Use one of {get_args(Ends)}.")
    weights = _gaussian(maps.shape[1], width, ends).to(maps)
    return Smoothed(torch.einsum("kl,blij->bkij", weights, maps), weights)


def _gaussian(blocks: int, width: float, ends: Ends) -> Float[Tensor, "l l"]:
    """Give the share of each block (column) in each smoothed one (row)."""
    weights = torch.zeros(blocks, blocks, dtype=torch.float64)
    reach = int(REACH * width + 0.5)
    for step in range(-reach, reach + 1):
        height = math.exp(-0.5 * (step / width) ** 2) if step else 1.0
        for block in range(blocks):
            place = block + step
            if ends == "reflect":
                place %= 2 * blocks
                place = min(place, 2 * blocks - 1 - place)
            if 0 <= place < blocks:
                weights[block, place] += height
    return weights / weights.sum(1, keepdim=True)


def _shares(weights: Tensor, blocks: int) -> BlockWeights:
    """Divide weights by their sum. Raises InputError if that makes no shares of so many blocks."""
    wrong = weights.shape != (blocks,) or not bool(torch.isfinite(weights).all()) or bool((weights < 0).any())
    if wrong or not float(weights.sum()) > 0:
        raise InputError(
            f"weights={weights.tolist()} for {blocks} blocks.", "Give one for each block, none negative, not all zero."
        )
    return weights / weights.sum()
