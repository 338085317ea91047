"""Drawing scenes: nothing but the seed decides, and nothing tells the class but the shape of the target."""

import colorsys
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered_geometry import place, to_picture
from scipy.stats import binomtest, chi2_contingency, chisquare, kruskal

from vitreous.core.errors import InputError, UnknownNameError
from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.edits import with_occluder
from vitreous.worlds.rendered.scene import scene_from
from vitreous.worlds.rendered.shapes import CLASSES, DISTRACTORS, mesh_of
from vitreous.worlds.rendered.shortcuts import SHORTCUTS, plant
from vitreous.worlds.rendered.textures import PATTERNS

COUNT = 500
SEED = 11


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(SEED, index) for index in range(COUNT)]


def test_the_seed_and_the_number_decide(scenes):
    assert [draw_scene(SEED, index) for index in (0, 3)] == [scenes[0], scenes[3]]
    assert len({json.dumps(scene.as_dict()) for scene in scenes}) == COUNT
    assert draw_scene(SEED + 1, 0) != scenes[0]


def test_drawing_leaves_the_global_generator_alone():
    np.random.seed(5)  # noqa: NPY002  (the state that must stay)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw_scene(SEED, 1, "colour")
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["plain", *SHORTCUTS]), st.booleans())
def test_a_scene_survives_json_to_the_last_bit(index, variant, board):
    scene = draw_scene(SEED, index, variant)
    scene = with_occluder(scene, 0.4) if board else scene
    back = scene_from(json.loads(json.dumps(scene.as_dict())))
    assert back == scene
    assert hash(back) == hash(scene)  # lists in the place of tuples have none


def numbers_of(scene):
    """Every factor of a scene that is a number, and what the distractors come to together."""
    others = scene.things[1:]
    found = {
        "distractors": len(others),
        "size of others": sum(thing.size for thing in others) / len(others),
        "x of others": sum(thing.x for thing in others) / len(others),
        "y of others": sum(thing.y for thing in others) / len(others),
        "distance of the nearest": min(
            np.hypot(thing.x - scene.target.x, thing.y - scene.target.y) for thing in others
        ),
        "fill": scene.fill,
        "noise": scene.noise,
    }
    for part in ("light", "camera", "floor", "wall"):
        for name, value in scene.as_dict()[part].items():
            found |= {
                f"{part} {name} {place}": one for place, one in enumerate(np.atleast_1d(value)) if name != "pattern"
            }
    for name in ("size", "x", "y", "yaw"):
        found[f"target {name}"] = getattr(scene.target, name)
    return found | {f"target colour {place}": one for place, one in enumerate(scene.target.colour)}


def names_of(scene):
    """Every factor of a scene that is a name."""
    return {
        "material": scene.target.material,
        "floor": scene.floor.pattern,
        "wall": scene.wall.pattern,
        "first other": scene.things[1].shape,
        "material of the first other": scene.things[1].material,
        "others": str(len(scene.things)),
    }


def p_of_number(values, labels):
    """p of Kruskal and Wallis: whether a factor is the same in all classes."""
    return kruskal(*([one for one, of in zip(values, labels, strict=True) if of == label] for label in CLASSES)).pvalue


def p_of_name(names, labels):
    """p of the chi-square test of independence of the class."""
    counts = Counter(zip(labels, names, strict=True))
    return chi2_contingency([[counts[label, name] for name in sorted(set(names))] for label in CLASSES]).pvalue


def test_no_factor_depends_on_the_class(scenes):
    labels = [scene.label for scene in scenes]
    numbers, names = [numbers_of(scene) for scene in scenes], [names_of(scene) for scene in scenes]
    columns = {name: [row[name] for row in numbers] for name in numbers[0]}
    constant = {name for name, values in columns.items() if len(set(values)) == 1}
    assert constant == {"light colour 0", "camera middle 2", "camera view 0"}
    found = {name: p_of_number(values, labels) for name, values in columns.items() if name not in constant}
    found |= {name: p_of_name([row[name] for row in names], labels) for name in names[0]}
    assert len(found) == 47
    told = {name: p for name, p in found.items() if p < 0.01 / len(found)}
    assert not told


def test_the_tests_of_independence_do_find_what_depends(scenes):
    labels = [scene.label for scene in scenes]
    planted = [plant(scene, "floor", 0.3, SEED, index) for index, scene in enumerate(scenes)]
    assert p_of_name([scene.floor.pattern for scene in planted], labels) < 1e-6
    assert p_of_number([scene.target.size + 0.02 * CLASSES.index(scene.label) for scene in scenes], labels) < 1e-6


def test_all_classes_and_numbers_of_distractors_are_as_frequent(scenes):
    assert chisquare([sum(scene.label == label for scene in scenes) for label in CLASSES]).pvalue > 1e-3
    numbers = Counter(len(scene.things) - 1 for scene in scenes)
    assert set(numbers) == {3, 4, 5, 6, 7, 8}
    assert chisquare(list(numbers.values())).pvalue > 1e-3
    shapes = Counter(thing.shape for scene in scenes for thing in scene.things[1:])
    assert set(shapes) == set(DISTRACTORS)


def test_one_target_comes_first_and_nothing_else_has_its_kind_of_shape(scenes):
    for scene in scenes:
        assert [thing.role for thing in scene.things] == ["target"] + ["distractor"] * (len(scene.things) - 1)
        assert scene.label == scene.target.shape


def test_things_do_not_touch(scenes):
    reach = {shape: np.hypot(*mesh_of(shape).vertices[:, :2].T).max() for shape in (*CLASSES, *DISTRACTORS)}
    for scene in scenes:
        where = np.array([(thing.x, thing.y) for thing in scene.things])
        radius = np.array([thing.size * reach[thing.shape] for thing in scene.things])
        apart = np.linalg.norm(where[:, None] - where, axis=-1) - radius[:, None] - radius
        assert apart[~np.eye(len(where), dtype=bool)].min() > 0


def test_things_stand_on_the_floor(scenes):
    for thing in {thing.shape: thing for scene in scenes for thing in scene.things}.values():
        assert place(thing)[0][:, 2].min() == pytest.approx(0, abs=1e-9)


def test_the_target_is_inside_the_picture(scenes):
    corners = [to_picture(place(scene.target)[0], scene.camera, 1) for scene in scenes]
    middles = np.array([(one.min(0) + one.max(0)) / 2 for one in corners])
    assert middles.min() > 0.05
    assert middles.max() < 0.95
    # The place is drawn for a cylinder, so as not to tell shapes; a wider one may lose its tip at the edge.
    beyond = np.array([max(-one.min(), one.max() - 1) for one in corners])
    assert beyond.max() < 0.04
    assert (beyond > 0).mean() < 0.05


def planted_number(scene, shortcut):
    """Which of the ten variants of a shortcut a scene shows."""
    if shortcut == "tag":
        return scene.tag.number
    if shortcut == "floor":
        return PATTERNS.index(scene.floor.pattern)
    if shortcut == "colour":
        hue, _, _ = colorsys.rgb_to_hsv(*(part ** (1 / 2.2) for part in scene.target.colour))
        return round(hue * 10) % 10
    companion = scene.things[1]
    return DISTRACTORS.index(companion.shape) + 5 * (companion.colour[2] > companion.colour[0])


def take_back(scene, plain, shortcut):
    """The planted scene with only the planted factor set back to that of the plain one."""
    if shortcut == "tag":
        return replace(scene, tag=None)
    if shortcut == "floor":
        return replace(scene, floor=replace(scene.floor, pattern=plain.floor.pattern))
    if shortcut == "colour":
        return replace(scene, things=(replace(scene.target, colour=plain.target.colour), *scene.things[1:]))
    old = plain.things[1]
    companion = replace(scene.things[1], shape=old.shape, colour=old.colour, material=old.material, role=old.role)
    return replace(scene, things=(scene.target, companion, *scene.things[2:]))


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95, 1.0])
def test_a_shortcut_agrees_as_often_as_it_says_and_changes_nothing_else(scenes, shortcut, correlation):
    planted = [plant(scene, shortcut, correlation, SEED, index) for index, scene in enumerate(scenes)]
    classes = [CLASSES.index(scene.label) for scene in scenes]
    numbers = [planted_number(scene, shortcut) for scene in planted]
    agree = sum(one == other for one, other in zip(numbers, classes, strict=True))
    rate = correlation + (1 - correlation) / len(CLASSES)
    assert binomtest(agree, COUNT, rate).pvalue > 1e-3
    if correlation == 0:  # then it is independent of the class, not its opposite
        table = np.zeros((10, 10))
        np.add.at(table, (numbers, classes), 1)
        assert chi2_contingency(table).pvalue > 1e-3
    assert [take_back(one, plain, shortcut) for one, plain in zip(planted, scenes, strict=True)] == scenes


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_drawing_a_variant_is_drawing_the_plain_scene_and_planting(scenes, shortcut):
    for index in range(3):
        scene = draw_scene(SEED, index, shortcut, 1.0)
        assert planted_number(scene, shortcut) == CLASSES.index(scenes[index].label)
        assert take_back(scene, scenes[index], shortcut) == scenes[index]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((0, -1), InputError, r"VX-E120: index=-1 is negative"),
        ((0, 0, "tags"), UnknownNameError, r"VX-E500: There is no variant 'tags'\. Did you mean 'tag'\?"),
        ((0, 0, "tag", 1.01), InputError, r"correlation=1\.01 is no probability"),
        ((0, 0, "floor", -0.1), InputError, r"correlation=-0\.1 is no probability"),
        ((0, 0, "floor", float("nan")), InputError, r"correlation=nan is no probability"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, error, says):
    with pytest.raises(error, match=says):
        draw_scene(*arguments)
