"""What the page of `vitreous inspect` is made of: plain numbers, names and sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from vitreous.core.errors import InputError
from vitreous.show.plots.numbers import BlockSeries, FactorScores, Focus, HeadNumber, Relations

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Prediction:
    """A class that the model considered.

    name         as the model names it
    probability  after softmax; None for models whose outputs are no classes
    score        raw output
    """

    name: str
    probability: float | None
    score: float


@dataclass(frozen=True)
class LensBlock:
    """What the model would say if it ended after this block.

    block        index of the block, from 0
    probability  of the explained class
    rank         of the explained class, 1 being the first
    top          the strongest classes with their probabilities
    """

    block: int
    probability: float
    rank: int
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class InspectContent:
    """Everything on the page; sections whose content is empty or None are left out, and the page says so.

    title        of the page, for instance the name of the photograph
    photo        PNG of the model's input as it saw it, on which the patch grid lies exactly
    grid         rows and columns of patches
    model        name of the model
    target       name of the explained class
    predictions  strongest first
    readings     "l h gh gw": attention of what the model's head reads, to patches, for each head
    reads        what the model's head reads, for instance "class token"
    numbers      by name, for each block and head
    prefix       names of the tokens before the patches, in order, for instance ("class token",)
    suffix       names of the tokens after the patches
    first        index, from 0, of the first block in all the arrays
    attention    "l n n": attention averaged over heads, queries in rows, or None
    reading      " n": share with which the model's head reads each token of the last block; with `attention` it gives
                 the flow map
    focus        centre and spread for each block, or None
    series       by name, for each block: spread, overlap, entropy and the like
    agreement    by name, for each block: agreement of heads
    converging   "gh gw": share of all heads that have the patch among those they attend to most, or None
    lens_of      the class that the lens is about; the explained one if empty
    lens         one entry for each block, or none
    relations    between objects, or None
    factors      heads by factors, or None
    facts        about model and photograph, by name
    provenance   how the page was made, by name: command, versions, digests
    limits       sentences: what the page does not show
    """

    title: str
    photo: bytes
    grid: tuple[int, int]
    model: str
    target: str
    predictions: tuple[Prediction, ...]
    readings: Float[np.ndarray, "l h gh gw"]
    reads: str
    numbers: Mapping[str, HeadNumber]
    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()
    first: int = 0
    attention: Float[np.ndarray, "l n n"] | None = None
    reading: Float[np.ndarray, " n"] | None = None
    focus: Focus | None = None
    series: Mapping[str, BlockSeries] = field(default_factory=dict)
    agreement: Mapping[str, BlockSeries] = field(default_factory=dict)
    converging: Float[np.ndarray, "gh gw"] | None = None
    lens_of: str = ""
    lens: tuple[LensBlock, ...] = ()
    relations: Relations | None = None
    factors: FactorScores | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parts that do not fit one another, by name."""
        blocks, heads = self.readings.shape[:2]
        rows, columns = self.grid
        tokens = len(self.prefix) + rows * columns + len(self.suffix)
        wanted: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
            ("readings", self.readings.shape, (blocks, heads, rows, columns))
        ]
        wanted += [(f"numbers[{name!r}]", each.values.shape, (blocks, heads)) for name, each in self.numbers.items()]
        wanted += [
            (f"series[{name!r}]", each.values.shape, (blocks,))
            for name, each in {**self.series, **self.agreement}.items()
        ]
        if self.attention is not None:
            wanted.append(("attention", self.attention.shape, (blocks, tokens, tokens)))
        if self.reading is not None:
            wanted.append(("reading", self.reading.shape, (tokens,)))
        if self.converging is not None:
            wanted.append(("converging", self.converging.shape, (rows, columns)))
        if self.focus is not None:
            wanted.append(("focus.centre", self.focus.centre.shape, (blocks, 2)))
        if self.relations is not None:
            names = len(self.relations.names)
            wanted.append(("relations.mass", self.relations.mass.shape, (blocks, names, names)))
        for name, found, right in wanted:
            if found != right:
                raise InputError(
                    f"{name} has the shape {found}, not {right}.",
                    "Give arrays of the same blocks, heads, grid and tokens.",
                )

    @property
    def tokens(self) -> tuple[str, ...]:
        """Names of the tokens that are no patches, in the order of the sequence: prefix, then suffix."""
        return (*self.prefix, *self.suffix)
