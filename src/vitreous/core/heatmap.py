"""Heatmap: raw relevance on the patch grid, its geometry and its record; the only thing that leaves the library."""

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
from vitreous.core.images import Photo, read_photo
from vitreous.core.provenance import Provenance

if TYPE_CHECKING:
    from vitreous.show.regions import Regions

PhotoSource = str | Path | Image.Image | Photo


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Relevance of each patch (or pixel of the model input) of one image, unscaled.

    relevance   float32, (gh, gw) for patch methods, (H, W) of the model input for pixel methods
    unit        what one unit of relevance means
    signed      whether negative values mean evidence against the target
    frame       where the patches lie on the photograph
    provenance  how it was made
    photo       gives the photograph again when a picture is drawn; not part of a saved file
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
        """Whether the map is constant up to rounding: it then says nothing and must not be stretched into colour."""
        spread = float(self.relevance.max() - self.relevance.min())
        return spread <= 1e-6 * float(np.abs(self.relevance).max())

    def photograph(self, photo: PhotoSource | None = None) -> Photo:
        """Give the photograph this map explains, checked to be the same pixels as then.

        Raises InputError when the photograph is not at hand, or is another one.
        """
        if photo is None and self.photo is None:
            raise InputError(
                f"The photograph {self.provenance.image!r} is not stored with the heatmap.",
                "Pass it: heatmap.overlay(photo='…').",
            )
        found = self.photo() if photo is None and self.photo is not None else read_photo(photo)  # type: ignore[arg-type]
        if found.digest != self.provenance.image_digest:
            raise InputError(
                f"The photograph {found.name!r} is not the one that was explained ({self.provenance.image!r}): their pixels differ.",
                "Pass the original file.",
            )
        return found

    def pixels(self, interpolation: str = "bilinear") -> Float[np.ndarray, "height width"]:
        """Resample the raw relevance to the pixels of the photograph; NaN where the model saw nothing."""
        from vitreous.show.resample import to_photo_pixels  # noqa: PLC0415  (show stands above core; see docs/architecture.md)

        return to_photo_pixels(self, interpolation)

    def overlay(self, photo: PhotoSource | None = None, **options: Any) -> Image.Image:
        """Draw the map over the photograph with its legend; options as in `vitreous.show.overlay.draw_overlay`."""
        from vitreous.show.overlay import draw_overlay  # noqa: PLC0415

        return draw_overlay(self, photo, **options)

    def regions(self, **options: Any) -> "Regions":
        """Find the regions above a threshold; options as in `vitreous.show.regions.find_regions`."""
        from vitreous.show.regions import find_regions  # noqa: PLC0415

        return find_regions(self, **options)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the map with its frame and provenance to one file (safetensors with a JSON header), atomically.

        Raises OutputExistsError if the file exists and `overwrite` is not given.
        """
        return heatmap_file.write(self, Path(path), overwrite)

    @staticmethod
    def load(path: str | Path) -> "Heatmap":
        """Read a file that `save` wrote. Raises OutputError if it is anything else."""
        return heatmap_file.read(Path(path))
