"""Otsu pixel accuracy: the share of pixels that Otsu's threshold on the map sorts rightly."""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._marked import above_otsu, unsure
from vitreous.metrics._metric import metric


@metric(
    category="localisation",
    better="higher",
    unit="share of pixels",
    cost="none",
    needs=("mask",),
    classes=True,
    excludes=unsure,
)
def otsu_pixel_accuracy(case: Case, confidence: float = 0.85) -> PerImage:
    """Mark the pixels above Otsu's threshold as object; (true positives + true negatives) / pixels.

    confidence  images to whose likeliest class the model gives a smaller probability are excluded: NaN. The protocol
                wants to judge maps, not the model's doubts; 0 keeps all

    The map is interpolated between patches; void pixels count neither for the threshold nor for the accuracy. A map
    that is constant marks nothing. Marking nothing scores the share of background: read it beside `otsu_jaccard`.
    Otsu's threshold favours maps with two heaps of values; `pixel_average_precision` needs no threshold. Raises
    InputError for a confidence outside 0 to 1.
    """
    counts = above_otsu(case, confidence)
    return (counts[:, 0] + counts[:, 3]) / counts.sum(1)
