"""Where things appear in the picture, by geometry alone: it can be asked while drawing a scene."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vitreous.worlds.rendered.scene import Camera, Thing
from vitreous.worlds.rendered.shapes import mesh_of

MARGIN = 0.5  # of the picture's side, added on every side: a thing cut by the edge keeps its whole outline


def camera_axes(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Give where the camera is, "3", and its axes right, up and forward as the rows of a matrix "3 3"."""
    azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
    offset = np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    )  # azimuth 0 is south of the middle, looking north
    forward = -offset
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.array(camera.middle) + camera.distance * offset, np.stack([right, np.cross(right, forward), forward])


def placed(thing: Thing) -> np.ndarray:
    """Give the vertices of a thing where it stands, "n 3"."""
    vertices = mesh_of(thing.shape).vertices * scale_of(thing)
    angle = np.radians(thing.yaw)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(vertices @ turn.T + [thing.x, thing.y, 0.0])


def scale_of(thing: Thing) -> np.ndarray:
    """Give the factors on the mesh along x, y and z: the same for all but things with a height of their own."""
    return np.array([thing.size, thing.size, thing.size if thing.height is None else thing.height])


def to_picture(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Project points "n 3" to "n 2": (0, 0) is the upper left corner of the picture, (1, 1) its lower right."""
    origin, axes = camera_axes(camera)
    seen = (points - origin) @ axes.T
    half = np.tan(np.radians(camera.view) / 2)
    return np.stack([0.5 + seen[:, 0] / seen[:, 2] / half / 2, 0.5 - seen[:, 1] / seen[:, 2] / half / 2], axis=1)


def outline(thing: Thing, camera: Camera, side: int) -> np.ndarray:
    """Draw what a thing would cover if nothing stood in front: bool, `side` pixels to the picture, MARGIN around it."""
    whole = round(side * (1 + 2 * MARGIN))
    canvas = Image.new("1", (whole, whole))
    pen = ImageDraw.Draw(canvas)
    corners = (to_picture(placed(thing), camera) + MARGIN) * side
    triangles = corners[mesh_of(thing.shape).faces]
    (ax, ay), (bx, by) = (triangles[:, 1] - triangles[:, 0]).T, (triangles[:, 2] - triangles[:, 0]).T
    for triangle in triangles[ax * by < ay * bx].reshape(-1, 6).tolist():  # those that face the camera are enough
        pen.polygon(triangle, fill=1)
    return np.asarray(canvas)


def hidden_share(thing: Thing, others: Sequence[Thing], camera: Camera, side: int = 48) -> float:
    """Estimate which share of a thing's outline lies behind others: those whose middle is nearer to the camera."""
    origin, _ = camera_axes(camera)

    def distance(one: Thing) -> float:
        return float(np.linalg.norm(placed(one).mean(0) - origin))

    own = outline(thing, camera, side)
    in_front = [outline(other, camera, side) for other in others if distance(other) < distance(thing)]
    covered = np.logical_or.reduce(in_front) if in_front else np.zeros_like(own)
    return float((own & covered).sum() / max(own.sum(), 1))
