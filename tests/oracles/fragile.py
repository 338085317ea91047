"""What ends or fails worker processes, importable there: masks that kill once, and metrics that raise."""

import os
import signal
from functools import partial

import numpy as np
import torch
from PIL import Image

from vitreous.worlds import Mask, Region, Sample


def grey_picture(vit, seed):
    """Make patches of different brightness, the brightest of which is patch `seed % 12`."""
    rows, columns = vit.grid
    grid = np.random.default_rng(seed).uniform(80, 170, rows * columns)
    grid[seed % len(grid)] = 240
    pixels = np.kron(grid.reshape(rows, columns), np.ones(vit.patch)).round().astype(np.uint8)
    return Image.fromarray(np.stack([pixels] * 3, -1))


def mask_of_patch(size, number, columns, deadly=None):
    """Give the mask of one patch. With a marker: end the process with SIGKILL, unless the marker says that it did."""
    if deadly is not None:
        try:
            os.close(os.open(deadly, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    inside = np.zeros(size, dtype=bool)
    row, column = divmod(number, columns)
    inside[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = True
    return Mask(inside, np.zeros_like(inside))


def always_deadly(pids):
    """End the process each time, leaving its number in a folder."""
    (pids / str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def bright_sample(vit, seed, deadly=None):
    """Make a sample whose mask is its brightest patch."""
    read = partial(mask_of_patch, vit.preprocessing.size, seed % 12, vit.grid[1], deadly)
    return Sample(f"s{seed}", grey_picture(vit, seed), "brightest", regions=(Region("bright", None, read),))


def raises_on_patch_2(case):
    """A metric that cannot bear one image; of any other it gives where the map is largest."""
    best = case.relevance.flatten(1).argmax(1)
    if bool((best == 2).any()):
        raise RuntimeError("cannot bear patch 2")
    return best.to(torch.float64)
