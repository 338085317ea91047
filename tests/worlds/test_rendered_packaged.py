"""The scenes that come with the package: what they hold, and that they are what the renderer makes of them."""

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import asdict

import mitsuba
import numpy as np
import pytest

from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.edits import without
from vitreous.worlds.rendered.load import PACKAGED, SceneSample, scenes
from vitreous.worlds.rendered.package import SEED, counterfactuals
from vitreous.worlds.rendered.render import render
from vitreous.worlds.rendered.shapes import CLASSES

MADE_WITH = "3.9.1"  # of Mitsuba; another version may round otherwise


def assert_same_picture(found, stored):
    """The same bytes; with another version of the renderer the same within one step of 255, but for a few edges."""
    if mitsuba.__version__ == MADE_WITH:
        assert np.array_equal(found, stored)
    else:
        assert (np.abs(found.astype(int) - stored) <= 1).mean() > 0.999


def test_sixty_scenes_six_of_each_class():
    found = scenes()
    assert len(found) == 60
    assert found.labels == CLASSES
    assert Counter(sample.label for sample in found) == dict.fromkeys(CLASSES, 6)
    assert len({sample.id for sample in found}) == 60
    assert len({hashlib.sha256(sample.image.tobytes()).hexdigest() for sample in found}) == 60
    assert all(isinstance(sample, SceneSample) and CLASSES[sample.index] == sample.label for sample in found)


def test_they_are_small():
    assert sum(path.stat().st_size for path in PACKAGED.iterdir()) < 5_000_000


@pytest.mark.parametrize("place", [0, 29, 59])
def test_rendering_them_again_gives_the_same_bytes(place):
    sample = scenes()[place]
    assert draw_scene(SEED, int(sample.id)) == sample.scene
    found = render(sample.scene)
    assert_same_picture(found.numbers, sample.numbers())
    assert_same_picture(found.image, np.asarray(sample.image))
    assert found.visible == pytest.approx(sample.visible, abs=1e-3)
    stored = {(one.kind, one.number): one for one in sample.stored()}
    for kind, number in [
        ("without", 0),
        ("without", 2),
        ("class", 0),
        ("background", None),
        ("light", None),
        ("occluder", 0),
    ]:
        one = stored[kind, number]
        assert_same_picture(render(one.scene).image, np.asarray(one.image))


def assert_same_scene(found, expected):
    """Equal but for the last bits: where a board stands is computed by products whose rounding depends on the processor."""
    numbers, others = zip(*(leaves(asdict(scene)) for scene in (found, expected)), strict=True)
    assert others[0] == others[1]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-9, abs=1e-9)


def leaves(value):
    """All floats of nested dicts, lists and tuples, and everything else in them, in order."""
    if isinstance(value, float):
        return [value], []
    if not isinstance(value, dict | list | tuple):
        return [], [value]
    numbers, others = [], list(value) if isinstance(value, dict) else [len(value)]
    for item in value.values() if isinstance(value, dict) else value:
        below = leaves(item)
        numbers += below[0]
        others += below[1]
    return numbers, others


def test_every_scene_has_every_counterfactual():
    for sample in scenes():
        expected = list(counterfactuals(sample.scene))
        assert [(one.kind, one.number) for one in sample.stored()] == [(kind, number) for kind, number, _ in expected]
        for one, (_, _, scene) in zip(sample.stored(), expected, strict=True):
            assert_same_scene(one.scene, scene)
        removals = sample.removals()
        assert [one.number for one in removals] == list(range(len(sample.things)))
        assert [one.scene for one in removals] == [
            without(sample.scene, number) for number in range(len(sample.things))
        ]


def test_fully_covered_pixels_change_when_the_thing_goes():
    covered = changed = 0
    for sample in scenes():
        before = np.asarray(sample.image)
        for number, removal in enumerate(sample.removals()):
            inside = sample.coverage(number) == 1
            covered += inside.sum()
            changed += (before != np.asarray(removal.image)).any(-1)[inside].sum()
    assert covered > 50_000
    assert changed / covered > 0.999


def test_masks_boxes_and_coverage_are_those_of_the_numbers():
    for sample in scenes()[::6]:
        numbers = sample.numbers()
        assert [region.name for region in sample.regions] == [thing.shape for thing in sample.things]
        for number, (region, mask) in enumerate(zip(sample.regions, sample.masks(), strict=True)):
            points = np.argwhere(numbers == number + 1)
            counted = np.zeros((96, 96))
            np.add.at(counted, tuple(points.T // 4), 1)
            assert np.array_equal(sample.coverage(number), (counted / 16).astype(np.float32))
            assert np.array_equal(mask.inside, counted >= 8)
            assert not mask.void.any()
            (top, left), (bottom, right) = points.min(0) / 4, (points.max(0) + 1) / 4
            assert region.box == (left, top, right, bottom)


def test_neither_renderer_nor_meshes_are_needed():
    code = (
        "import sys; sys.modules.update(mitsuba=None, trimesh=None, drjit=None, pyarrow=None)\n"
        "from vitreous.worlds.rendered.load import scenes; found = scenes()\n"
        "for sample in found: assert sample.mask().inside.any() and len(sample.removals()) == len(sample.things)\n"
        "print(len(found), len(found[0].stored()) - len(found[0].removals()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=120)
    assert out.stdout.split() == ["60", "4"]
