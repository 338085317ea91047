"""Regions: the parts of the photograph whose relevance is above a threshold, with boxes and shares.

A picture of a heatmap is read differently by everybody; regions say where the relevance lies in numbers and
in sentences. Shares of area and of relevance belong together: half of the relevance in half of the picture
is no finding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from vitreous.core.errors import InputError
from vitreous.core.frame import Frame
from vitreous.core.heatmap import Heatmap
from vitreous.core.regions import Part, choose_threshold, parts_above
from vitreous.show.resample import resample, seen_lines
from vitreous.show.transform import photo_cover, share_off_photo, to_patches
from vitreous.show.words import percent, speaks_of_target


@dataclass(frozen=True)
class Region:
    """One connected region. Positions are pixels of the photograph, x to the right and y down.

    box         (left, top, right, bottom); right and bottom are the first column and row outside
    area_share  its area, as a share of the part of the photograph that the model saw
    mass_share  its relevance, as a share of all positive relevance on the photograph
    peak        its largest value, in the unit of the map (per patch, for maps of single pixels)
    peak_at     the pixel (x, y) that has it; of several the uppermost, then the leftmost
    centre      the centre of its relevance (x, y), in continuous coordinates
    """

    box: tuple[int, int, int, int]
    area_share: float
    mass_share: float
    peak: float
    peak_at: tuple[int, int]
    centre: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions above one threshold, those with most relevance first.

    regions        as a tuple; iterating over this object and `len` are shorthand for it
    threshold      value above which relevance counts, in `unit` per patch; `rule` says how it was chosen
    unit           that of the map
    mask           the regions on the photograph, (height, width), read-only
    frame          the geometry of the map
    signed         the map also holds negative values, of which nothing is counted here
    targeted       whether the sign says for and against the target: the method looks at it
    uninformative  the map is constant, so there are no regions
    off_photo      share of the positive relevance that lies on padding outside the photograph
    """

    regions: tuple[Region, ...]
    threshold: float
    rule: str
    unit: str
    mask: Bool[np.ndarray, "height width"]
    frame: Frame
    signed: bool
    targeted: bool
    uninformative: bool
    off_photo: float

    def __iter__(self) -> Iterator[Region]:
        """Go through the regions, those with most relevance first."""
        return iter(self.regions)

    def __len__(self) -> int:
        """Count the regions."""
        return len(self.regions)

    def describe(self, most: int = 3, numbered: bool = False) -> tuple[str, ...]:
        """Say in plain sentences where the relevance lies: the first `most` regions, then all the others.

        With `numbered`, sentences begin with the number that `draw_boxes` gives the region. Relevance on
        padding is told from one per cent on. There is always a sentence: that the map is constant, or that
        nothing is above the threshold, is a finding as well.
        """
        positive = "evidence for the target" if self.targeted else "positive relevance"
        what = positive if self.signed else "relevance"
        if self.uninformative:
            return ("The map is constant: it does not say where the model looked.",)
        if not self.regions:
            return (f"No region of the photograph has {what} above the threshold.",)
        whole = "the picture" if _sees_all(self.frame) else "what the model saw"
        sentences = [
            f"{f'{number}: ' if numbered else ''}{percent(region.mass_share)} of the {what}"
            f" in a region of {percent(region.area_share)} of {whole}, {self._whereabouts(region)}."
            for number, region in enumerate(self.regions[:most], start=1)
        ]
        if len(self) > most:
            rest = sum(region.mass_share for region in self.regions[most:])
            sentences.append(f"{percent(rest)} in {len(self) - most} more regions.")
        if self.off_photo >= 0.01:
            sentences.append(f"{percent(self.off_photo)} of all {what} lies on padding, outside the photograph.")
        return tuple(sentences)

    def _whereabouts(self, region: Region) -> str:
        """Name the ninth of the photograph in which the centre of a region lies, for instance "upper left".

        Of the photograph, not of what the model saw: a person looks for it on the photograph.
        """
        height, width = self.frame.photo_size
        down = ("upper", "", "lower")[min(int(3 * region.centre[1] / height), 2)]
        across = ("left", "centre", "right")[min(int(3 * region.centre[0] / width), 2)]
        return f"{down} {across}".strip()


def find_regions(
    heatmap: Heatmap,
    *,
    threshold: str | float = "otsu",
    least_share: float = 0.01,
    interpolation: str = "bilinear",
) -> Regions:
    """Find the connected regions of positive relevance above a threshold.

    threshold      'otsu': Otsu's threshold, between the two groups of patches that differ most; 'mean': the
                   mean of the patches; a number q, 0 <= q < 1: the q-th quantile of the patches
    least_share    regions with a smaller share of the positive relevance are left out
    interpolation  'bilinear', or 'nearest' for regions of whole patches

    The threshold is computed on the raw patches that lie on the photograph, negative values counted as
    zero, because resampled pixels are no independent values; the mask is where the resampled relevance
    exceeds it. Pixel-level maps are summed over each patch first: their single pixels are no regions.
    Regions that touch at a corner are one. A constant map, or one with no positive value, has no regions;
    that is not an error.

    Raises UnknownNameError or InputError for a threshold that is none, and for a share outside 0 to 1.

        for region in heatmap.regions(threshold=0.9):
            left, top, right, bottom = region.box
    """
    if not 0 <= least_share <= 1:
        raise InputError(f"least_share={least_share} is out of range.", "Give a share from 0 to 1.")
    patches = to_patches(heatmap)
    positive = np.clip(patches, 0, None)
    cells = "patches" if heatmap.relevance.shape == heatmap.frame.grid else "patch sums"
    value, rule = choose_threshold(positive[photo_cover(heatmap) > 0], threshold)
    mask = np.zeros(heatmap.frame.photo_size, np.bool_)
    regions: tuple[Region, ...] = ()
    if not heatmap.uninformative and positive.any():
        pixels = np.nan_to_num(resample(patches, heatmap.frame, interpolation), copy=False)
        np.clip(pixels, 0, None, out=pixels)
        regions = _measure(pixels, pixels > value, heatmap.frame, least_share, mask)
    mask.setflags(write=False)
    return Regions(
        regions=regions,
        threshold=value,
        rule=f"{rule} of the {cells}",
        unit=heatmap.unit,
        mask=mask,
        frame=heatmap.frame,
        signed=heatmap.signed,
        targeted=not heatmap.signed or speaks_of_target(heatmap),
        uninformative=heatmap.uninformative,
        off_photo=share_off_photo(heatmap),
    )


def _measure(
    pixels: Float32[np.ndarray, "height width"],
    above: Bool[np.ndarray, "height width"],
    frame: Frame,
    least_share: float,
    mask: Bool[np.ndarray, "height width"],
) -> tuple[Region, ...]:
    """Measure the connected parts of `above` and draw those that are kept into `mask`.

    Shares are of the relevance on the photograph, and of the pixels that the model saw.
    """
    down, across = seen_lines(frame)
    seen = int(down.sum()) * int(across.sum())
    kept = []
    for part in parts_above(pixels, above, least_share):
        mask[part.window] |= part.inside
        kept.append(_region(pixels, part, seen))
    # Equal masses are ordered from top to bottom and left to right; rounding keeps the last bits out of it.
    return tuple(sorted(kept, key=lambda region: (-round(region.mass_share, 9), region.box[1], region.box[0])))


def _region(pixels: Float32[np.ndarray, "height width"], part: Part, seen: int) -> Region:
    """Describe one region from its values within its box, zero outside the region.

    The centre of pixel 0 is 0.5, as everywhere in `core.frame`.
    """
    inside: Float[np.ndarray, "rows columns"] = np.where(part.inside, pixels[part.window], np.float32(0))
    top, left = part.window[0].start, part.window[1].start
    rows, columns = inside.shape
    peak_row, peak_column = np.unravel_index(int(inside.argmax()), inside.shape)
    weight = inside.astype(np.float64) / inside.sum(dtype=np.float64)
    return Region(
        box=(left, top, left + columns, top + rows),
        area_share=part.area / seen,
        mass_share=part.share,
        peak=float(inside.max()),
        peak_at=(left + int(peak_column), top + int(peak_row)),
        centre=(
            left + float(weight.sum(axis=0) @ (np.arange(columns) + 0.5)),
            top + float(weight.sum(axis=1) @ (np.arange(rows) + 0.5)),
        ),
    )


def _sees_all(frame: Frame) -> bool:
    """Whether the patches cover the whole photograph, up to rounding."""
    height, width = frame.photo_size
    return bool(np.allclose(frame.seen, (0, 0, width, height), atol=1e-6 * max(height, width)))
