"""Spearman's correlation of the map with a human map: whether both put the places of an image in the same order."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._agreement import spearman
from vitreous.metrics._case import Case
from vitreous.metrics._human import At, against_people
from vitreous.metrics._metric import metric


@metric(
    category="human relevance",
    better="higher",
    unit="rank correlation",
    cost="none",
    paper="arXiv:2211.04533",
    needs=("human",),
)
def human_spearman(case: Case, asked: str | None = None, at: At = "pixels") -> PerImage:
    """Correlate the ranks of relevance and human map, ties at their mean rank; -1 to 1, a random map 0.

    asked  which question people were asked, by its name in the data; None: the mean over all of them
    at     "pixels": the map interpolated between patches, against every pixel that is not void, as is usual. "patches":
           the patches' own relevance against the mean of the human map over each, which does not ask a map for detail
           that the model has no patches for

    Where single people's maps are known and none of all of them, their mean is taken. Only the order counts. NaN where
    either map is constant, and without a map for the question. People agree with one another only so far: divide by
    `human_ceiling` where it is known. Deviation from Fel et al. 2022: they compare at 64 x 64 places and divide by the
    ceiling.
    """
    return against_people(case, spearman, asked, at)
