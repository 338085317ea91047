"""SRG: how much longer the prediction lasts when the least relevant patches go first than when the most relevant do.

Symmetric relevance gain. Blücher, Vielhaben & Strodthoff, TMLR 2024.
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity, area, removal_curve
from vitreous.metrics._metric import metric
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="higher",
    unit="logit or probability",
    cost="2 x steps forwards, shared with deletion, insertion and ABPC",
    paper="arXiv:2401.06654",
)
def srg(case: Case, steps: int = 20, fill: AnyFill = "drop", of: Quantity = "logit") -> PerImage:
    """Subtract the area under the curve of removing the most relevant first (MIF) from that of the least first (LIF).

    SRG = AUC_LIF - AUC_MIF, over the share of patches that are gone, 0 to 1. A map that says nothing gives 0 in
    expectation, whatever takes the place of patches: what the filling itself does to the prediction is in both curves,
    and cancels.

    steps  into how many steps the removal is cut; a model with fewer patches loses one at a time
    fill   what takes the place of patches: see `vitreous.vit.coalitions.AnyFill`
    of     "logit", the score of the target; or its class's probability, which the authors' code takes

    Patches are the unit; pixel maps are summed over each. Ties are broken at random by the image's seed. Ignores
    everything but the order. Deviations: the paper takes pixels together by segments or squares, and fills them; and
    logits are the default here, since probabilities near 0 and 1 hardly change.
    """
    least, most = (removal_curve(case, first, steps, fill) for first in ("least", "most"))
    return area(least.answers.of(of), least.gone) - area(most.answers.of(of), most.gone)
