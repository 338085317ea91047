"""ROAD: how accurate the model stays while the most relevant pixels are imputed from those around them.

Remove and debias. Rong et al., ICML 2022.
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._curve import First
from vitreous.metrics._metric import metric
from vitreous.metrics._removal import Unit, still_right
from vitreous.vit.coalitions import AnyFill


@metric(
    category="causal",
    better="lower",
    unit="share of steps (times images) with the true class",
    cost="9 forwards, and 9 sparse systems on the CPU: about a second for 224 x 224",
    paper="arXiv:2202.00449",
    needs=("label",),
    random=True,
    classes=True,
    turns=lambda parameters: "higher" if parameters["first"] == "least" else "lower",
)
def road(case: Case, first: First = "most", unit: Unit = "pixel", fill: AnyFill = "impute") -> PerImage:
    """Give the share of the steps 10, 20 … 90 % removed at which the predicted class is still the true one.

    Removed pixels are replaced by noisy linear imputation (`vitreous.vit.impute`), which hides what the shape of the
    removed region would tell. The value of one image is the mean of nine zeros and ones; accuracy is linear in images,
    so the mean over images is the mean accuracy over the steps, as the paper draws it. In [0, 1]. Lower is better with
    first="most" (MoRF); with first="least" (LeRF) it is the other way round, and higher is better.

    first  whether the "most" or the "least" relevant go first
    unit   "pixel" as published, ranked by the map as pictures show it, or "patch"
    fill   "impute" as published; see `vitreous.vit.coalitions.AnyFill`. "drop" only for patches

    NaN for an image whose class is not known. Ties are broken, and noise drawn, by the image's seed: the noise is the
    same for all steps and methods. Ignores everything but the order. Deviations: one number in place of a curve. (What
    goes by this name in pytorch-grad-cam is another quantity, half the difference of the target's output between the
    two orders.) Raises InputError for fill="drop" with pixels.
    """
    return still_right(case, first, unit, fill)[:, 1:].mean(1)
