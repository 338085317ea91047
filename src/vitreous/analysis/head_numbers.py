"""What each head does with its attention: how evenly it spreads it, how far it reaches, what it gives to which tokens.

All numbers come from the attention of one trace; nothing runs again.
"""

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import Attention
from vitreous.vit.trace import Trace

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
    prefix_mass  share that goes to class and register tokens. In a model without them, 0
    self_mass    share that a query gives to itself
    sink_mass    largest share that a single token gets from all queries on average
    sink         the place of that token in the sequence; prefix tokens come first
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

    queries  whose attention is averaged: that of the "patches", of the "prefix" (class and register tokens, which in
             most models include what the head of the model reads), or of "all" tokens

    Attention is what a head takes values with, not what the prediction depends on: `head_importance` asks for that.
    Raises MethodNotApplicableError for models without plain attention over one set of tokens, and InputError for
    prefix queries of a model that has no prefix.

    Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929, appendix D.7) and Raghu et al. 2021 (arXiv:2108.08810) for the
    distance, here of attention renormalised over patches, as neither says what becomes of the class token's share;
    Voita et al. 2019 (arXiv:1905.09418) for confidence.
    """
    rows = _rows(trace, queries)
    distances = patch_distances(trace)
    blocks = [_of_block(trace, attention.detach(), rows, distances) for attention in trace.attention]
    return HeadNumbers(
        **{each.name: torch.stack([block[each.name] for block in blocks], 1) for each in fields(HeadNumbers)}
    )


def patch_distances(trace: Trace) -> Float[Tensor, "p p"]:
    """Give the distances between the centres of all patches, in pixels of the model's input."""
    (rows, columns), (high, wide) = trace.vit.grid, trace.vit.patch
    down, across = torch.meshgrid(torch.arange(rows) * float(high), torch.arange(columns) * float(wide), indexing="ij")
    centres = torch.stack([down.flatten(), across.flatten()], 1)
    return torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")


def _rows(trace: Trace, queries: Queries) -> slice:
    """Give the places of the queries in the sequence."""
    _ = trace.readout  # raises where there are no plain tokens
    prefix, patches = trace.vit.prefix, trace.vit.grid[0] * trace.vit.grid[1]
    if queries == "prefix" and not prefix:
        raise InputError(f"{trace.vit.name} has no class or register tokens.", 'Use queries="patches".')
    return {"patches": slice(prefix, prefix + patches), "prefix": slice(0, prefix), "all": slice(None)}[queries]


def _of_block(trace: Trace, attention: Attention, rows: slice, distances: Float[Tensor, "p p"]) -> dict[str, Tensor]:
    """Measure one block; each number is "b h"."""
    asked = attention[:, :, rows].float()
    received = asked.mean(2)
    tokens, prefix = attention.shape[-1], trace.vit.prefix
    patches = slice(prefix, prefix + len(distances))
    return {
        "entropy": torch.special.entr(asked).sum(-1).mean(-1) / torch.log(torch.tensor(float(tokens))),
        "confidence": asked.amax(-1).mean(-1),
        "distance": _distance(attention[..., patches, patches].float(), distances.to(attention.device)),
        "prefix_mass": received[..., :prefix].sum(-1),
        "self_mass": attention.diagonal(dim1=2, dim2=3)[..., rows].float().mean(-1),
        "sink_mass": received.amax(-1),
        "sink": received.argmax(-1),
    }


def _distance(between: Float[Tensor, "b h p p"], distances: Float[Tensor, "p p"]) -> Float[Tensor, "b h"]:
    """Average the distance over queries, each with its attention to patches made to sum to 1."""
    return ((between * distances).sum(-1) / between.sum(-1)).nanmean(-1)
