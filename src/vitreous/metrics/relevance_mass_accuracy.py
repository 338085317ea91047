"""Relevance mass accuracy: the share of all positive relevance that lies inside the mask.

Arras, Osman & Samek 2022. The same number is known as energy-based pointing game (Wang et al. 2020, Score-CAM, on
boxes) and as inside-total relevance ratio (Kohlbrenner et al. 2020).
"""

import numpy as np

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._judged import Inside, Numbers, each_image
from vitreous.metrics._metric import metric


@metric(
    category="localisation",
    better="higher",
    unit="share of positive relevance",
    cost="none",
    paper="arXiv:2003.07258",
    needs=("mask",),
)
def relevance_mass_accuracy(case: Case) -> PerImage:
    """Divide the sum of the positive relevance inside the mask by that over all pixels that are not void.

    From 0 to 1; a constant positive map gets the share of the image that the object covers. The map is interpolated
    between patches, signed, and what is then negative is left out. It depends on where the method puts its zero: adding
    a constant to the map draws the number towards the object's share.

    NaN where the mask is missing or empty, and where no relevance is positive. Deviation: Arras et al. make the
    relevance of pixels positive by summing it over colours in one of several ways; here it is one number per place.
    """
    return each_image(case, _share_inside)


def _share_inside(relevance: Numbers, inside: Inside) -> float:
    positive = np.maximum(relevance, 0)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total > 0 and inside.any() else float("nan")
