"""Counterfactuals: the same scene with one thing changed. All else, down to the sensor's noise, stays the same."""

from dataclasses import replace

import numpy as np

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.core.seed import image_seed
from vitreous.worlds.rendered.draw import draw_surface
from vitreous.worlds.rendered.project import camera_axes, placed
from vitreous.worlds.rendered.scene import Light, Scene, Thing
from vitreous.worlds.rendered.shapes import CLASSES, OCCLUDER

GAP = 0.12  # between the board and the nearest point of the thing
EDGE = 0.15  # by which the board sticks out to the left and above, where nothing of the thing is


def without(scene: Scene, number: int) -> Scene:
    """Take out thing `number`, counted from 0 as in `Scene.things` (0 is the target).

    The others keep their looks and places, but those behind it move up by one number.
    """
    _require(scene, number)
    return replace(scene, things=scene.things[:number] + scene.things[number + 1 :])


def with_class(scene: Scene, shape: str) -> Scene:
    """Give the target another shape, and with it the scene another class; place, size, colour and material stay."""
    if not scene.label:
        raise InputError("The scene has no target.", "Give a scene from which the target was not taken out.")
    if shape not in CLASSES:
        raise UnknownNameError(
            f"{shape!r} is no class of this world. {near_matches(shape, CLASSES)}".strip(),
            f"Choose one of {', '.join(CLASSES)}.",
        )
    return replace(scene, things=(replace(scene.target, shape=shape), *scene.things[1:]))


def with_background(scene: Scene, seed: int) -> Scene:
    """Draw another floor and another wall."""
    rng = np.random.default_rng(image_seed(seed, "background"))
    return replace(scene, floor=draw_surface(rng), wall=draw_surface(rng))


def with_light(scene: Scene, light: Light) -> Scene:
    """Hang another lamp, for instance `replace(scene.light, azimuth=90)`."""
    return replace(scene, light=light)


def with_occluder(scene: Scene, share: float, number: int = 0) -> Scene:
    """Put a grey board before a thing, upright, facing the camera, so that it hides about `share` of its width.

    It covers the left part, seen from the camera, from the floor to above the thing's top. How much is hidden in the
    end is measured when rendering. 0 gives the scene unchanged.
    """
    _require(scene, number)
    if not 0 <= share <= 1:
        raise InputError(f"share={share} is no share.", "Give a number from 0 to 1.")
    return replace(scene, things=(*scene.things, _board_before(scene, scene.things[number], share))) if share else scene


def _board_before(scene: Scene, thing: Thing, share: float) -> Thing:
    """Stand the board where the lines of sight to the thing pass: as wide and as high as they need it."""
    points = placed(thing)
    eye, _ = camera_axes(scene.camera)
    middle = (points.max(0)[:2] + points.min(0)[:2]) / 2
    towards = eye[:2] - middle
    towards /= np.linalg.norm(towards)
    aside = np.array([-towards[1], towards[0]])  # to the right, seen from the camera
    foot = middle + (((points[:, :2] - middle) @ towards).max() + GAP) * towards
    # Each point is moved along its line of sight into the plane of the board.
    depth = (foot - eye[:2]) @ towards / ((points[:, :2] - eye[:2]) @ towards)
    seen = eye + depth[:, None] * (points - eye)
    across = (seen[:, :2] - foot) @ aside
    left, right = across.min() - EDGE, across.min() + share * np.ptp(across)
    x, y = foot + (left + right) / 2 * aside
    yaw = float(np.degrees(np.arctan2(aside[1], aside[0])))
    wide, high = float(right - left), float(seen[:, 2].max() + EDGE)
    return Thing(OCCLUDER, "occluder", (0.25, 0.25, 0.25), "matte", wide, float(x), float(y), yaw, high)


def _require(scene: Scene, number: int) -> None:
    if not 0 <= number < len(scene.things):
        raise InputError(
            f"The scene has no thing {number}.", f"It has {len(scene.things)}, counted from 0, the target first."
        )
