"""Salient objects: photographs and one mask each, black but for what catches the eye.

    root/
      images/  100080.jpg …
      masks/   100080.png …      0 background, 255 salient object or objects
      checked.csv                optional: file,class_index,class_name of photographs whose class is known

Accidents are treated as `masks` does. A line of `checked.csv` whose photograph is not there, or that gives a
photograph a second class, is a fault: an error, or left out and noted with bad="skip".
"""

from dataclasses import replace
from pathlib import Path

from vitreous.core.errors import AnnotationError
from vitreous.core.image_files import shown
from vitreous.worlds._files import Bad, Faults, read_table, require_folder, wrong_layout
from vitreous.worlds.masks import masks
from vitreous.worlds.sample import Samples


def sod(root: str | Path, bad: Bad = "raise") -> Samples:
    """Load a folder of salient objects. Ids are names without extension; most photographs have no class.

    root  the folder that holds images/ and masks/
    bad   "raise" for an error at the first fault, "skip" to leave it out and note it

    `index` is the class_index of the file, which counts ImageNet's 1000 classes; `labels` is None, because the
    names of the others are not known here. Raises DataError and AnnotationError.
    """
    top = require_folder(root, "The folder")
    if not (top / "images").is_dir() or not (top / "masks").is_dir():
        raise wrong_layout(top, ["images/ and masks/ with files of the same names, and optionally checked.csv"])
    faults = Faults(bad)
    found = masks(top / "images", top / "masks")
    samples = {Path(str(sample.image)).name: sample for sample in found}
    if (top / "checked.csv").is_file():
        for line, row in read_table(top / "checked.csv", ["file", "class_index", "class_name"]):
            sample, index = samples.get(row["file"]), row["class_index"]
            if sample is None or not (index.isascii() and index.isdigit()):
                faults.meet(
                    AnnotationError(
                        f"checked.csv, line {line}: {shown(row['file'])} with class_index {shown(index)}.",
                        "Expected a file in images/ and the index of a class, from 0.",
                    )
                )
            elif sample.label is not None:
                faults.meet(
                    AnnotationError(
                        f"checked.csv, line {line}: {shown(row['file'])} has a class already.", "Keep one line."
                    )
                )
            else:
                samples[row["file"]] = replace(sample, label=row["class_name"], index=int(index))
    return Samples("sod", tuple(samples.values()), None, (*found.notes, *faults.notes))
