"""Drawing a random scene: no factor looks at the class, unless a shortcut is planted on purpose."""

import colorsys
from dataclasses import replace

import numpy as np

from vitreous.core.errors import InputError
from vitreous.core.seed import image_seed
from vitreous.worlds.rendered.project import hidden_share, placed, to_picture
from vitreous.worlds.rendered.scene import MATERIALS, Camera, Light, Material, Rgb, Role, Scene, Surface, Thing
from vitreous.worlds.rendered.shapes import CLASSES, DISTRACTORS
from vitreous.worlds.rendered.shortcuts import plant
from vitreous.worlds.rendered.textures import PATTERNS

FLOOR_RADIUS = 2.3  # all objects stand within this distance of the middle, which the camera sees from every side
REACH = 0.65  # a little more than any shape reaches from its axis: all keep the same distance, or it would tell shapes
MOST_HIDDEN = 0.4  # of the target by things in front, estimated by their outlines
TRIES = 1000


def draw_scene(master: int, index: int, variant: str = "plain", correlation: float = 0.95) -> Scene:
    """Draw scene number `index` of the world with seed `master`.

    variant      "plain", or a planted shortcut of `shortcuts.SHORTCUTS`: "tag", "floor", "colour" or "companion"
    correlation  how often the shortcut agrees with the class; else it is that of a random class

    A shortcut is added to the plain scene of the same number: everything else is the same. Raises UnknownNameError for
    an unknown variant, InputError for a correlation outside [0, 1] or a negative index.
    """
    if index < 0:
        raise InputError(f"index={index} is negative.", "Scenes are numbered from 0.")
    rng = np.random.default_rng(image_seed(master, "scene", str(index)))
    scene = _plain(rng, master, index)
    return scene if variant == "plain" else plant(scene, variant, correlation, master, index)


def _plain(rng: np.random.Generator, master: int, index: int) -> Scene:
    camera = Camera(
        azimuth=rng.uniform(-25, 25),
        elevation=rng.uniform(24, 42),
        distance=rng.uniform(6.6, 7.4),
        middle=(rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15), 0.35),
    )
    light = Light(
        azimuth=rng.uniform(-150, 150),
        elevation=rng.uniform(40, 70),
        distance=rng.uniform(6.0, 7.5),
        irradiance=rng.uniform(2.0, 3.2),
        colour=(1.0, rng.uniform(0.85, 1.0), rng.uniform(0.7, 1.0)),
    )
    target = str(rng.choice(CLASSES))
    shapes = [target, *(str(rng.choice(DISTRACTORS)) for _ in range(rng.integers(3, 9)))]
    return Scene(
        things=_stand(rng, shapes, camera),
        floor=draw_surface(rng),
        wall=draw_surface(rng),
        light=light,
        fill=rng.uniform(0.5, 0.9),
        camera=camera,
        noise=rng.uniform(0.0, 0.015),
        seed=image_seed(master, "pixels", str(index)) % 2**31,
    )


def _stand(rng: np.random.Generator, shapes: list[str], camera: Camera) -> tuple[Thing, ...]:
    """Place things so that none touches another and the target is seen. Draws again, everything, until that holds."""
    for _ in range(TRIES):
        things: list[Thing] = []
        for shape in shapes:
            role: Role = "distractor" if things else "target"
            thing = place(rng, draw_thing(rng, shape, role), things)
            if thing is None:
                break
            things.append(thing)
        if len(things) == len(shapes) and _seen(things, camera):
            return tuple(things)
    raise AssertionError("no room for the objects: FLOOR_RADIUS is too small for the number and size of things")


def _seen(things: list[Thing], camera: Camera) -> bool:
    """Whether the target is inside the picture and not hidden too much.

    All things count as cylinders: else where they stand would tell shapes.
    """
    target, *others = (replace(thing, shape="cylinder") for thing in things)
    corners = to_picture(placed(target), camera)
    return bool((corners > 0).all() and (corners < 1).all()) and hidden_share(target, others, camera) <= MOST_HIDDEN


def draw_thing(rng: np.random.Generator, shape: str, role: Role) -> Thing:
    """Draw the looks of a thing, which do not depend on its shape; it stands in the middle until it is placed."""
    material: Material = MATERIALS[rng.integers(len(MATERIALS))]
    return Thing(shape, role, draw_colour(rng), material, rng.uniform(0.85, 1.2), 0.0, 0.0, rng.uniform(0, 360))


def place(rng: np.random.Generator, thing: Thing, others: list[Thing], radius: float = FLOOR_RADIUS) -> Thing | None:
    """Find a free place on the floor for a thing, or None after some tries."""
    for _ in range(60):
        away, angle = radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        x, y = float(away * np.cos(angle)), float(away * np.sin(angle))
        if all(np.hypot(x - other.x, y - other.y) > REACH * (thing.size + other.size) for other in others):
            return replace(thing, x=x, y=y)
    return None


def draw_surface(rng: np.random.Generator) -> Surface:
    """Draw a pattern of two muted colours."""
    pattern = str(rng.choice(PATTERNS))
    first, second = (_rgb(rng.random(), rng.uniform(0.0, 0.45), rng.uniform(0.15, 0.85)) for _ in range(2))
    return Surface(pattern, first, second, rng.uniform(0.35, 0.9), rng.uniform(0, 90))


def draw_colour(rng: np.random.Generator) -> Rgb:
    """Draw the colour of an object: any hue, from dull to full."""
    return _rgb(rng.random(), rng.uniform(0.3, 1.0), rng.uniform(0.35, 0.95))


def _rgb(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (red**2.2, green**2.2, blue**2.2)  # drawn as seen, stored linear
