"""Rendering: against geometry and photometry computed apart, and the same bytes always."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rendered_geometry import eye_of, in_shadow_of, lamp_of, points_of, see

from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.render import render
from vitreous.worlds.rendered.scene import Surface, Tag
from vitreous.worlds.rendered.tags import PATTERNS

FINE = 384


@pytest.fixture(scope="module")
def clean():
    """A scene without noise."""
    return replace(draw_scene(5, 0), noise=0.0)


@pytest.fixture(scope="module")
def rendered(clean):
    return render(clean)


def linear(image):
    """Light of 8-bit sRGB, IEC 61966-2-1."""
    value = np.asarray(image) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def around(place):
    """The pixels of a place and their neighbours."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(place, 1), (3, 3)).any((2, 3))


def digest(rendering):
    return hashlib.sha256(rendering.image.tobytes() + rendering.numbers.tobytes()).hexdigest()


def test_the_same_scene_gives_the_same_bytes_also_in_another_process_and_with_one_thread(clean, rendered):
    assert digest(render(clean)) == digest(rendered)
    code = (
        "import sys, json, hashlib, mitsuba, drjit; drjit.set_thread_count(1)\n"
        "from vitreous.worlds.rendered.render import render; from vitreous.worlds.rendered.scene import scene_from\n"
        "found = render(scene_from(json.loads(sys.stdin.read())))\n"
        "print(hashlib.sha256(found.image.tobytes() + found.numbers.tobytes()).hexdigest())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(clean.as_dict()), capture_output=True, check=True, text=True, timeout=120
    )  # fmt: skip
    assert out.stdout.strip() == digest(rendered)


@pytest.mark.parametrize("place", [0, 13, 26, 39, 52])
def test_numbers_and_visible_shares_agree_with_a_depth_buffer(place):
    sample = scenes()[place]
    found, own = sample.numbers(), see(sample.scene, FINE)
    assert found.shape == own.shape == (FINE, FINE)
    assert (found == own).mean() > 0.999
    compared = 0
    for number, visible in enumerate(sample.visible):
        mine, theirs = own == number + 1, found == number + 1
        if mine.sum() / 16 > 60:
            compared += 1
            assert (mine & theirs).sum() / (mine | theirs).sum() >= 0.97
        whole = see(sample.scene, FINE, [number]) == number + 1
        assert 0 <= visible <= 1
        if not (whole[0].any() or whole[-1].any() or whole[:, 0].any() or whole[:, -1].any()):
            assert visible == pytest.approx(mine.sum() / whole.sum(), abs=0.05)  # outlines are drawn with their edge
    assert compared >= 3


@pytest.mark.parametrize("place", [3, 21, 47])
def test_what_changes_when_the_target_goes_is_the_target_and_its_shadow(place):
    sample = scenes()[place]
    removal = sample.removals()[0]
    changed = (np.asarray(sample.image) != np.asarray(removal.image)).any(-1)
    coverage = sample.coverage(0)
    assert changed[coverage == 1].mean() >= 0.95
    # The scene without the target has all points at hand that its shadow can fall on.
    points = points_of(removal.scene, FINE).reshape(96, 4, 96, 4, 3).swapaxes(1, 2).reshape(96, 96, 16, 3)
    asked = around(changed & (coverage == 0))
    shadow = np.zeros((96, 96), dtype=bool)
    hidden = in_shadow_of(sample.scene.target, points[asked].reshape(-1, 3), lamp_of(sample.scene.light))
    shadow[asked] = hidden.reshape(-1, 16).any(1)
    touched = shadow | (coverage > 0)
    near = around(touched)  # slivers between points
    assert changed[~near].sum() == 0
    assert changed[~touched].sum() <= 0.02 * changed.sum()
    assert (changed & (coverage == 0)).sum() > 0.02 * changed.sum()  # there is a shadow at all


def test_without_the_lamp_only_the_place_of_the_target_changes(clean):
    dark = replace(clean, light=replace(clean.light, irradiance=0.0))
    before, after = render(dark), render(replace(dark, things=dark.things[1:]))
    changed = (before.image != after.image).any(-1)
    coverage = before.coverage(0)
    assert changed[coverage == 1].mean() >= 0.95
    assert changed[coverage == 0].sum() <= 0.02 * changed.sum()  # slivers that no point of the finer grid hits
    kept = before.numbers != 1
    assert np.array_equal(after.numbers[kept], np.maximum(before.numbers[kept], 1) - 1)


def test_light_on_an_empty_floor_is_what_physics_says(clean):
    grey = Surface("plain", (0.5, 0.3, 0.2), (1.0, 1.0, 1.0), 0.5, 0.0)
    empty = replace(clean, things=(), floor=grey, wall=grey)
    points = points_of(empty, 96)
    floor = np.abs(points[..., 2]) < 1e-9
    inner = np.lib.stride_tricks.sliding_window_view(np.pad(floor, 1), (3, 3)).all((2, 3))
    lamps = ((lamp_of(empty.light), empty.light.irradiance, empty.light.distance, empty.light.colour),
             (eye_of(empty.camera), empty.fill, empty.camera.distance, (1.0, 1.0, 1.0)))  # fmt: skip
    expected = np.zeros((96, 96, 3))
    for where, irradiance, distance, colour in lamps:
        way = where - points
        far = np.linalg.norm(way, axis=-1)
        light = (
            irradiance * distance**2 / far**2 * way[..., 2] / far
        )  # of a lamp that shines the same in all directions
        expected += light[..., None] * np.array(colour) * np.array(grey.first) / np.pi
    assert expected[inner].max() < 1  # nothing is clipped
    value = np.where(expected <= 0.0031308, 12.92 * expected, 1.055 * expected ** (1 / 2.4) - 0.055) * 255
    assert inner.sum() > 4000
    assert np.abs(render(empty).image[inner] - value[inner]).max() < 1.0


def test_twice_the_light_is_twice_the_radiance(clean, rendered):
    factor = 0.4  # dimmer first, so that little is clipped
    dim = replace(
        clean, light=replace(clean.light, irradiance=clean.light.irradiance * factor), fill=clean.fill * factor
    )
    twice = replace(dim, light=replace(dim.light, irradiance=2 * dim.light.irradiance), fill=2 * dim.fill)
    low, high = linear(render(dim).image), linear(render(twice).image)
    compared = (low > 0.02) & (high < 0.98)
    assert compared.mean() > 0.3
    # A step of 8 bits is at most 2 % of the light there.
    assert high[compared] / low[compared] == pytest.approx(2, rel=0.04)
    assert np.mean(high[compared] / low[compared]) == pytest.approx(2, rel=0.002)


def test_a_larger_picture_shows_the_same(clean, rendered):
    large = render(clean, side=224, finer=2)
    assert large.image.shape == (224, 224, 3)
    assert large.numbers.shape == (448, 448)
    small = np.asarray(Image.fromarray(large.image).resize((96, 96), Image.Resampling.BOX), dtype=float)
    assert np.corrcoef(small.ravel(), rendered.image.ravel())[0, 1] > 0.98
    ours = np.asarray(Image.fromarray(large.numbers).resize((FINE, FINE), Image.Resampling.NEAREST))
    assert (ours == rendered.numbers).mean() > 0.98
    assert large.visible == pytest.approx(rendered.visible, abs=0.02)


def test_noise_has_the_deviation_it_says_and_nothing_else_changes(clean, rendered):
    noisy = render(replace(clean, noise=0.05))
    assert np.array_equal(noisy.numbers, rendered.numbers)
    middle = (rendered.image > 60) & (rendered.image < 195)  # more than four deviations from the ends
    difference = noisy.image[middle].astype(float) - rendered.image[middle]
    assert difference.std() == pytest.approx(0.05 * 255, rel=0.05)
    assert abs(difference.mean()) < 4 * 0.05 * 255 / np.sqrt(len(difference))


@pytest.mark.parametrize(("corner", "rows", "columns"), [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)])
def test_a_tag_stands_in_its_corner_and_nowhere_else(clean, rendered, corner, rows, columns):
    number = 3 + corner
    found = render(replace(clean, tag=Tag(number, corner))).image
    top, left = rows * (96 - 12), columns * (96 - 12)
    place = np.zeros((96, 96), dtype=bool)
    place[top : top + 12, left : left + 12] = True
    assert np.array_equal(found[~place], rendered.image[~place])
    cells = found[top + 2 : top + 11 : 3, left + 2 : left + 11 : 3, 0]  # the middle of each of nine cells
    assert "".join("1" if value == 255 else "0" for value in cells.ravel()) == PATTERNS[number]


def test_tags_cannot_be_taken_for_one_another():
    bits = np.array([[char == "1" for char in pattern] for pattern in PATTERNS])
    apart = (bits[:, None] != bits).sum(-1)
    assert len(PATTERNS) == 10
    assert apart[~np.eye(10, dtype=bool)].min() >= 2


def test_the_picture_does_not_depend_on_how_finely_things_are_told_apart():
    scene = draw_scene(7, 11)
    assert np.array_equal(render(scene, finer=1).image, render(scene, finer=4).image)
