"""Making the scenes that come with the package: python -m vitreous.worlds.rendered.package. Needs the extra "scenes".

Sixty scenes, six of each class, and for each what the oracle needs: the scene without each of its things, with another
class, another background, another light, and with a board before the target. A counterfactual differs from its scene in
few pixels, so that what is stored is the difference, modulo 256: three quarters of it are zero.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.edits import with_background, with_class, with_light, with_occluder, without
from vitreous.worlds.rendered.load import PACKAGED
from vitreous.worlds.rendered.render import render
from vitreous.worlds.rendered.scene import Scene
from vitreous.worlds.rendered.shapes import CLASSES

SEED = 3  # neither that of the training scenes (1) nor that of the held-out ones (2)
EACH = 6


def counterfactuals(scene: Scene) -> Iterator[tuple[str, int | None, Scene]]:
    """Give the changes of one scene: kind, number of the thing that is changed, and the changed scene."""
    for number in range(len(scene.things)):
        yield "without", number, without(scene, number)
    yield "class", 0, with_class(scene, CLASSES[(CLASSES.index(scene.label) + 3) % len(CLASSES)])
    yield "background", None, with_background(scene, scene.seed)
    yield "light", None, with_light(scene, replace(scene.light, azimuth=-scene.light.azimuth))
    yield "occluder", 0, with_occluder(scene, 0.5)


def main() -> None:
    """Render everything and write the two files of the package."""
    images: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    base: list[int] = []
    rows: list[dict[str, Any]] = []
    for index, scene in _chosen():
        rendering = render(scene)
        origin = len(images)
        images.append(rendering.image)
        base.append(-1)
        numbers.append(rendering.numbers)
        changes: list[dict[str, Any]] = []
        for kind, number, changed in counterfactuals(scene):
            changes.append({"kind": kind, "number": number, "scene": changed.as_dict(), "image": len(images)})
            images.append(render(changed).image - rendering.image)
            base.append(origin)
        rows.append(
            {
                "id": f"{index:06d}", "scene": scene.as_dict(), "visible": rendering.visible, "image": origin,
                "counterfactuals": changes,
            }
        )  # fmt: skip
    PACKAGED.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        PACKAGED / "scenes.npz", images=np.stack(images), base=np.array(base), numbers=np.stack(numbers)
    )
    text = json.dumps({"seed": SEED, "scenes": rows}, separators=(",", ":"))
    (PACKAGED / "scenes.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def _chosen() -> Iterator[tuple[int, Scene]]:
    """Give the first scenes of the world, as many of each class."""
    missing = dict.fromkeys(CLASSES, EACH)
    index = 0
    while any(missing.values()):
        scene = draw_scene(SEED, index)
        if missing[scene.label]:
            missing[scene.label] -= 1
            yield index, scene
        index += 1


if __name__ == "__main__":
    main()
