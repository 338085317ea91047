"""Random sets of patches: what is lost when some are taken away at random, held against their relevance."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity
from vitreous.metrics._sets import answers
from vitreous.vit.coalitions import AnyFill


def sizes_of_sets(patches: int, fewest: float, most: float, sizes: int) -> list[int]:
    """Give `sizes` whole numbers of patches, equally spaced between two shares of all, rounded, each once.

    At least 1 and less than all: what is lost with all patches is the same for every map. Raises InputError for shares
    outside (0, 1), in the wrong order, or no size.
    """
    if not 0 < fewest <= most < 1:
        raise InputError(f"fewest={fewest} and most={most} are no shares.", "Give 0 < fewest <= most < 1.")
    if sizes < 1:
        raise InputError(f"sizes={sizes} is none.", "Give 1 or more.")
    ideal = torch.linspace(fewest, most, sizes, dtype=torch.float64) * patches
    return sorted({min(max(int(size + 0.5), 1), patches - 1) for size in ideal.tolist()})


def draw_sets(case: Case, sets: int, size: int) -> Bool[Tensor, "b m p"]:
    """Draw `sets` sets of `size` patches of each image: all metrics that ask for as many of one size get the same.

    Raises InputError for fewer than two sets, of which nothing can be told.
    """
    if sets < 2:
        raise InputError(f"sets={sets} is too few.", "Give 2 or more.")
    patches = case.per_patch.shape[1]
    drawn = [torch.rand(sets, patches, generator=each) for each in case.generators(f"sets of {size}")]
    return torch.stack(drawn).argsort(2).argsort(2) < size


def relevance_and_loss(
    case: Case, removed: Bool[Tensor, "b m p"], fill: AnyFill, of: Quantity
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
    """Give for each set the relevance of what is removed, summed, and what the prediction loses without it."""
    whole = torch.ones_like(removed[:, :1])
    found = answers(case, torch.cat([whole, ~removed], 1), fill).of(of)
    return (removed * case.per_patch[:, None]).sum(2), found[:, :1] - found[:, 1:]


def correlation(first: Float[Tensor, "b m"], second: Float[Tensor, "b m"]) -> PerImage:
    """Give Pearson's correlation of each row; NaN where one of the two does not vary beyond rounding."""
    length = torch.ones(len(first), dtype=torch.float64)
    product = length
    for values in (first, second):
        centred = values - values.mean(1, keepdim=True)
        spread = centred.norm(dim=1)
        length = length * torch.where(spread > 1e-12 * values.norm(dim=1), spread, torch.nan)
        product = product[:, None] * centred if product.dim() == 1 else product * centred
    return product.sum(1) / length
