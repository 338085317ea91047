"""Shortcuts: things that agree with the class in the data and have nothing to do with it. Planted to be found."""

import colorsys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.core.seed import image_seed
from vitreous.worlds.rendered.scene import Scene, Tag, Thing
from vitreous.worlds.rendered.shapes import CLASSES, DISTRACTORS
from vitreous.worlds.rendered.textures import PATTERNS


def plant(scene: Scene, shortcut: str, correlation: float, master: int, index: int) -> Scene:
    """Add a shortcut to a scene: that of its class with probability `correlation`, else that of a random class."""
    if shortcut not in SHORTCUTS:
        raise UnknownNameError(
            f"There is no variant {shortcut!r}. {near_matches(shortcut, ['plain', *SHORTCUTS])}".strip(),
            f"Choose plain, {', '.join(SHORTCUTS)}.",
        )
    if not 0 <= correlation <= 1:
        raise InputError(f"correlation={correlation} is no probability.", "Give a number from 0 to 1.")
    rng = np.random.default_rng(image_seed(master, "shortcut", shortcut, str(index)))
    agrees, other = rng.random() < correlation, int(rng.integers(len(CLASSES)))
    number = CLASSES.index(scene.label) if agrees else other
    return SHORTCUTS[shortcut](scene, number, rng)


def _tag(scene: Scene, number: int, _rng: np.random.Generator) -> Scene:
    """A mark in the upper left corner, with a pattern for each class."""
    return replace(scene, tag=Tag(number))


def _floor(scene: Scene, number: int, _rng: np.random.Generator) -> Scene:
    """The pattern of the floor; its colours stay those of the plain scene."""
    return replace(scene, floor=replace(scene.floor, pattern=PATTERNS[number]))


def _colour(scene: Scene, number: int, rng: np.random.Generator) -> Scene:
    """The hue of the target, one of ten."""
    hue = (number + rng.uniform(-0.2, 0.2)) / len(CLASSES)
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 1.0), rng.uniform(0.6, 0.95))
    target = replace(scene.target, colour=(red**2.2, green**2.2, blue**2.2))
    return replace(scene, things=(target, *scene.things[1:]))


def _companion(scene: Scene, number: int, _rng: np.random.Generator) -> Scene:
    """The first distractor becomes one of ten: five shapes, in red or in blue."""
    shape = DISTRACTORS[number % 5]
    colour = (0.75, 0.03, 0.03) if number < 5 else (0.03, 0.06, 0.75)
    place: Thing = scene.things[1]
    companion = replace(place, shape=shape, colour=colour, material="matte", role="companion")
    return replace(scene, things=(scene.target, companion, *scene.things[2:]))


SHORTCUTS: dict[str, Callable[[Scene, int, np.random.Generator], Scene]] = {
    "tag": _tag,
    "floor": _floor,
    "colour": _colour,
    "companion": _companion,
}
