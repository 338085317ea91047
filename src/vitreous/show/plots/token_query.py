"""Token query: what one token attends to in each block, and which patches attend to it."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from vitreous.core.errors import InputError
from vitreous.show.colour import scale_over
from vitreous.show.legend import PURE
from vitreous.show.plots._canvas import TEXT, colour_bar, place_words, sheet
from vitreous.show.plots._mosaic import mosaic
from vitreous.show.plots.head_grid import OVER_PHOTO
from vitreous.show.words import percent

TO_UNIT = "share of the token's attention"
BY_UNIT = "share of each patch's attention that goes to the token"


def query_maps(
    attention: Float[np.ndarray, "l n n"], token: int, prefix: int, grid: tuple[int, int]
) -> tuple[Float[np.ndarray, "l gh gw"], Float[np.ndarray, "l gh gw"]]:
    """Give what a token attends to and who attends to it, on the grid, for each block.

    attention  averaged over heads; queries in rows
    token      its place in the sequence
    prefix     number of tokens before the patches

    The first sums to less than 1 where the token attends to tokens that are no patches. The second does not sum to
    anything in particular: each patch has attention of its own to give.
    """
    if not 0 <= token < attention.shape[-1]:
        raise InputError(f"token={token} is out of range.", f"Give a place from 0 to {attention.shape[-1] - 1}.")
    patches = slice(prefix, prefix + grid[0] * grid[1])
    shape = (len(attention), *grid)
    return attention[:, token, patches].reshape(shape), attention[:, patches, token].reshape(shape)


def draw_token_query(
    attention: Float[np.ndarray, "l n n"],
    token: int,
    name: str,
    prefix: int,
    grid: tuple[int, int],
    *,
    photo: UInt8[np.ndarray, "H W 3"] | None = None,
    first: int = 0,
    title: str = "",
) -> Figure:
    """Draw two rows of small maps: above, what the token attends to in each block; below, who attends to it.

    name  of the token, for the title

    How to read it: the two rows have different units, and so a scale each, shared by all blocks.
    """
    coat = PURE if photo is None else OVER_PHOTO
    blocks = len(attention)
    told = "Above: what it attends to. Below: which patches attend to it. Each row has one scale for all blocks."
    figure = sheet(max(7.5, 0.9 * blocks), 5.2, title or f"Attention to and from {name}, mean over heads", told)
    panels = figure.subplots(4, 1, height_ratios=[3, 0.5, 3, 0.5])
    for place, (maps, unit, words) in enumerate(
        zip(query_maps(attention, token, prefix, grid), (TO_UNIT, BY_UNIT), ("attends to", "attended by"), strict=True)
    ):
        scale = scale_over([maps.reshape(-1, grid[1])], unit, signed=False, kind="robust")
        shown, places = [(block, 0) for block in range(blocks)], [(0, block) for block in range(blocks)]
        picture, step, corner = mosaic(maps[:, None], shown, places, (1, blocks), photo, scale, coat, captions=False)
        axes = panels[2 * place]
        axes.imshow(picture, interpolation="none")
        marks = [column * step[1] + corner[1] / 2 for column in range(blocks)]
        axes.set_xticks(marks, [str(first + block) for block in range(blocks)], fontsize=TEXT - 1)
        axes.xaxis.tick_top()
        axes.set_yticks([])
        axes.set_ylabel(words, fontsize=TEXT)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        colour_bar(panels[2 * place + 1], scale, coat)
    return figure


def token_query_text(
    attention: Float[np.ndarray, "l n n"], token: int, name: str, prefix: int, grid: tuple[int, int], first: int = 0
) -> str:
    """Say for each block how much of the token's attention goes to patches, where most of it goes, and who attends."""
    lines = [f"Attention to and from {name}, mean over heads."]
    to, by = query_maps(attention, token, prefix, grid)
    for block in range(len(attention)):
        best, reader = (np.unravel_index(int(np.argmax(maps[block])), grid) for maps in (to, by))
        goes, own = percent(float(to[block].sum())), percent(float(attention[block, token, token]), 1)
        lines.append(
            f"Block {first + block}: {goes} goes to patches, most to {_patch(best, grid)} with"
            f" {percent(float(to[block][best]), 1)}; to itself {own}. Attended to most by {_patch(reader, grid)} with"
            f" {percent(float(by[block][reader]), 1)} of its attention, {percent(float(by[block].mean()), 1)} over all"
            " patches."
        )
    return "\n".join(lines)


def _patch(place: tuple[np.intp, ...], grid: tuple[int, int]) -> str:
    """Name a patch by row and column, counted from 0, and where it lies."""
    row, column = int(place[0]), int(place[1])
    return f"row {row}, column {column} ({place_words(row + 0.5, column + 0.5, grid)})"
