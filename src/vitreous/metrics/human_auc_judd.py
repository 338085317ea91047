"""AUC-Judd: how often the map is higher at a place where people looked than at one where they did not."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._human import At, against_people
from vitreous.metrics._human_agreement import auc_judd
from vitreous.metrics._metric import metric


@metric(
    category="human relevance",
    better="higher",
    unit="area under the ROC curve",
    cost="none",
    paper="arXiv:1604.03605",
    needs=("human",),
)
def human_auc_judd(case: Case, asked: str | None = None, at: At = "pixels", fixated: float = 0.2) -> PerImage:
    """Give the area under the ROC curve of fixated against all other places, 0 to 1; a tie is half a hit.

    asked    which question people were asked, by its name in the data; None: the mean over all of them
    at       "pixels" or "patches": see `human_spearman`
    fixated  the share of places that counts as fixated: see `human_nss`

    A random and a constant map get 1/2. Only the order counts. Photographs have their object in the middle and people
    look there: a spot in the middle gets far more than 1/2, so compare with the method `center_gaussian`. Where single
    people's maps are known and none of all of them, their mean is taken. Void is left out. NaN where the human map is
    constant, and without a map for the question.

    Deviations: the curve has a point for every value of the map, not of fixated places alone, and ties are shared, not
    broken by noise. Raises InputError for a share outside 0 to 1.
    """
    return against_people(case, auc_judd(fixated), asked, at)
