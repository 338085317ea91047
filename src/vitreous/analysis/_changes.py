"""Changes of photographs that take one thing away and keep others: colour, texture, background, handedness.

Pure functions of images "b 3 H W" in [0, 1] and masks "b H W" of their objects; nothing is changed in place.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from vitreous.core.shapes import Images

Objects: TypeAlias = Bool[Tensor, "b H W"]

_LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
_SEEN = 1 / 512  # half a step of 8 bits: smaller differences are none


def grey(images: Images) -> Images:
    """Take the colour out and leave the luma (Rec. 601)."""
    return _luma(images).expand(-1, 3, -1, -1).clone()


def hue_turned(images: Images, degrees: float = 180.0) -> Images:
    """Turn all hues by an angle about the grey axis of YIQ and leave the luma, at every pixel.

    Colours that would leave [0, 1] are made less colourful as far as needed, which keeps luma and hue.
    """
    to_yiq = torch.tensor(_YIQ, dtype=images.dtype, device=images.device)
    angle = torch.deg2rad(torch.tensor(degrees, dtype=images.dtype))
    cosine, sine = float(angle.cos()), float(angle.sin())
    turn = torch.tensor([[0, 0, 0], [0, cosine, -sine], [0, sine, cosine]], dtype=images.dtype, device=images.device)
    luma = _luma(images)
    colour = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_yiq) @ turn @ to_yiq, images)
    room = torch.where(colour > 0, 1 - luma, luma) / colour.abs().clamp(min=1e-12)
    return (luma + colour * room.amin(1, keepdim=True).clamp(max=1)).clamp(0, 1)


def flattened(images: Images, objects: Objects) -> Images:
    """Fill each object with its own mean colour: outline and colour stay, texture and shading go."""
    return torch.where(objects[:, None], _mean(images, objects), images)


def silhouette(images: Images, objects: Objects) -> Images:
    """Fill each object with black: only its outline stays, before its own background."""
    return images.masked_fill(objects[:, None], 0)


def background_swapped(images: Images, objects: Objects) -> Images:
    """Paste each object, at its place, on the photograph that follows in the batch; the last on the first.

    What that one shows as its own object is filled with the mean colour of its background, or there would be two.
    """
    others, theirs = images.roll(-1, 0), objects.roll(-1, 0)
    empty = torch.where(theirs[:, None], _mean(others, ~theirs), others)
    return torch.where(objects[:, None], images, empty)


def mirrored(images: Images) -> Images:
    """Exchange left and right: everything is somewhere else and looks the other way."""
    return images.flip(-1)


def equal_noise(images: Images, changed: Images, generators: Sequence[torch.Generator]) -> Images:
    """Add grey noise that is as large as a change, as coarse, and at the same pixels: a change of another kind.

    As large: the same root mean square over all pixels and channels, after values were cut off at 0 and 1; as much as
    is possible, where that is less. As coarse: before it is confined to the pixels that the change altered, its
    amplitude at each frequency is that of the change, all channels together, and phases are random. It is the same in
    all channels, so it has no colour, and it follows no outline but that of the change.
    """
    difference = changed - images
    white = torch.stack([torch.randn(images.shape[2:], generator=generator) for generator in generators])
    waves = torch.fft.rfft2(white.to(images))
    amplitude = torch.fft.rfft2(difference).abs().square().sum(1).sqrt()
    noise = torch.fft.irfft2(amplitude * waves / waves.abs().clamp(min=1e-12), s=images.shape[2:])
    noise = (noise * (difference.abs().amax(1) > _SEEN))[:, None]
    noise = noise / noise.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
    wanted = size_of(images, changed)[:, None, None, None]
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 64.0)
    for _ in range(40):  # the size grows with the factor: halve until it is met
        middle = (low + high) / 2
        small = size_of(images, (images + middle * noise).clamp(0, 1))[:, None, None, None] < wanted
        low, high = torch.where(small, middle, low), torch.where(small, high, middle)
    noisy: Tensor = (images + high * noise).clamp(0, 1)
    return noisy


def size_of(images: Images, changed: Images) -> Tensor:
    """Give the root mean square of a change over all pixels and channels of each image, "b"."""
    size: Tensor = (changed - images).square().mean((1, 2, 3)).sqrt()
    return size


def _luma(images: Images) -> Tensor:
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def _mean(images: Images, where: Objects) -> Tensor:
    inside = where[:, None].to(images)
    return (images * inside).sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp(min=1)
