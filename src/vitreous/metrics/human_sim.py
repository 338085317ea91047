"""SIM, similarity or histogram intersection: how much of their density the map and a human map have in common."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._human import At, against_people
from vitreous.metrics._human_agreement import sim
from vitreous.metrics._metric import metric


@metric(
    category="human relevance",
    better="higher",
    unit="share of the density",
    cost="none",
    paper="arXiv:1604.03605",
    needs=("human",),
)
def human_sim(case: Case, asked: str | None = None, at: At = "pixels") -> PerImage:
    """Sum the smaller of the two densities over the places; 0 where they never meet, 1 where they are the same.

    asked  which question people were asked, by its name in the data; None: the mean over all of them
    at     "pixels" or "patches": see `human_spearman`

    Relevance and human map are each divided by their sum; one with negative values is first raised until the lowest is
    0. A map that is the same everywhere gets much if people's is broad: compare with `random`. Where single people's
    maps are known and none of all of them, their mean is taken. Void is left out. NaN without a map for the question.
    Deviation: the lowest value is taken away from signed maps only, as pysaliency does, not from all.
    """
    return against_people(case, sim, asked, at)
