"""Where beside itself a patch looks: the attention of each head by relative offset. After Voita et al. 2019.

In text a head can attend to the previous word. In an image it can attend to the patch above, or two to the left.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.vit.trace import Trace

PerOffset: TypeAlias = Float[Tensor, "b l h side side"]


@dataclass(frozen=True, eq=False)
class HeadOffsets:
    """Attention of query patches by offset, for each image, captured block and head.

    radius  the largest offset along rows and columns, in patches
    mass    "b l h side side", side = 2 radius + 1: attention to the patch that lies row - radius below and
            column - radius to the right of the query, as a share of all its attention, averaged over the query patches
            that have a patch there; the middle is attention to itself. NaN where no patch of the grid has one there
    hits    the same for the share of those query patches whose most attended patch is that one, by which Voita et al.
            tell positional heads. Ties are shared
    near    "b l h", attention to the query itself and to its up to eight neighbours, averaged over all query patches
    """

    radius: int
    mass: PerOffset
    hits: PerOffset
    near: Float[Tensor, "b l h"]

    @property
    def offset(self) -> Int[Tensor, "b l h 2"]:
        """The offset (rows down, columns to the right), other than itself, that gets the largest mass."""
        return favourite(self.mass)

    @property
    def offset_mass(self) -> Float[Tensor, "b l h"]:
        """The mass that it gets."""
        return at_offset(self.mass, self.offset)


def head_offsets(trace: Trace, radius: int = 2) -> HeadOffsets:
    """Measure the attention of query patches to the patches around them, in every captured block.

    radius  how far the neighbourhood reaches, in patches along rows and columns

    A large mass at one offset says that a head goes by place. One that goes by content, and finds much that is alike
    close by, spreads its mass over all offsets around the query. Attention to class and register tokens counts in
    the whole, and has no offset. Deviation from Voita et al. 2019 (arXiv:1905.09418): they ask for the most attended
    word (`hits`); `offset` goes by the mass, which does not need a head to be sharp.

    Raises InputError for a radius below 1, or that no two patches of the grid are apart, and
    MethodNotApplicableError for models without plain attention over one set of tokens.
    """
    _ = trace.readout  # raises where there are no plain tokens
    farthest = max(trace.vit.grid) - 1
    if not 1 <= radius <= farthest:
        raise InputError(
            f"radius={radius}, in a grid of {trace.vit.grid[0]} x {trace.vit.grid[1]} patches.",
            f"Give 1 to {farthest}." if farthest > 0 else "A single patch has no neighbours.",
        )
    between = [trace.patches(_patch_rows(trace, each.detach()).float()) for each in trace.attention]
    mass = torch.stack([_by_offset(each, trace.vit.grid, radius) for each in between], 1)
    hits = torch.stack([_by_offset(_most_attended(each), trace.vit.grid, radius) for each in between], 1)
    near = torch.stack([_near(each, trace.vit.grid) for each in between], 1)
    return HeadOffsets(radius, mass, hits, near)


def favourite(mass: Float[Tensor, "*axes side side"]) -> Int[Tensor, "*axes 2"]:
    """Give the offset (rows down, columns to the right) of the largest mass, leaving out that to the query itself."""
    side = mass.shape[-1]
    others = mass.nan_to_num(nan=-1.0)
    others[..., side // 2, side // 2] = -1
    place = others.flatten(-2).argmax(-1)
    return torch.stack([place // side, place % side], -1) - side // 2


def at_offset(mass: Float[Tensor, "*axes side side"], offset: Int[Tensor, "*axes 2"]) -> Float[Tensor, "*axes"]:
    """Give the mass at an offset (rows down, columns to the right)."""
    side = mass.shape[-1]
    place = (offset[..., 0] + side // 2) * side + offset[..., 1] + side // 2
    return mass.flatten(-2).gather(-1, place.unsqueeze(-1)).squeeze(-1)


def _patch_rows(trace: Trace, attention: Float[Tensor, "b h n n"]) -> Float[Tensor, "b h p n"]:
    return trace.patches(attention.transpose(2, 3)).transpose(2, 3)


def _most_attended(between: Float[Tensor, "b h p p"]) -> Float[Tensor, "b h p p"]:
    """Mark the most attended patch of each query with 1, or all that are by equal parts of it."""
    most = (between == between.amax(-1, keepdim=True)).float()
    return most / most.sum(-1, keepdim=True)


def _by_offset(between: Float[Tensor, "b h p p"], grid: tuple[int, int], radius: int) -> Float[Tensor, "b h side side"]:
    """Average what goes from each patch to the one at each offset, over the patches that have one there."""
    reach = range(-radius, radius + 1)
    means = []
    for down in reach:
        for right in reach:
            queries, keys = _pairs(grid, down, right, between.device)
            means.append(between[:, :, queries, keys].mean(-1))  # NaN if there are none
    return torch.stack(means, -1).reshape(*between.shape[:2], len(reach), len(reach))


def _near(between: Float[Tensor, "b h p p"], grid: tuple[int, int]) -> Float[Tensor, "b h"]:
    """Add up what goes from each patch to itself and its neighbours, and average over all patches."""
    total = torch.zeros_like(between[:, :, 0, 0])
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            queries, keys = _pairs(grid, down, right, between.device)
            total += between[:, :, queries, keys].sum(-1)
    return total / between.shape[-1]


def _pairs(
    grid: tuple[int, int], down: int, right: int, device: torch.device
) -> tuple[Int[Tensor, " q"], Int[Tensor, " q"]]:
    """Number the patches that have a patch at an offset, and those patches."""
    rows, columns = grid
    numbers = torch.arange(rows * columns, device=device).view(rows, columns)
    queries = numbers[max(0, -down) : max(0, rows - max(0, down)), max(0, -right) : max(0, columns - max(0, right))]
    queries = queries.flatten()
    return queries, queries + down * columns + right
