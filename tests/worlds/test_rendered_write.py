"""Writing worlds: the same bytes whatever happens on the way, and no folder spoilt."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from vitreous.apps.cli.worlds import app
from vitreous.core.errors import DataError, InputError, MissingExtraError, OutputError, UnknownNameError
from vitreous.worlds.rendered import load, render, write
from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.scene import scene_from
from vitreous.worlds.rendered.shapes import CLASSES, mesh_of
from vitreous.worlds.rendered.write import World, write_world
from vitreous.worlds.sample import Sample

WORLD = World(
    seed=4, variant="tag", correlation=0.5, side=32, finer=2
)  # small, as most of what is tested is not the pictures
COUNT = 12
PART = 4
SCRIPT = """
import sys
from pathlib import Path
from vitreous.worlds.rendered import load, write
load.PART = write.PART = 4
from vitreous.worlds.rendered.write import World, write_world
world = World(seed=4, variant="tag", correlation=0.5, side=32, finer=2)
if __name__ == "__main__":
    write_world(world, 12, Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(load, "PART", PART)
    monkeypatch.setattr(write, "PART", PART)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "make.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What one process writes without being disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "PART", PART)
        patch.setattr(write, "PART", PART)
        write_world(WORLD, COUNT, folder)
    return folder


def bytes_of(folder):
    """Digest of every file; files that were being written when the process was killed are not part of the world."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_written(whole):
    names = {f"{index:06d}.png" for index in range(COUNT)}
    parts = {f"parts/{start:06d}.json" for start in range(0, COUNT, PART)}
    expected = {f"{kind}/{name}" for kind in ("images", "numbers") for name in names}
    assert set(bytes_of(whole)) == expected | parts | {"world.json", "factors.parquet", "README.md"}


def test_two_workers_write_the_bytes_of_one(whole, tmp_path):
    write_world(WORLD, COUNT, tmp_path / "world", workers=2)
    assert bytes_of(tmp_path / "world") == bytes_of(whole)


def test_killed_and_run_again_it_gives_the_same_bytes_and_leaves_no_worker(whole, script, tmp_path):
    folder = tmp_path / "world"
    process = subprocess.Popen([sys.executable, script, folder, "2"], start_new_session=True)
    limit = time.monotonic() + 60
    while len(list(folder.glob("images/0*.png"))) < 5 and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)  # the workers are not told
    process.wait()
    limit = time.monotonic() + 20
    while members(process.pid) and time.monotonic() < limit:
        time.sleep(0.05)
    left = members(process.pid)
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert left == []
    assert not (folder / "factors.parquet").exists()
    with pytest.raises(DataError, match="not finished"):
        scenes(folder)
    assert len(list(folder.glob("images/0*.png"))) >= 5
    write_world(WORLD, COUNT, folder)
    assert bytes_of(folder) == bytes_of(whole)


def members(session):
    """Living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (path / "stat").read_text().rsplit(")", 1)[1].split()[:4]
        except (OSError, ValueError):
            continue
        if int(of) == session and state != "Z":
            found.append(int(path.name))
    return found


def test_more_scenes_are_added_and_the_old_stay(whole, tmp_path):
    folder, told = tmp_path / "world", []
    write_world(WORLD, 6, folder, done=told.append)
    assert sum(told) == 6
    assert len(scenes(folder)) == 6
    before, times = bytes_of(folder), {path: path.stat().st_mtime_ns for path in folder.glob("images/00000[0-3].png")}
    told.clear()
    write_world(WORLD, COUNT, folder, done=told.append)
    assert sum(told) == COUNT
    assert told[0] == PART  # the first part was there and whole
    assert {path: path.stat().st_mtime_ns for path in times} == times
    after = bytes_of(folder)
    assert after == bytes_of(whole)
    assert {name for name in before if before[name] != after[name]} == {
        "README.md",
        "factors.parquet",
        "parts/000004.json",
    }


def test_fewer_scenes_take_none_away(whole, tmp_path):
    folder = tmp_path / "world"
    write_world(WORLD, 6, folder)
    before = bytes_of(folder)
    write_world(WORLD, 2, folder)
    assert bytes_of(folder) == before
    assert parquet.read_table(folder / "factors.parquet").num_rows == len(scenes(folder)) == 6


def test_factors_are_those_of_the_scenes(whole):
    rows = parquet.read_table(whole / "factors.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"{index:06d}" for index in range(COUNT)]
    for index, row in enumerate(rows):
        scene = draw_scene(4, index, "tag", 0.5)
        assert scene_from(json.loads(row["scene"])) == scene
        assert row["label"] == scene.target.shape
        assert row["distractors"] == len(scene.things) - 1
        assert (row["target_red"], row["target_green"], row["target_blue"]) == scene.target.colour
        assert (row["target_x"], row["target_y"]) == (scene.target.x, scene.target.y)
        assert (row["target_size"], row["target_yaw"]) == (scene.target.size, scene.target.yaw)
        assert (row["light_azimuth"], row["light_elevation"]) == (scene.light.azimuth, scene.light.elevation)
        assert (row["light_irradiance"], row["fill"]) == (scene.light.irradiance, scene.fill)
        camera = scene.camera
        assert row["camera_azimuth"] == camera.azimuth
        assert (row["camera_elevation"], row["camera_distance"]) == (camera.elevation, camera.distance)
        assert (row["floor_pattern"], row["wall_pattern"]) == (scene.floor.pattern, scene.wall.pattern)
        assert (row["noise"], row["tag"]) == (scene.noise, scene.tag.number)
        assert row["target_material"] == scene.target.material
        assert row["target_visible"] == row["visible"][0]
        assert len(row["visible"]) == len(row["boxes"]) == len(scene.things)
        numbers = np.asarray(Image.open(whole / "numbers" / f"{row['id']}.png"))
        for thing, box in enumerate(row["boxes"]):
            points = np.argwhere(numbers == thing + 1)
            if len(points) == 0:
                assert box is None
            else:
                (top, left), (bottom, right) = points.min(0) / 2, (points.max(0) + 1) / 2
                assert box == [left, top, right, bottom]


def test_the_card_counts_and_its_command_makes_the_world_again(whole, tmp_path):
    card = (whole / "README.md").read_text()
    assert f"{COUNT} scenes of 32 x 32 pixels" in card
    labels = [draw_scene(4, index).label for index in range(COUNT)]
    for name in CLASSES:
        assert (f"{name} {labels.count(name)}" in card) == (name in labels)
    assert "'tag' agrees with the class in 50%" in card
    command = next(line for line in card.splitlines() if line.startswith("    vitreous worlds")).split()
    assert command[:3] == ["vitreous", "worlds", "render"]
    arguments = [str(tmp_path / "again") if word == "DIR" else word for word in command[2:]]
    result = CliRunner().invoke(app, [*arguments, "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'again'}\n"
    assert bytes_of(tmp_path / "again") == bytes_of(whole)


def test_written_scenes_are_samples(whole):
    found = scenes(whole)
    assert found.labels == CLASSES
    assert found.name == "scenes/tag/4"
    assert len(found) == COUNT
    for index, sample in enumerate(found):
        assert isinstance(sample, Sample)
        assert sample.scene == draw_scene(4, index, "tag", 0.5)
        assert CLASSES[sample.index] == sample.label == sample.scene.target.shape
        assert sample.photo().size == (32, 32)
        masks = sample.masks()
        assert len(masks) == len(sample.regions) == len(sample.things)
        for number, mask in enumerate(masks):
            assert mask.inside.shape == (32, 32)
            assert np.array_equal(mask.inside, sample.coverage(number) >= 0.5)
        assert sample.stored() == ()
    removal = found[0].removals()[1]  # rendered now
    assert (removal.kind, removal.number, removal.image.size) == ("without", 1, (32, 32))
    assert np.abs(np.asarray(removal.image, dtype=int) - np.asarray(found[0].photo().image)).max() > 0


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (World(5, "tag", 0.5, 32, 2), "seed=4, not 5"),
        (World(4, "floor", 0.5, 32, 2), "variant='tag', not 'floor'"),
        (World(4, "tag", 0.6, 32, 2), r"correlation=0\.5, not 0\.6"),
        (World(4, "tag", 0.5, 96, 2), "side=32, not 96"),
        (World(4, "tag", 0.5, 32, 4), "finer=2, not 4"),
    ],
)
def test_another_world_in_the_same_folder_is_refused(whole, other, says):
    before = bytes_of(whole)
    with pytest.raises(DataError, match=f"VX-E800: .* holds another world: {says}"):
        write_world(other, COUNT, whole)
    assert bytes_of(whole) == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty and holds no rendered world"):
        write_world(WORLD, 1, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError, match="cannot be made"):
        write_world(WORLD, 1, tmp_path / "thesis.txt")
    with pytest.raises(DataError, match=r"there is no world\.json"):
        scenes(tmp_path)


@pytest.mark.parametrize(("text", "says"), [("{", "damaged"), ("[]", "describes no"), ('{"seed": 1}', "describes no")])
def test_a_damaged_description_is_an_error(tmp_path, text, says):
    (tmp_path / "world.json").write_text(text)
    for use in (scenes, lambda folder: write_world(WORLD, 1, folder)):
        with pytest.raises(DataError, match=says):
            use(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["world.json"]


@pytest.mark.parametrize(
    ("world", "count", "workers", "error", "says"),
    [
        (WORLD, 0, 1, InputError, "count=0"),
        (WORLD, 1, 0, InputError, "workers=0"),
        (World(side=0), 1, 1, InputError, "side=0"),
        (World(finer=0), 1, 1, InputError, "finer=0"),
        (World(variant="tagg"), 1, 1, UnknownNameError, "Did you mean 'tag'"),
        (World(variant="tag", correlation=2.0), 1, 1, InputError, r"correlation=2\.0"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(tmp_path, world, count, workers, error, says):
    with pytest.raises(error, match=says):
        write_world(world, count, tmp_path / "world", workers)
    assert not (tmp_path / "world").exists()


def test_the_command_line_tells_errors(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    result = CliRunner().invoke(app, ["render", "--count", "1", "--out", str(tmp_path)])
    assert result.exit_code == 3
    assert "VX-E800" in result.stderr


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("library", ["mitsuba", "pyarrow", "trimesh"])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, library, workers):
    monkeypatch.setitem(sys.modules, library, None)
    if library == "trimesh":
        mesh_of.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"VX-E700: .*'{library}'.*vitreous\[scenes\]"):
        write_world(WORLD, 9, tmp_path / "world", workers)
    assert not (tmp_path / "world").exists()


def test_rendering_without_the_renderer_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    render._mitsuba.cache_clear()
    with pytest.raises(MissingExtraError, match=r"VX-E700: Rendering scenes needs the library 'mitsuba'.*\[scenes\]"):
        scenes()[0]._remove(0)
