"""Deletion: how much of the prediction is left while the most relevant patches are taken away first.

Petsiuk, Das & Saenko, BMVC 2018 (RISE).
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity, area, removal_curve
from vitreous.metrics._metric import metric
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="lower",
    unit="probability or logit",
    cost="steps forwards, shared with SRG, ABPC and AOPC",
    paper="arXiv:1806.07421",
)
def deletion(case: Case, steps: int = 20, fill: AnyFill = "drop", of: Quantity = "probability") -> PerImage:
    """Give the area under the curve of the target's probability over the share of patches gone, most relevant first.

    By the trapezoid rule from the whole image to nothing, in [0, 1] for probabilities; lower is better. It depends on
    how sure the model is to begin with, and on what the filling itself does: compare methods on the same images. With
    the same steps, filling and `of`, SRG = insertion - deletion.

    steps  into how many steps the removal is cut; a model with fewer patches loses one at a time
    fill   what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of     "probability" of the target's class, as in the paper; NaN for a target that is no single class. Or "logit",
           the target's score

    Ties are broken at random by the image's seed. Ignores everything but the order. Deviations: the paper removes 224
    pixels at a time and its code puts zeros of the normalised input in their place; here patches go, in `steps` steps,
    with nothing in their place. fill="grey" is the code's filling. Raises InputError for fewer than one step.
    """
    curve = removal_curve(case, "most", steps, fill)
    return area(curve.answers.of(of), curve.gone)
