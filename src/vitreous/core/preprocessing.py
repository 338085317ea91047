"""Preprocessing: what a model expects of its input, as data.

Libraries state it in their own ways, as transforms, configurations or not at all; `vit.families` reads them
into this one type. Public images are in [0, 1]: normalisation happens inside an opened `Vit` and nowhere
else.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import Images

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Size, normalisation and resampling of a model's input.

    size           (height, width) in pixels
    mean, std      per channel, for RGB values in [0, 1]; ImageNet's by default
    interpolation  how a photograph is resampled
    crop_share     side of the evaluation crop as a share of the largest centred rectangle of the input's
                   shape
    guessed        names of the fields that nobody stated, so that a warning can be written

    Raises InputError for a size without a pixel, a deviation that is not positive, or a share outside (0,
    1].
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Literal["bicubic", "bilinear", "nearest", "lanczos"] = "bicubic"
    crop_share: float = 1.0
    guessed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that would silently give a meaningless input."""
        if min(self.size) < 1:
            raise InputError(
                f"Preprocessing size={self.size} has no pixel.",
                "Give (height, width), for instance (224, 224).",
            )
        if min(self.std) <= 0:
            raise InputError(
                f"Preprocessing std={self.std} is not positive.",
                "Give the standard deviation of each channel.",
            )
        if not 0 < self.crop_share <= 1:
            raise InputError(
                f"Preprocessing crop_share={self.crop_share} is outside (0, 1].", "Give a share such as 0.9."
            )

    def normalise(self, images: Images) -> Images:
        """Turn RGB values in [0, 1] into what the model was trained on: (image - mean) / std per channel.

        Takes and gives "b 3 H W" of one type on one device. The constants are rounded to that type first.
        """
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        return (images - mean) / std
