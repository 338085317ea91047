"""Preparing images: photographs or a tensor in, model inputs with their geometry and record out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitreous.core.errors import InputError, VitreousError
from vitreous.core.fit import photo_to_input
from vitreous.core.frame import Fit, Frame, frame_photo, frame_tensor
from vitreous.core.heatmap import PhotoSource
from vitreous.core.images import Fetched, Photo, read_photo
from vitreous.core.shapes import Images
from vitreous.vit.vit import Vit, check_values


@dataclass(frozen=True)
class Prepared:
    """One image ready for the model; the photograph itself is read again when it is drawn.

    image   "3 H W" in [0, 1], float32 on the CPU, not yet normalised
    frame   where its patches lie on the photograph
    name    what the record calls it: a file name, "image", or "tensor[i]"
    digest  sha256 over the size and pixels of the photograph
    notes   what reading it changed or left out; they become warnings of the record
    photo   gives the photograph again, so that its pixels need not be kept
    """

    image: Tensor
    frame: Frame
    name: str
    digest: str
    notes: tuple[str, ...]
    photo: Callable[[], Photo]


def prepare(vit: Vit, images: Any, index: int, fit: Fit) -> Prepared | VitreousError:
    """Prepare one image, or give the error instead of raising it: it must not end the images after it."""
    try:
        return (
            _prepare_tensor(vit, images, index)
            if isinstance(images, Tensor)
            else _prepare_photo(vit, images[index], fit)
        )
    except VitreousError as problem:
        return problem


def _prepare_photo(vit: Vit, source: PhotoSource, fit: Fit) -> Prepared:
    """Read a photograph and resample it to the model's size by the frame of its fit.

    A file is read again whenever it is drawn, so that the heatmaps of a long list do not hold its pixels;
    the pixels of a PIL image exist nowhere else and are kept.
    """
    photo = read_photo(source)
    wanted = vit.preprocessing
    frame = frame_photo(photo.size, wanted.size, vit.patch, vit.grid, fit, wanted.crop_share)
    image = photo_to_input(photo, frame, wanted.interpolation)
    again = partial(read_photo, source) if isinstance(source, str | Path | Fetched) else lambda: photo
    return Prepared(image, frame, photo.name, photo.digest, photo.notes, again)


def _prepare_tensor(vit: Vit, images: Tensor, index: int) -> Prepared:
    """Take one image of a tensor as it is; the form of the whole tensor was checked before.

    Its photograph, for drawing and for the digest, is the image rounded to 8 bits. The model is given the
    unrounded values.
    """
    check_values(images[index])
    image = images[index].detach().float().cpu()
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    photo = read_photo(Image.fromarray(np.ascontiguousarray(pixels)))
    frame = frame_tensor(vit.preprocessing.size, vit.patch, vit.grid)
    return Prepared(image, frame, f"tensor[{index}]", photo.digest, (), lambda: photo)


def prepare_images(vit: Vit, photos: PhotoSource | Sequence[PhotoSource], fit: Fit = "crop") -> Images:
    """Bring photographs to the size of the model's input, as `explain` does: "b 3 H W" in [0, 1], not yet normalised.

    photos  paths or PIL images; one counts as a list of one
    fit     "crop", "squash" or "pad", see `core.frame.frame_photo`

    For `vit.trace` and the functions of `vitreous.analysis`, which take tensors. Raises ImageError for a photograph
    that cannot be used, and InputError for none.

    >>> import vitreous as vt
    >>> vit = vt.open_vit("bundled:scenes")
    >>> vt.prepare_images(vit, [sample.photo().image for sample in vt.worlds.scenes()[:2]]).shape
    torch.Size([2, 3, 96, 96])
    """
    sources = photos if isinstance(photos, list | tuple) else [photos]
    if not sources:
        raise InputError("photos is empty.", "Give at least one photograph.")
    found = []
    for index in range(len(sources)):
        prepared = prepare(vit, sources, index, fit)
        if isinstance(prepared, VitreousError):
            raise prepared
        found.append(prepared.image)
    return torch.stack(found)
