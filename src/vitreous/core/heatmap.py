"""Heatmap: raw relevance on the patch grid, its geometry and its record; the only thing that leaves the library.

It holds numbers as the method gave them. Everything that scales, colours or resizes is in `show`; the
methods here that draw only call it, because this is where a user looks for them. The file format is in
`core.heatmap_file`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from vitreous.core import heatmap_file
from vitreous.core.errors import InputError
from vitreous.core.frame import Frame
from vitreous.core.images import Fetched, Photo, read_photo
from vitreous.core.provenance import Provenance

if TYPE_CHECKING:
    from vitreous.show.regions import Regions

PhotoSource = str | Path | Image.Image | Fetched | Photo


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Relevance of each patch (or pixel of the model input) of one image, unscaled.

    relevance   float32, (gh, gw) for patch methods, (H, W) of the model input for pixel methods. Row 0 is
                the top
    unit        what one unit of relevance means, for instance "attention mass"
    signed      whether values can be negative: evidence against the target, if the method looks at it
    frame       where the patches lie on the photograph
    provenance  how it was made
    photo       gives the photograph again when a picture is drawn; not part of a saved file

    Frozen, and compared by identity. The array given becomes read-only; it is not copied. Raises InputError
    for an array that has neither of the two shapes.
    """

    relevance: Float[np.ndarray, "rows columns"]
    unit: str
    signed: bool
    frame: Frame
    provenance: Provenance
    photo: Callable[[], Photo] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Make the array read-only, so that a heatmap stays what its record says."""
        if self.relevance.shape not in {self.frame.grid, self.frame.input_size}:
            raise InputError(
                f"relevance has shape {self.relevance.shape}.",
                f"Expected the patch grid {self.frame.grid} or the model input {self.frame.input_size}.",
            )
        self.relevance.setflags(write=False)

    @property
    def uninformative(self) -> bool:
        """Whether the map is constant up to rounding: it then says nothing and must not be stretched into colour.

        Constant means that the values differ by at most 1e-6 of the largest magnitude. A map of zeros is
        constant.
        """
        spread = float(self.relevance.max() - self.relevance.min())
        return spread <= 1e-6 * float(np.abs(self.relevance).max())

    def photograph(self, photo: PhotoSource | None = None) -> Photo:
        """Give the photograph this map explains, checked to be the same pixels as then.

        photo  path, PIL image or Photo; None for the one that travels with the map, which a file is read
               again for

        Raises InputError when the photograph is not at hand, as after `load`, or is another one, and an
        ImageError if it cannot be read. A copy saved anew as JPEG is another one: its pixels differ.
        """
        if photo is not None:
            found = read_photo(photo)
        elif self.photo is not None:
            found = self.photo()
        else:
            raise InputError(
                f"The photograph {self.provenance.image!r} is not stored with the heatmap.",
                "Pass it: heatmap.overlay(photo='…').",
            )
        if found.digest != self.provenance.image_digest:
            raise InputError(
                f"The photograph {found.name!r} is not the one that was explained "
                f"({self.provenance.image!r}): their pixels differ.",
                "Pass the original file.",
            )
        return found

    def pixels(self, interpolation: str = "bilinear") -> Float[np.ndarray, "height width"]:
        """Resample the raw relevance to the pixels of the photograph; NaN where the model saw nothing.

        interpolation  "bilinear" between the centres of patches, or "nearest" for the patches as they are

        Gives float32 (height, width) of the photograph, in the heatmap's own unit: the value at a point,
        not a share of the patch, so the sum over pixels is not the sum over patches. Raises
        UnknownNameError for another interpolation.
        """
        from vitreous.show.resample import to_photo_pixels  # noqa: PLC0415  (show stands above core; see docs/architecture.md)

        return to_photo_pixels(self, interpolation)

    def overlay(self, photo: PhotoSource | None = None, **options: Any) -> Image.Image:
        """Draw the map over the photograph with its legend; options as in `vitreous.show.overlay.draw_overlay`.

        Gives an RGB picture. Save it with `vitreous.show.save.save_png` to keep the record with it;
        Pillow's own `save` drops it. Raises as `photograph` and `draw_overlay` do.

            heatmap.overlay(boxes=True, threshold=0.9)
        """
        from vitreous.show.overlay import draw_overlay  # noqa: PLC0415

        return draw_overlay(self, photo, **options)

    def regions(self, **options: Any) -> "Regions":
        """Find the regions above a threshold; options as in `vitreous.show.regions.find_regions`.

        Needs no photograph: boxes are computed from the frame, in pixels of the photograph.
        """
        from vitreous.show.regions import find_regions  # noqa: PLC0415

        return find_regions(self, **options)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the map with its frame and provenance to one file (safetensors with a JSON header), atomically.

        Missing folders are made. The photograph is not stored, only its digest. Gives the path. Raises
        OutputExistsError if the file exists and `overwrite` is not given, OutputError if it cannot be
        written.
        """
        return heatmap_file.write(self, Path(path), overwrite)

    @staticmethod
    def load(path: str | Path) -> "Heatmap":
        """Read a file that `save` wrote. Raises OutputError if it is anything else.

        The relevance is the same to the bit. Pictures need the photograph again:
        `heatmap.overlay("cat.jpg")`.
        """
        return heatmap_file.read(Path(path))
