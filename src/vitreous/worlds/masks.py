"""Photographs and masks in two folders, paired by name: `images/a.jpg` with `masks/a.png`.

What is done about accidents:

- a photograph without a mask is kept without a region, and it says so in its notes
- a mask without a photograph is noted
- no pair at all is a DataError: one of the folders is the wrong one
- two files with the same name but for the extension are a DataError
- values that are declared nowhere, a mask of another size and a damaged mask are an AnnotationError when the mask
  is read; an empty mask is given as it is
"""

from pathlib import Path

from vitreous.core.errors import DataError
from vitreous.worlds._annotation import Values, mask_reader, value_set
from vitreous.worlds._files import by_stem, photographs_in, require_folder, wrong_layout
from vitreous.worlds.sample import Region, Sample, Samples


def masks(
    images: str | Path, masks: str | Path, inside: Values = 255, void: Values = (), outside: Values = 0
) -> Samples:
    """Load photographs and the masks of the same name; one region for each mask. Ids are names without extension.

    images   folder of photographs
    masks    folder of masks; PNG, TIFF, BMP or GIF. Of a palette the indices count, not the colours
    inside   the value of pixels in the object, or several: range(128, 256) for masks with soft edges
    void     of pixels that nobody decided about
    outside  of all others; a value that is none of the three is an error when the mask is read

    Raises DataError as listed above, and InputError for values with two meanings.
    """
    values = value_set("inside", inside), value_set("void", void), value_set("outside", outside)
    pictures = require_folder(images, "The folder of photographs")
    drawn = require_folder(masks, "The folder of masks")
    photographs = by_stem(photographs_in(pictures), "The photographs")
    found = by_stem(photographs_in(drawn), "The masks")
    if not photographs:
        raise wrong_layout(pictures, ["photographs (*.jpg, *.png, …)"])
    if not photographs.keys() & found.keys():
        raise DataError(
            f"No mask in {str(masks)!r} has the name of a photograph in {str(images)!r}: the first are "
            f"{next(iter(found), 'none')!r} and {next(iter(photographs))!r}.",
            "Name each mask like its photograph, but for the extension.",
        )
    samples = []
    for name, path in sorted(photographs.items()):
        if name in found:
            samples.append(Sample(name, path, regions=(Region(read=mask_reader(found[name], *values)),)))
        else:
            samples.append(Sample(name, path, notes=("there is no mask of this photograph",)))
    missing = [f"there is no mask of {name!r}" for name in sorted(photographs.keys() - found.keys())]
    spare = [
        f"left out: the mask {found[name].name!r} has no photograph"
        for name in sorted(found.keys() - photographs.keys())
    ]
    return Samples(pictures.parent.name or "masks", tuple(samples), None, (*missing, *spare))
