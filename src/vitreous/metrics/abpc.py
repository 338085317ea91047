"""ABPC: how far the curves of removing the least and the most relevant patches first lie apart, on average.

Area between perturbation curves, as in the evaluation of AGCAM: Leem & Seo, AAAI 2024.
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity, removal_curve
from vitreous.metrics._metric import metric
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="probability or logit",
    cost="2 x steps forwards, shared with SRG, deletion, insertion and AOPC",
    paper="arXiv:2402.04563",
)
def abpc(case: Case, steps: int = 20, fill: AnyFill = "drop", of: Quantity = "probability") -> PerImage:
    """Give the mean over k = 0 … steps of f(LeRF_k) - f(MoRF_k), where the least or the most relevant k steps are gone.

    In [-1, 1] for probabilities; higher is better, and a map that says nothing gives 0 in expectation. Both ends are
    counted, as in the authors' code, although they add nothing: the curves meet there. So where steps are equal it is
    SRG of the same quantity times steps / (steps + 1).

    steps  into how many steps the removal is cut; a model with fewer patches loses one at a time
    fill   what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of     "probability" of the target's class, as by the authors; NaN for a target that is no single class. Or "logit",
           the target's score

    Ties are broken at random by the image's seed. Ignores everything but the order. Deviations: the authors remove
    pixels in 10 steps, put zeros of the normalised input in their place (fill="grey"), and take the probability of the
    true class whichever class is explained; here patches go, and the class is that of the map. (Per image, their code
    divides by one more than the number of points; its mean over the data set does not, nor does this.) Raises
    InputError for fewer than one step.
    """
    least, most = (removal_curve(case, first, steps, fill) for first in ("least", "most"))
    return (least.answers.of(of) - most.answers.of(of)).mean(1)
