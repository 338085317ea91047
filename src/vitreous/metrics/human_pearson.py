"""Pearson's correlation of the map with a human map, the CC of saliency benchmarks."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._human import At, against_people
from vitreous.metrics._human_agreement import pearson
from vitreous.metrics._metric import metric


@metric(
    category="human relevance",
    better="higher",
    unit="correlation",
    cost="none",
    paper="arXiv:1604.03605",
    needs=("human",),
)
def human_pearson(case: Case, asked: str | None = None, at: At = "pixels") -> PerImage:
    """Correlate relevance and human map as they are, without any scaling; -1 to 1, a random map 0.

    asked  which question people were asked, by its name in the data; None: the mean over all of them
    at     "pixels" or "patches": see `human_spearman`

    Unlike Spearman's, it is ruled by the few places where either map is extreme. Where single people's maps are known
    and none of all of them, their mean is taken. Void is left out. NaN where either map is constant, and without a map
    for the question. Deviation: pysaliency gives 0 for a constant prediction.
    """
    return against_people(case, pearson, asked, at)
