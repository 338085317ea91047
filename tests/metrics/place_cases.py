"""Cases of a few patches with maps, masks and human maps of one's choice; with patches of one pixel, no interpolation."""

from contextlib import contextmanager

import torch

from oracles.planted import open_planted
from vitreous.metrics._case import Case, HumanTruth, Truth
from vitreous.metrics._metric import METRICS

FOUR = open_planted(grid=(2, 2), patch=1)


@contextmanager
def case_of(maps, truths, vit=FOUR):
    """Open a case whose maps and truths are the given ones; the images are of no importance."""
    height, width = vit.preprocessing.size
    images = torch.rand(len(maps), 3, height, width, generator=torch.Generator().manual_seed(0))
    with vit.trace(images) as trace:
        yield Case(trace, torch.stack([torch.as_tensor(each) for each in maps]), lambda _: None, tuple(truths))


def square(values):
    """Four numbers as the patches of a 2 x 2 grid, row by row."""
    return torch.tensor(values, dtype=torch.float32).reshape(2, 2)


def known(mask=None, void=None, boxes=(), human=()):
    """The truth of four patches, as rows of four zeros and ones; human maps as (name, values) or (name, values, judge)."""
    return Truth(
        mask=None if mask is None else square(mask).bool(),
        void=None if void is None else square(void).bool(),
        boxes=tuple(boxes),
        human=tuple(HumanTruth(name, square(values), *judge) for name, values, *judge in human),
    )


def give(name, values, *truths, **parameters):
    """Run a metric on one or more maps of four patches; gives the raw tensor."""
    maps = [square(each) for each in (values if isinstance(values[0], list) else [values] * len(truths))]
    with case_of(maps, truths) as case:
        return METRICS[name].function(case, **parameters)


def value(name, values, *truths, **parameters):
    """The value of a data set of these images."""
    return METRICS[name].value(give(name, values, *truths, **parameters).numpy())
