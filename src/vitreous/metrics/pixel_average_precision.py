"""Pixel average precision: how well the order of relevance puts the pixels of the object before all others."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._judged import average_precision, each_image
from vitreous.metrics._metric import metric


@metric(category="localisation", better="higher", unit="average precision", cost="none", needs=("mask",))
def pixel_average_precision(case: Case) -> PerImage:
    """Give the area under the steps of precision over recall while pixels are taken from the most relevant down.

    AP = sum over the distinct values of (recall gained) x (precision), without interpolating between them; pixels that
    tie are taken together, as scikit-learn does. From near 0 to 1; a constant map gets the share a of the image that
    the object covers, a random one the same in expectation, nearly.

    The map is interpolated between patches; only the order counts. Void pixels are not counted. NaN where the mask is
    missing or empty. The value of a data set is the mean over images; for one list of all images' pixels see `pxap`.
    """
    return each_image(case, average_precision)
