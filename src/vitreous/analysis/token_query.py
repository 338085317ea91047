"""Tokens: what one attends to and who attends to it, what each is called, and which have an outlying norm."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.vit.outliers import TIMES, outlying_tokens
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit


@dataclass(frozen=True, eq=False)
class TokenQuery:
    """The attention of one token, for each image, captured block and head.

    token     its place in the sequence
    name      what `name_tokens` calls it
    given     share of its own attention that it gives to each token; sums to 1
    received  share of each token's attention that it gets; sums to nothing in particular. Given evenly it is 1/n each
    """

    token: int
    name: str
    given: Float[Tensor, "b l h n"]
    received: Float[Tensor, "b l h n"]


@dataclass(frozen=True, eq=False)
class TokenTable:
    """What each token is, and what is measured of it.

    names     as `name_tokens` gives them
    reading   share of each token in what the head of the model reads
    received  share of all attention in a block that goes to each token, averaged over heads and over all tokens that
              attend, itself among them; sums to 1 over tokens, and an even share is 1/n
    norm      Euclidean norm of each token entering each captured block and, last, leaving the last one
    outlying  whether it is a patch token with an outlying norm there; see `vit.outliers`
    """

    names: tuple[str, ...]
    reading: Float[Tensor, "b n"]
    received: Float[Tensor, "b l n"]
    norm: Float[Tensor, "b positions n"]
    outlying: Bool[Tensor, "b positions n"]


@dataclass(frozen=True)
class Outlier:
    """A patch whose token has an outlying norm.

    name      "outlier at patch (row, column)"
    token     its place in the sequence
    blocks    the blocks that gave it out with such a norm, counted from 0
    times     its largest norm in any of them, in units of the median of all patch tokens there
    received  the largest share of a block's attention that it got where it came in with such a norm, as in
              `TokenTable`; None if no captured block took it in
    """

    name: str
    token: int
    blocks: tuple[int, ...]
    times: float
    received: float | None


def query_token(
    trace: Trace, row: int | None = None, column: int | None = None, prefix_token: int | None = None
) -> TokenQuery:
    """Ask what one token attends to and who attends to it, in every captured block and head.

    row, column   place of a patch in the grid, counted from 0 at the top left
    prefix_token  or the number of a token before the patches, counted from 0

    A token of a late block stands at a patch's place and need not be about that patch any more. Raises InputError for
    no token, two, or one that the model does not have, and MethodNotApplicableError for models without plain attention.
    """
    _ = trace.readout  # raises where there are no plain tokens
    token = _place(trace.vit, row, column, prefix_token)
    blocks = [attention.detach() for attention in trace.attention]
    return TokenQuery(
        token=token,
        name=name_tokens(trace.vit)[token],
        given=torch.stack([attention[:, :, token].float() for attention in blocks], 1),
        received=torch.stack([attention[..., token].float() for attention in blocks], 1),
    )


def on_grid(vit: Vit, per_token: Float[Tensor, "*m n"]) -> Float[Tensor, "*m gh gw"]:
    """Put what belongs to patches on their grid, and leave the other tokens out."""
    return per_token[..., vit.patch_tokens].reshape(*per_token.shape[:-1], *vit.grid)


def name_tokens(vit: Vit) -> tuple[str, ...]:
    """Name all tokens in their order: "class", "distillation", "register 1", …, "patch (row, column)", ….

    That a token is a patch's, and where that patch is, is known; so is which tokens the prediction is read from. The
    other names are guesses from that, by one rule on either side of the patches: a single one of these tokens that is
    read is called "class"; the second of two "distillation", as in DeiT; of more, "class 1", "class 2", …. What is not
    read is called "register", although it may be a class token that the model does not use, one of prompts, or padding.
    Raises MethodNotApplicableError for models without plain tokens.
    """
    if vit.readout is None:
        raise MethodNotApplicableError(
            f"{vit.name} has no plain sequence of tokens.", "Open a model with plain attention."
        )
    pooled = vit.readout.kind in {"mean", "attention"}
    read = [] if pooled else [place for place in vit.other_tokens if float(vit.readout.weights[place]) > 0]
    called = {1: ["class"], 2: ["class", "distillation"]}.get(len(read), [f"class {k + 1}" for k in range(len(read))])
    names = dict(zip(read, called, strict=True))
    others = [place for place in vit.other_tokens if place not in names]
    names |= {place: f"register {number}" for number, place in enumerate(others, start=1)}
    patches = [f"patch ({row}, {column})" for row in range(vit.grid[0]) for column in range(vit.grid[1])]
    names |= dict(enumerate(patches, start=vit.prefix))
    return tuple(names[place] for place in range(vit.tokens))


def token_table(trace: Trace, times: float = TIMES) -> TokenTable:
    """Name every token, and measure its norm and the attention that it gets, in every captured block.

    times  a patch token is outlying above this many times the median norm of its image and block

    Attention to a token says nothing of what is taken from it: its values may be close to zero, as those of sinks
    often are. Raises MethodNotApplicableError for models without plain attention.
    """
    reading = trace.reading.float()
    tokens = [each.detach() for each in trace.tokens]
    norm = torch.stack([(each if each.dtype == torch.float64 else each.float()).norm(dim=-1) for each in tokens], 1)
    outlying = torch.zeros_like(norm, dtype=torch.bool)
    for image, found in enumerate(outlying_tokens(trace, times)):
        for token in found:
            outlying[image, token.block + 1 - trace.first, _place(trace.vit, token.row, token.column, None)] = True
    return TokenTable(
        names=name_tokens(trace.vit),
        reading=reading,
        received=torch.stack([attention.detach().float().mean((1, 2)) for attention in trace.attention], 1),
        norm=norm.float(),
        outlying=outlying,
    )


def name_outliers(trace: Trace, times: float = TIMES) -> list[tuple[Outlier, ...]]:
    """Name the patches of each image whose token has an outlying norm anywhere, the largest first.

    times  as for `token_table`
    """
    table = token_table(trace, times)
    named = []
    for image, found in enumerate(outlying_tokens(trace, times)):
        places: dict[int, list[tuple[int, float]]] = {}
        for each in found:
            places.setdefault(_place(trace.vit, each.row, each.column, None), []).append((each.block, each.times))
        outliers = [_outlier(trace, table, image, token, seen) for token, seen in places.items()]
        named.append(tuple(sorted(outliers, key=lambda outlier: -outlier.times)))
    return named


def _outlier(trace: Trace, table: TokenTable, image: int, token: int, seen: list[tuple[int, float]]) -> Outlier:
    """Sum up where one token has an outlying norm, from the (block, times) at which it was seen."""
    into = [block + 1 - trace.first for block, _ in seen if block + 1 < len(trace.vit.blocks)]
    return Outlier(
        name=f"outlier at {table.names[token]}",
        token=token,
        blocks=tuple(block for block, _ in seen),
        times=max(times for _, times in seen),
        received=max((float(table.received[image, place, token]) for place in into), default=None),
    )


def _place(vit: Vit, row: int | None, column: int | None, prefix_token: int | None) -> int:
    """Give the place in the sequence of the one token that is asked about. Raises InputError if it is not one."""
    if prefix_token is not None and row is None and column is None:
        if 0 <= prefix_token < vit.prefix:
            return prefix_token
        raise InputError(f"prefix_token={prefix_token} is outside the model.", f"It has {vit.prefix}, counted from 0.")
    if prefix_token is not None or row is None or column is None:
        raise InputError(
            f"row={row}, column={column} and prefix_token={prefix_token} name no token.",
            "Give row and column, or prefix_token.",
        )
    if not (0 <= row < vit.grid[0] and 0 <= column < vit.grid[1]):
        raise InputError(f"Patch ({row}, {column}) is outside the grid.", f"It has {vit.grid}, counted from 0.")
    return vit.prefix + row * vit.grid[1] + column
