"""Flow map: attention from what the model reads down the blocks to the patches, as ribbons between image grids.

The flows are those of attention rollout (Abnar & Zuidema 2020, arXiv:2005.00928, eq. 1), taken apart: rollout
multiplies through the blocks and shows the sum that arrives; here each step is seen. In every block half of a token's
mass stays where it is, for the skip connection, and half goes where its head-averaged attention points. Mass is
conserved from block to block, so that the ribbons of a whole figure can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from vitreous.core.errors import InputError
from vitreous.show.plots._canvas import FAINT, INK, SOFT, TEXT, place_words, plain, sheet
from vitreous.show.words import percent

MOVED, STAYED = "#0072B2", "#8a8a8a"
SQUEEZE, LEAN, STEP = 0.42, 0.2, 1.0  # of a plane: its width and its slant as shares of its height, and the step
THICKEST = 24.0  # points, of a ribbon that carries all the mass
THINNEST = 0.35  # points: thinner ones could not be seen
LEVEL, BELOW = 1.24, 1.36  # where the names of levels and of blocks stand, below the planes
POINTS = 16  # of a ribbon's curve
MOST_CELLS = 7  # rows or columns of cells


@dataclass(frozen=True, eq=False)
class Flows:
    """Where the mass is after each block, and how it goes from one block's tokens to those before it.

    nodes   names of the tokens that are no patches come first, then cells of the grid row by row, each of `cell` times
            `cell` patches
    mass    "levels nodes": level 0 is the model's input, level l what block l gives; each row sums to the mass of the
            reading
    steps   "l nodes nodes": what goes from the query in the row, at the level above block l, to the key in the column
    grid    rows and columns of cells
    cell    rows and columns of patches in a cell
    names   of the tokens that are no patches
    first   index, from 0, of the first block
    """

    mass: Float[np.ndarray, "levels nodes"]
    steps: Float[np.ndarray, "l nodes nodes"]
    grid: tuple[int, int]
    cell: int
    names: tuple[str, ...]
    first: int = 0


@dataclass(frozen=True)
class Flow:
    """One ribbon: what goes through block `block`, counted from 0, from one node to another, as a share of all mass."""

    block: int
    source: int
    target: int
    share: float


def attention_flows(
    attention: Float[np.ndarray, "l n n"],
    reading: Float[np.ndarray, " n"],
    grid: tuple[int, int],
    *,
    names: Sequence[str] = (),
    suffix: int = 0,
    cell: int | None = None,
    residual: float = 0.5,
    first: int = 0,
) -> Flows:
    """Follow the reading down the blocks: mass_at_i x A'[i, j] goes from token i to token j, A' = half skip, half A.

    attention  averaged over heads, rows summing to 1; queries in rows
    reading    share with which the model's head reads each token of the last block
    grid       rows and columns of patches
    names      of the tokens that are no patches, prefix before suffix
    suffix     how many of these come after the patches
    cell       patches are gathered in squares of so many; chosen so that there are at most 7 rows and columns if None.
               A grid that does not divide evenly has smaller cells at its right and bottom edge
    residual   share of mass that stays with its token for the skip connection
    first      index of the first block

    Ignores values, MLPs, norms and what heads do apart from their average: it shows where attention could carry
    something from, not what the prediction depends on. If blocks below the first are missing, level 0 is what enters
    the first block given.

    Raises InputError if names and grid do not give the number of tokens.
    """
    tokens, others = attention.shape[-1], len(names)
    if others + grid[0] * grid[1] != tokens:
        raise InputError(
            f"{others} named tokens and a grid of {grid[0]} x {grid[1]} patches are not {tokens} tokens.",
            "Name every token that is no patch.",
        )
    cell = cell or max(1, -(-max(grid) // MOST_CELLS))
    gather, cells = _gather(grid, others, suffix, cell)
    mass = np.zeros((len(attention) + 1, tokens))
    mass[-1] = reading
    steps = np.zeros((len(attention), gather.shape[1], gather.shape[1]))
    for block in range(len(attention) - 1, -1, -1):
        mixed = residual * np.eye(tokens) + (1 - residual) * attention[block].astype(np.float64)
        moved = mass[block + 1][:, None] * mixed
        mass[block] = moved.sum(0)
        steps[block] = gather.T @ moved @ gather
    return Flows(mass @ gather, steps, cells, cell, tuple(names), first)


def strongest_flows(flows: Flows, most: int, blocks: tuple[int, int] | None = None) -> list[Flow]:
    """Give for each block all that stays at its node, and the `most` largest flows to another one, largest first.

    From `blocks[0]` to `blocks[1]`, both included, counted from 0; each as a share of the mass of the reading. With
    cells of several patches, what goes from one patch to another of the same cell stays.
    """
    low, high = blocks or (0, len(flows.steps) - 1)
    whole = float(flows.mass[-1].sum()) or 1.0
    found = []
    for block in range(low, high + 1):
        shares = flows.steps[block] / whole
        nodes = len(shares)
        moving = np.where(np.eye(nodes, dtype=bool), -1.0, shares)  # what stays comes last, and is cut off
        ranks = np.argsort(-moving, axis=None, kind="stable")[: min(most, nodes * (nodes - 1))]
        places = [node * (nodes + 1) for node in range(nodes)] + [int(place) for place in ranks]
        candidates = [Flow(block, place // nodes, place % nodes, float(shares.flat[place])) for place in places]
        found += [flow for flow in candidates if flow.share > 0]
    return found


def drawn_share(flows: Flows, drawn: Sequence[Flow]) -> Float[np.ndarray, " l"]:
    """Give the share of each block's mass that these flows carry."""
    shares = np.zeros(len(flows.steps))
    for flow in drawn:
        shares[flow.block] += flow.share
    return shares


def draw_flow_map(
    flows: Flows,
    *,
    most: int = 40,
    blocks: tuple[int, int] | None = None,
    photo: UInt8[np.ndarray, "H W 3"] | None = None,
    reads: str = "the reading",
    title: str = "Flow of attention through the blocks",
) -> Figure:
    """Draw a slanted image grid for each level and a ribbon for each of the strongest flows between neighbours.

    flows   from `attention_flows`
    most    moves that are drawn for each block, beside all that stays; the share of the mass that is drawn is written
            below each block
    blocks  the first and the last block to draw, counted from 0
    photo   the model's input, drawn in grey on the grid at the very left
    reads   what the model's head reads, for the right end

    How to read it: the model's head reads at the right; follow the ribbons to the left, down to the patches. A ribbon
    is as wide as the share of mass that it carries. Blue ones go to another place; grey, dashed ones stay where they
    are, for the skip connection and attention to themselves. Dots are as large as the mass at their place. The rest of
    the mass is spread over weaker moves. No ribbon is drawn thinner than a hairline.
    """
    low, high = blocks or (0, len(flows.steps) - 1)
    drawn = strongest_flows(flows, most, (low, high))
    shares = drawn_share(flows, drawn)[low : high + 1]
    gathered = f" A dot is a square of {flows.cell} x {flows.cell} patches." if flows.cell > 1 else ""
    told = (
        f"The mass begins with the {reads} at the right: follow the ribbons to the left. Drawn are all that stays where"
        f" it is and the {most} strongest moves of each block, {percent(float(shares.mean()))} of the mass on"
        f" average.{gathered}"
    )
    figure = sheet(max(7.5, 1.05 * (high - low + 2)), 4.2, title, told)
    axes, key = figure.subplots(2, 1, height_ratios=[10, 1.3])
    for level in range(low, high + 2):
        _plane(axes, flows, level, level - low)
    if photo is not None and low == 0:
        _photo(axes, photo)
    _ribbons(axes, flows, drawn, low)
    for place, share in enumerate(shares):
        label = f"block {flows.first + low + place}\n{percent(float(share))} drawn"
        axes.text(STEP * (place + 0.5) + SQUEEZE / 2, BELOW, label, ha="center", va="top", fontsize=7, color=INK)
    source = f"after block {flows.first + low - 1}" if flows.first + low else "input"
    axes.text(SQUEEZE / 2, LEVEL, source, ha="center", va="top", fontsize=7, color=INK)
    end = plain(reads, 24) if high == len(flows.steps) - 1 else f"after block {flows.first + high}"
    axes.text(STEP * (high - low + 1) + SQUEEZE / 2, LEVEL, end, ha="center", va="top", fontsize=7, color=INK)
    axes.set_xlim(-0.6 * STEP, STEP * (high - low + 1) + SQUEEZE + 0.2)
    axes.set_ylim(1.54, -0.12 - 0.14 * max(1, len(flows.names)))
    axes.set_axis_off()
    _key(key)
    return figure


def flow_map_text(
    flows: Flows, *, most: int = 40, blocks: tuple[int, int] | None = None, reads: str = "the reading", told: int = 3
) -> str:
    """Say for each block, from the last to the first, what stays, what moves, and the strongest moves.

    told  how many moves are named for each block
    """
    low, high = blocks or (0, len(flows.steps) - 1)
    drawn = strongest_flows(flows, most, (low, high))
    shares = drawn_share(flows, drawn)
    whole = float(flows.mass[-1].sum()) or 1.0
    lines = [
        f"All mass begins at {reads}. In each block, half of a token's mass stays with it for the skip connection."
    ]
    for block in range(high, low - 1, -1):
        stays = float(np.trace(flows.steps[block])) / whole
        named = [
            f"{node_words(flows, flow.source)} to {node_words(flows, flow.target)} {percent(flow.share, 1)}"
            for flow in strongest_flows(flows, told, (block, block))
            if flow.source != flow.target
        ]
        lines.append(
            f"Block {flows.first + block}: {percent(stays)} of the mass stays where it is; strongest moves:"
            f" {', '.join(named) or 'none'}. What stays and the {most} strongest moves are"
            f" {percent(float(shares[block]))}."
        )
    others = len(flows.names)
    arrived = flows.mass[low] / whole
    best = [int(place) for place in np.argsort(-arrived, kind="stable")[: told + others]]
    ends = ", ".join(f"{node_words(flows, place)} {percent(float(arrived[place]), 1)}" for place in best)
    lines.append(f"Most arrives at: {ends}.")
    return "\n".join(lines)


def node_words(flows: Flows, node: int) -> str:
    """Name a node: a token by its name, a cell by row and column, counted from 0, and its place on the image."""
    if node < len(flows.names):
        return plain(flows.names[node])
    row, column = divmod(node - len(flows.names), flows.grid[1])
    return f"cell {row},{column} ({place_words(row + 0.5, column + 0.5, flows.grid)})"


def node_place(flows: Flows, node: int) -> tuple[float, float]:
    """Give where a node lies on its plane, across and down, the plane being one unit high; tokens lie above it."""
    others = len(flows.names)
    if node < others:
        return SQUEEZE / 2, -0.08 - 0.14 * (others - 1 - node)
    row, column = divmod(node - others, flows.grid[1])
    along, down = (column + 0.5) / flows.grid[1], (row + 0.5) / flows.grid[0]
    return SQUEEZE * along, down + LEAN * along


def _gather(
    grid: tuple[int, int], others: int, suffix: int, cell: int
) -> tuple[Float[np.ndarray, "n nodes"], tuple[int, int]]:
    """Say which node each token of the sequence belongs to, as a matrix of zeros and ones."""
    rows, columns = -(-grid[0] // cell), -(-grid[1] // cell)
    down, across = np.indices(grid)
    of_patch = others + (down // cell * columns + across // cell).ravel()
    prefix = others - suffix
    nodes = np.concatenate([np.arange(prefix), of_patch, np.arange(prefix, others)])
    return np.eye(others + rows * columns)[nodes], (rows, columns)


def _plane(axes: Axes, flows: Flows, level: int, place: int) -> None:
    """Draw the outline of one level's grid, and a dot for each node, as large as its mass."""
    x = STEP * place
    corners = [(0.0, 0.0), (SQUEEZE, LEAN), (SQUEEZE, 1 + LEAN), (0.0, 1.0), (0.0, 0.0)]
    axes.plot([x + a for a, _ in corners], [b for _, b in corners], color="#b0b0b0", linewidth=0.8, zorder=1)
    whole = float(flows.mass[-1].sum()) or 1.0
    places = np.array([node_place(flows, node) for node in range(flows.mass.shape[1])])
    sizes = 380 * flows.mass[level] / whole
    axes.scatter(x + places[:, 0], places[:, 1], s=np.maximum(sizes, 0.3), color=INK, linewidths=0, zorder=4)
    if place == 0:
        for node, name in enumerate(flows.names):
            axes.text(x + places[node, 0] - 0.16, places[node, 1], plain(name, 14), fontsize=7, ha="right", va="center")


def _photo(axes: Axes, photo: UInt8[np.ndarray, "H W 3"]) -> None:
    """Lay the photograph, in pale grey, on the first plane."""
    grey = photo.astype(np.float64).mean(2) / 255 * 0.6 + 0.4
    lie = Affine2D(np.array([[SQUEEZE, 0, 0], [LEAN, 1, 0], [0, 0, 1]]))
    axes.imshow(
        grey, cmap="gray", vmin=0, vmax=1, extent=(0, 1, 1, 0), transform=lie + axes.transData, zorder=0, aspect="auto"
    )


def _ribbons(axes: Axes, flows: Flows, drawn: Sequence[Flow], low: int) -> None:
    """Draw the ribbons, the widest first, so that thin ones stay visible on top of them."""
    along = np.linspace(0, 1, POINTS)
    eased = along * along * (3 - 2 * along)
    for stays, colour, dash, layer in ((True, STAYED, (0, (2.5, 0.8)), 2), (False, MOVED, "solid", 3)):
        group = sorted((flow for flow in drawn if (flow.source == flow.target) == stays), key=lambda flow: -flow.share)
        lines = []
        for flow in group:
            x = STEP * (flow.block - low)
            (left, top), (right, under) = node_place(flows, flow.target), node_place(flows, flow.source)
            across = x + left + (STEP + right - left) * along
            lines.append(np.stack([across, top + (under - top) * eased], 1))
        widths = [max(THINNEST, THICKEST * flow.share) for flow in group]
        axes.add_collection(
            LineCollection(lines, linewidths=widths, colors=colour, linestyles=[dash], alpha=0.6, zorder=layer)
        )


def _key(axes: Axes) -> None:
    """Draw how wide ribbons of some shares are, and what the two kinds mean."""
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    for place, share in enumerate((0.01, 0.05, 0.25, 1.0)):
        x = 0.1 + 1.15 * place
        axes.plot([x, x + 0.35], [0.5, 0.5], color=MOVED, linewidth=THICKEST * share, alpha=0.6, solid_capstyle="butt")
        axes.text(x + 0.45, 0.5, percent(share), fontsize=TEXT - 1, va="center")
    for x, colour, dash, words in (
        (4.9, MOVED, "solid", "goes to another place"),
        (7.2, STAYED, (0, (2.5, 0.8)), "stays where it is"),
    ):
        axes.plot([x, x + 0.4], [0.5, 0.5], color=colour, linewidth=3, linestyle=dash)
        axes.text(x + 0.5, 0.5, words, fontsize=TEXT - 1, va="center", color=SOFT)
    axes.axhline(1.0, color=FAINT, linewidth=0.8)
