"""Parameter randomisation: how much of a map stays when the model's weights are random. Adebayo et al. 2018."""

from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._agreement import Similarity, agreement, check_similarity
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._rerun import maps_elsewhere, patches_of
from vitreous.vit.randomise import randomised
from vitreous.vit.vit import Vit

Order: TypeAlias = Literal["top-down", "independent"]

_copies: WeakKeyDictionary[Vit, tuple[tuple[str, int, int], tuple[Vit, ...]]] = WeakKeyDictionary()
"""The copies of each opened model that were asked for last, for as long as it is held by anybody else."""


@metric(
    category="sanity",
    better="lower",
    unit="rank correlation, or structural similarity",
    cost="the method on `stages` other models",
    paper="arXiv:1810.03292",
    reruns=True,
    random=True,
)
def parameter_randomisation(
    case: Case, order: Order = "top-down", stages: int = 3, similarity: Similarity = "spearman"
) -> PerImage:
    """Compare the map with the method's maps of copies of the model with random weights; give the mean over the copies.

    From -1 to 1, lower is better: 1 says that the map does not depend on what was learned, 0 that nothing of it is
    left. Below 0 is no merit: a map turned upside down still has the image's edges in it.

    order       "top-down": cascading, from the outputs down, in `stages` equal steps; the last draws every weight,
                embeddings included. "independent": single blocks, `stages` of them from the first to the last, evenly
                spread, the rest as it was learned
    stages      how many copies, 1 or more; a model with fewer blocks has fewer. Each is held in memory beside the
                model for as long as the model is
    similarity  "spearman" or "ssim", on patches, with their signs; see `vitreous.metrics._agreement.agreement`

    The target stays, and so does the seed of a random method. Weights are drawn by the master seed, with the mean and
    the deviation that they had (`vitreous.randomised`). NaN for a map that is constant; a map that becomes constant
    counts as 0. Deviations: the paper draws as the model was initialised, compares after every layer, maps of pixels,
    and reports the curve. Known limits: a top-down cascade leaves early blocks as they were for long, which holds
    maps of edges up, and random weights need not make a class (Binder et al. 2023); the controls fail it by design.

    Raises InputError for no stages, and for SSIM on a grid of fewer than 3 x 3 patches.
    """
    grid = case.trace.vit.grid
    check_similarity(similarity, grid)
    if stages < 1:
        raise InputError(f"stages={stages} are no stages.", "Give 1 or more.")
    copies = random_copies(case.trace.vit, order, stages, case.trace.seed)
    found = [
        agreement(case.per_patch, patches_of(case, maps_elsewhere(case, copy)), similarity, grid) for copy in copies
    ]
    return torch.stack(found).mean(0)


def random_copies(vit: Vit, order: str, stages: int, seed: int) -> tuple[Vit, ...]:
    """Give the copies of one opened model, made once; those of other parameters are let go."""
    asked = (order, stages, seed)
    kept = _copies.get(vit)
    if kept is None or kept[0] != asked:
        made = _cascade(vit, stages, seed) if order == "top-down" else _single_blocks(vit, stages, seed)
        kept = _copies[vit] = (asked, made)
    return kept[1]


def _cascade(vit: Vit, stages: int, seed: int) -> tuple[Vit, ...]:
    depth = len(vit.blocks)
    counts = sorted({-(-depth * stage // stages) for stage in range(1, stages)})
    return (*(randomised(vit, seed, count) for count in counts), randomised(vit, seed))


def _single_blocks(vit: Vit, stages: int, seed: int) -> tuple[Vit, ...]:
    """Blocks from the first to the last; for a model without any, what there is."""
    last = max(len(vit.blocks) - 1, 0)
    places = sorted({round(last * stage / max(stages - 1, 1)) for stage in range(stages)})
    return tuple(randomised(vit, seed, only=place) for place in places)
