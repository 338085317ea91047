"""Max-sensitivity: how far a map can move when the image changes by a noise that nobody sees. Yeh et al. 2019."""

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._rerun import maps_of


@metric(
    category="robustness",
    better="lower",
    unit="lengths of the map",
    cost="the method on `draws` other images",
    paper="arXiv:1901.09392",
    reruns=True,
    random=True,
)
def max_sensitivity(case: Case, radius: float = 0.02, draws: int = 10) -> PerImage:
    """Give the largest change of the map over some draws of noise, as a multiple of the map's own length.

    max over draws of ||phi(x + d) - phi(x)|| / ||phi(x)||, in Euclidean length over the whole map, each d uniform in
    [-radius, radius] at every pixel and channel. 0 or more, lower is better. A map that ignores the image gets 0, so
    this means nothing without a metric of truth beside it.

    radius  in units in which white is 1
    draws   how many draws; the maximum grows with them, so that only values of equal `draws` can be compared

    Noisy images are clamped to [0, 1], without which they would be no images. The target stays. The map is taken as
    the method gives it, in values and not ranks. A random method draws anew for a changed image, and what that does is
    counted: it moves the map too. NaN for a map that is zero everywhere. Deviation: the paper's set is a ball
    around normalised inputs; here it is around pixels, and clamped.

    Raises InputError for a radius that is not above 0, and for no draws.
    """
    if radius <= 0 or draws < 1:
        raise InputError(
            f"radius={radius} with draws={draws} changes nothing.", "Give more than 0, and 1 draw or more."
        )
    images, generators = case.images, case.generators("max_sensitivity")
    maps = case.relevance.detach().double().cpu()
    largest = torch.zeros(len(maps), dtype=torch.float64)
    for _ in range(draws):
        drawn = torch.stack([torch.rand(images.shape[1:], generator=one) for one in generators])
        noisy = (images + radius * (2 * drawn - 1).to(images)).clamp(0, 1)
        largest = torch.maximum(largest, (maps_of(case, noisy) - maps).flatten(1).norm(dim=1))
    length = maps.flatten(1).norm(dim=1)
    return torch.where(length > 0, largest / length, torch.nan)
