"""Colour: fixed scales, so that one value has one colour on every map that shares the scale.

Maps that are each stretched to their own range look equally convincing, noise included. Here a scale begins
at zero, is made once for all maps that are compared, and says how its ends were chosen. Only colours whose
brightness follows the value, or its magnitude if it is signed, are offered: others draw edges where the map
has none.

A scale is data (`Scale`), chosen by `scale_for` or by hand; `colourise` applies it. How the colours are
mixed with a photograph is the business of `show.paint`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.core.heatmap import Heatmap
from vitreous.show.words import percent, speaks_of_target

Kind: TypeAlias = Literal["range", "robust"]
Start: TypeAlias = Literal["zero", "minimum"]

SEQUENTIAL = ("cividis", "viridis", "inferno", "magma")
DIVERGING = ("RdBu_r", "PuOr", "PuOr_r")
CONSTANT_WORDS = "uninformative: the map is constant"
FLAT_GREY = (
    128,
    128,
    128,
)  # what a constant map looks like; no scale of this package has it as a strong colour
_MISLEADING = (
    "jet",
    "turbo",
    "rainbow",
    "gist_rainbow",
    "hsv",
    "nipy_spectral",
    "twilight",
    "spectral",
    "rdylgn",
)


@dataclass(frozen=True)
class Scale:
    """Which value has which colour, from `low` to `high` in `unit`; values beyond have the end colour.

    low, high  ends of the scale, in `unit`
    unit       that of the maps it is for
    colours    a name from `SEQUENTIAL`, or for signed maps from `DIVERGING`; then low = -high
    shared_by  number of maps that are drawn on this scale
    clipped    share of the maps' values that lie beyond the ends
    rule       how the ends were chosen, as a clause
    targeted   whether the two directions of a signed scale speak for and against the target: of maps by methods that
               look at it. Of others they are no more than two directions

    Raises UnknownNameError for unknown or misleading colours, and InputError for ends that make no scale.

    >>> Scale(0.0, 2.0, "attention mass").strength(np.array([-1.0, 1.0, 3.0]))
    array([0. , 0.5, 1. ])
    """

    low: float
    high: float
    unit: str
    colours: str = "viridis"
    shared_by: int = 1
    clipped: float = 0.0
    rule: str = "given by hand"
    targeted: bool = True

    def __post_init__(self) -> None:
        """Refuse scales that mislead: unknown colours, no extent, a signed scale whose middle is not zero."""
        _check_colours(self.colours)
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError(
                f"A colour scale from {self.low} to {self.high} has no extent.",
                "Give finite numbers with low < high.",
            )
        if self.diverging and self.low != -self.high:
            raise InputError(
                f"A signed colour scale from {self.low} to {self.high} does not have zero in its middle.",
                "Give low = -high, or use a sequential scale such as 'cividis'.",
            )

    @property
    def diverging(self) -> bool:
        """Whether the scale has two directions from zero, for signed maps."""
        return self.colours in DIVERGING

    def strength(self, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Give how far each value is from the low end (from zero if signed), from 0 to 1; NaN stays NaN.

        This is what opacity follows: strong evidence against the target is as visible as strong evidence
        for it.
        """
        if self.diverging:
            return np.asarray(np.clip(np.abs(values) / self.high, 0, 1))
        return np.asarray(np.clip((values - self.low) / (self.high - self.low), 0, 1))

    def describe(self) -> str:
        """Say in one sentence how the scale was chosen and who shares it; a second one if values were clipped."""
        shared = f"; shared with {self.shared_by - 1} other map" + ("s" if self.shared_by > 2 else "")
        beyond = f" {percent(self.clipped, 1)} of the values lie beyond its ends and take the end colour."
        sentence = f"Colour scale {self.rule}{shared if self.shared_by > 1 else ''}."
        return sentence + (beyond if self.clipped > 0 else "")


def scale_for(
    heatmaps: Sequence[Heatmap],
    kind: str = "range",
    *,
    percentile: float = 99.0,
    start: str = "zero",
    colours: str | None = None,
) -> Scale:
    """Choose one scale for all given maps. It begins at zero, so that weak noise does not look hot.

    heatmaps    maps of one unit, all signed or all unsigned
    kind        'range' ends at the largest value; 'robust' at `percentile` of the values, so that a single
                outlier does not darken the rest
    percentile  from 50 to 100; only 'robust' reads it
    start       'zero', or 'minimum' to spend all colours between the smallest and the largest value (if
                unsigned)
    colours     a name from `SEQUENTIAL` or `DIVERGING`; 'viridis', or 'RdBu_r' for signed maps, if not
                given

    Signed maps get a scale that is symmetric about zero. Constant maps have no say. Raises InputError when
    the maps do not have one unit, or are signed and unsigned: `share_of_total` makes those comparable.
    Other errors as in `scale_over`.

        scale = scale_for([first, second])
        pictures = [heatmap.overlay(scale=scale) for heatmap in (first, second)]
    """
    kinds = {(heatmap.unit, heatmap.signed) for heatmap in heatmaps}
    if len(kinds) != 1:
        found = ", ".join(sorted(f"{unit!r} ({'signed' if signed else 'unsigned'})" for unit, signed in kinds))
        raise InputError(
            f"One colour scale cannot serve maps of different kinds: {found or 'no map given'}.",
            "Give maps of one unit, or use vitreous.show.transform.share_of_total first.",
        )
    unit, signed = kinds.pop()
    telling = [heatmap.relevance for heatmap in heatmaps if not heatmap.uninformative]
    scale = scale_over(telling, unit, signed, kind, percentile=percentile, start=start, colours=colours)
    return replace(scale, shared_by=len(heatmaps), targeted=not signed or all(map(speaks_of_target, heatmaps)))


def scale_over(
    maps: Sequence[Float[np.ndarray, "_ _"]],
    unit: str,
    signed: bool,
    kind: str = "range",
    *,
    percentile: float = 99.0,
    start: str = "zero",
    colours: str | None = None,
) -> Scale:
    """Choose one scale for arrays of one unit, as `scale_for` does for heatmaps, ignoring what is not finite.

    For values that are no heatmap any more, such as shares of a total. With no values at all, the scale is
    of arbitrary length and says so. The other arguments are those of `scale_for`.

    Raises UnknownNameError for an unknown choice or colour, InputError for a percentile out of range or
    colours that do not suit the sign.
    """
    _check_choice("kind", kind, get_args(Kind))
    _check_choice("start", start, get_args(Start))
    if not 50 <= percentile <= 100:
        raise InputError(f"percentile={percentile} is out of range.", "Give a number from 50 to 100.")
    colours = colours or ("RdBu_r" if signed else "viridis")
    if signed != (colours in DIVERGING):
        _check_colours(colours)
        raise InputError(
            f"colours={colours!r} does not suit {'signed' if signed else 'unsigned'} maps.",
            f"Use one of {', '.join(DIVERGING if signed else SEQUENTIAL)}.",
        )
    values = np.concatenate([np.zeros(0), *(each[np.isfinite(each)].astype(np.float64) for each in maps)])
    low, high, rule = _ends(values, signed, kind, percentile, start)
    clipped = float(((values < low) | (values > high)).mean()) if values.size else 0.0
    return Scale(low, high, unit, colours, len(maps), clipped, rule)


def colourise(values: Float[np.ndarray, "height width"], scale: Scale) -> UInt8[np.ndarray, "height width 4"]:
    """Give the colour of each value as red, green, blue and opacity; NaN is transparent, all else opaque.

    Values between two of the 255 or 256 levels take the nearer one; those beyond the scale its end colour.
    Opaque is 255; how much of the photograph is seen is decided in `show.paint`.
    """
    table = _table(scale.colours)
    absent = np.isnan(values)
    place = np.clip((values - scale.low) / (scale.high - scale.low), 0, 1)
    index = np.rint(np.where(absent, 0, place) * (len(table) - 1)).astype(np.uint8)
    colours = np.asarray(table[index])
    colours[absent] = 0
    return colours


def _ends(
    values: Float[np.ndarray, " n"], signed: bool, kind: str, percentile: float, start: str
) -> tuple[float, float, str]:
    """Ends of the scale and the clause that states them.

    values                   all finite values of all maps, in one row; none if every map is constant
    signed                   whether ends are those of the magnitude, on both sides of zero
    kind, percentile, start  as in `scale_for`, checked already

    A percentile that is zero gives way to the largest value: most of such a map is zero, and its few
    patches are what matters. Unsigned values below zero, which a method ought not to give, extend the scale
    rather than vanish in its first colour. A scale without extent is made one unit long.
    """
    if not values.size:
        return (-1.0 if signed else 0.0), 1.0, "of arbitrary length, since every map is constant"
    size = np.abs(values) if signed else values
    high, end = float(size.max()), "the largest magnitude" if signed else "the largest value"
    if kind == "robust":
        robust = float(np.percentile(size, percentile))
        if robust > 0:  # a map that is zero but for a few patches has no use for a percentile
            high, end = robust, f"the {percentile:g}th percentile" + (" of the magnitude" if signed else "")
    if signed:
        high = high or 1.0
        return -high, high, f"symmetric about zero up to {end}"
    low, begin = float(values.min()), "the smallest value"
    if start == "zero" and low >= 0:
        low, begin = 0.0, "zero"
    return low, high if high > low else low + 1.0, f"from {begin} to {end}"


@lru_cache(maxsize=16)
def _table(colours: str) -> UInt8[np.ndarray, "levels 4"]:
    """Colours of equally spaced values; an odd number if diverging, so that zero has a colour of its own.

    Kept for the next map, and therefore read-only.
    """
    levels = 255 if colours in DIVERGING else 256
    table = np.asarray(mpl.colormaps[colours].resampled(levels)(np.arange(levels), bytes=True))
    table.setflags(write=False)
    return table


def _check_colours(colours: str) -> None:
    """Refuse colours that are not offered; those that mislead get their reason instead of a near match."""
    known = SEQUENTIAL + DIVERGING
    if colours in known:
        return
    if colours.lower().removesuffix("_r") in _MISLEADING:
        raise UnknownNameError(
            f"colours={colours!r} is refused: its brightness does not follow the value, so it draws edges"
            " that the map does not have, and colour-blind readers cannot order it.",
            f"Use one of {', '.join(known)}.",
        )
    raise UnknownNameError(
        f"colours={colours!r} is unknown. {near_matches(colours, known)}".strip(),
        f"Use one of {', '.join(known)}.",
    )


def _check_choice(argument: str, value: str, known: tuple[Any, ...]) -> None:
    """Refuse a word that is none of the choices, naming the argument and near matches."""
    if value not in known:
        raise UnknownNameError(
            f"{argument}={value!r} is unknown. {near_matches(value, known)}".strip(),
            f"Use one of {', '.join(map(repr, known))}.",
        )
