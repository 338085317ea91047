"""Insertion: how soon the prediction is there while the most relevant patches are put in first.

Petsiuk, Das & Saenko, BMVC 2018 (RISE).
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity, area, removal_curve
from vitreous.metrics._metric import metric
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="probability or logit",
    cost="steps forwards, shared with SRG, ABPC and AOPC",
    paper="arXiv:1806.07421",
)
def insertion(case: Case, steps: int = 20, fill: AnyFill = "drop", of: Quantity = "probability") -> PerImage:
    """Give the area under the curve of the target's probability over the share of patches shown, most relevant first.

    By the trapezoid rule from nothing to the whole image, in [0, 1] for probabilities; higher is better. To put the
    most relevant in first is to take the least relevant away first, read backwards: the images are those of the other
    curve of SRG, and with the same steps, filling and `of`, SRG = insertion - deletion.

    steps  into how many steps the insertion is cut; a model with fewer patches gets one at a time
    fill   what is there before patches are put in: see `vitreous.vit.coalitions.AnyFill`
    of     "probability" of the target's class, as in the paper; NaN for a target that is no single class. Or "logit",
           the target's score

    Ties are broken at random by the image's seed. Ignores everything but the order. Deviations: the paper inserts 224
    pixels at a time into the blurred image; here patches, in `steps` steps, into nothing. With fill="blur" the image
    is blurred more than by the paper's code (by an eighth of its side in place of 5 pixels of 224, and continued by its
    mirror image in place of zeros). Raises InputError for fewer than one step.
    """
    curve = removal_curve(case, "least", steps, fill)
    return area(curve.answers.of(of), curve.gone)
