"""Numbers to be drawn, with what a reader needs in order to read them: unit, meaning, names of rows and columns.

Blocks are counted from 0 on every figure, heads too. `first` of a figure is the index, from 0, of the block that its
first row holds, for models of which only some blocks were looked at.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitreous.core.errors import InputError


@dataclass(frozen=True, eq=False)
class HeadNumber:
    """One number for each block and head.

    values   "l h"; NaN where a head has none
    unit     for instance "share of attention" or "pixels"
    meaning  one sentence that says what a large value is, and what it is not
    signed   whether values below zero mean something of their own
    """

    values: Float[np.ndarray, "l h"]
    unit: str
    meaning: str
    signed: bool = False


@dataclass(frozen=True, eq=False)
class BlockSeries:
    """One number for each block, with an interval if one was measured.

    values     " l"; NaN where a block has none
    unit       of the values
    meaning    one sentence, as for `HeadNumber`
    low, high  ends of a 95 % interval for each block, or None
    interval   what the interval is of, for instance "95 % bootstrap interval over 40 images"
    """

    values: Float[np.ndarray, " l"]
    unit: str
    meaning: str
    low: Float[np.ndarray, " l"] | None = None
    high: Float[np.ndarray, " l"] | None = None
    interval: str = "95 % interval"

    def __post_init__(self) -> None:
        """Refuse half an interval."""
        if (self.low is None) != (self.high is None):
            raise InputError("A series has one end of its interval only.", "Give both low and high, or neither.")


@dataclass(frozen=True, eq=False)
class Focus:
    """Where attention lies in each block: its centre of mass over patches, and how far it spreads around it.

    centre  "l 2": row and column in patches from the top left corner of the grid, so that (0.5, 0.5) is the middle of
            the first patch and (gh, gw) the bottom right corner
    spread  " l": standard distance from the centre, in patches; drawn as the radius of a circle
    """

    centre: Float[np.ndarray, "l 2"]
    spread: Float[np.ndarray, " l"]


@dataclass(frozen=True, eq=False)
class Relations:
    """How much of its attention each object gives to each, block by block.

    names    of the k objects; "background" is one like any other if it was measured
    mass     "l k k": from the object of the row to that of the column
    unit     for instance "share of the row object's attention"
    meaning  one sentence
    """

    names: tuple[str, ...]
    mass: Float[np.ndarray, "l k k"]
    unit: str
    meaning: str

    def __post_init__(self) -> None:
        """Refuse names that do not fit the numbers."""
        if len(self.names) != self.mass.shape[1]:
            raise InputError(
                f"{len(self.names)} names were given for {self.mass.shape[1]} objects.", "Give one name for each."
            )


@dataclass(frozen=True, eq=False)
class FactorScores:
    """How well each head tells each factor of a scene, such as colour or shape.

    heads    names of the rows, for instance "block 3 head 1"
    factors  names of the columns
    score    "heads factors", from 0 to 1
    above    whether the score is above what shuffled labels give, by a test that `meaning` names
    unit     for instance "balanced accuracy"
    meaning  one sentence: probe, folds, control
    chance   score of a guess for each factor, or None
    """

    heads: tuple[str, ...]
    factors: tuple[str, ...]
    score: Float[np.ndarray, "heads factors"]
    above: Bool[np.ndarray, "heads factors"]
    unit: str
    meaning: str
    chance: Float[np.ndarray, " factors"] | None = None

    def __post_init__(self) -> None:
        """Refuse names that do not fit the numbers."""
        if (len(self.heads), len(self.factors)) != self.score.shape:
            raise InputError(
                f"{len(self.heads)} heads and {len(self.factors)} factors were named for scores of shape"
                f" {self.score.shape}.",
                "Give one name for each row and column.",
            )
