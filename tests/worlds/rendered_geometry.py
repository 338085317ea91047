"""What a scene looks like by geometry alone, written apart from the package: a camera and a depth buffer in numpy."""

import numpy as np
from scipy.spatial.transform import Rotation

from vitreous.worlds.rendered.shapes import mesh_of


def place(thing):
    """Corners "n 3" and triangles "m 3" of a thing where it stands."""
    mesh = mesh_of(thing.shape)
    high = thing.size if thing.height is None else thing.height
    corners = Rotation.from_euler("z", thing.yaw, degrees=True).apply(mesh.vertices * (thing.size, thing.size, high))
    return corners + np.array([thing.x, thing.y, 0]), mesh.faces


def to_camera(points, camera):
    """Points as the camera has them: right, down, ahead; the picture is what has |right / ahead| < tan(view / 2)."""
    # The camera starts south of the middle, looking north; it goes up about the x axis and then round about the z axis.
    east, north, up = _turn(camera).inv().apply(points - eye_of(camera)).T
    return np.stack([east, -up, north], axis=1)


def to_picture(points, camera, side):
    """Points in pixels of a picture of `side`: x to the right, y down."""
    right, down, ahead = to_camera(points, camera).T
    half = np.tan(np.radians(camera.view / 2))
    return np.stack([(1 + right / ahead / half) * side / 2, (1 + down / ahead / half) * side / 2], axis=1)


def see(scene, side, things=None):
    """Which thing each of side x side points sees: 0 none, k + 1 thing k; those of `things` alone if it is given."""
    return see_with_depth(scene, side, things)[0]


def see_with_depth(scene, side, things=None):
    """The same, and how far ahead of the camera it is; infinity where there is none."""
    half = np.tan(np.radians(scene.camera.view / 2))
    at = ((np.arange(side) + 0.5) / side * 2 - 1) * half
    nearest, seen = np.full((side, side), np.inf), np.zeros((side, side), dtype=np.uint8)
    for number, thing in enumerate(scene.things):
        if things is not None and number not in things:
            continue
        corners, faces = place(thing)
        triangles = to_camera(corners, scene.camera)[faces]
        flat = triangles[..., :2] / triangles[..., 2:]
        first = np.searchsorted(at, flat.min(1))
        last = np.searchsorted(at, flat.max(1), side="right")
        solid = np.abs(np.linalg.det(triangles)) > 1e-12  # seen edge on, a triangle covers nothing
        for triangle, (left, top), (right, bottom) in zip(triangles[solid], first[solid], last[solid], strict=True):
            if left == right or top == bottom:
                continue
            across, down = np.meshgrid(at[left:right], at[top:bottom])
            rays = np.stack([across, down, np.ones_like(across)], axis=-1)
            weights = rays @ np.linalg.inv(triangle)  # of the three corners, for the point of the ray at depth 1
            with np.errstate(divide="ignore"):
                depth = np.where((weights >= 0).all(-1), 1 / weights.sum(-1), np.inf)
            window = nearest[top:bottom, left:right]
            closer = depth < window
            window[closer] = depth[closer]
            seen[top:bottom, left:right][closer] = number + 1
    return seen, nearest


def eye_of(camera):
    """Where the camera is."""
    return np.array(camera.middle) + _turn(camera).apply((0, -camera.distance, 0))


def rays_of(camera, side):
    """The directions "side side 3" in which the points of a picture look, one unit ahead."""
    half = np.tan(np.radians(camera.view / 2))
    at = ((np.arange(side) + 0.5) / side * 2 - 1) * half
    across, down = np.meshgrid(at, at)
    return (
        _turn(camera)
        .apply(np.stack([across, np.ones_like(across), -down], axis=-1).reshape(-1, 3))
        .reshape(side, side, 3)
    )


def points_of(scene, side):
    """What each point of a picture sees, in the room: "side side 3"; things, floor or one of the three walls."""
    eye, rays = eye_of(scene.camera), rays_of(scene.camera, side)
    with np.errstate(divide="ignore"):
        room = [
            -eye[2] / rays[..., 2],
            (5 - eye[1]) / rays[..., 1],
            (9 - eye[0]) / rays[..., 0],
            (-9 - eye[0]) / rays[..., 0],
        ]
    nearest = np.min([np.where(depth > 0, depth, np.inf) for depth in room], axis=0)
    depth = np.minimum(nearest, see_with_depth(scene, side)[1])
    return eye + depth[..., None] * rays


def lamp_of(light):
    """Where the lamp hangs: from south of the middle up about the x axis and round about the z axis."""
    return Rotation.from_euler("xz", (-light.elevation, light.azimuth), degrees=True).apply((0, -light.distance, 0))


def in_shadow_of(thing, points, lamp):
    """Whether a thing stands between each of the points "n 3" and a lamp."""
    corners, faces = place(thing)
    result = np.zeros(len(points), dtype=bool)
    for triangle in (corners - lamp)[faces]:
        if abs(np.linalg.det(triangle)) > 1e-12:
            weights = (points - lamp) @ np.linalg.inv(triangle)
            result |= (weights >= 0).all(-1) & (weights.sum(-1) > 1 + 1e-6)
    return result


def _turn(camera):
    return Rotation.from_euler("xz", (-camera.elevation, camera.azimuth), degrees=True)


def share_of_pixels(seen, number, side):
    """Share of each pixel of a picture of `side` in which thing `number` is seen, counted point by point."""
    finer = len(seen) // side
    share = np.zeros((side, side))
    for row, column in np.argwhere(seen == number + 1):
        share[row // finer, column // finer] += 1 / finer**2
    return share
