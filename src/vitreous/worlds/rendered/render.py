"""Rendering: from a scene to its picture and to the exact record of which object is seen where. Needs Mitsuba 3.

The picture is the sum of two passes, one for each lamp: with a single lamp nothing is left to chance but the places of
the samples inside each pixel, so that few samples suffice. The record is a pass of its own on a finer grid, whose
points hold the number of the thing they see; how much of a pixel of the picture a thing covers is then known in steps
of 1 / finer².
"""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from vitreous.core.errors import MissingExtraError
from vitreous.worlds.rendered.numbers import coverage_of, mask_of
from vitreous.worlds.rendered.project import MARGIN, camera_axes, outline, scale_of
from vitreous.worlds.rendered.scene import ROOM, Light, Rgb, Scene, Surface, Thing
from vitreous.worlds.rendered.shapes import mesh_of
from vitreous.worlds.rendered.tags import print_tag
from vitreous.worlds.rendered.textures import draw_pattern

SIDE = 96
SAMPLES = 4
FINER = 4
OUTLINE = 480  # pixels: outlines are drawn with their edge, which makes them too large by half a pixel
WALL_HEIGHT = 12.0
FLOOR_REACH = 24.0


@dataclass(frozen=True, eq=False)
class Rendering:
    """What rendering a scene gives.

    image    uint8 "side side 3", sRGB
    numbers  uint8 on the finer grid: which thing each point sees, counted from 1; 0 is floor and walls
    visible  for each thing the share of its outline that is seen: neither hidden nor outside the picture
    """

    image: UInt8[np.ndarray, "side side 3"]
    numbers: UInt8[np.ndarray, "fine fine"]
    visible: tuple[float, ...]

    def coverage(self, number: int) -> Float32[np.ndarray, "side side"]:
        """Give the share of each pixel that a thing covers; `number` counts from 0, as in `Scene.things`."""
        return coverage_of(self.numbers, number, len(self.image))

    def mask(self, number: int) -> Bool[np.ndarray, "side side"]:
        """Give the pixels of which a thing covers half or more."""
        return mask_of(self.numbers, number, len(self.image))


@dataclass(frozen=True)
class Lamp:
    """A lamp that shines the same in all directions: where it is, and its intensity."""

    position: tuple[float, ...]
    intensity: Rgb


def render(scene: Scene, side: int = SIDE, finer: int = FINER) -> Rendering:
    """Render a scene, `side` pixels square; `finer` is how much finer the grid is on which things are told apart.

    The same scene gives the same bytes. Raises MissingExtraError.
    """
    mi = _mitsuba()
    # Loaded once for each lamp: to move a lamp in a loaded world takes longer than to load it again.
    worlds = [mi.load_dict(_world(mi, scene, side, lamp)) for lamp in (_key_lamp(scene.light), _fill_lamp(scene))]
    radiance = np.sum([np.array(mi.render(world, seed=scene.seed)) for world in worlds], axis=0)
    numbers = _numbers(mi, worlds[0], scene, side * finer)
    image = print_tag(_develop(radiance, scene), scene.tag)
    return Rendering(image, numbers, _visible(scene, numbers))


def _numbers(mi: Any, world: Any, scene: Scene, side: int) -> np.ndarray:
    """Which thing is seen at each point of a grid of `side` points."""
    which = mi.load_dict({"type": "aov", "aovs": "which:shape_index"})
    camera = mi.load_dict(_camera(mi, scene, side, 1))
    found = np.array(mi.render(world, sensor=camera, integrator=which, seed=scene.seed))
    # The pass counts shapes from 1 in the renderer's own order, in which their names say which is which; 0 hit nothing.
    things = [0, *(int(shape.id()[1:]) if shape.id()[1:].isdigit() else 0 for shape in world.shapes())]
    index = np.rint(found[..., -1]).astype(int)
    return np.asarray(np.asarray(things, dtype=np.uint8)[index])


def _visible(scene: Scene, numbers: np.ndarray) -> tuple[float, ...]:
    whole = np.array([outline(thing, scene.camera, OUTLINE).mean() for thing in scene.things]) * (1 + 2 * MARGIN) ** 2
    seen = np.bincount(numbers.ravel(), minlength=len(scene.things) + 1)[1:] / numbers.size
    return tuple(float(share) for share in np.minimum(seen / whole, 1.0))


def _develop(radiance: np.ndarray, scene: Scene) -> np.ndarray:
    """Turn light into 8-bit sRGB: fixed exposure, the sensor's noise, clipped where it is too bright."""
    noise = np.random.default_rng(scene.seed).standard_normal(radiance.shape).astype(np.float32)
    linear = np.clip(radiance, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(np.clip(encoded + scene.noise * noise, 0.0, 1.0) * 255).astype(np.uint8))


def _world(mi: Any, scene: Scene, side: int, lamp: Lamp) -> dict[str, Any]:
    """Describe floor, walls, things, a lamp and the camera in the renderer's words."""
    look = mi.ScalarTransform4f
    width, depth = ROOM
    reach, high = FLOOR_REACH, WALL_HEIGHT
    flat = {"type": "rectangle"}  # 2 x 2, facing +z
    walls = {
        "left": look().translate([-width, 0, high / 2]).rotate([0, 1, 0], 90).scale([high / 2, reach, 1]),
        "right": look().translate([width, 0, high / 2]).rotate([0, 1, 0], -90).scale([high / 2, reach, 1]),
        "back": look().translate([0, depth, high / 2]).rotate([1, 0, 0], 90).scale([width, high / 2, 1]),
    }
    sides = {"left": (high, 2 * reach), "right": (high, 2 * reach), "back": (2 * width, high)}
    floor = _surface(mi, scene.floor, 2 * reach, 2 * reach)
    return {
        "type": "scene",
        "integrator": {"type": "direct", "emitter_samples": 1, "bsdf_samples": 0, "hide_emitters": True},
        "camera": _camera(mi, scene, side, SAMPLES),
        "lamp": {
            "type": "point",
            "position": list(lamp.position),
            "intensity": {"type": "rgb", "value": list(lamp.intensity)},
        },
        "floor": {**flat, "to_world": look().scale([reach, reach, 1]), "bsdf": floor},
        **{
            name: {**flat, "to_world": where, "bsdf": _surface(mi, scene.wall, *sides[name])}
            for name, where in walls.items()
        },
        **{f"t{number}": _body(mi, thing) for number, thing in enumerate(scene.things, start=1)},
    }


def _body(mi: Any, thing: Thing) -> dict[str, Any]:
    where = mi.ScalarTransform4f().translate([thing.x, thing.y, 0.0]).rotate([0, 0, 1], thing.yaw)
    return {
        "type": "ply",
        "filename": str(_mesh_files() / f"{thing.shape}.ply"),
        "face_normals": True,
        "to_world": where.scale([float(factor) for factor in scale_of(thing)]),
        "bsdf": _skin(thing),
    }


def _skin(thing: Thing) -> dict[str, Any]:
    colour = {"type": "rgb", "value": list(thing.colour)}
    kinds = {
        "matte": {"type": "diffuse", "reflectance": colour},
        "plastic": {"type": "principled", "base_color": colour, "specular": 0.6, "roughness": 0.3},
        "metal": {"type": "principled", "base_color": colour, "metallic": 0.75, "roughness": 0.45},
    }
    return {"type": "twosided", "skin": kinds[thing.material]}


def _surface(mi: Any, surface: Surface, across: float, along: float) -> dict[str, Any]:
    pattern = draw_pattern(surface.pattern)[..., None]
    colours = (1 - pattern) * np.array(surface.first) + pattern * np.array(surface.second)
    turned = mi.ScalarTransform3f().rotate(surface.turn).scale([across * surface.scale, along * surface.scale])
    texture = {
        "type": "bitmap",
        "bitmap": mi.Bitmap(colours.astype(np.float32)),
        "raw": True,
        "to_uv": turned,
        "wrap_mode": "repeat",
    }
    return {"type": "twosided", "skin": {"type": "diffuse", "reflectance": texture}}


def _key_lamp(light: Light) -> Lamp:
    azimuth, elevation = np.radians(light.azimuth), np.radians(light.elevation)
    towards = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    return _lamp(light.distance * towards, light.irradiance, light.distance, light.colour)


def _fill_lamp(scene: Scene) -> Lamp:
    """A lamp at the camera: whatever it does not reach, the camera does not see, so it throws no visible shadow."""
    eye, _ = camera_axes(scene.camera)
    return _lamp(eye, scene.fill, scene.camera.distance, (1.0, 1.0, 1.0))


def _lamp(where: np.ndarray, irradiance: float, distance: float, colour: Rgb) -> Lamp:
    red, green, blue = (irradiance * distance**2 * part for part in colour)
    return Lamp(tuple(float(part) for part in where), (red, green, blue))


def _camera(mi: Any, scene: Scene, side: int, samples: int) -> dict[str, Any]:
    eye, _ = camera_axes(scene.camera)
    return {
        "type": "perspective",
        "fov": scene.camera.view,
        "to_world": mi.ScalarTransform4f().look_at(
            origin=[float(part) for part in eye], target=list(scene.camera.middle), up=[0, 0, 1]
        ),
        "film": {
            "type": "hdrfilm", "width": side, "height": side, "rfilter": {"type": "box"}, "pixel_format": "rgb",
            "component_format": "float32",
        },
        "sampler": {"type": "stratified", "sample_count": samples, "jitter": samples > 1},
    }  # fmt: skip


@cache
def _mitsuba() -> Any:
    try:
        import mitsuba  # noqa: PLC0415  (an optional library)
    except ImportError as problem:
        raise MissingExtraError.of("mitsuba", "scenes", "Rendering scenes") from problem
    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    return mitsuba


@cache
def _mesh_files() -> Path:
    """Write all meshes as files, once in a process: the renderer reads them fastest from there."""
    from vitreous.worlds.rendered.shapes import CLASSES, DISTRACTORS, OCCLUDER  # noqa: PLC0415

    folder = tempfile.TemporaryDirectory(prefix="vitreous-meshes-")
    _KEPT.append(folder)
    for shape in (*CLASSES, *DISTRACTORS, OCCLUDER):
        mesh_of(shape).export(Path(folder.name) / f"{shape}.ply")
    return Path(folder.name)


_KEPT: list[Any] = []  # the folder of meshes lives as long as the process


def as_picture(rendering: Rendering) -> Image.Image:
    """Give the picture as a PIL image."""
    return Image.fromarray(rendering.image)
