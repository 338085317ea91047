"""AOPC: how much of the prediction is lost on average while the most relevant patches are taken away first.

Area over the perturbation curve: Samek et al., IEEE Transactions on Neural Networks and Learning Systems 2017.
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import First, Quantity, removal_curve
from vitreous.metrics._metric import metric
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="logit or probability",
    cost="steps forwards, shared with SRG, ABPC, deletion or insertion",
    paper="arXiv:1509.06321",
    turns=lambda parameters: "lower" if parameters["first"] == "least" else "higher",
)
def aopc(
    case: Case, steps: int = 20, fill: AnyFill = "drop", of: Quantity = "logit", first: First = "most"
) -> PerImage:
    """Give the mean over k = 0 … steps of f(whole image) - f(image without the first k steps' patches).

    Higher is better with first="most" (MoRF). With first="least" (LeRF) it is the other way round: a good map then
    loses little, and the lower value is the better one. A map that says nothing gives what removing patches at random
    takes away, which is not 0: hold it against the control "random", or use SRG.

    steps  into how many steps the removal of all patches is cut; a model with fewer patches loses one at a time
    fill   what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of     "logit", the score of the target, as in the paper; or its class's probability, NaN where it is no one class
    first  whether the "most" or the "least" relevant patches go first

    Ties are broken at random by the image's seed. Ignores everything but the order. Deviations: the paper removes the
    first 100 of its regions of 9 x 9 pixels, about a sixth of the image, and fills them with noise; here all patches go
    in the end. Raises InputError for fewer than one step.
    """
    curve = removal_curve(case, first, steps, fill).answers.of(of)
    return (curve[:, :1] - curve).mean(1)
