"""KL divergence of the human map from the map, both as densities: how surprising people's choice of places is."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._human import At, against_people
from vitreous.metrics._human_agreement import kl
from vitreous.metrics._metric import metric


@metric(
    category="human relevance",
    better="lower",
    unit="nats",
    cost="none",
    paper="arXiv:1604.03605",
    needs=("human",),
)
def human_kl(case: Case, asked: str | None = None, at: At = "pixels") -> PerImage:
    """Sum h log(e + h / (p + e)) over the places, e = 2.2e-16; 0 if both densities are the same, large if p is 0 at h.

    asked  which question people were asked, by its name in the data; None: the mean over all of them
    at     "pixels" or "patches": see `human_spearman`

    p is the relevance and h the human map, each divided by its sum. A map with negative values is first raised until
    the lowest is 0, as the MIT/Tübingen benchmark does: of a signed map, what is neither for nor against the target
    has some density. All values count, and the few places where p is nearly 0 count most. A map that is the same
    everywhere gets log(places) less the entropy of h. Where single people's maps are known and none of all of them,
    their mean is taken. Void is left out. NaN without a map for the question.
    """
    return against_people(case, kl, asked, at)
