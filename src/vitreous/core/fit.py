"""From a photograph to the picture that the model sees, along the window that a Frame fixed.

`core.frame` decides where the patches lie, this file makes the pixels accordingly, and `show` goes the same
way back. Resizing first and cropping afterwards, as is usual, rounds to whole pixels twice, after which the
way back is only nearly known.
"""

from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vitreous.core.errors import InputError, near_matches
from vitreous.core.frame import Frame, content_box
from vitreous.core.images import Photo

Interpolation: TypeAlias = Literal["bicubic", "bilinear", "nearest", "lanczos"]

PAD_GREY = 128
"""Border of a padded input: the middle of the 8-bit range, near zero after the usual normalisations."""

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}


def photo_to_input(photo: Photo, frame: Frame, interpolation: Interpolation = "bicubic") -> Float[Tensor, "3 H W"]:
    """Resample the frame's window of the photograph, once, to the model's size; values are uint8 / 255.

    photo          the photograph, upright and RGB, as `read_photo` gives it
    frame          its geometry, from `frame_photo` with the photograph's own size
    interpolation  the model's own, see `Preprocessing`. Pillow's filters are used: except for "nearest"
                   they average over all pixels that fall on one when a photograph is reduced

    Gives float32 "3 H W" in [0, 1], not yet normalised. Cropping and resizing are one resampling with an
    exact window, so that `frame` maps every patch back without rounding; with fit="pad" the photograph is
    laid on whole pixels of a grey canvas (`PAD_GREY`). Raises InputError for another photograph's frame or
    an unknown interpolation.
    """
    if interpolation not in _FILTERS:
        raise InputError(
            f"interpolation={interpolation!r} is unknown. {near_matches(interpolation, _FILTERS)}".strip(),
            f"Use one of {', '.join(map(repr, get_args(Interpolation)))}.",
        )
    if photo.size != frame.photo_size:
        raise InputError(
            f"The photograph {photo.name!r} has size {photo.size}, its frame is for {frame.photo_size}.",
            "Make the frame with frame_photo(photo.size, …).",
        )
    pixels = np.array(_resample(photo.image, frame, _FILTERS[interpolation]))
    return torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32).div(255).contiguous()


def _resample(image: Image.Image, frame: Frame, resample: Image.Resampling) -> Image.Image:
    """Make the 8-bit picture that the model sees.

    With "pad" the size of the photograph on it is rounded to whole pixels; the frame's window has that
    rounding in it already, so both speak of the same pixels.
    """
    height, width = frame.input_size
    if frame.fit == "pad":
        left, top, right, bottom = content_box(frame.photo_size, frame.input_size)
        canvas = Image.new("RGB", (width, height), (PAD_GREY,) * 3)
        canvas.paste(image.resize((right - left, bottom - top), resample), (left, top))
        return canvas
    # Rounding may leave the window outside the photograph by the last bit, which Pillow refuses.
    (x0, y0, x1, y1), (wide, high) = frame.window, image.size
    return image.resize((width, height), resample, (max(x0, 0.0), max(y0, 0.0), min(x1, wide), min(y1, high)))
