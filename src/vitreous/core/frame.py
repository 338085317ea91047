"""Frame: the exact geometry between a photograph, the picture the model sees, and its grid of patches.

All coordinates are continuous and measured in pixels from the upper left corner of the upper left pixel, x to the
right and y down; the centre of the first pixel is (0.5, 0.5). A box is (left, top, right, bottom).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from vitreous.core.errors import InputError, near_matches

Fit: TypeAlias = Literal["crop", "squash", "pad"]
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """Where the patch grid of one model input lies on the original photograph.

    `window` is the part of the photograph that fills the model input. It reaches beyond the photograph where the
    input was padded, and is smaller than the photograph where the input was cropped. Sizes are (height, width).
    """

    photo_size: tuple[int, int]
    input_size: tuple[int, int]
    window: Box
    patch: tuple[int, int]
    grid: tuple[int, int]
    fit: Fit

    def to_photo(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the model input to the photograph."""
        left, top, right, bottom = self.window
        height, width = self.input_size
        return left + x * (right - left) / width, top + y * (bottom - top) / height

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the photograph to the model input."""
        left, top, right, bottom = self.window
        height, width = self.input_size
        return (x - left) * width / (right - left), (y - top) * height / (bottom - top)

    def patch_box(self, row: int, column: int) -> Box:
        """Give the box of one patch on the photograph; it is not clipped to the photograph."""
        high, wide = self.patch
        left, top = self.to_photo(float(column * wide), float(row * high))
        right, bottom = self.to_photo(float((column + 1) * wide), float((row + 1) * high))
        return left, top, right, bottom

    @property
    def seen(self) -> Box:
        """The part of the photograph that the patches cover: the rest had no influence on the prediction."""
        rows, columns = self.grid
        left, top = self.to_photo(0.0, 0.0)
        right, bottom = self.to_photo(
            float(min(columns * self.patch[1], self.input_size[1])),
            float(min(rows * self.patch[0], self.input_size[0])),
        )
        height, width = self.photo_size
        return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def frame_photo(
    photo_size: tuple[int, int],
    input_size: tuple[int, int],
    patch: tuple[int, int],
    grid: tuple[int, int],
    fit: Fit = "crop",
    crop_share: float = 1.0,
) -> Frame:
    """Plan how a photograph becomes a model input.

    crop    the largest centred rectangle of the input's aspect ratio, shrunk to `crop_share` of its sides
            (the evaluation crop of most checkpoints, for instance 0.9)
    squash  the whole photograph, its aspect ratio changed to the input's
    pad     the whole photograph at its own aspect ratio, centred between borders

    Sizes are (height, width) in pixels. Raises InputError for an unknown fit or a size that leaves no pixel.
    """
    if fit not in get_args(Fit):
        raise InputError(
            f"fit={fit!r} is not a way to fit a photograph. {near_matches(str(fit), get_args(Fit))}".strip(),
            "Use one of 'crop', 'squash', 'pad'.",
        )
    window = {"crop": _crop_window, "squash": _whole_window, "pad": _pad_window}[fit](
        photo_size, input_size, crop_share
    )
    return Frame(photo_size, input_size, window, patch, grid, fit)


def frame_tensor(input_size: tuple[int, int], patch: tuple[int, int], grid: tuple[int, int]) -> Frame:
    """Frame of an image given as a tensor of the model's size: photograph and input are the same picture."""
    return frame_photo(input_size, input_size, patch, grid, fit="squash")


def _whole_window(photo_size: tuple[int, int], _input: tuple[int, int], _share: float) -> Box:
    return 0.0, 0.0, float(photo_size[1]), float(photo_size[0])


def _crop_window(photo_size: tuple[int, int], input_size: tuple[int, int], share: float) -> Box:
    height, width = photo_size
    scale = min(height / input_size[0], width / input_size[1]) * share
    high, wide = input_size[0] * scale, input_size[1] * scale
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _pad_window(photo_size: tuple[int, int], input_size: tuple[int, int], _share: float) -> Box:
    height, width = photo_size
    left, top, right, bottom = content_box(photo_size, input_size)
    across, down = width / (right - left), height / (bottom - top)
    return -left * across, -top * down, (input_size[1] - left) * across, (input_size[0] - top) * down


def content_box(photo_size: tuple[int, int], input_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Place a photograph of `photo_size` into `input_size` at its own aspect ratio, on whole pixels, centred."""
    height, width = photo_size
    scale = min(input_size[0] / height, input_size[1] / width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    left, top = (input_size[1] - wide) // 2, (input_size[0] - high) // 2
    return left, top, left + wide, top + high
