"""Human ceiling: how well one person's map agrees with that of all others, which no map need be better than."""

from typing import Literal

import numpy as np
import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case, HumanTruth, Truth
from vitreous.metrics._human import At, Measure, by_question, mean, of_all
from vitreous.metrics._human_agreement import MEASURES
from vitreous.metrics._metric import metric


@metric(category="human relevance", better="neither", unit="that of the measure", cost="none", needs=("human",))
def human_ceiling(
    case: Case,
    measure: Literal["spearman", "pearson", "nss", "auc_judd", "kl", "sim"] = "spearman",
    asked: str | None = None,
    at: At = "pixels",
    fixated: float = 0.2,
) -> PerImage:
    """Leave each person out in turn, and measure that person's map, as if it were relevance, against the others' mean.

    measure  which of the human measures: `human_spearman` and so on
    asked    which question people were asked, by its name in the data; None: the mean over all of them
    at       "pixels" or "patches": see `human_spearman`
    fixated  the share of places that counts as fixated, for "nss" and "auc_judd"

    Gives the mean over persons. It does not depend on the map: it says what a number of the same measure on the same
    images is worth. A map that predicts what people have in common can exceed it, as one person is noisier than all.
    At "patches", people's maps are averaged over patches as well. NaN where fewer than two single persons' maps of a
    question are known; a map of all people tells nothing about how much they agree. Raises InputError for a share
    outside 0 to 1.
    """
    compare = MEASURES[measure](fixated)
    found = []
    for truth in case.truth:
        groups = by_question(truth, asked).values()
        found.append(mean([_left_out(case, truth, group, compare, at) for group in groups]))
    return torch.tensor(found, dtype=torch.float64)


def _left_out(case: Case, truth: Truth, group: list[HumanTruth], compare: Measure, at: At) -> float:
    single = [human for human in group if human.judge]
    if len(single) < 2:
        return float("nan")
    maps = np.stack([of_all(case, truth, [human], at) for human in single])
    if not maps.size:
        return float("nan")
    return mean([compare(one, np.delete(maps, person, 0).mean(0)) for person, one in enumerate(maps)])
