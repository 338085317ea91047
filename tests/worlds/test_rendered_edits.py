"""Counterfactuals and stress: each changes what it says, and nothing else."""

from dataclasses import fields, replace

import numpy as np
import pytest
from rendered_geometry import eye_of, see

from vitreous.core.errors import InputError, UnknownNameError
from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.edits import with_background, with_class, with_light, with_occluder, without
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.render import render
from vitreous.worlds.rendered.shapes import CLASSES
from vitreous.worlds.rendered.stress import AXES, stress


@pytest.fixture(scope="module")
def clean():
    return replace(draw_scene(5, 1), noise=0.0)


@pytest.fixture(scope="module")
def rendered(clean):
    return render(clean)


def changed_fields(before, after):
    return {field.name for field in fields(before) if getattr(before, field.name) != getattr(after, field.name)}


def test_taking_out_leaves_the_others_as_they_were(clean):
    for number in range(len(clean.things)):
        after = without(clean, number)
        assert after.things == tuple(thing for place, thing in enumerate(clean.things) if place != number)
        assert replace(after, things=clean.things) == clean
    assert without(clean, 0).label == ""
    assert without(clean, 1).label == clean.label


def test_the_stored_removals_change_nothing_outside_thing_and_shadow():
    """The brightest sign of an error would be another thing that moved: the numbers of the rest must stay."""
    sample = scenes()[8]
    for number in range(len(sample.things)):
        after = see(without(sample.scene, number), 192)
        before = see(sample.scene, 192)
        kept = before != number + 1
        assert np.array_equal(after[kept], np.where(before > number + 1, before - 1, before)[kept])


def test_another_background_keeps_every_thing_where_it_is(clean, rendered):
    after = with_background(clean, 4)
    assert changed_fields(clean, after) == {"floor", "wall"}
    assert with_background(clean, 4) == after
    assert with_background(clean, 5) != after
    found = render(after)
    assert np.array_equal(found.numbers, rendered.numbers)
    assert found.visible == rendered.visible
    whole = np.max([rendered.coverage(number) for number in range(len(clean.things))], axis=0) == 1
    empty = np.sum([rendered.coverage(number) for number in range(len(clean.things))], axis=0) == 0
    same = (found.image[whole] == rendered.image[whole]).all(-1)  # no light goes from the floor to the things
    assert same.mean() > 0.99  # through a sliver between the points of the finer grid, floor is seen
    assert (found.image[empty] != rendered.image[empty]).any(-1).mean() > 0.9


def test_another_light_keeps_every_thing_where_it_is(clean, rendered):
    light = replace(clean.light, azimuth=clean.light.azimuth + 120)
    after = with_light(clean, light)
    assert after.light == light
    assert changed_fields(clean, after) == {"light"}
    found = render(after)
    assert np.array_equal(found.numbers, rendered.numbers)
    assert (found.image != rendered.image).any(-1).mean() > 0.5


def test_another_class_changes_numbers_inside_both_outlines_only(clean, rendered):
    for shape in ("sphere", "star"):
        after = with_class(clean, shape)
        assert after.label == shape
        assert replace(after, things=clean.things) == clean
        assert after.things[1:] == clean.things[1:]
        assert replace(after.target, shape=clean.target.shape) == clean.target
        found = render(after)
        old, new = see(clean, 384, [0]) == 1, see(after, 384, [0]) == 1
        outside = ~np.lib.stride_tricks.sliding_window_view(np.pad(old | new, 1), (3, 3)).any((2, 3))
        assert np.array_equal(found.numbers[outside], rendered.numbers[outside])
        assert (found.numbers != rendered.numbers).sum() > 100


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45, 0.6, 0.75, 1.0])
def test_the_board_hides_the_share_of_the_width_that_was_asked(share):
    found = []
    for index in range(12):
        scene = draw_scene(9, index)
        alone = replace(scene, things=scene.things[:1])
        whole = see(alone, 192) == 1
        after = with_occluder(alone, share)
        assert after.things[:-1] == alone.things
        assert after.things[-1].role == "occluder"
        seen = see(after, 192) == 1
        before, left = np.flatnonzero(whole.any(0)), np.flatnonzero(seen.any(0))
        found.append(1 - len(left) / (np.ptp(before) + 1))
        hidden = whole & ~seen
        for row in np.flatnonzero(hidden.any(1) & seen.any(1)):  # the left part of each row is hidden, and no other
            assert np.flatnonzero(hidden[row]).max() < np.flatnonzero(seen[row]).min() + 1
        if share < 1:
            assert left[-1] == before[-1]
    # Seen from above, the board's upright edge leans in the picture: what is hidden at the bottom and at the top differs.
    assert np.mean(found) == pytest.approx(share, abs=0.06)
    assert np.abs(np.array(found) - share).max() < 0.15
    assert share < 1 or found == [1.0] * len(found)


def test_a_board_can_stand_before_any_thing_and_before_none(clean):
    assert with_occluder(clean, 0.0) is clean
    for number in range(len(clean.things)):
        after = with_occluder(clean, 1.0, number)
        assert replace(after, things=after.things[:-1]) == clean
        assert (see(after, 192) == number + 1).sum() == 0


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (lambda scene: without(scene, 40), InputError, "no thing 40"),
        (lambda scene: without(scene, -1), InputError, "no thing -1"),
        (lambda scene: with_class(scene, "spere"), UnknownNameError, r"'spere' is no class.*Did you mean 'sphere'"),
        (lambda scene: with_class(without(scene, 0), "sphere"), InputError, "no target"),
        (lambda scene: with_class(replace(scene, things=()), "sphere"), InputError, "no target"),
        (lambda scene: with_occluder(scene, 1.1), InputError, r"share=1\.1 is no share"),
        (lambda scene: with_occluder(scene, 0.5, 40), InputError, "no thing 40"),
        (lambda scene: stress(scene, "lihgt_colour", 1), UnknownNameError, "Did you mean 'light_colour'"),
        (lambda scene: stress(scene, "clutter", 6), InputError, "level=6 is no level"),
        (lambda scene: stress(scene, "clutter", -1), InputError, "level=-1 is no level"),
    ],
)
def test_what_cannot_be_changed_is_said(clean, edit, error, says):
    with pytest.raises(error, match=says):
        edit(clean)


def angle_to_camera(scene):
    """Between the directions of lamp and camera, seen from above; 180 is light from behind."""
    return abs((scene.light.azimuth + 180) % 360 - 180)


def floor_width(scene):
    """How large a thing of one unit in the middle of the floor is seen, as a share of the picture."""
    return 1 / np.linalg.norm(eye_of(scene.camera) - scene.camera.middle)


QUANTITIES = {  # what must grow with the level
    "light_intensity": lambda scene: -(scene.light.irradiance + scene.fill),
    "light_direction": angle_to_camera,
    "light_colour": lambda scene: max(scene.light.colour) / sum(scene.light.colour),
    "occlusion": lambda scene: -(see(scene, 96) == 1).sum(),
    "clutter": lambda scene: len(scene.things),
    "camera_azimuth": lambda scene: abs(scene.camera.azimuth),
    "camera_elevation": lambda scene: eye_of(scene.camera)[2] / np.linalg.norm(eye_of(scene.camera)),
    "camera_distance": lambda scene: -floor_width(scene),
    "sensor_noise": lambda scene: scene.noise,
}
TOUCHED = {
    "light_intensity": {"light", "fill"}, "light_direction": {"light", "fill"}, "light_colour": {"light", "fill"},
    "occlusion": {"things"}, "clutter": {"things"}, "camera_azimuth": {"camera"}, "camera_elevation": {"camera"},
    "camera_distance": {"camera"}, "sensor_noise": {"noise"},
}  # fmt: skip


@pytest.mark.parametrize("axis", AXES)
def test_stress_grows_with_its_level_and_touches_nothing_else(axis):
    for index in range(4):
        scene = draw_scene(21, index)
        assert stress(scene, axis, 0) is scene
        levels = [stress(scene, axis, level) for level in range(6)]
        values = [QUANTITIES[axis](one) for one in levels]
        assert values == sorted(values)
        assert values[-1] > values[0]
        if axis != "clutter":  # a full floor takes no more
            assert len(set(values)) == 6 or axis == "occlusion"
        for one in levels[1:]:
            assert changed_fields(scene, one) == TOUCHED[axis]
            assert one.things[: len(scene.things)] == scene.things
            assert one.label == scene.label
        assert stress(scene, axis, 3) == levels[3]


def test_every_axis_has_a_quantity_that_is_tested():
    assert set(QUANTITIES) == set(TOUCHED) == set(AXES)


def test_levels_are_what_their_description_says():
    scene = draw_scene(21, 0)
    last = {axis: stress(scene, axis, 5) for axis in AXES}
    assert last["light_intensity"].light.irradiance / scene.light.irradiance == pytest.approx(0.08, abs=0.003)
    assert (angle_to_camera(last["light_direction"]), last["light_direction"].light.elevation) == (180, 15)
    assert sorted(last["light_colour"].light.colour)[1] == pytest.approx(max(last["light_colour"].light.colour) * 0.04)
    assert sum(last["light_colour"].light.colour) == pytest.approx(sum(scene.light.colour))
    assert floor_width(last["camera_distance"]) == pytest.approx(0.5 * floor_width(scene), rel=0.01)
    assert last["sensor_noise"].noise == pytest.approx(0.15, abs=0.002)


def test_clutter_never_hides_the_target():
    added = 0
    for index in range(10):
        scene = draw_scene(22, index)
        after = stress(scene, "clutter", 5)
        added += len(after.things) - len(scene.things)
        assert {thing.role for thing in after.things[len(scene.things) :]} <= {"distractor"}
        assert not {thing.shape for thing in after.things[len(scene.things) :]} & set(CLASSES)
        # The target and the clutter alone: what else hides it is that of the scene itself.
        alone = replace(after, things=(scene.target, *after.things[len(scene.things) :]))
        assert np.array_equal(see(alone, 192) == 1, see(alone, 192, [0]) == 1)
    assert added / 10 > 6
