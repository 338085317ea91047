"""Scene: a room with objects, lights and a camera, described to the last number; nothing here renders.

A scene is a frozen value. Whatever is to be changed is changed in a copy (`edits`), and what is not changed stays as it
was to the last bit. Lengths are in units of about one object; z points up, the floor is z = 0, the camera looks north
(+y).
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Rgb: TypeAlias = tuple[float, float, float]
"""Linear reflectance or intensity of red, green and blue."""
Material: TypeAlias = Literal["matte", "plastic", "metal"]
Role: TypeAlias = Literal["target", "distractor", "companion", "occluder"]

MATERIALS: tuple[Material, ...] = ("matte", "plastic", "metal")
ROOM = (9.0, 5.0)
"""Distance of the side walls and of the back wall from the middle of the floor."""


@dataclass(frozen=True)
class Thing:
    """One object. Its number in `Scene.things`, counted from 1, is its number in masks; 0 is the background.

    size    factor on the mesh of `shape`
    x, y    where it stands on the floor
    yaw     rotation about the vertical, in degrees
    height  factor along the vertical where it is another than `size`, as for a board; None where it is not
    """

    shape: str
    role: Role
    colour: Rgb
    material: Material
    size: float
    x: float
    y: float
    yaw: float
    height: float | None = None


@dataclass(frozen=True)
class Surface:
    """Floor or wall: a pattern of two colours, `scale` periods to the unit."""

    pattern: str
    first: Rgb
    second: Rgb
    scale: float
    turn: float


@dataclass(frozen=True)
class Light:
    """The one light that throws shadows: where it hangs, and its irradiance in the middle of the floor.

    azimuth is counted from the camera's direction at rest; all angles in degrees.
    """

    azimuth: float
    elevation: float
    distance: float
    irradiance: float
    colour: Rgb


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from: on a sphere around `middle`, looking at it. Angles in degrees."""

    azimuth: float
    elevation: float
    distance: float
    middle: tuple[float, float, float]
    view: float = 40.0


@dataclass(frozen=True)
class Tag:
    """A mark printed over a corner of the finished picture, as a scanner or a hospital leaves one.

    number  which of ten patterns
    corner  0 to 3: upper left, upper right, lower left, lower right
    """

    number: int
    corner: int = 0


@dataclass(frozen=True)
class Scene:
    """Everything that makes a picture. The same scene gives the same bytes.

    things  the target first; then distractors, then whatever was added
    fill    irradiance of a lamp at the camera, which brightens shadows and throws none
    noise   standard deviation of the sensor, where white is 1
    seed    of the sampling inside pixels and of the noise
    """

    things: tuple[Thing, ...]
    floor: Surface
    wall: Surface
    light: Light
    fill: float
    camera: Camera
    noise: float
    seed: int
    tag: Tag | None = None

    @property
    def target(self) -> Thing:
        """The one object whose shape is the class."""
        return self.things[0]

    @property
    def label(self) -> str:
        """The class: the shape of the target. A scene without its target keeps no label; see `edits.without`."""
        return self.target.shape if self.things and self.target.role == "target" else ""

    def as_dict(self) -> dict[str, Any]:
        """Give all factors as plain values, for JSON."""
        return asdict(self)


def scene_from(values: dict[str, Any]) -> Scene:
    """Build a scene from what `Scene.as_dict` gave, also after a way through JSON."""
    return Scene(
        things=tuple(Thing(**{**thing, "colour": tuple(thing["colour"])}) for thing in values["things"]),
        floor=_surface(values["floor"]),
        wall=_surface(values["wall"]),
        light=Light(**{**values["light"], "colour": tuple(values["light"]["colour"])}),
        fill=values["fill"],
        camera=Camera(**{**values["camera"], "middle": tuple(values["camera"]["middle"])}),
        noise=values["noise"],
        seed=values["seed"],
        tag=None if values["tag"] is None else Tag(**values["tag"]),
    )


def _surface(values: dict[str, Any]) -> Surface:
    return Surface(**{**values, "first": tuple(values["first"]), "second": tuple(values["second"])})
