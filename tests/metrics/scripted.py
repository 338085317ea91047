"""Cases whose maps are chosen by the test, on planted models; and methods that answer from a list and remember."""

from contextlib import contextmanager

import torch

import vitreous as vt
from oracles.planted import open_planted, planted_images
from vitreous.metrics._case import Case, Truth


class Scripted:
    """A method that gives the maps of a list in turn, whatever it is asked about, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = [torch.as_tensor(answer, dtype=torch.float64) for answer in answers]
        self.asked = []

    def __call__(self, trace):
        self.asked.append((trace.vit.name, trace.target.plus.tolist(), trace.seed, trace.images.clone()))
        found = self.answers[len(self.asked) - 1]
        return found.reshape(len(trace.images), *trace.vit.grid)


@contextmanager
def open_case(maps, explain=None, truth=None, target=0, grid=(2, 2), seed=0, images=None, vit=None):
    """Open a case whose maps are given: a list of numbers for each image, row by row."""
    vit = vit or open_planted(grid=grid)
    maps = torch.as_tensor(maps, dtype=torch.float64)
    maps = maps.reshape(len(maps), *vit.grid)
    if images is None:
        images = planted_images(vit, [(0, 1)] * len(maps))[0]
    truth = truth or tuple(Truth() for _ in maps)
    with vit.trace(images, target, capture=vt.Capture(tokens=True, pixels=True, inputs=True), seed=seed) as trace:
        yield Case(trace, maps, explain or (lambda _other: maps), truth)
