"""Factors: what is known of every rendered scene, one column for each, to be looked for inside a model."""

import colorsys
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from vitreous.core.errors import InputError
from vitreous.core.factor import Factor, Kind, category
from vitreous.worlds.rendered.load import SceneSample
from vitreous.worlds.rendered.numbers import box_of
from vitreous.worlds.rendered.scene import MATERIALS, Rgb
from vitreous.worlds.rendered.shapes import CLASSES
from vitreous.worlds.rendered.textures import PATTERNS
from vitreous.worlds.sample import Sample


def factor_table(samples: Sequence[Sample]) -> dict[str, Factor]:
    """List what is known of rendered scenes, by name; one value for every sample.

    Of the target: its colour ("hue" as an angle, "saturation", "value", and "red", "green", "blue" as seen, in [0, 1]:
    that of its paint, before light falls on it), "shape", "material", "size", where it is seen ("across", "down": the
    middle of the box around what is seen of it, as a share of the picture), and "yaw", its rotation as seen from the
    camera. Many shapes look the same after a part of a turn, and round ones after any: yaw is not always there to find.

    Of all else: "things" (how many, the target among them), the patterns of "floor" and "wall" and how bright the first
    of their two colours is ("floor_brightness", "wall_brightness"), the light's "light_azimuth" as seen from the
    camera, "light_elevation" and "irradiance", and the camera's "camera_azimuth", "camera_elevation" and
    "camera_distance". Groups are "colour", "shape", "material", "size", "position", "yaw", "context", "light" and
    "camera".

    They are drawn independently of one another, except that colours describe one another, that angles "as seen from the
    camera" have its azimuth in them, that scenes are drawn anew until the target is seen, and that boxes depend a
    little on shape, size and camera. `dependences` measures all of it. Raises InputError for samples that are no
    rendered scenes, and for scenes without a target or with one that is not seen.
    """
    found = [_checked(sample) for sample in samples]
    if not found:
        raise InputError("There are no scenes.", "Give at least one.")
    scenes = [sample.scene for sample in found]
    targets = [scene.target for scene in scenes]
    seen = np.array([_seen(target.colour) for target in targets])
    hsv = np.array([colorsys.rgb_to_hsv(*colour) for colour in seen])
    places = np.array([_place(sample) for sample in found])
    turned = [target.yaw - scene.camera.azimuth for target, scene in zip(targets, scenes, strict=True)]
    lit = [scene.light.azimuth - scene.camera.azimuth for scene in scenes]

    def number(name: str, group: str, values: object, kind: Kind = "number") -> Factor:
        return Factor(name, group, kind, np.asarray(values, dtype=np.float64))

    table = (
        number("hue", "colour", 2 * np.pi * hsv[:, 0], "angle"),
        number("saturation", "colour", hsv[:, 1]),
        number("value", "colour", hsv[:, 2]),
        *(number(name, "colour", seen[:, place]) for place, name in enumerate(("red", "green", "blue"))),
        category("shape", "shape", [target.shape for target in targets], CLASSES),
        category("material", "material", [target.material for target in targets], MATERIALS),
        number("size", "size", [target.size for target in targets]),
        number("across", "position", places[:, 0]),
        number("down", "position", places[:, 1]),
        number("yaw", "yaw", np.radians(turned), "angle"),
        number("things", "context", [len(scene.things) for scene in scenes]),
        category("floor", "context", [scene.floor.pattern for scene in scenes], PATTERNS),
        category("wall", "context", [scene.wall.pattern for scene in scenes], PATTERNS),
        number("floor_brightness", "context", [_brightness(scene.floor.first) for scene in scenes]),
        number("wall_brightness", "context", [_brightness(scene.wall.first) for scene in scenes]),
        number("light_azimuth", "light", np.radians(lit), "angle"),
        number("light_elevation", "light", [scene.light.elevation for scene in scenes]),
        number("irradiance", "light", [scene.light.irradiance for scene in scenes]),
        number("camera_azimuth", "camera", [scene.camera.azimuth for scene in scenes]),
        number("camera_elevation", "camera", [scene.camera.elevation for scene in scenes]),
        number("camera_distance", "camera", [scene.camera.distance for scene in scenes]),
    )
    return {factor.name: factor for factor in table}


def dependences(table: dict[str, Factor]) -> dict[tuple[str, str], float]:
    """Say how much each two factors depend on one another, from 0 to 1.

    Two numbers: the absolute correlation. A number and a category: the correlation ratio, corrected for chance (the
    square root of Kelley's epsilon squared, 0 if that is negative). Two categories: Cramér's V, corrected for chance
    (Bergsma 2013). An angle counts as its cosine and sine, and the larger result is given. All see shifts of the mean
    or of frequencies alone. Among independent factors a correlation is below 1.96 / sqrt(n) in 95 of 100 pairs.
    """
    return {(a.name, b.name): _dependence(a, b) for a, b in combinations(table.values(), 2)}


def _checked(sample: Sample) -> SceneSample:
    """Give the sample as a scene that has a target."""
    if not isinstance(sample, SceneSample):
        raise InputError(f"{sample.id!r} is no rendered scene.", "Give what vt.worlds.scenes() loads.")
    if not sample.scene.label:
        raise InputError(f"The scene {sample.id!r} has no target.", "Leave it out.")
    return sample


def _seen(colour: Rgb) -> Rgb:
    """Turn linear reflectance back into the colour that was drawn."""
    red, green, blue = (part ** (1 / 2.2) for part in colour)
    return red, green, blue


def _brightness(colour: Rgb) -> float:
    """Give the luminance (Rec. 709) of a reflectance, as seen."""
    return float(np.dot(colour, (0.2126, 0.7152, 0.0722)) ** (1 / 2.2))


def _place(sample: SceneSample) -> tuple[float, float]:
    """Give the middle of the target's box as shares of the picture: across from the left, down from the top."""
    box = box_of(sample.numbers(), 0, 1)
    if box is None:
        raise InputError(f"The target of {sample.id!r} is not seen.", "Leave the scene out.")
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _dependence(one: Factor, other: Factor) -> float:
    """Choose the measure by the kinds of both."""
    kinds = [factor.kind == "category" for factor in (one, other)]
    if all(kinds):
        return _cramer(one, other)
    if any(kinds):
        grouped, measured = (one, other) if kinds[0] else (other, one)
        return max(_ratio(grouped.values, column) for column in _columns(measured))
    return max(abs(float(np.corrcoef(a, b)[0, 1])) for a in _columns(one) for b in _columns(other))


def _columns(factor: Factor) -> list[np.ndarray]:
    """Give the numbers that a number or an angle is made of."""
    return [np.cos(factor.values), np.sin(factor.values)] if factor.kind == "angle" else [factor.values]


def _ratio(groups: np.ndarray, values: np.ndarray) -> float:
    """Give the corrected correlation ratio."""
    present = [values[groups == group] for group in np.unique(groups)]
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in present)
    whole = float(((values - values.mean()) ** 2).sum())
    epsilon = 1 - within / (len(values) - len(present)) / (whole / (len(values) - 1))
    return float(max(epsilon, 0.0) ** 0.5)


def _cramer(one: Factor, other: Factor) -> float:
    """Give the corrected V."""
    counts = np.zeros((len(one.labels), len(other.labels)))
    np.add.at(counts, (one.values, other.values), 1)
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    n, (rows, columns) = counts.sum(), counts.shape
    expected = np.outer(counts.sum(1), counts.sum(0)) / n
    excess = ((counts - expected) ** 2 / expected).sum() / n - (rows - 1) * (columns - 1) / (n - 1)
    smaller = min(size - (size - 1) ** 2 / (n - 1) for size in (rows, columns)) - 1
    return float((max(excess, 0.0) / smaller) ** 0.5) if smaller > 0 else 0.0
