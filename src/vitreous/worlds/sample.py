"""Sample: one image and everything that is known about it. Samples: a data set of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image

from vitreous.core.errors import AnnotationError
from vitreous.core.frame import Box
from vitreous.core.images import Fetched, Photo, read_photo


class Mask(NamedTuple):
    """Pixels of one object, and pixels that nobody could or would decide about; no pixel is both."""

    inside: Bool[np.ndarray, "H W"]
    void: Bool[np.ndarray, "H W"]


@dataclass(frozen=True, eq=False)
class Region:
    """One annotated object of an image.

    name   its class, in the words of the data set; None where the data set names no class
    box    where it is; None if only the mask is known
    read   gives its mask, read when it is asked for; None if only the box is known
    crowd  whether it stands for several objects of a kind
    """

    name: str | None = None
    box: Box | None = None
    read: Callable[[], Mask] | None = field(default=None, repr=False)
    crowd: bool = False


@dataclass(frozen=True, eq=False)
class HumanMap:
    """Where people looked, or what they found informative, as numbers on a grid that covers the whole photograph.

    name  what was asked of them, in the words of the data set
    read  gives float32 "rows columns" on the grid it was recorded on, unscaled
    """

    name: str
    read: Callable[[], Float32[np.ndarray, "rows columns"]] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with what is known about it. What is not known is empty or None, never guessed.

    id       unique in its data set and the same on every machine
    image    a path, the image itself, or what fetches it from an address
    label    its class, in the words of the data set
    index    its class as an index into the data set's `labels`, or where those are None into the standard list of its
             classes that the loader names
    regions  its annotated objects
    human    human relevance maps
    notes    what reading the annotation changed or left out
    """

    id: str
    image: Path | Image.Image | Fetched
    label: str | None = None
    index: int | None = None
    regions: tuple[Region, ...] = ()
    human: tuple[HumanMap, ...] = ()
    notes: tuple[str, ...] = ()

    def photo(self) -> Photo:
        """Read the photograph, checked and upright. Raises ImageError."""
        return read_photo(self.image)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of all regions that have one."""
        return tuple(region.box for region in self.regions if region.box is not None)

    def masks(self) -> tuple[Mask, ...]:
        """Read the masks of all regions that have one, each of the photograph's size.

        Raises AnnotationError for a mask of another size: scaling it would move its edges without a word.
        """
        reads = [region.read for region in self.regions if region.read is not None]
        if not reads:
            return ()
        photo = self.photo()  # once: decoding it costs more than most masks
        return tuple(self._fitting(read(), photo) for read in reads)

    def mask(self) -> Mask | None:
        """All masks as one: inside any object; void where some mask is undecided and none is inside.

        None for a sample without masks. Raises AnnotationError as `masks` does.
        """
        masks = self.masks()
        if not masks:
            return None
        inside = np.logical_or.reduce([mask.inside for mask in masks])
        void = np.logical_or.reduce([mask.void for mask in masks]) & ~inside
        return Mask(inside, void)

    def _fitting(self, mask: Mask, photo: Photo) -> Mask:
        """Give the mask if it has the photograph's size. Raises AnnotationError."""
        if mask.inside.shape == photo.size:
            return mask
        turned = mask.inside.shape == photo.size[::-1] and any("EXIF orientation" in note for note in photo.notes)
        raise AnnotationError(
            f"Sample {self.id!r}: a mask is {mask.inside.shape[1]}x{mask.inside.shape[0]} pixels, its photograph "
            f"{photo.size[1]}x{photo.size[0]}.",
            "The photograph was turned upright, as its EXIF orientation says; the mask was made for the file as "
            "stored. Turn the mask as well."
            if turned
            else "Give a mask of the photograph's size, seen upright.",
        )


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """A data set: its samples in a fixed order, its class names if it has classes, and what loading it left out.

    name    of the data set, for records
    labels  class names by index; None if the data set has no classes
    notes   what was left out, and why: one line for each file or annotation
    """

    name: str
    samples: tuple[Sample, ...]
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        """Give one sample, or for a slice the data set of those."""
        if isinstance(index, slice):
            return Samples(self.name, self.samples[index], self.labels, self.notes)
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        """Go through the samples in their order."""
        return iter(self.samples)

    def of(self, *labels: str) -> "Samples":
        """Keep the samples of these classes."""
        return Samples(
            self.name, tuple(sample for sample in self.samples if sample.label in labels), self.labels, self.notes
        )
