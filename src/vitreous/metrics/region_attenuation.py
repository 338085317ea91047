"""Region attenuation: how much of the prediction is lost when one region, named by the map or annotated, is weakened.

Single-region attenuation: one region, once, with everything else in place.
"""

from jaxtyping import Bool
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerImage
from vitreous.metrics._areas import Region, annotated, direction, nan_where_empty, to_pixels, top_patches
from vitreous.metrics._case import Case
from vitreous.metrics._curve import Quantity
from vitreous.metrics._metric import metric
from vitreous.metrics._sets import pixel_answers, whole_answers
from vitreous.vit.coalitions import AnyFill
from vitreous.vit.trace import Trace


@metric(category="causal", better="higher", unit="logit or probability", cost="one forward", turns=direction)
def region_attenuation(
    case: Case,
    region: Region = "map",
    strength: float = 0.5,
    share: float = 0.2,
    fill: AnyFill = "mean",
    of: Quantity = "logit",
) -> PerImage:
    """Give f(x) - f(x'), where x' = x * (1 - s) + fill * s inside region R and x' = x outside.

    A weakened region is nearer to what the model was trained on than one that is cut out. Higher is better for a region
    that a map names. For the annotated mask it says nothing about the map but how much the model depends on the
    object. For regions of one's own there is `weakened`, below.

    region    "map": the pixels of the most relevant `share` of the patches. "mask": the pixels of the annotated mask
              that are not void; NaN for an image that has none
    strength  s, in (0, 1]; 1 puts the filling in the region's place
    share     of the patches, in (0, 1]; rounded, one at least
    fill      one of `vitreous.vit.coalitions.AnyFill` but "drop": half a token cannot be dropped
    of        "logit", the score of the target, or its class's probability

    Ties are broken at random by the image's seed. Ignores the order inside R and outside it. Raises InputError for a
    strength or share outside (0, 1], and for fill="drop".
    """
    chosen = to_pixels(case, top_patches(case, share)) if region == "map" else annotated(case)
    return nan_where_empty(weakened(case.trace, chosen, strength, fill, of), chosen)


def weakened(
    trace: Trace,
    region: Bool[Tensor, "b H W"],
    strength: float = 1.0,
    fill: AnyFill = "mean",
    of: Quantity = "logit",
) -> PerImage:
    """Give what each prediction loses when a region of one's own is weakened: image * (1 - s) + fill * s inside it.

    strength  s, in (0, 1]; 1 puts the filling in the region's place
    fill      one of `vitreous.vit.coalitions.AnyFill` but "drop"
    of        "logit", the score of the target, or its class's probability

    Raises InputError for a strength outside (0, 1], and for fill="drop".
    """
    if not 0 < strength <= 1:
        raise InputError(f"strength={strength} is no strength.", "Give a number in (0, 1].")
    found = pixel_answers(trace, (1 - strength * region.double())[:, None], fill)
    return (whole_answers(trace).of(of) - found.of(of))[:, 0]
