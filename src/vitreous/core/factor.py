"""Factor: one thing that is known about every image of a data set, as a number, an angle or a category."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64

from vitreous.core.errors import InputError

Kind: TypeAlias = Literal["number", "angle", "category"]


@dataclass(frozen=True, eq=False)
class Factor:
    """One known value for each image.

    name    what it is, "size" for instance
    group   what kind of thing it says: "colour", "shape", "material", "position", "context", …
    kind    "number"; "angle", in radians, where 0 and 2 pi are the same; or "category"
    values  "n" float64; for a category int64, the place of its name in `labels`
    labels  names of the categories, empty for other kinds

    Raises InputError for values that are not finite, or that have no label.
    """

    name: str
    group: str
    kind: Kind
    values: Float64[np.ndarray, " n"] | Int64[np.ndarray, " n"] = field(repr=False)
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        if not np.isfinite(self.values).all():
            raise InputError(
                f"The factor {self.name!r} is not known for every image.", "Leave out the images without it."
            )
        whole = np.issubdtype(self.values.dtype, np.integer)
        inside = whole and self.values.min(initial=0) >= 0 and self.values.max(initial=-1) < len(self.labels)
        if self.kind == "category" and not inside:
            raise InputError(
                f"The factor {self.name!r} has values without a label.",
                f"Give whole numbers from 0 to {len(self.labels) - 1}, the places of its labels.",
            )

    def __len__(self) -> int:
        """Count the images."""
        return len(self.values)


def category(name: str, group: str, words: list[str], labels: tuple[str, ...] | None = None) -> Factor:
    """Build a factor from one word for each image. Categories are `labels`, or the words that occur, sorted.

    Raises InputError for a word that is none of the labels.
    """
    known = tuple(sorted(set(words))) if labels is None else labels
    unknown = sorted(set(words) - set(known))
    if unknown:
        raise InputError(f"The factor {name!r} has the value {unknown[0]!r}.", f"Expected one of {', '.join(known)}.")
    return Factor(name, group, "category", np.array([known.index(word) for word in words], dtype=np.int64), known)
