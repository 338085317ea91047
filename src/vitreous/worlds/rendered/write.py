"""Writing a rendered data set: any number of processes, the same bytes, and nothing lost but a part when it is killed.

    DIR/world.json        what was asked for: seed, variant, correlation, size
    DIR/images/N.png      the picture of scene N
    DIR/numbers/N.png     which thing is seen where, on a finer grid: 0 background, 1 target, 2 … as in factors
    DIR/parts/            the factors of each part; they stay, so that more scenes can be added
    DIR/factors.parquet   one row for each scene: class, every factor, visibility of each thing
    DIR/README.md         the data set's card

A part is `PART` scenes; its factors are written when all its pictures are: whatever has no factors is rendered again.
"""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from PIL import Image

from vitreous._version import __version__
from vitreous.core.errors import DataError, InputError, MissingExtraError, OutputError
from vitreous.core.heatmap_file import write_whole
from vitreous.worlds.rendered.card import card_of
from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.load import PART, finished_rows, read_world
from vitreous.worlds.rendered.numbers import box_of
from vitreous.worlds.rendered.scene import Scene

if TYPE_CHECKING:
    from vitreous.worlds.rendered.render import Rendering

FORMAT = 1


@dataclass(frozen=True)
class World:
    """What a rendered data set is made of; `draw_scene` explains seed, variant and correlation.

    side   pixels of a picture's side
    finer  how much finer the grid of `numbers` is
    """

    seed: int = 0
    variant: str = "plain"
    correlation: float = 0.95
    side: int = 96
    finer: int = 4

    def scene(self, index: int) -> Scene:
        """Draw scene number `index`."""
        return draw_scene(self.seed, index, self.variant, self.correlation)


def write_world(
    world: World, count: int, folder: Path, workers: int = 1, done: Callable[[int], None] = lambda _count: None
) -> None:
    """Render scenes 0 to `count` - 1 into a folder, which may hold some of them already, or more: those stay.

    done  is called with the number of scenes that were added, whenever some were

    Raises DataError if the folder holds something else, InputError for a number below 1, OutputError if the folder
    cannot be made, MissingExtraError without the libraries of the extra "scenes".
    """
    if count < 1 or workers < 1:
        raise InputError(f"count={count}, workers={workers}.", "Give 1 or more of each.")
    if world.side < 1 or world.finer < 1:
        raise InputError(f"side={world.side}, finer={world.finer}.", "Give 1 or more of each.")
    _require_libraries()
    world.scene(0)  # a wrong variant or correlation is told before anything is written
    _claim(world, folder)
    for name in ("images", "numbers", "parts"):
        (folder / name).mkdir(exist_ok=True)
    starts = [start for start in range(0, count, PART) if not _is_written(folder, start, min(start + PART, count))]
    done(count - sum(min(start + PART, count) - start for start in starts))
    for start in _in_processes(world, count, folder, starts, workers):
        done(min(start + PART, count) - start)
    _finish(world, folder)


def _in_processes(world: World, count: int, folder: Path, starts: list[int], workers: int) -> Iterator[int]:
    """Write parts, in this process or in several; gives the start of each when it is written."""
    if workers == 1 or len(starts) < 2:
        for start in starts:
            _write_part(world, start, min(start + PART, count), folder)
            yield start
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        jobs = {pool.submit(_write_part, world, start, min(start + PART, count), folder): start for start in starts}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        finally:
            for job in jobs:
                job.cancel()


def _start_worker() -> None:
    """Let a worker keep to one core, as there are as many workers as cores to use, and end with its parent."""
    import drjit  # noqa: PLC0415  (comes with mitsuba)

    drjit.set_thread_count(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is killed: nobody else would, and it would go on writing or wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_part(world: World, start: int, stop: int, folder: Path) -> None:
    from vitreous.worlds.rendered.render import render  # noqa: PLC0415  (loads the renderer)

    rows = []
    for index in range(start, stop):
        scene = world.scene(index)
        rendering = render(scene, world.side, world.finer)
        for name, pixels in (("images", rendering.image), ("numbers", rendering.numbers)):
            scratch = folder / name / f".{index:06d}.png"  # a finished picture is replaced by a whole one or not at all
            Image.fromarray(pixels).save(scratch)
            scratch.replace(folder / name / f"{index:06d}.png")
        rows.append(factors_of(index, scene, rendering))
    write_whole(_part(folder, start), json.dumps(rows).encode(), overwrite=True)


def factors_of(index: int, scene: Scene, rendering: "Rendering") -> dict[str, Any]:
    """Give the row of one scene: the columns that tables are made of, and the whole scene as JSON."""
    return {
        "id": f"{index:06d}",
        "label": scene.label,
        "distractors": sum(thing.role != "target" for thing in scene.things),
        "target_size": scene.target.size,
        "target_x": scene.target.x,
        "target_y": scene.target.y,
        "target_yaw": scene.target.yaw,
        "target_material": scene.target.material,
        "target_red": scene.target.colour[0],
        "target_green": scene.target.colour[1],
        "target_blue": scene.target.colour[2],
        "target_visible": rendering.visible[0],
        "light_azimuth": scene.light.azimuth,
        "light_elevation": scene.light.elevation,
        "light_irradiance": scene.light.irradiance,
        "fill": scene.fill,
        "camera_azimuth": scene.camera.azimuth,
        "camera_elevation": scene.camera.elevation,
        "camera_distance": scene.camera.distance,
        "floor_pattern": scene.floor.pattern,
        "wall_pattern": scene.wall.pattern,
        "noise": scene.noise,
        "tag": -1 if scene.tag is None else scene.tag.number,
        "visible": list(rendering.visible),
        "boxes": [box_of(rendering.numbers, thing, len(rendering.image)) for thing in range(len(scene.things))],
        "scene": json.dumps(scene.as_dict()),
    }


def _part(folder: Path, start: int) -> Path:
    return folder / "parts" / f"{start:06d}.json"


def _is_written(folder: Path, start: int, stop: int) -> bool:
    """Whether a part is there with as many scenes as it should have now."""
    path = _part(folder, start)
    return path.exists() and len(json.loads(path.read_text(encoding="utf-8"))) >= stop - start


def _claim(world: World, folder: Path) -> None:
    """Write what the folder is to hold, or find that it holds just that."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputError(f"{folder} cannot be made: {problem.strerror}.", "Choose another folder.") from problem
    path = folder / "world.json"
    wanted = {"format": FORMAT, "version": __version__, **asdict(world)}
    if path.exists():
        found = read_world(path)
        different = [key for key in wanted if found.get(key) != wanted[key]]
        if different:
            told = ", ".join(f"{key}={found.get(key)!r}, not {wanted[key]!r}" for key in different)
            raise DataError(
                f"{folder} holds another world: {told}.", "Choose another folder, or ask for the same world."
            )
        return
    if any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no rendered world.", "Choose a new or an empty folder.")
    write_whole(path, json.dumps(wanted, indent=1).encode(), overwrite=False)


def _finish(world: World, folder: Path) -> None:
    """Merge the factors of all scenes that are there into one table and write the card."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    rows = finished_rows(folder)
    table = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), table)
    write_whole(folder / "factors.parquet", table.getvalue().to_pybytes(), overwrite=True)
    write_whole(folder / "README.md", card_of(world, rows).encode(), overwrite=True)


def _require_libraries() -> None:
    """Find out before anything is written, and before there are workers, whose errors say less."""
    for library, purpose in (("mitsuba", "Rendering scenes"), ("pyarrow", "Writing the factors")):
        try:
            import_module(library)
        except ImportError as problem:
            raise MissingExtraError.of(library, "scenes", purpose) from problem
