"""Head features: what each head hands on, as a vector, for the tokens that the prediction is read from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerToken
from vitreous.vit.passes import Capture
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

Where: TypeAlias = Literal["reading", "patches"] | PerToken


@dataclass(frozen=True, eq=False)
class Features:
    """What heads hand on and what runs beside them, for every image of a data set.

    heads   "n l h e", see `head_features`
    stream  "n s d", with s = l + 1: the tokens entering each captured block and leaving the last, averaged over the
            same tokens. What a head can know of other tokens is not in it, only what earlier blocks brought there
    first   the first block
    """

    heads: Float32[Tensor, "n l h e"]
    stream: Float32[Tensor, "n s d"]
    first: int = 0


def head_features(trace: Trace, where: Where = "reading") -> Float[Tensor, "b l h e"]:
    """Give the output of every head in every captured block: attention times values, before the output projection.

    where  the tokens whose outputs are averaged: those that the head of the model "reads", with the share of each
           (class token 1, or the mean of patches); all "patches"; or shares of your own, "b n", for instance of the
           patches that an object covers

    The output is linear in the shares, and the block adds a linear function of it to those tokens. In blocks before the
    last, what a head writes to other tokens may reach the prediction as well: "reading" does not see that. Raises
    MethodNotApplicableError for models without plain attention, and InputError for shares of another shape.
    """
    shares = _shares(trace, where)
    pairs = zip(trace.attention, trace.values, strict=True)
    return torch.stack([_output(attention.detach(), values.detach(), shares) for attention, values in pairs], 1)


def stream_features(trace: Trace, where: Where = "reading") -> Float[Tensor, "b s d"]:
    """Give the tokens entering each captured block and leaving the last, averaged over the same tokens."""
    shares = _shares(trace, where)
    return torch.stack([torch.einsum("bn,bnd->bd", shares, tokens.detach().float()) for tokens in trace.tokens], 1)


def collect_features(
    vit: Vit, batches: Iterable[Tensor], where: Literal["reading", "patches"] | Tensor = "reading", first: int = 0
) -> Features:
    """Go through a data set, batch by batch, and keep the features of `head_features` alone, on the CPU.

    batches  "b 3 H W" each, RGB in [0, 1], of the model's size
    where  as there; shares of your own are "n tokens", one row for every image of all batches, in their order
    first  leaves out the blocks before

    The memory is that of one batch, without a graph, and l * h * e + (l + 1) * d numbers for each image.
    """
    heads, streams, done = [], [], 0
    for images in batches:
        here = where if isinstance(where, str) else where[done : done + len(images)]
        with torch.no_grad(), vit.trace(images, target=_any_target(vit), capture=_bare(first)) as trace:
            heads.append(head_features(trace, here).float().cpu())
            streams.append(stream_features(trace, here).float().cpu())
        done += len(images)
    if not heads:
        raise InputError("There are no images.", "Give at least one batch.")
    if not isinstance(where, str) and len(where) != done:
        raise InputError(f"where has {len(where)} rows for {done} images.", "Give one row for each image.")
    return Features(torch.cat(heads), torch.cat(streams), first)


def object_shares(vit: Vit, masks: Float[Tensor, "b H W"]) -> PerToken:
    """Give shares of the patches that an object covers, for `where`: in proportion to how much of each it covers.

    masks  1 where the object is and 0 elsewhere, or what share of a pixel it covers, of the model's input size

    Raises InputError for masks of another size, and for an image without any of the object.
    """
    (rows, columns), (high, wide) = vit.grid, vit.patch
    if tuple(masks.shape[1:]) != tuple(vit.preprocessing.size):
        raise InputError(
            f"masks are {tuple(masks.shape[1:])} pixels, and the model wants {tuple(vit.preprocessing.size)}.",
            "Fit them like the images.",
        )
    inside = masks[:, : rows * high, : columns * wide].float()
    covered = inside.reshape(-1, rows, high, columns, wide).sum((2, 4)).flatten(1)
    if not bool((covered.sum(1) > 0).all()):
        raise InputError("A mask is empty.", "Leave out images whose object is not seen.")
    shares = covered.new_zeros(len(masks), vit.tokens)
    shares[:, vit.patch_tokens] = covered / covered.sum(1, keepdim=True)
    return shares


def _bare(first: int) -> Capture:
    return Capture(first=first, graph=False, pixels=False, inputs=False, tokens=False)


def _any_target(vit: Vit) -> str:
    """Name a target that costs nothing to resolve; features do not depend on it."""
    return "predicted" if vit.has_classes else "embedding"


def _shares(trace: Trace, where: Where) -> PerToken:
    """Give the share of each token, "b n"."""
    reading = trace.reading.float()  # raises where there are no plain tokens
    if isinstance(where, Tensor):
        if where.shape != reading.shape:
            raise InputError(
                f"where has shape {tuple(where.shape)}, and the trace {tuple(reading.shape)} images and tokens.",
                "Give one share for each token, class and register tokens included.",
            )
        return where.to(reading)
    if where == "reading":
        return reading
    if where != "patches":
        raise InputError(f"where={where!r} is unknown.", 'Use "reading", "patches", or shares "b n".')
    shares = torch.zeros_like(reading)
    shares[:, trace.vit.patch_tokens] = 1 / (trace.vit.grid[0] * trace.vit.grid[1])
    return shares


def _output(
    attention: Float[Tensor, "b h n n"], values: Float[Tensor, "b h n e"], shares: PerToken
) -> Float[Tensor, "b h e"]:
    read = shares.nonzero()[:, 1]
    rows = slice(int(read.min()), int(read.max()) + 1) if len(read) else slice(0, 0)
    attended = torch.einsum("bn,bhnm->bhm", shares[:, rows], attention[:, :, rows].float())
    output: Tensor = torch.einsum("bhm,bhme->bhe", attended, values.float())
    return output
