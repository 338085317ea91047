"""NSS, normalised scanpath saliency: how far above its own mean the map is where people looked. Peters et al. 2005."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._human import At, against_people
from vitreous.metrics._human_agreement import nss
from vitreous.metrics._metric import metric


@metric(
    category="human relevance",
    better="higher",
    unit="standard deviations of the map",
    cost="none",
    paper="arXiv:1604.03605",
    needs=("human",),
)
def human_nss(case: Case, asked: str | None = None, at: At = "pixels", fixated: float = 0.2) -> PerImage:
    """Standardise the map to mean 0 and standard deviation 1, and take its mean over the fixated places.

    asked    which question people were asked, by its name in the data; None: the mean over all of them
    at       "pixels" or "patches": see `human_spearman`
    fixated  the share of places that counts as fixated, those with the highest human values. A map that holds points
             and is 0 elsewhere keeps its points alone, if they are fewer

    A random map gets 0; negative where people looked at what the map leaves out. Where single people's maps are known
    and none of all of them, their mean is taken. Void is left out. NaN where either map is constant, and without a map
    for the question. Deviation: on smoothed maps the fixated share stands for the fixations that are no longer known,
    each place counted once. Raises InputError for a share outside 0 to 1.
    """
    return against_people(case, nss(fixated), asked, at)
