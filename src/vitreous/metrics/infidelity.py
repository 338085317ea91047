"""Infidelity: how far the relevance of random sets of patches is from what the prediction loses without them.

Yeh et al., NeurIPS 2019.
"""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity
from vitreous.metrics._metric import metric
from vitreous.metrics._random_sets import draw_sets, relevance_and_loss, sizes_of_sets
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="lower",
    unit="share of the mean squared loss (squared logit if not relative)",
    cost="sets x sizes forwards, shared with sensitivity-n and faithfulness correlation",
    paper="arXiv:1901.09392",
    random=True,
)
def infidelity(
    case: Case,
    sets: int = 50,
    sizes: int = 5,
    fewest: float = 0.1,
    most: float = 0.5,
    fill: AnyFill = "drop",
    of: Quantity = "logit",
    scaled: bool = True,
    relative: bool = True,
) -> PerImage:
    """Give the mean over random sets S of (beta * sum_S relevance - loss)^2, divided by the mean of loss^2.

    Loss is f(x) - f(x without S): the paper's definition with I the indicator of S, for maps that say what patches
    contribute. The factor beta is the best there is, mean(relevance * loss) / mean(relevance^2), so that maps of
    different scales can be compared; each image has its own. Lower is better; in [0, 1] as called, where 0 is exact
    and 1 no better than a map of zeros.

    sets          how many sets of each size
    sizes         how many sizes, equally spaced
    fewest, most  the smallest and the largest size, as shares of the patches
    fill          what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of            "logit", the score of the target, or its class's probability
    scaled        False takes the map as it is, beta = 1; for maps whose unit is that of the prediction
    relative      False leaves out the division: squared logits

    A map that is positive everywhere gets credit for larger sets mattering more; sensitivity-n gives none. NaN where no
    set changes the prediction, if relative, and where `of` is not defined. The sets are those of the image's seed, the
    same for all methods. Deviations: patches in place of pixels, relative by default, and beta is not below 0: a
    map that has it the wrong way round must not pass for a good one. Raises InputError as sensitivity-n.
    """
    drawn = [draw_sets(case, sets, size) for size in sizes_of_sets(case.per_patch.shape[1], fewest, most, sizes)]
    relevance, loss = relevance_and_loss(case, torch.cat(drawn, 1), fill, of)
    if scaled:
        best = (relevance * loss).sum(1) / relevance.square().sum(1)
        relevance = best.nan_to_num(0.0).clamp(min=0)[:, None] * relevance
    error = (relevance - loss).square().mean(1)
    return error / loss.square().mean(1) if relative else error
