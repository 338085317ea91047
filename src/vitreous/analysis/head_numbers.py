"""What each head does with its attention: how evenly it spreads it, how far it reaches, what it gives to which tokens.

All numbers come from one pass: of the attention that a trace kept, or of attention that is read a few rows at a time,
for models whose attention is too large to keep.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.patches import patch_centres
from vitreous.core.shapes import Images
from vitreous.vit.passes import ROWS
from vitreous.vit.row_wise import read_by_rows
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

PerHead: TypeAlias = Float[Tensor, "b l h"]
Queries: TypeAlias = Literal["patches", "prefix", "all"]


@dataclass(frozen=True, eq=False)
class HeadNumbers:
    """One number for each image, captured block and head, "b l h", averaged over the query tokens that were asked for.

    entropy      of a query's attention, as a share of that of attention spread evenly over all n tokens: 0 for a single
                 token, 1 for all alike
    confidence   largest share that a query gives to one token (Voita et al. 2019), from 1/n to 1
    distance     mean distance in pixels of the model's input between the centres of a query patch and of the patches
                 that it attends to, each weighed by the share of its attention among patches (Dosovitskiy et al. 2021).
                 Queries are patches here, whichever were asked for, since other tokens have no place; NaN for a query
                 that attends to no patch, and those are left out of the mean
    prefix_mass  share that goes to class and register tokens, on either side of the patches. In a model without, 0
    self_mass    share that a query gives to itself
    sink_mass    largest share that a single token gets from all queries on average
    sink         the place of that token in the sequence
    """

    entropy: PerHead
    confidence: PerHead
    distance: PerHead
    prefix_mass: PerHead
    self_mass: PerHead
    sink_mass: PerHead
    sink: Int[Tensor, "b l h"]


def head_numbers(trace: Trace, queries: Queries = "patches") -> HeadNumbers:
    """Measure the attention of every head in every captured block.

    queries  whose attention is averaged: that of the "patches", of the "prefix" (all tokens that are no patches: class
             and register tokens, also those behind the patches, which in most models include what the head of the
             model reads), or of "all" tokens

    Attention is what a head takes values with, not what the prediction depends on: `head_importance` asks for that.
    Raises MethodNotApplicableError for models without plain attention over one set of tokens, and InputError for
    prefix queries of a model whose tokens are all patches.

    Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929, appendix D.7) and Raghu et al. 2021 (arXiv:2108.08810) for the
    distance, here of attention renormalised over patches, as neither says what becomes of the class token's share;
    Voita et al. 2019 (arXiv:1905.09418) for confidence.
    """
    asked = _rows(trace.vit, queries)
    tallies = []
    for attention in trace.attention:
        tally = _Tally(trace.vit, asked, patch_distances(trace.vit))
        tally.add(slice(0, attention.shape[-2]), attention.detach())
        tallies.append(tally)
    return _together(tallies)


def head_numbers_by_rows(vit: Vit, images: Images, queries: Queries = "patches", at_once: int = ROWS) -> HeadNumbers:
    """Give the same as `head_numbers` of all blocks, reading the attention `at_once` query tokens at a time.

    For models whose attention is too large to keep: beside the pass itself it takes a few times h * at_once * n numbers
    for each image, whatever the number of blocks. Equal to `head_numbers` up to rounding; errors are the same.
    """
    asked = _rows(vit, queries)
    distances = patch_distances(vit)
    tallies = [_Tally(vit, asked, distances) for _ in vit.blocks]
    read_by_rows(vit, images, lambda block, rows, attention: tallies[block].add(rows, attention), at_once)
    return _together(tallies)


def patch_distances(vit: Vit) -> Float[Tensor, "p p"]:
    """Give the distances between the centres of all patches, in pixels of the model's input."""
    centres = patch_centres(vit.grid, vit.patch).float().to(vit.device)
    return torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")


def _rows(vit: Vit, queries: Queries) -> tuple[slice, ...]:
    """Give the ranges of the queries in the sequence."""
    _ = vit.plain_readout  # raises where there are no plain tokens
    if queries == "prefix" and not vit.other_tokens:
        raise InputError(f"{vit.name} has no class or register tokens.", 'Use queries="patches".')
    patches = vit.patch_tokens
    around = slice(0, patches.start), slice(patches.stop, vit.tokens)
    return {"patches": (patches,), "prefix": around, "all": (slice(0, vit.tokens),)}[queries]


def _together(tallies: list["_Tally"]) -> HeadNumbers:
    blocks = [tally.numbers() for tally in tallies]
    return HeadNumbers(
        **{each.name: torch.stack([block[each.name] for block in blocks], 1) for each in fields(HeadNumbers)}
    )


class _Tally:
    """Adds up the numbers of one block, "b h" each, over query tokens that may come in pieces.

    asked      ranges of the query tokens that count
    distances  between patches, in pixels
    """

    def __init__(self, vit: Vit, asked: tuple[slice, ...], distances: Float[Tensor, "p p"]) -> None:
        self._tokens, self._patches, self._others = vit.tokens, vit.patch_tokens, vit.other_tokens
        self._asked, self._distances = asked, distances
        self._sums: dict[str, Tensor] = {}

    def add(self, rows: slice, attention: Float[Tensor, "b h rows n"]) -> None:
        """Count the attention of the query tokens `rows`."""
        for asked in self._asked:
            begin, end = _common(rows, asked)
            if begin < end:
                self._add_asked(begin, attention[:, :, begin - rows.start : end - rows.start].float())
        begin, end = _common(rows, self._patches)
        if begin < end:
            between = attention[:, :, begin - rows.start : end - rows.start, self._patches].float()
            places = slice(begin - self._patches.start, end - self._patches.start)
            reach = (between * self._distances[places]).sum(-1) / between.sum(-1)  # NaN where none goes to patches
            self._more("distance", reach.nansum(-1))
            self._more("reaching", reach.isfinite().float().sum(-1))

    def numbers(self) -> dict[str, Tensor]:
        """Give the means over all that was added."""
        sums, count = self._sums, sum(asked.stop - asked.start for asked in self._asked)
        received = sums["received"] / count
        return {
            "entropy": sums["entropy"] / count / math.log(self._tokens),
            "confidence": sums["confidence"] / count,
            "distance": sums["distance"] / sums["reaching"],
            "prefix_mass": received[..., self._others].sum(-1),
            "self_mass": sums["self_mass"] / count,
            "sink_mass": received.amax(-1),
            "sink": received.argmax(-1),
        }

    def _add_asked(self, begin: int, attention: Float[Tensor, "b h rows n"]) -> None:
        self._more("entropy", torch.special.entr(attention).sum((-1, -2)))
        self._more("confidence", attention.amax(-1).sum(-1))
        self._more("received", attention.sum(-2))
        self._more("self_mass", attention.diagonal(begin, dim1=-2, dim2=-1).sum(-1))

    def _more(self, name: str, addend: Tensor) -> None:
        self._sums[name] = self._sums[name] + addend if name in self._sums else addend


def _common(one: slice, other: slice) -> tuple[int, int]:
    """Give where two ranges begin and end together; an end before the beginning if they do not."""
    return max(one.start, other.start), min(one.stop, other.stop)
