"""Cases on the planted ViT: maps that are true, turned round or random, and everything a metric may want to know."""

from contextlib import contextmanager

import torch

import vitreous as vt
from oracles.planted import BRIGHTEST, MIDDLE, planted_images
from vitreous.metrics._case import Case, HumanTruth, SceneTruth, Truth

EXTREMES = [(5, 0), (2, 7), (10, 3)]
"""The brightest and the darkest patch of three different images."""


def brightness_of(vit, images):
    """Measure the brightness of each patch, "b gh gw"."""
    (rows, columns), (high, wide) = vit.grid, vit.patch
    return images.mean(1).reshape(-1, rows, high, columns, wide).mean((2, 4))


def true_map(vit, images):
    """The brightest patch by far, and the others in the order in which they would be the brightest without it."""
    return torch.exp(8 * (brightness_of(vit, images) - 0.9))


def reversed_map(vit, images):
    return 1.01 - true_map(vit, images)


def random_map(vit, images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(images), *vit.grid, generator=generator)


def constant_map(vit, images):
    return torch.full((len(images), *vit.grid), 0.25)


def of_patch(vit, patch):
    """Pixels of one patch, "H W"."""
    grid = torch.zeros(vit.grid[0] * vit.grid[1], dtype=torch.bool)
    grid[patch] = True
    return grid.reshape(vit.grid).repeat_interleave(vit.patch[0], 0).repeat_interleave(vit.patch[1], 1)


def planted_truth(vit, image, brightest, others):
    """All there is to know: the brightest patch is the object, people saw brightness, and patches can be taken out."""
    mask = of_patch(vit, brightest)
    row, column = divmod(brightest, vit.grid[1])
    high, wide = vit.patch
    box = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
    things = [of_patch(vit, patch) for patch in (brightest, *others)]

    def scene():
        removed = [torch.where(thing, torch.tensor(MIDDLE[0]), image) for thing in things]
        return SceneTruth(torch.stack(removed), torch.stack(things).float(), ("brightest", "other", "darkest"))

    seen = brightness_of(vit, image[None])[0].repeat_interleave(high, 0).repeat_interleave(wide, 1)
    generator = torch.Generator().manual_seed(brightest)
    judges = [seen + 0.05 * torch.rand(seen.shape, generator=generator) for _ in range(3)]
    return Truth(
        label=BRIGHTEST,
        mask=mask,
        void=torch.zeros_like(mask),
        boxes=(tuple(map(float, box)),),
        human=(HumanTruth("brightness", seen), *(HumanTruth("judged", one, f"j{n}") for n, one in enumerate(judges))),
        scene=scene,
        stressed=lambda _axis, level: (image * (1 - 0.02 * level)).clamp(0, 1),
    )


@contextmanager
def planted_case(vit, make=true_map, extremes=EXTREMES, target="brightest", seed=0, truth=True):
    """Open a case on planted images whose maps `make(vit, images)` gives, for any images that it is asked about."""
    images, brightness = planted_images(vit, extremes)
    known = []
    for image, (brightest, darkest) in zip(images, extremes, strict=True):
        other = next(patch for patch in range(brightness.shape[1]) if patch not in {brightest, darkest})
        known.append(planted_truth(vit, image, brightest, (other, darkest)) if truth else Truth())
    with vit.trace(images, target, capture=vt.Capture(tokens=True, pixels=True, inputs=True), seed=seed) as trace:
        yield Case(trace, make(vit, images), lambda other: make(other.vit, other.images), tuple(known))
