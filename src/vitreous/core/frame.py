"""Frame: the exact geometry between a photograph, the picture the model sees, and its grid of patches.

All coordinates are continuous and measured in pixels from the upper left corner of the upper left pixel, x
to the right and y down; the centre of the first pixel is (0.5, 0.5). A box is (left, top, right, bottom).
Sizes are (height, width), as shapes of arrays are; points are (x, y), as in pictures.

Nothing is rounded here, except that the border of a padded input lies on whole pixels (`content_box`). Who
draws on pixels decides by where their centres lie (`show.resample`).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from vitreous.core.errors import InputError, near_matches

Fit: TypeAlias = Literal["crop", "squash", "pad"]
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """Where the patch grid of one model input lies on the original photograph.

    photo_size  (height, width) of the upright photograph in pixels
    input_size  (height, width) of the model input in pixels
    window      the part of the photograph that fills the model input, in pixels of the photograph. It
                reaches beyond the photograph where the input was padded, and is smaller than the photograph
                where the input was cropped
    patch       (height, width) of a patch in pixels of the model input
    grid        (rows, columns) of patches
    fit         how the window was chosen, see `frame_photo`
    """

    photo_size: tuple[int, int]
    input_size: tuple[int, int]
    window: Box
    patch: tuple[int, int]
    grid: tuple[int, int]
    fit: Fit

    def to_photo(self, x: float, y: float) -> tuple[float, float]:
        """Map a point (x, y) of the model input, in its pixels, to a point (x, y) of the photograph."""
        left, top, right, bottom = self.window
        height, width = self.input_size
        return left + x * (right - left) / width, top + y * (bottom - top) / height

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """Map a point (x, y) of the photograph to a point of the model input; the inverse of `to_photo`."""
        left, top, right, bottom = self.window
        height, width = self.input_size
        return (x - left) * width / (right - left), (y - top) * height / (bottom - top)

    def patch_box(self, row: int, column: int) -> Box:
        """Give the box of one patch on the photograph, in pixels; it is not clipped to the photograph.

        `row` and `column` count from 0 at the upper left. On padding, boxes lie wholly or partly outside
        the photograph.

        >>> frame = frame_photo((300, 400), (224, 224), patch=(16, 16), grid=(14, 14), fit="squash")
        >>> [round(side, 2) for side in frame.patch_box(0, 13)]
        [371.43, 0.0, 400.0, 21.43]
        """
        high, wide = self.patch
        left, top = self.to_photo(float(column * wide), float(row * high))
        right, bottom = self.to_photo(float((column + 1) * wide), float((row + 1) * high))
        return left, top, right, bottom

    @property
    def seen(self) -> Box:
        """The part of the photograph that the patches cover: the rest had no influence on the prediction.

        A box in pixels, clipped to the photograph. Pixels of the input beyond the last whole patch are not
        covered.
        """
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

    `photo_size`, `input_size` and `patch` are (height, width) in pixels, `grid` is (rows, columns).
    `crop_share`, in (0, 1], matters to "crop" alone: the others show the model everything. Crop is how most
    models are evaluated, and hides the borders of the photograph.

    Raises InputError for an unknown fit. That sizes are positive is taken for granted: `read_photo` and
    `Preprocessing` refuse others.

    >>> frame_photo((300, 400), (224, 224), patch=(16, 16), grid=(14, 14)).window
    (50.0, 0.0, 350.0, 300.0)
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
    """The whole photograph; aspect ratio and share do not matter. The arguments are those of all three windows."""
    return 0.0, 0.0, float(photo_size[1]), float(photo_size[0])


def _crop_window(photo_size: tuple[int, int], input_size: tuple[int, int], share: float) -> Box:
    """The centred rectangle of the input's aspect ratio; its sides need not lie on whole pixels."""
    height, width = photo_size
    scale = min(height / input_size[0], width / input_size[1]) * share
    high, wide = input_size[0] * scale, input_size[1] * scale
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _pad_window(photo_size: tuple[int, int], input_size: tuple[int, int], _share: float) -> Box:
    """The window of which the photograph fills the middle, so that it reaches beyond the photograph.

    Computed from the whole pixels of `content_box`; the scale can thus differ between the axes by a
    rounding.
    """
    height, width = photo_size
    left, top, right, bottom = content_box(photo_size, input_size)
    across, down = width / (right - left), height / (bottom - top)
    return -left * across, -top * down, (input_size[1] - left) * across, (input_size[0] - top) * down


def content_box(photo_size: tuple[int, int], input_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Place a photograph of `photo_size` into `input_size` at its own aspect ratio, on whole pixels, centred.

    Gives (left, top, right, bottom) in pixels of the input. Where the border is an odd number of pixels,
    the extra one is at the right or the bottom. A photograph narrower than half a pixel still gets one.

    >>> content_box((300, 400), (224, 224))
    (0, 28, 224, 196)
    """
    height, width = photo_size
    scale = min(input_size[0] / height, input_size[1] / width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    left, top = (input_size[1] - wide) // 2, (input_size[0] - high) // 2
    return left, top, left + wide, top + high
