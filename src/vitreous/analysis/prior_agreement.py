"""Agreement with priors: how much of a map's relevance lies where a domain expert expects it, and where it must not."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from vitreous.analysis.priors import WIDTHS, Prior, Priors, Severity, Where
from vitreous.core.errors import DataError, ImageError, InputError
from vitreous.core.frame import Box, Frame
from vitreous.core.image_files import read_file
from vitreous.core.images import DEFAULT_LIMITS, Fetched, read_photo

Regions: TypeAlias = Sequence[tuple[str | None, Bool[np.ndarray, "height width"]]]
"""Names and masks of what is annotated, on the pixels of the photograph."""

Status: TypeAlias = Literal["met", "violated", "unknown"]
LIGHT = 128  # of 255; a mask is meant from here on


@dataclass(frozen=True, eq=False)
class Cells:
    """A place on a photograph: cells of any sizes that cover it without gaps, and which of them are meant.

    down, across  edges of the cells' rows and columns, in pixels of the photograph
    """

    down: Float[np.ndarray, " r1"]
    across: Float[np.ndarray, " c1"]
    inside: Bool[np.ndarray, "r c"]


@dataclass(frozen=True)
class Finding:
    """What became of one expectation in one map.

    status      "met", "violated", or "unknown" where nothing can be said; `note` tells why
    share       share of the positive relevance that lies in the place
    area        share of the map's area that the place takes up: what an even map would have. Where that is within the
                bounds as well (`even_meets`), meeting them shows little
    outside     share of the place's own area that the model was not shown
    low, high   the bounds
    """

    prior: str
    class_name: str
    severity: Severity
    reason: str
    status: Status
    share: float
    area: float
    outside: float
    low: float
    high: float
    note: str = ""

    @property
    def even_meets(self) -> bool:
        """Whether relevance spread evenly over the map would meet the bounds."""
        return self.low <= self.area <= self.high


@dataclass(frozen=True)
class Violations:
    """What became of one expectation over a data set.

    images     for how many it could be said, and for how many it was violated
    rate       their share, with the exact 95 % interval of Clopper & Pearson: images are taken for independent
    share      mean share of the positive relevance in the place; `area` what even maps would have
    even_rate  share of the images in which an even map would have violated it
    unknown    for how many images nothing could be said
    """

    prior: str
    class_name: str
    severity: Severity
    reason: str
    images: int
    violated: int
    rate: float
    low: float
    high: float
    share: float
    area: float
    even_rate: float
    unknown: int


def judge(
    relevance: Float[np.ndarray, "rows columns"], frame: Frame, priors: Priors, class_name: str, regions: Regions = ()
) -> list[Finding]:
    """Hold one map against the expectations about the class that it explains.

    relevance   raw, on the patch grid or on the pixels of the model's input. Its positive part is shared out, the
                relevance of a patch evenly over its area; what speaks against the class is left out
    frame       where the map lies on the photograph (`Heatmap.frame`); places are brought to it without rounding
    class_name  the class in the priors' words. A map of a method that looks at no class would be the same for another
                one: what it says is where the model attends, never why the class was chosen
    regions     annotated regions of the photograph. One that is meant and is not there makes the finding unknown

    A violation says that a map disagrees with an expectation: the model may be wrong, or the map, or the expectation.
    Relevance on padding lies in no place. A place wholly outside what the model saw is unknown, whatever is expected
    there: the map had no chance to violate it. Raises InputError for a map or regions of another size, and for a mask
    that cannot be read.
    """
    if relevance.shape not in {frame.grid, frame.input_size}:
        raise InputError(
            f"relevance has shape {relevance.shape}.", f"Expected the grid {frame.grid} or {frame.input_size} pixels."
        )
    for name, mask in regions:
        if mask.shape != frame.photo_size:
            raise InputError(f"The region {name!r} has shape {mask.shape}.", f"Expected {frame.photo_size}.")
    if not np.isfinite(relevance).all():
        raise InputError("relevance holds NaN or infinity.", "Mend the map; nothing was judged.")
    return [_judged(relevance, frame, prior, class_name, regions) for prior in priors.of(class_name)]


def judge_many(findings: Iterable[Sequence[Finding]]) -> list[Violations]:
    """Count violations of each expectation over the images of a data set, given what `judge` found for each.

    The most often violated come first. An expectation about any class ("*") is counted over all classes together.
    """
    by_name: dict[tuple[str, str], list[Finding]] = {}
    for image in findings:
        for each in image:
            by_name.setdefault((each.class_name, each.prior), []).append(each)
    found = [_counted(each) for each in by_name.values()]
    return sorted(found, key=lambda each: (-each.rate if each.images else 1.0, -each.violated, each.prior))


def _counted(findings: Sequence[Finding]) -> Violations:
    """Count one expectation over images; those about which nothing can be said are counted apart."""
    first, known = findings[0], [each for each in findings if each.status != "unknown"]
    violated = sum(each.status == "violated" for each in known)
    low = high = math.nan
    if known:
        exact = stats.binomtest(violated, len(known)).proportion_ci(0.95, method="exact")
        low, high = float(exact.low), float(exact.high)

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else math.nan

    return Violations(
        first.prior, first.class_name, first.severity, first.reason, len(known), violated,
        mean([float(each.status == "violated") for each in known]), low, high,
        mean([each.share for each in known]), mean([each.area for each in known]),
        mean([float(not each.even_meets) for each in known]), len(findings) - len(known),
    )  # fmt: skip


def _judged(
    relevance: Float[np.ndarray, "rows columns"], frame: Frame, prior: Prior, class_name: str, regions: Regions
) -> Finding:
    """Judge one expectation.

    The share of a patch that lies in a place is a share of its area, since nothing is known of where in the patch its
    relevance is. What cannot be judged is unknown rather than met: a region that nobody annotated, a map without
    positive relevance, a place that was cropped away.
    """
    low, high = prior.bounds

    def finding(status: Status, share: float, area: float, outside: float, note: str = "") -> Finding:
        about = prior.class_name
        return Finding(prior.name, about, prior.severity, prior.reason, status, share, area, outside, low, high, note)

    nan = math.nan
    place = cells_of(prior.where, frame.photo_size, regions)
    if place is None:
        names = ", ".join(map(repr, prior.where.regions or ()))
        return finding("unknown", nan, nan, nan, f"the image has no region called {names}")
    if not place.inside.any():
        return finding("unknown", nan, nan, nan, "the place is empty")
    shares = shares_of(place, frame, (relevance.shape[0], relevance.shape[1]))
    area, outside = float(shares.mean()), unseen(place, frame)
    positive = np.clip(relevance.astype(np.float64), 0, None)
    if not positive.any():
        return finding("unknown", nan, area, outside, f"nothing in the map speaks for {class_name!r}")
    share = float((positive * shares).sum() / positive.sum())
    if area <= 1e-9:  # edges of the place and of what was seen differ by rounding
        return finding("unknown", share, area, outside, "the model was shown nothing of the place")
    met = low - 1e-9 <= share <= high + 1e-9  # rounding violates nothing
    note = f"the model was shown {1 - outside:.0%} of the place" if outside > 0.005 else ""
    return finding("met" if met else "violated", share, area, outside, note)


# --- geometry


def cells_of(where: Where, photo_size: tuple[int, int], regions: Regions = ()) -> Cells | None:
    """Find a place on a photograph of this size; None if it is a region that the photograph has not.

    Raises InputError for a mask that cannot be read.
    """
    height, width = photo_size
    if where.mask is not None:
        found = _raster(_mask(where.mask), photo_size)
    elif where.regions is not None:
        wanted = {name.strip().casefold() for name in where.regions}
        masks = [mask for name, mask in regions if "*" in wanted or (name or "").strip().casefold() in wanted]
        if not masks:
            return None
        found = _raster(np.logical_or.reduce(masks), photo_size)
    else:
        boxes = where.boxes if where.boxes is not None else [list(_zone(where))]
        found = _union([(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes], photo_size)
    turned = where.outside != (where.zone == "border")  # the border is what is around the middle
    return Cells(found.down, found.across, ~found.inside) if turned else found


def _zone(where: Where) -> Box:
    """Give the box of a zone in fractions; for the border, that of what is not the border."""
    width = where.width if where.width is not None else WIDTHS.get(str(where.zone), 0.0)
    margin = width if where.zone == "border" else (1 - width) / 2
    return {
        "upper half": (0.0, 0.0, 1.0, 0.5),
        "lower half": (0.0, 0.5, 1.0, 1.0),
        "left half": (0.0, 0.0, 0.5, 1.0),
        "right half": (0.5, 0.0, 1.0, 1.0),
    }.get(str(where.zone), (margin, margin, 1 - margin, 1 - margin))


def _union(boxes: Sequence[Box], photo_size: tuple[int, int]) -> Cells:
    """Cut the photograph at all edges of the boxes: each cell is then wholly inside or outside each of them."""
    down = np.unique([0.0, float(photo_size[0]), *(edge for box in boxes for edge in (box[1], box[3]))])
    across = np.unique([0.0, float(photo_size[1]), *(edge for box in boxes for edge in (box[0], box[2]))])
    inside = np.zeros((len(down) - 1, len(across) - 1), dtype=bool)
    for left, top, right, bottom in boxes:
        inside |= np.outer((down[:-1] >= top) & (down[1:] <= bottom), (across[:-1] >= left) & (across[1:] <= right))
    return Cells(down, across, inside)


def _raster(mask: Bool[np.ndarray, "height width"], photo_size: tuple[int, int]) -> Cells:
    """Lay the pixels of a mask, of whatever size, over the whole photograph."""
    down, across = (np.linspace(0.0, side, count + 1) for side, count in zip(photo_size, mask.shape, strict=True))
    return Cells(down, across, mask)


def _mask(path: str) -> Bool[np.ndarray, "height width"]:
    """Read a mask: meant where it is light."""
    try:
        return _decoded(path, read_file(path, DEFAULT_LIMITS.max_bytes))
    except (ImageError, DataError) as problem:
        raise InputError(f"The mask of a prior cannot be used: {problem.cause}", problem.fix) from problem


@lru_cache(maxsize=64)
def _decoded(path: str, content: bytes) -> Bool[np.ndarray, "height width"]:
    """Decode a mask. It is kept for as long as the file says the same, as one mask may serve thousands of maps."""
    image = read_photo(Fetched(Path(path).name, lambda _: content)).image
    found: Bool[np.ndarray, "height width"] = np.asarray(image.convert("L")) >= LIGHT
    return found


def shares_of(place: Cells, frame: Frame, shape: tuple[int, int]) -> Float[np.ndarray, "rows columns"]:
    """Give the share of the area of each patch, or pixel of the input, that the place covers, without rounding."""
    high, wide = frame.patch if shape == frame.grid else (1, 1)
    across = np.array([frame.to_photo(float(column * wide), 0.0)[0] for column in range(shape[1] + 1)])
    down = np.array([frame.to_photo(0.0, float(row * high))[1] for row in range(shape[0] + 1)])
    found: Float[np.ndarray, "rows columns"] = (
        _overlaps(down, place.down) @ place.inside.astype(np.float64) @ _overlaps(across, place.across).T
    ) / np.outer(np.diff(down), np.diff(across))
    return found


def unseen(place: Cells, frame: Frame) -> float:
    """Give the share of the place's area that lies outside what the patches cover."""
    left, top, right, bottom = frame.seen
    sizes = np.outer(np.diff(place.down), np.diff(place.across))
    seen = (
        _overlaps(np.array([top, bottom]), place.down)
        @ place.inside
        @ _overlaps(np.array([left, right]), place.across).T
    )
    return max(0.0, 1 - float(seen[0, 0]) / float(sizes[place.inside].sum()))


def _overlaps(one: Float[np.ndarray, " r1"], other: Float[np.ndarray, " c1"]) -> Float[np.ndarray, "r c"]:
    """Give how far each interval of the first row of edges overlaps with each of the second."""
    ends = np.minimum(one[1:, None], other[None, 1:]) - np.maximum(one[:-1, None], other[None, :-1])
    found: Float[np.ndarray, "r c"] = np.clip(ends, 0, None)
    return found
