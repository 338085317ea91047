"""Relations: how much the patches of one object attend to those of another, block by block.

Objects are masks on the pixels of the model's input. A patch belongs to an object by the share of its pixels that the
object covers, and by what no object covers to the background. Nothing runs again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.frame import Box
from vitreous.core.patches import patch_centres, patch_coverage
from vitreous.core.shapes import Mask
from vitreous.vit.trace import Trace


@dataclass(frozen=True, eq=False)
class Relations:
    """Attention among the k objects of one image and its background, which is the last, o = k + 1 in all.

    attention     "l o o", mean over heads: how much of its attention a patch of the object in the row gives to the
                  object in the column, averaged over the patches of the first, each weighted by its share in it
    per_head      "l h o o", the same for each head
    lift          "l o o", log2 of the same among attention to other patches than the query itself, divided by what
                  attention spread evenly over these would give. 0: as much; 1: twice as much. What a patch gives to
                  itself would else bind every object to itself, and objects that share a patch to one another
    reading       "l o", mean over heads: what the tokens that the model's head reads give to each object; and
    reading_lift  log2 of that, among all that they give to patches, divided by the object's share of them
    shares        " o", share of all patches that each object covers
    centres       "k 2", centre (x, y) of each object, in pixels of the model's input
    first         the captured block that comes first

    Where objects overlap a pixel counts for both, and rows can sum to more than attention to patches; else they sum to
    just that, and what is missing to 1 goes to class and register tokens, or to padding that was told of. Rows of a
    background that has no pixel are NaN, and so are lifts to it, and that of an object of a single patch to itself.
    Lift is -inf where attention underflows to zero.
    """

    attention: Float[Tensor, "l o o"]
    per_head: Float[Tensor, "l h o o"]
    lift: Float[Tensor, "l o o"]
    reading: Float[Tensor, "l o"]
    reading_lift: Float[Tensor, "l o"]
    shares: Float[Tensor, " o"]
    centres: Float[Tensor, "k 2"]
    first: int

    @property
    def distances(self) -> Float[Tensor, "k k"]:
        """Distances between the centres of objects, in pixels of the model's input."""
        return torch.cdist(self.centres, self.centres, compute_mode="donot_use_mm_for_euclid_dist")


def relate(trace: Trace, objects: Sequence[Mask], shown: Bool[Tensor, "b H W"] | None = None) -> list[Relations]:
    """Measure the attention between the objects of each image, in every captured block.

    objects  for each image its objects, Bool "k H W" on the pixels of the model's input; see `box_masks` for boxes
    shown    the pixels of the model's input that show the photograph, if some are padding: that is left out of the
             background. Patches of padding are still patches that can be attended to, so that even attention, which
             lifts are held against, gives to them as well. None for all pixels

    Attention is what tokens take values with: that the patches of a cup attend to the table says neither that the
    model knows of tables nor that its decision depends on one (`context` drops the table to find out). In late blocks a
    patch token holds much that is not of its place. Objects are compact and attention is often local, so that nearness
    alone makes objects attend to themselves and to neighbours: `relation_statistics` and `binding` hold against that.

    Raises InputError for masks of another size or number, `shown` among them, and for an object without a pixel on
    the patches; MethodNotApplicableError for models without plain attention.
    """
    _ = trace.readout  # raises where there are no plain tokens
    weights = [object_weights(trace, image, masks) for image, masks in enumerate(check_objects(trace, objects))]
    seen = check_shown(trace, shown)
    return [_of_image(trace, image, weights[image], masks, seen[image]) for image, masks in enumerate(objects)]


def box_masks(boxes: Sequence[Box], size: tuple[int, int]) -> Bool[Tensor, "k H W"]:
    """Turn boxes (left, top, right, bottom), in pixels of the model's input, into masks of `size` (height, width).

    A pixel is inside if its centre is, edges at the left and top included.

    >>> box_masks([(1.0, 0.0, 3.0, 1.6)], (2, 4)).int().tolist()
    [[[0, 1, 1, 0], [0, 1, 1, 0]]]
    """
    edges = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4, 1)
    down, across = (torch.arange(side) + 0.5 for side in size)
    rows = (edges[:, 1] <= down) & (down < edges[:, 3])
    columns = (edges[:, 0] <= across) & (across < edges[:, 2])
    return rows[:, :, None] & columns[:, None, :]


def check_objects(trace: Trace, objects: Sequence[Mask]) -> Sequence[Mask]:
    """Raise InputError unless there are masks of the model's input for each image of the trace."""
    size = trace.vit.preprocessing.size
    if len(objects) != len(trace.images):
        raise InputError(f"objects is about {len(objects)} images.", f"The trace has {len(trace.images)}.")
    for image, masks in enumerate(objects):
        if masks.dim() != 3 or tuple(masks.shape[1:]) != tuple(size):
            raise InputError(
                f"The objects of image {image} have shape {tuple(masks.shape)}.",
                f"Give masks (k, {size[0]}, {size[1]}), on the pixels of the model's input.",
            )
    return objects


def check_shown(trace: Trace, shown: Bool[Tensor, "b H W"] | None) -> Bool[Tensor, "b H W"]:
    """Give what shows the photograph, all if nothing is said. Raises InputError unless it is of the model's input."""
    size = (len(trace.images), *trace.vit.preprocessing.size)
    if shown is None:
        return torch.ones(size, dtype=torch.bool)
    if tuple(shown.shape) != size:
        raise InputError(f"shown has shape {tuple(shown.shape)}.", f"Give {size}: the pixels of the model's input.")
    return shown.cpu()


def object_weights(trace: Trace, image: int, masks: Bool[Tensor, "k H W"]) -> Float[Tensor, "k p"]:
    """Give the share of the pixels of each patch that each object covers, in float64.

    Raises InputError for an object that covers no pixel of any patch: nothing of it was seen.
    """
    found = patch_shares(trace, masks)
    empty = (found.sum(1) == 0).nonzero()[:, 0].tolist()
    if empty:
        raise InputError(
            f"Object {empty[0]} of image {image} has no pixel on the patches.", "Leave it out: nothing of it was seen."
        )
    return found


def patch_shares(trace: Trace, masks: Bool[Tensor, "k H W"]) -> Float[Tensor, "k p"]:
    """Average masks over patches, row by row; pixels beyond the last whole patch are of none."""
    return patch_coverage(masks, trace.vit.grid, trace.vit.patch)


def with_background(
    trace: Trace, masks: Bool[Tensor, "k H W"], weights: Float[Tensor, "k p"], shown: Bool[Tensor, "H W"]
) -> Float[Tensor, "o p"]:
    """Add what is shown and no object covers as one more object."""
    background = shown & ~masks.cpu().any(0)
    return torch.cat([weights, patch_shares(trace, background[None])])


def lift_of(
    among: Float[Tensor, "p p"], queries: Float[Tensor, "a p"], keys: Float[Tensor, "c p"]
) -> Float[Tensor, "a c"]:
    """Give log2 of the attention of some sets of patches to others, a query itself left out, over the even one."""
    others = among - torch.diag(among.diagonal())
    even = (torch.ones_like(among) - torch.eye(len(among), dtype=among.dtype)) / (len(among) - 1)
    given, expected = queries @ others @ keys.T, queries @ even @ keys.T
    reached = (queries @ others.sum(1))[:, None] / queries.sum(1, keepdim=True)
    alone = expected <= 1e-9 * queries.sum(1, keepdim=True)  # there is no other patch
    return torch.log2(given / reached / expected).masked_fill(alone, torch.nan)


def _of_image(
    trace: Trace, image: int, weights: Float[Tensor, "k p"], masks: Bool[Tensor, "k H W"], shown: Bool[Tensor, "H W"]
) -> Relations:
    """Measure one image: background last, patches of objects weighted by their shares."""
    whole = with_background(trace, masks, weights, shown)
    shares = whole.mean(1)
    reading = trace.reading[image].detach().cpu().double()
    mean = whole / whole.sum(1, keepdim=True)  # NaN for an empty background
    between, read, lift, read_lift = [], [], [], []
    for attention in trace.attention:
        to_patches = trace.patches(attention[image].detach().cpu().double())
        among = trace.patches(to_patches.transpose(1, 2)).transpose(1, 2)
        between.append(mean @ among @ whole.T)
        lift.append(lift_of(among.mean(0), whole, whole))
        taken = (reading @ to_patches).mean(0)
        read.append(whole @ taken)
        read_lift.append(torch.log2(read[-1] / taken.sum() / shares))
    per_head = torch.stack(between)
    return Relations(
        attention=per_head.mean(1),
        per_head=per_head,
        lift=torch.stack(lift),
        reading=torch.stack(read),
        reading_lift=torch.stack(read_lift),
        shares=shares,
        centres=_centres(trace, weights),
        first=trace.first,
    )


def _centres(trace: Trace, weights: Float[Tensor, "k p"]) -> Float[Tensor, "k 2"]:
    """Average the centres of patches, each weighted by its share in the object."""
    places = patch_centres(trace.vit.grid, trace.vit.patch).flip(1)  # (x, y), as boxes have them
    return weights @ places / weights.sum(1, keepdim=True)
