"""Loading rendered scenes: those of a folder, or the sixty that come with the package and need no renderer."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from vitreous.core.errors import DataError
from vitreous.worlds.rendered.edits import without
from vitreous.worlds.rendered.numbers import box_of, coverage_of, mask_of
from vitreous.worlds.rendered.scene import Scene, scene_from
from vitreous.worlds.rendered.shapes import CLASSES
from vitreous.worlds.sample import Mask, Region, Sample, Samples

PART = 50
"""Scenes whose factors are written together."""
PACKAGED = Path(__file__).parents[1] / "data" / "scenes"


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """The same scene with one thing changed.

    kind    "without", "class", "background", "light" or "occluder"
    number  the thing that was changed, counted from 0 as in `Scene.things`; None if it is none of them
    image   the picture that this gives
    """

    kind: str
    number: int | None
    scene: Scene
    image: Image.Image


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneSample(Sample):
    """A rendered scene: a `Sample` whose every factor is known. Its regions are its things, the target first.

    scene    what was rendered; `edits` and `stress` change it
    visible  share of each thing that is seen
    numbers  gives uint8 on a finer grid than the picture: 0 background, k + 1 thing k
    stored   gives the counterfactuals that were rendered beforehand, none for a folder
    """

    scene: Scene
    visible: tuple[float, ...]
    numbers: Callable[[], UInt8[np.ndarray, "fine fine"]]
    stored: Callable[[], tuple[Counterfactual, ...]] = tuple

    def coverage(self, number: int) -> Float32[np.ndarray, "side side"]:
        """Give the share of each pixel that thing `number`, counted from 0, covers."""
        return coverage_of(self.numbers(), number, self.photo().size[0])

    def removals(self) -> tuple[Counterfactual, ...]:
        """Give the scene without each of its things in turn: those stored, or rendered now (extra "scenes")."""
        found = tuple(item for item in self.stored() if item.kind == "without")
        return found or tuple(self._remove(number) for number in range(len(self.things)))

    @property
    def things(self) -> tuple[Any, ...]:
        """What stands in the scene, the target first."""
        return self.scene.things

    def _remove(self, number: int) -> Counterfactual:
        from vitreous.worlds.rendered.render import as_picture, render  # noqa: PLC0415  (an optional library)

        changed = without(self.scene, number)
        return Counterfactual("without", number, changed, as_picture(render(changed, self.photo().size[0], finer=1)))


def scenes(folder: str | Path | None = None) -> Samples:
    """Load rendered scenes; every sample is a `SceneSample`.

    folder  what `vitreous worlds render` wrote; None for the scenes that come with the package, with their
            counterfactuals

    Needs no renderer, except for counterfactuals of a folder. Raises DataError if the folder holds no finished world.
    """
    return _packaged() if folder is None else _from_folder(Path(folder))


def _from_folder(folder: Path) -> Samples:
    path = folder / "world.json"
    if not path.is_file():
        raise DataError(
            f"{folder} holds no rendered world: there is no world.json.", "Make one: vitreous worlds render."
        )
    world = read_world(path)
    rows = finished_rows(folder)
    if not rows or not (folder / "factors.parquet").is_file():
        raise DataError(
            f"The world in {folder} is not finished.", "Run the same `vitreous worlds render` again: it goes on."
        )
    samples = []
    for row in rows:
        numbers = partial(_read_numbers, folder / "numbers" / f"{row['id']}.png")
        scene = scene_from(json.loads(row["scene"]))
        image = folder / "images" / f"{row['id']}.png"
        boxes = row.get("boxes", [None] * len(scene.things))  # the first worlds that were written have none
        samples.append(_sample(row["id"], image, scene, row["visible"], boxes, numbers))
    return Samples(f"scenes/{world['variant']}/{world['seed']}", tuple(samples), CLASSES)


def read_world(path: Path) -> dict[str, Any]:
    """Read what a folder was made for. Raises DataError if it is none of ours."""
    try:
        world = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise DataError(f"{path} is damaged: {problem}.", "Render the world again into a new folder.") from problem
    if not isinstance(world, dict) or not {"variant", "seed"} <= world.keys():
        raise DataError(f"{path} describes no rendered world.", "Choose a folder that `vitreous worlds render` wrote.")
    return world


def finished_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the factors of all scenes up to the first that is missing, in their order."""
    rows: list[dict[str, Any]] = []
    while len(rows) % PART == 0 and (part := folder / "parts" / f"{len(rows):06d}.json").is_file():
        rows += json.loads(part.read_text(encoding="utf-8"))
    return rows


def _sample(
    name: str,
    image: Path | Image.Image,
    scene: Scene,
    visible: Sequence[float],
    boxes: Sequence[Sequence[float] | None],
    numbers: Callable[[], np.ndarray],
    stored: Callable[[], tuple[Counterfactual, ...]] = tuple,
) -> SceneSample:
    sample = SceneSample(
        name, image, scene.label, CLASSES.index(scene.label),
        scene=scene, visible=tuple(visible), numbers=numbers, stored=stored,
    )  # fmt: skip
    regions = tuple(_region(sample, number, box) for number, box in enumerate(boxes))
    return replace(sample, regions=regions)


def _region(sample: SceneSample, number: int, box: Sequence[float] | None) -> Region:
    place = None if box is None else (box[0], box[1], box[2], box[3])
    return Region(sample.things[number].shape, place, partial(_mask, sample, number))


def _mask(sample: SceneSample, number: int) -> Mask:
    inside = mask_of(sample.numbers(), number, sample.photo().size[0])
    return Mask(inside, np.zeros_like(inside))


def _read_numbers(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@cache
def _packaged() -> Samples:
    listed = json.loads(gzip.decompress((PACKAGED / "scenes.json.gz").read_bytes()))
    images, numbers = _stored_arrays()
    samples = []
    for place, row in enumerate(listed["scenes"]):
        scene = scene_from(row["scene"])
        image = Image.fromarray(images[row["image"]])
        stored = partial(_stored, listed["scenes"][place]["counterfactuals"])
        boxes = [box_of(numbers[place], thing, image.width) for thing in range(len(scene.things))]
        read = partial(_packaged_numbers, place)
        samples.append(_sample(row["id"], image, scene, row["visible"], boxes, read, stored))
    return Samples("scenes/packaged", tuple(samples), CLASSES)


def _packaged_numbers(place: int) -> np.ndarray:
    # By their place, not the array itself: a sample that is sent to another process would take all scenes with it.
    _, numbers = _stored_arrays()
    found: np.ndarray = numbers[place]
    return found


def _stored(rows: list[dict[str, Any]]) -> tuple[Counterfactual, ...]:
    images, _ = _stored_arrays()
    return tuple(
        Counterfactual(row["kind"], row["number"], scene_from(row["scene"]), Image.fromarray(images[row["image"]]))
        for row in rows
    )


@cache
def _stored_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Give all pictures "n 96 96 3" and the numbers of the sixty; a counterfactual is stored as what it changes."""
    with np.load(PACKAGED / "scenes.npz", allow_pickle=False) as stored:
        images, base = stored["images"], stored["base"]
        changed = base >= 0
        images[changed] += images[base[changed]]  # modulo 256, as it was taken apart
        return images, stored["numbers"]
