"""Photo changes: which heads answer when colour, texture or background is taken from a photograph, and no factor known.

Every change has a control: noise without colour, as large, as coarse and at the same pixels. A head that answers to
both alike answers to change.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vitreous.analysis._changes import (
    Objects,
    background_swapped,
    equal_noise,
    flattened,
    grey,
    hue_turned,
    mirrored,
    silhouette,
    size_of,
)
from vitreous.analysis.head_features import collect_features
from vitreous.analysis.relation_statistics import FEWEST
from vitreous.core.errors import InputError
from vitreous.core.seed import image_generator
from vitreous.core.shapes import Images
from vitreous.vit.vit import Vit

AnyWhere: TypeAlias = Literal["reading", "patches"] | Tensor
ROUNDING = 1e-5
"""Outputs whose spread is less than this share of their size differ by rounding alone. They are float32, whose last
digit is 1e-7 of them; what a block's arithmetic makes of it stays below a hundred times as much."""


@dataclass(frozen=True, eq=False)
class Responses:
    """How much heads answer to one change of n photographs.

    response    distance between a head's output for the changed and for the original photograph, in units of the root
                mean square distance of its outputs for all originals from their mean, "n l h". Two photographs that
                have nothing to do with one another are about 1.4 apart. NaN, like all that follows from it, for a head
                whose outputs for all originals are the same up to rounding: it has no such unit
    control     the same for noise in place of the change, see `equal_noise`
    excess      mean of response minus control, "l h"
    low, high   its interval of 95 %, by bootstrap over photographs; one for each head, not for all at once. NaN for
                fewer than ten photographs
    corrected   p for an excess of either sign, corrected for all heads that have one, "l h"; 1 / (draws + 1) or more
    size        root mean square of the change over pixels and channels, "n", and `noise` that of the control
    """

    response: Float[Tensor, "n l h"]
    control: Float[Tensor, "n l h"]
    excess: Float64[Tensor, "l h"]
    low: Float64[Tensor, "l h"]
    high: Float64[Tensor, "l h"]
    corrected: Float64[Tensor, "l h"]
    size: Float[Tensor, " n"]
    noise: Float[Tensor, " n"]


def photo_changes(images: Images, objects: Objects | None = None) -> dict[str, Images]:
    """Change photographs in the ways that need nothing but them, and a mask of the object if there is one.

    grey        colour is gone; luma stays
    hue         all hues are turned by 180 degrees; luma stays
    mirrored    left and right are exchanged
    flat        the object is filled with its mean colour: its texture is gone
    silhouette  the object is filled with black: its colour is gone as well
    background  the object is pasted on the background of the next photograph

    The last three need `objects`, "b H W", True where the object is. Cutting and filling leave edges that no photograph
    has. Raises InputError for an object that covers nothing or all of its photograph, and for a single photograph with
    objects, since there is no other background.
    """
    changes = {"grey": grey(images), "hue": hue_turned(images), "mirrored": mirrored(images)}
    if objects is None:
        return changes
    share = objects.double().mean((1, 2))
    if not bool(((share > 0) & (share < 1)).all()):
        raise InputError("An object covers nothing or all of its photograph.", "Leave the photograph out.")
    if len(images) < 2:
        raise InputError("There is one photograph, and no other background.", "Give at least two.")
    return {
        **changes,
        "flat": flattened(images, objects),
        "silhouette": silhouette(images, objects),
        "background": background_swapped(images, objects),
    }


def head_responses(
    vit: Vit,
    images: Images,
    changes: Mapping[str, Tensor],
    where: AnyWhere = "reading",
    batch: int = 16,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Responses]:
    """Measure how much the output of every head changes when photographs are changed, and with noise instead.

    images   the originals; at least two
    changes  the same photographs changed, by name: those of `photo_changes`, or your own
    where    tokens whose outputs are averaged, as for `collect_features`
    batch    photographs that run together
    draws    of the bootstrap, and of the flips of sign behind p

    A head whose excess is above 0 answers to what the change took away more than to a grey disturbance of the same
    size; to say that it "sees colour" is a short way of saying that. It can still answer to what comes with it: edges
    of a cut, another brightness. And whether the model makes use of it is asked elsewhere.

    p is corrected for all heads of one change together: signs of response minus control are flipped photograph by
    photograph, for all heads alike, and the largest |t| is compared (Westfall & Young 1993). The control is one draw of
    noise for each photograph and change, fixed by the seed and the photograph.
    """
    if len(images) < 2:
        raise InputError("There is one photograph.", "Give at least two: responses are in units of their spread.")
    for name, changed in changes.items():
        if changed.shape != images.shape:
            raise InputError(f"The change {name!r} has shape {tuple(changed.shape)}.", "Give one for each photograph.")
    plain = _outputs(vit, images, where, batch)
    spread, size = (each.square().sum(-1).mean(0).sqrt() for each in (plain - plain.mean(0), plain))
    spread = spread.where(spread > ROUNDING * size, math.nan)
    digests = [hashlib.sha256(image.float().cpu().numpy().tobytes()).hexdigest() for image in images]
    found = {}
    for name, changed in changes.items():
        noisy = equal_noise(images, changed, [image_generator(seed, "photo changes", name, each) for each in digests])
        response, control = (
            (_outputs(vit, other, where, batch) - plain).square().sum(-1).sqrt() / spread for other in (changed, noisy)
        )
        excess = (response - control).double()
        low, high = _interval(excess, draws, seed)
        found[name] = Responses(
            response, control, excess.mean(0), low, high, _corrected(excess, draws, seed),
            size_of(images, changed), size_of(images, noisy),
        )  # fmt: skip
    return found


def _outputs(vit: Vit, images: Images, where: AnyWhere, batch: int) -> Float[Tensor, "n l h e"]:
    return collect_features(vit, torch.split(images, batch), where).heads


def _interval(
    excess: Float64[Tensor, "n l h"], draws: int, seed: int
) -> tuple[Float64[Tensor, "l h"], Float64[Tensor, "l h"]]:
    """Give the percentile interval of the mean over photographs drawn with replacement; NaN for too few of them."""
    if len(excess) < FEWEST:
        nothing = torch.full_like(excess[0], math.nan)
        return nothing, nothing
    drawn = torch.randint(len(excess), (draws, len(excess)), generator=torch.Generator().manual_seed(seed))
    weights = torch.zeros(draws, len(excess), dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.full_like(weights, 1 / len(excess)))
    means = weights @ excess.flatten(1)
    low, high = (means.quantile(share, 0).reshape(excess.shape[1:]) for share in (0.025, 0.975))
    return low, high


def _corrected(excess: Float64[Tensor, "n l h"], draws: int, seed: int) -> Float64[Tensor, "l h"]:
    """Give the share of flips, the true signs among them, whose largest |t| of all heads reaches that of each head.

    A head that is NaN stays NaN and is left out of the largest.
    """
    flat, count = excess.flatten(1), len(excess)
    coins = torch.randint(2, (draws, count), generator=torch.Generator().manual_seed(seed)).double() * 2 - 1
    means = torch.cat([torch.ones(1, count, dtype=torch.float64), coins]) @ flat / count
    # The mean square does not change with signs, so that t is known from the mean alone.
    variance = (flat.square().mean(0) - means.square()).clamp(min=1e-300)
    size = means.abs() / variance.sqrt()
    unknown = size[0].isnan()
    reached = size.where(~unknown, 0).amax(1)[:, None] >= size[0] * (1 - 1e-9)
    return reached.double().mean(0).where(~unknown, math.nan).reshape(excess.shape[1:])
