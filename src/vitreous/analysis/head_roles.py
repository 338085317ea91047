"""Roles of heads by stated rules: local, global, positional, class-token reader, sink, self, or mixed.

A role is a short name for a number above or below a threshold, and is always given with both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.analysis.head_numbers import PerHead, head_numbers, patch_distances
from vitreous.analysis.head_offsets import PerOffset, at_offset, favourite, head_offsets
from vitreous.core.errors import InputError
from vitreous.vit.trace import Trace

RoleName: TypeAlias = Literal["local", "global", "positional", "class-token reader", "sink", "self"]

RADIUS = 2
"""How far, in patches along rows and columns, a positional head may look."""


@dataclass(frozen=True)
class RoleThresholds:
    """Where a role begins. All numbers are about the attention of patches, averaged over query patches and images.

    local       at most this mean distance, in units of what attention spread evenly over all patches would have: it
                depends neither on the size of the image nor on that of the patches
    far         "global": at least this mean distance in the same units, and no sink, which may be far off as well
    offset      "positional": at least this mass at one offset of up to two patches, see `head_offsets`
    prefix      "class-token reader": at least this mass on class and register tokens, on either side of the patches
    sink        at least this mass, from all patches on average, on one token that is none of these
    itself      "self": at least this mass of a patch on itself

    Chosen by looking at the 36 heads of DeiT-tiny on 64 ImageNet photographs and the 18 of `bundled:scenes` on the 60
    packaged scenes, in the widest gap between heads nearby where there was one. Next below and above the threshold, of
    both models: local 0.63 and 0.72; far 0.89 and 0.91 (no gap: distances fill the range, and 0.9 is "within a tenth of
    evenly spread"); offset 0.08 and 0.29; prefix 0.30 and 0.51; sink 0.17 and 0.30; itself 0.10 and 0.19. Heads found:

                    local  global  positional  class-token reader  sink  self  mixed
    DeiT-tiny, 36      13      13           4                   1     0     3      8
    scenes, 18          2       3           0                   0     7     0      6

    On 64 other ImageNet photographs 35 of the 36 heads have the same roles, on 64 of COCO 33; on 60 other scenes all
    18. Other models may have other gaps: look at `values` before counting roles.
    """

    local: float = 0.65
    far: float = 0.9
    offset: float = 0.2
    prefix: float = 0.4
    sink: float = 0.25
    itself: float = 0.15

    def __post_init__(self) -> None:
        """Raise InputError for thresholds between which there is nothing to tell."""
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                raise InputError(f"The threshold {each.name}={value}.", "Give a positive number.")
        if self.local >= self.far:
            raise InputError(
                f"local={self.local} is not below far={self.far}.", "A head is not to be local and global at once."
            )


@dataclass(frozen=True, eq=False)
class RoleMeasures:
    """What roles are told by, for each image, captured block and head.

    distance  mean distance of attention between patches in units of what evenly spread attention has
    mass      attention by offset, "b l h side side", see `head_offsets`
    prefix    mass on class and register tokens, on either side of the patches
    sink      mass on the one token that gets most from all patches; 0 where that is a class or register token
    itself    mass of patches on themselves
    first     the block in the model that is the first here
    """

    distance: PerHead
    mass: PerOffset
    prefix: PerHead
    sink: PerHead
    itself: PerHead
    first: int


@dataclass(frozen=True)
class Role:
    """One role of one head.

    value, threshold  the number that gave it, averaged over images, and what it was held against
    stability         share of images in which the head has the role by that image alone; for "positional", with the
                      same offset
    offset            (rows down, columns to the right) that a positional head looks at
    """

    name: RoleName
    value: float
    threshold: float
    stability: float
    offset: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class HeadRoles:
    """The roles of every head.

    heads       the roles of each head of each block, `heads[block][head]`; none at all is "mixed"
    values      "l h" for each role: the number that it is told by, averaged over images, whoever has the role
    stability   "l h" for each role: share of images in which the head has it by that image alone
    thresholds  what the numbers were held against
    images      how many images were averaged over
    first       the block in the model that is the first here
    """

    heads: tuple[tuple[tuple[Role, ...], ...], ...]
    values: dict[RoleName, Float[Tensor, "l h"]]
    stability: dict[RoleName, Float[Tensor, "l h"]]
    thresholds: RoleThresholds
    images: int
    first: int

    def counts(self) -> dict[str, int]:
        """Count the heads of each role, and the mixed ones. A head with two roles is counted twice."""
        every = [roles for block in self.heads for roles in block]
        found: dict[str, int] = {
            name: sum(name == role.name for roles in every for role in roles) for name in self.values
        }
        found["mixed"] = sum(not roles for roles in every)
        return found


def head_roles(trace: Trace, thresholds: RoleThresholds = RoleThresholds()) -> HeadRoles:
    """Name the roles of all heads in every captured block, by the mean over the images of the trace.

    A head may have several roles, or none. They say where patches look, and nothing of what is done with what is found
    there, nor whether the prediction needs it: `head_importance` and `head_ablation` ask for that. What the class token
    itself attends to plays no part. For more images than fit into one trace, measure each batch by `role_measures`, and
    give all of them to `roles_of`.

    Positional heads are those of Voita et al. 2019 (arXiv:1905.09418), in an image: they have a fixed offset at which
    most of the attention goes; here a stated share. A model of a single patch has no distances and no offsets: its
    heads are not local, global or positional, with NaN for `values`, and "sink" and "self" say the same of them. Raises
    MethodNotApplicableError for models without plain attention over one set of tokens.
    """
    return roles_of([role_measures(trace)], thresholds)


def role_measures(trace: Trace) -> RoleMeasures:
    """Measure what roles are told by, for each image of a trace."""
    numbers = head_numbers(trace)
    radius = min(RADIUS, max(trace.vit.grid) - 1)
    nowhere = torch.full_like(numbers.distance, torch.nan)[..., None, None]  # a single patch has none at any offset
    mass = head_offsets(trace, radius).mass if radius else nowhere
    even = patch_distances(trace.vit).mean().to(numbers.distance.device)  # 0 between a patch and itself
    patches = trace.vit.patch_tokens
    sink = numbers.sink_mass.where((numbers.sink >= patches.start) & (numbers.sink < patches.stop), 0.0)
    return RoleMeasures(numbers.distance / even, mass, numbers.prefix_mass, sink, numbers.self_mass, trace.first)


def roles_of(measures: Sequence[RoleMeasures], thresholds: RoleThresholds = RoleThresholds()) -> HeadRoles:
    """Name the roles by the mean over the images of several batches. Raises InputError if there are none."""
    if not measures:
        raise InputError("measures is empty.", "Give what role_measures found for at least one batch.")
    distance, mass, prefix, sink, itself = (
        torch.cat([getattr(batch, name) for batch in measures])
        for name in ("distance", "mass", "prefix", "sink", "itself")
    )
    offset = favourite(mass.mean(0))
    at = at_offset(mass, offset.expand(*mass.shape[:3], 2))
    single: dict[RoleName, PerHead] = {
        "local": distance,
        "global": distance,
        "positional": at,
        "class-token reader": prefix,
        "sink": sink,
        "self": itself,
    }
    values: dict[RoleName, Float[Tensor, "l h"]] = {name: each.nanmean(0) for name, each in single.items()}
    having = _holds(values, thresholds)
    alone = _holds(single, thresholds)
    alone["positional"] &= (favourite(mass) == offset).all(-1)
    stability = {name: each.float().mean(0) for name, each in alone.items()}
    limits = _limits(thresholds)

    def role(name: RoleName, block: int, head: int) -> Role:
        down, right = offset[block, head].tolist()
        value, share = values[name][block, head].item(), stability[name][block, head].item()
        return Role(name, value, limits[name], share, (down, right) if name == "positional" else None)

    blocks, heads = offset.shape[:2]
    found = tuple(
        tuple(tuple(role(name, block, head) for name in having if having[name][block, head]) for head in range(heads))
        for block in range(blocks)
    )
    return HeadRoles(found, values, stability, thresholds, len(distance), measures[0].first)


def _limits(thresholds: RoleThresholds) -> dict[RoleName, float]:
    return {
        "local": thresholds.local,
        "global": thresholds.far,
        "positional": thresholds.offset,
        "class-token reader": thresholds.prefix,
        "sink": thresholds.sink,
        "self": thresholds.itself,
    }


def _holds(values: dict[RoleName, Tensor], thresholds: RoleThresholds) -> dict[RoleName, Bool[Tensor, "..."]]:
    """Hold numbers against the thresholds; a number that is none gives no role."""
    limits = _limits(thresholds)
    found: dict[RoleName, Tensor] = {
        name: value <= limits[name] if name == "local" else value >= limits[name] for name, value in values.items()
    }
    found["global"] &= ~found["sink"]
    return found
