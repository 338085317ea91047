"""Focus: where each block's attention lies on the image, how wide it is, and how it shifts from block to block."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.alike import jensen_shannon, spearman
from vitreous.core.errors import InputError
from vitreous.core.patches import patch_centres, patch_coverage
from vitreous.core.shapes import PerImage
from vitreous.vit.trace import Trace

BlockMaps: TypeAlias = Float[Tensor, "b l gh gw"]
PerBlock: TypeAlias = Float[Tensor, "b l"]
PerStep: TypeAlias = Float[Tensor, "b steps"]


@dataclass(frozen=True, eq=False)
class Focus:
    """Where the mass of one map for each block lies; all but `prefix_mass` of maps that were made to sum to 1.

    centre       centre of mass, in pixels of the model's input: down from its upper edge, across from its left one
    spread       root mean square distance from the centre of mass to the centres of the patches, in pixels
    even_spread  the same of a map that is even over the whole grid, to compare with; not the largest there can be
    entropy      as a share of that of an even map: 0 for a single patch, 1 for all alike
    overlap      share of the mass inside the object, where a patch counts by the share of its pixels that the object
                 covers. None if no objects were given
    chance       the overlap of an even map, which is the object's share of the area; None likewise. It is what a map
                 that knows nothing has, unless objects are in the middle, as they are in most photographs
    rank         Spearman's rank correlation of each block's map with the next one's, ties averaged
    divergence   Jensen-Shannon divergence of each block's map from the next one's, in bits: from 0 for the same to 1
                 for maps that share no patch
    prefix_mass  share of attention that went to class and register tokens, on either side of the patches, and is not
                 on the maps; None if the maps were given

    What has no mass at all has NaN throughout; a map that is exactly even has no rank. Tensors are on the CPU.
    """

    centre: Float[Tensor, "b l 2"]
    spread: PerBlock
    even_spread: float
    entropy: PerBlock
    overlap: PerBlock | None
    chance: PerImage | None
    rank: PerStep
    divergence: PerStep
    prefix_mass: PerBlock | None = None


def focus(
    trace: Trace,
    objects: Bool[Tensor, "b H W"] | None = None,
    weights: Float[Tensor, "b l h"] | None = None,
) -> Focus:
    """Follow what the prediction's tokens attend to through the captured blocks, averaged over heads.

    objects  for each image, the pixels of the model's input that belong to the object
    weights  how much each head counts in the mean, for instance what `head_importance` gives; none is negative, and
             they are divided by their sum in each block. None lets all heads count alike

    Attention is that of the tokens that the head of the model reads, averaged as it reads them: of the class token, or
    of the mean of the patches, whose early blocks then mostly show how far patches look. It is made to sum to 1 over
    patches. This shows from where tokens are mixed, not what the prediction depends on: tokens of late blocks need not
    be about their own place any more (`track` follows other maps). Raises MethodNotApplicableError for models without
    plain attention, InputError for weights below zero.
    """
    maps, prefix_mass = reading_maps(trace, weights)
    return replace(track(maps, trace.vit.patch, objects), prefix_mass=prefix_mass.cpu())


def reading_maps(trace: Trace, weights: Float[Tensor, "b l h"] | None = None) -> tuple[BlockMaps, PerBlock]:
    """Give each captured block's attention of the reading to patches, unscaled, and its share to other tokens."""
    rows = trace.readout.rows
    shares = trace.reading[:, rows].float()
    if weights is not None and bool((weights < 0).any()):
        raise InputError("weights has values below zero.", "Give the absolute values, or clip them.")
    maps, beside = [], []
    for place, attention in enumerate(trace.attention):
        read = torch.einsum("br,bhrn->bhn", shares, attention.detach()[:, :, rows].float())
        if weights is None:
            mean = read.mean(1)
        else:
            head = weights[:, place].to(read) / weights[:, place].to(read).sum(1, keepdim=True)
            mean = torch.einsum("bh,bhn->bn", head, read)
        maps.append(trace.to_grid(mean))
        beside.append(mean[:, trace.vit.other_tokens].sum(1))
    return torch.stack(maps, 1), torch.stack(beside, 1)


def track(maps: BlockMaps, patch: tuple[int, int], objects: Bool[Tensor, "b H W"] | None = None) -> Focus:
    """Follow one map for each block, of any method: its mass is whatever the method gives to each patch.

    maps     none below zero; the scale of each does not matter
    patch    (height, width) of a patch in pixels of the model's input
    objects  as for `focus`

    Raises InputError for maps with values below zero, which have no centre of mass: clip them, or take their size, and
    say so.
    """
    if bool((maps < 0).any()):
        raise InputError("maps has values below zero.", "Clip them or take absolute values: mass cannot be negative.")
    grid = (maps.shape[2], maps.shape[3])
    mass = maps.detach().cpu().double().flatten(2)
    mass = mass / mass.sum(-1, keepdim=True)
    places = patch_centres(grid, patch).to(mass)
    even = torch.full_like(mass[:1, :1], 1 / mass.shape[-1])
    covered = None if objects is None else patch_coverage(objects, grid, patch).to(mass)
    centre = mass @ places
    return Focus(
        centre=centre.float(),
        spread=_spread(mass, places).float(),
        even_spread=float(_spread(even, places)),
        entropy=(torch.special.entr(mass).sum(-1) / torch.log(torch.tensor(float(mass.shape[-1])))).float(),
        overlap=None if covered is None else torch.einsum("blp,bp->bl", mass, covered).float(),
        chance=None if covered is None else covered.mean(1).float(),
        rank=spearman(mass[:, :-1], mass[:, 1:]).float(),
        divergence=jensen_shannon(mass[:, :-1], mass[:, 1:]).float(),
    )


def _spread(mass: Float[Tensor, "b l p"], places: Float[Tensor, "p 2"]) -> PerBlock:
    """Root mean square distance from the centre of mass."""
    away = places - (mass @ places).unsqueeze(2)
    return (mass * away.square().sum(-1)).sum(-1).sqrt()
