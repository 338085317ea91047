"""Stress: conditions made harder in levels 0 to 5, physically, by the scene's own parameters."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.core.seed import image_seed
from vitreous.worlds.rendered.draw import FLOOR_RADIUS, draw_thing, place
from vitreous.worlds.rendered.edits import with_occluder
from vitreous.worlds.rendered.project import hidden_share
from vitreous.worlds.rendered.scene import Scene
from vitreous.worlds.rendered.shapes import DISTRACTORS

LEVELS = 6
PLACES = 8  # tried for each distractor of the clutter
SHARP = 192  # pixels of the outlines by which it is seen that nothing stands before the target


def stress(scene: Scene, axis: str, level: int) -> Scene:
    """Give the scene under level 0 to 5 of one axis of `AXES`; level 0 is the scene itself.

    Raises UnknownNameError for the axis, InputError for the level.
    """
    if axis not in AXES:
        raise UnknownNameError(
            f"There is no stress axis {axis!r}. {near_matches(axis, AXES)}".strip(), f"Choose one of {', '.join(AXES)}."
        )
    if level not in range(LEVELS):
        raise InputError(f"level={level} is no level.", "Give a whole number from 0 to 5.")
    return AXES[axis](scene, level) if level else scene


def _light_intensity(scene: Scene, level: int) -> Scene:
    """Both lamps dimmed to 60, 36, 22, 13 and 8 percent."""
    factor = 0.6**level
    light = replace(scene.light, irradiance=scene.light.irradiance * factor)
    return replace(scene, light=light, fill=scene.fill * factor)


def _light_direction(scene: Scene, level: int) -> Scene:
    """The lamp goes round behind the things and down to 15 degrees; its own light remains, most of the fill goes."""
    share = level / (LEVELS - 1)
    light = scene.light
    behind = 180.0 if light.azimuth >= 0 else -180.0
    azimuth = light.azimuth + share * (behind - light.azimuth)
    elevation = light.elevation + share * (15.0 - light.elevation)
    return replace(
        scene, light=replace(light, azimuth=azimuth, elevation=elevation), fill=scene.fill * (1 - 0.8 * share)
    )


def _light_colour(scene: Scene, level: int) -> Scene:
    """The lamp turns from white to a deep red, green or blue, of the same sum of the three."""
    share = level / (LEVELS - 1)
    pure = np.full(3, 0.04)
    pure[scene.seed % 3] = 1.0
    white = np.array(scene.light.colour)
    colour = (1 - share) * white + share * pure * white.sum() / pure.sum()
    red, green, blue = (float(part) for part in colour)
    return replace(scene, light=replace(scene.light, colour=(red, green, blue)), fill=scene.fill * (1 - 0.8 * share))


def _occlusion(scene: Scene, level: int) -> Scene:
    """A board hides 15, 30, 45, 60 and 75 percent of the target's width."""
    return with_occluder(scene, 0.15 * level)


def _clutter(scene: Scene, level: int) -> Scene:
    """3 more distractors a level, a little smaller, where there is room on a wider floor; never before the target."""
    rng = np.random.default_rng(image_seed(scene.seed, "clutter"))
    things = list(scene.things)
    for _ in range(3 * level):
        thing = draw_thing(rng, str(rng.choice(DISTRACTORS)), "distractor")
        for _ in range(PLACES):
            standing = place(rng, replace(thing, size=0.8 * thing.size), things, FLOOR_RADIUS * 1.35)
            if standing is not None and hidden_share(scene.target, [standing], scene.camera, SHARP) == 0:
                things.append(standing)
                break
    return replace(scene, things=tuple(things))


def _camera_azimuth(scene: Scene, level: int) -> Scene:
    """The camera goes round by 12 degrees a level, to the side on which it is."""
    side = 1.0 if scene.camera.azimuth >= 0 else -1.0
    return replace(scene, camera=replace(scene.camera, azimuth=scene.camera.azimuth + side * 12.0 * level))


def _camera_elevation(scene: Scene, level: int) -> Scene:
    """The camera rises by 9 degrees a level, to a view from above."""
    return replace(scene, camera=replace(scene.camera, elevation=min(scene.camera.elevation + 9.0 * level, 88.0)))


def _camera_distance(scene: Scene, level: int) -> Scene:
    """The camera goes back by 15 percent a level: at level 5 everything has half its size."""
    return replace(scene, camera=replace(scene.camera, distance=scene.camera.distance * 1.15**level))


def _sensor_noise(scene: Scene, level: int) -> Scene:
    """Noise of standard deviation 0.03 to 0.15, where white is 1."""
    return replace(scene, noise=float(np.hypot(scene.noise, 0.03 * level)))


AXES: dict[str, Callable[[Scene, int], Scene]] = {
    "light_intensity": _light_intensity,
    "light_direction": _light_direction,
    "light_colour": _light_colour,
    "occlusion": _occlusion,
    "clutter": _clutter,
    "camera_azimuth": _camera_azimuth,
    "camera_elevation": _camera_elevation,
    "camera_distance": _camera_distance,
    "sensor_noise": _sensor_noise,
}
