"""Shapes: the meshes of ten target classes, six distractors that belong to no class, and the occluder.

Every mesh is about one unit wide, stands on the floor z = 0 and is centred above the origin.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vitreous.core.errors import MissingExtraError

if TYPE_CHECKING:
    from trimesh import Trimesh

CLASSES = ("capsule", "cone", "cross", "cube", "cylinder", "pyramid", "sphere", "star", "torus", "tube")
DISTRACTORS = ("dumbbell", "hourglass", "l_block", "stairs", "u_block", "wedge")
OCCLUDER = "board"
ROUND = 32  # segments of a round mesh: at 96 pixels its edges are about a pixel long


@cache
def mesh_of(shape: str) -> "Trimesh":
    """Build the mesh of a shape. Raises MissingExtraError without trimesh."""
    try:
        import trimesh  # noqa: PLC0415, F401  (an optional library)
    except ImportError as problem:
        raise MissingExtraError.of("trimesh", "scenes", "Building scenes") from problem
    mesh: Trimesh = _BUILDERS[shape]()
    low, high = mesh.bounds
    mesh.apply_translation([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]])
    return mesh


@cache
def height_of(shape: str) -> float:
    """How high the shape is."""
    return float(mesh_of(shape).bounds[1][2])


def _sphere() -> Any:
    from trimesh.creation import icosphere  # noqa: PLC0415

    return icosphere(subdivisions=3, radius=0.5)


def _cube() -> Any:
    return _boxes(((-0.4, -0.4, 0.0), (0.4, 0.4, 0.8)))


def _cylinder() -> Any:
    from trimesh.creation import cylinder  # noqa: PLC0415

    return cylinder(radius=0.38, height=1.0, sections=ROUND)


def _cone() -> Any:
    from trimesh.creation import cone  # noqa: PLC0415

    return cone(radius=0.5, height=1.1, sections=ROUND)


def _pyramid() -> Any:
    from trimesh.creation import cone  # noqa: PLC0415

    return cone(radius=0.62, height=1.0, sections=4)


def _torus() -> Any:
    from trimesh.creation import torus  # noqa: PLC0415

    return torus(major_radius=0.4, minor_radius=0.17, major_sections=ROUND, minor_sections=16)


def _tube() -> Any:
    from trimesh.creation import annulus  # noqa: PLC0415

    return annulus(r_min=0.36, r_max=0.48, height=0.7, sections=ROUND)


def _capsule() -> Any:
    """A capsule lying on its side, which no cylinder does."""
    from trimesh.creation import capsule  # noqa: PLC0415

    mesh = capsule(height=0.7, radius=0.25, count=[ROUND, 16])
    mesh.apply_transform(_turn(np.pi / 2, [0, 1, 0]))
    return mesh


def _cross() -> Any:
    return _boxes(((-0.55, -0.18, 0.0), (0.55, 0.18, 0.4)), ((-0.18, -0.55, 0.0), (0.18, 0.55, 0.4)))


def _star() -> Any:
    """A five-pointed star lying flat: a fan from its axis, since no edge of it hides another from there."""
    angles = np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 0.62, 0.27)
    rim = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return _prism(rim, height=0.4)


def _dumbbell() -> Any:
    from trimesh.creation import cylinder, icosphere  # noqa: PLC0415
    from trimesh.util import concatenate  # noqa: PLC0415

    bar = cylinder(radius=0.09, height=0.8, sections=12)
    bar.apply_transform(_turn(np.pi / 2, [0, 1, 0]))
    ends = [icosphere(subdivisions=2, radius=0.24).apply_translation([side, 0, 0]) for side in (-0.38, 0.38)]
    return concatenate([bar, *ends])


def _hourglass() -> Any:
    from trimesh.creation import cone  # noqa: PLC0415
    from trimesh.util import concatenate  # noqa: PLC0415

    lower = cone(radius=0.42, height=0.7, sections=ROUND)
    upper = cone(radius=0.42, height=0.7, sections=ROUND)
    upper.apply_transform(_turn(np.pi, [1, 0, 0]))
    upper.apply_translation([0, 0, 1.2])  # the cones pass through each other a little, so that the waist is not a point
    return concatenate([lower, upper])


def _l_block() -> Any:
    return _boxes(((-0.5, -0.2, 0.0), (0.5, 0.2, 0.35)), ((-0.5, -0.2, 0.35), (-0.15, 0.2, 1.0)))


def _u_block() -> Any:
    return _boxes(
        ((-0.5, -0.2, 0.0), (0.5, 0.2, 0.25)),
        ((-0.5, -0.2, 0.25), (-0.25, 0.2, 0.9)),
        ((0.25, -0.2, 0.25), (0.5, 0.2, 0.9)),
    )


def _stairs() -> Any:
    return _boxes(
        ((-0.5, -0.3, 0.0), (-0.17, 0.3, 0.9)),
        ((-0.17, -0.3, 0.0), (0.17, 0.3, 0.6)),
        ((0.17, -0.3, 0.0), (0.5, 0.3, 0.3)),
    )


def _wedge() -> Any:
    from trimesh.convex import convex_hull  # noqa: PLC0415

    profile = [(-0.5, 0.0), (0.5, 0.0), (-0.5, 0.75)]
    return convex_hull(np.array([(x, y, z) for x, z in profile for y in (-0.35, 0.35)]))


def _board() -> Any:
    """One unit wide and high, thin: the scene stretches it."""
    return _boxes(((-0.5, -0.03, 0.0), (0.5, 0.03, 1.0)))


def _turn(angle: float, axis: list[int]) -> Any:
    """Give the matrix that turns a mesh about an axis."""
    from trimesh.transformations import rotation_matrix  # noqa: PLC0415

    return rotation_matrix(angle, axis)


def _boxes(*corners: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Any:
    """Give boxes as one mesh, each by its lower and upper corner."""
    from trimesh.creation import box  # noqa: PLC0415
    from trimesh.util import concatenate  # noqa: PLC0415

    return concatenate([box(bounds=corner) for corner in corners])


def _prism(rim: np.ndarray, height: float) -> Any:
    """Extrude a rim (n, 2) that is seen whole from the origin."""
    from trimesh import Trimesh  # noqa: PLC0415

    count = len(rim)
    lower = np.column_stack([rim, np.zeros(count)])
    upper = np.column_stack([rim, np.full(count, height)])
    vertices = np.vstack([lower, upper, np.array([[0, 0, 0], [0, 0, height]])])
    here, after = np.arange(count), (np.arange(count) + 1) % count
    faces = np.vstack(
        [
            np.column_stack([here, after, after + count]),
            np.column_stack([here, after + count, here + count]),
            np.column_stack([after, here, np.full(count, 2 * count)]),
            np.column_stack([here + count, after + count, np.full(count, 2 * count + 1)]),
        ]
    )
    return Trimesh(vertices, faces)


_BUILDERS: dict[str, Callable[[], Any]] = {
    "board": _board, "capsule": _capsule, "cone": _cone, "cross": _cross, "cube": _cube, "cylinder": _cylinder,
    "dumbbell": _dumbbell, "hourglass": _hourglass, "l_block": _l_block, "pyramid": _pyramid, "sphere": _sphere,
    "stairs": _stairs, "star": _star, "torus": _torus, "tube": _tube, "u_block": _u_block, "wedge": _wedge,
}  # fmt: skip
