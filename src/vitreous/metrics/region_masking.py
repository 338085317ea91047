"""Region masking: how much of the prediction is lost when one region, named by the map or annotated, is taken away.

Single-region masking: one region, once, with everything else in place.
"""

from vitreous.core.shapes import PerImage
from vitreous.metrics._areas import Region, annotated, direction, half_covered, nan_where_empty, top_patches
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity
from vitreous.metrics._metric import metric
from vitreous.metrics._sets import answers, whole_answers
from vitreous.vit.coalitions import AnyFill


@metric(category="causal", better="higher", unit="logit or probability", cost="one forward, shared", turns=direction)
def region_masking(
    case: Case, region: Region = "map", share: float = 0.2, fill: AnyFill = "drop", of: Quantity = "logit"
) -> PerImage:
    """Give f(x) - f(x without region R), R a set of patches.

    Higher is better for a region that a map names. For the annotated mask it says nothing about the map but how much
    the model depends on the object, which is what the other value may be held against.

    region  "map": the most relevant `share` of the patches. "mask": the patches of which the annotated mask covers half
            or more; NaN for an image without a mask, or whose mask covers half of none
    share   of the patches, in (0, 1]; rounded, one at least
    fill    what takes the region's place: see `vitreous.vit.coalitions.AnyFill`
    of      "logit", the score of the target, or its class's probability

    Ties are broken at random by the image's seed. Ignores the order inside R and outside it. Raises InputError for a
    share outside (0, 1].
    """
    chosen = top_patches(case, share) if region == "map" else half_covered(case, annotated(case))
    lost = whole_answers(case.trace).of(of) - answers(case, ~chosen[:, None], fill).of(of)
    return nan_where_empty(lost[:, 0], chosen)
