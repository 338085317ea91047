"""Context: which objects of an image the decision depends on, found by taking them away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.analysis.object_binding import shape_places
from vitreous.analysis.relations import check_objects, check_shown, patch_shares
from vitreous.core.errors import InputError
from vitreous.core.shapes import Mask
from vitreous.vit.coalitions import AnyFill, read_sets
from vitreous.vit.trace import Trace

LEAST = 0.25
"""Share of a patch that an object has to cover for the patch to be its own.

A quarter keeps small and thin objects and leaves others in the patch the larger part at most: of 341 objects of 63 COCO
photographs, each a quarter of a patch of DeiT-tiny or more, 78 have no patch of their own so, and 127 at a half.
"""


Control: TypeAlias = Literal["scattered", "moved"]
"""What is taken away instead of an object: as many single patches of the background, or its shape laid elsewhere."""


@dataclass(frozen=True)
class Dependence:
    """What happens to the score when one object is taken away.

    object     its number among the objects of the image
    patches    how many patches were taken away with it
    drop       score before minus score after: positive where the object spoke for the target
    control    the mean drop when as many patches of the background were taken away, and
    low, high  the range of the middle 95 % of these draws
    p          two-sided: twice the smaller share of draws on either side of `drop`, itself counted as one of them
    draws      how many draws that were

    Without a patch of its own an object cannot be taken away: `drop` and the rest are NaN. Where the background has too
    few patches for as many to be drawn in more than one way, there is no control: that is NaN, and `draws` 0.
    """

    object: int
    patches: int
    drop: float
    control: float
    low: float
    high: float
    p: float
    draws: int

    @property
    def excess(self) -> float:
        """What the object costs beyond as many patches of the background."""
        return self.drop - self.control


def dependence(
    trace: Trace,
    objects: Sequence[Mask],
    draws: int = 99,
    fill: AnyFill = "drop",
    least: float = LEAST,
    control: Control = "scattered",
    shown: Bool[Tensor, "b H W"] | None = None,
) -> list[list[Dependence]]:
    """Take each object of each image away, the others staying, and hold the drop of the score against a control.

    objects  for each image its objects, Bool "k H W" on the pixels of the model's input
    draws    random sets of background patches for each object, as many in each as the object has; they differ from each
             other, and are fixed by the trace's seed, the image and the number of the object
    fill     what is seen instead: "drop" nothing at all, by leaving tokens out; for models that cannot, "mean", "blur",
             "black", "grey" or "impute"
    least    share of a patch that an object has to cover. A patch belongs to the object that covers most of it; the
             background is of patches that no object touches
    control  "scattered" draws single patches of the background; "moved" lays the object's patches, together, where all
             of them are background, at as many places as there are, up to `draws` of them
    shown    the pixels of the model's input that show the photograph, if some are padding: to take padding away costs
             little, and would make a control that is too easy to beat. A patch with less than half of its pixels shown
             is no background, and no control is drawn from it. None for all pixels

    "Depends on" is meant causally, of this model and of this way of taking away: the score is what the model gives
    without these patches. It does not say what it would have given had the object never stood there, since what it hid
    is not shown; nor is the drop shared out: of two objects that tell the same neither is missed. Objects are compact
    and scattered patches are not, which a model may take differently; in a full image "moved" finds few places or none,
    and p cannot be small. A small p is no large effect: in the 60 packaged scenes, whose model was shown them without
    each thing as well, that moves the score by more than 0.1 for 28 of 323 things beside the target; p is at most 0.05
    for 256 of them with 39 scattered draws, and for 63 of the 307 that can be moved. Read the drop before p.

    Gives for each image a `Dependence` for each object. Costs (draws + 1) forward passes for each object, shorter by
    what is dropped. Raises InputError for masks of another size, `shown` among them, and MethodNotApplicableError where
    tokens cannot be dropped.
    """
    if draws < 1 or not 0 < least <= 1:
        raise InputError(f"draws={draws}, least={least}.", "Give at least one draw, and a share in (0, 1].")
    if control not in get_args(Control):
        raise InputError(f"control={control!r} is unknown.", "Use 'scattered' or 'moved'.")
    check_objects(trace, objects)
    seen = check_shown(trace, shown)
    draw = _scattered if control == "scattered" else _moved
    sets, owner, plans = [], [], []
    for image, masks in enumerate(objects):
        mine, background = own_patches(trace, masks, least, seen[image])
        for number, patches in enumerate(mine):
            wanted = int(patches.sum())
            drawn = background[None][:0]
            if wanted:
                generator = trace.generators("dependence", control, str(number))[image]
                drawn = draw(trace, patches, background, draws, generator)
            taken = torch.cat([patches[None], drawn]) if wanted else drawn
            plans.append((image, number, wanted, len(taken)))
            sets.append(~taken)
            owner += [image] * len(taken)
    found: list[list[Dependence]] = [[] for _ in objects]
    if not owner:
        scores = torch.zeros(0, dtype=torch.float64)
    else:
        scores = _scores(trace, torch.tensor(owner), torch.cat(sets), fill)
    whole = trace.score.detach().cpu().double()
    start = 0
    for image, number, wanted, count in plans:
        drops = whole[image] - scores[start : start + count]
        start += count
        found[image].append(_judged(number, wanted, drops))
    return found


def own_patches(
    trace: Trace, masks: Mask, least: float = LEAST, shown: Bool[Tensor, "H W"] | None = None
) -> tuple[Bool[Tensor, "k p"], Bool[Tensor, " p"]]:
    """Give the patches of each object, none of them shared, and those of the background, which no object touches.

    shown  pixels that are no padding, as for `dependence` and of one image
    """
    shares = patch_shares(trace, masks)
    background = shares.sum(0) == 0
    if shown is not None:
        background &= patch_shares(trace, shown[None])[0] >= 0.5
    if not len(shares):
        return shares.bool(), background
    largest, whose = shares.max(0)
    numbers = torch.arange(len(shares))[:, None]
    return (whose == numbers) & (largest >= least), background


def _scattered(
    trace: Trace, patches: Bool[Tensor, " p"], background: Bool[Tensor, " p"], draws: int, generator: torch.Generator
) -> Bool[Tensor, "m p"]:
    """Draw different sets of as many background patches; none if there are not two of them."""
    del trace
    places, wanted = background.nonzero()[:, 0], int(patches.sum())
    found: dict[tuple[int, ...], None] = {}
    if len(places) > wanted:
        for _ in range(10 * draws):  # of few patches there may be fewer sets than were asked for
            order = torch.randperm(len(places), generator=generator)[:wanted]
            found[tuple(sorted(places[order].tolist()))] = None
            if len(found) == draws:
                break
    sets = torch.zeros(len(found), len(background), dtype=torch.bool)
    for row, chosen in enumerate(found):
        sets[row, list(chosen)] = True
    return sets


def _moved(
    trace: Trace, patches: Bool[Tensor, " p"], background: Bool[Tensor, " p"], draws: int, generator: torch.Generator
) -> Bool[Tensor, "m p"]:
    """Lay the shape wherever all of it is background; draw among these places if there are more than `draws`."""
    _, places = shape_places(patches.double().reshape(trace.vit.grid))
    fits = places.bool()[(places.bool() & ~background).sum(1) == 0]
    return fits[torch.randperm(len(fits), generator=generator)[:draws]]


def _scores(trace: Trace, owner: Tensor, keep: Bool[Tensor, "m p"], fill: AnyFill) -> Float[Tensor, " m"]:
    """Score sets of patches by the target of the image that each is of, in float64 on the CPU."""

    def read(logits: Tensor, of: Tensor) -> Tensor:
        return trace.target.select(of).score(logits)

    return read_sets(trace, owner, keep, fill, read).detach().cpu().double()


def _judged(number: int, patches: int, drops: Float[Tensor, " m"]) -> Dependence:
    """Hold the first drop, the object's, against those of the draws."""
    nan = float("nan")
    if not patches:
        return Dependence(number, 0, nan, nan, nan, nan, nan, 0)
    own, others = drops[0], drops[1:]
    if not len(others):
        return Dependence(number, patches, float(own), nan, nan, nan, nan, 0)
    slack = 1e-6 * float(drops.abs().max())
    above, below = int((others >= own - slack).sum()), int((others <= own + slack).sum())
    low, high = torch.quantile(others, torch.tensor([0.025, 0.975], dtype=others.dtype)).tolist()
    p = min(1.0, 2 * (1 + min(above, below)) / (1 + len(others)))
    return Dependence(number, patches, float(own), float(others.mean()), low, high, p, len(others))
