"""Coalitions: what the score is when only some patches of an image are seen. All perturbation methods ask here.

One evaluator for all of them means that they mean the same by "not seen", and that each is as fast as batching and
token dropping allow. Memory is bounded whatever is asked, and the numbers do not depend on how it is cut up.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import Images, PerImage
from vitreous.vit.edits import dropped_logits, rows_per_pass, token_dropping
from vitreous.vit.impute import NOISE, imputed
from vitreous.vit.trace import Trace
from vitreous.vit.vit import finite_logits

Fill: TypeAlias = Literal["drop", "mean", "blur", "black"]
"""What takes the place of patches that are not seen: nothing ("drop", see `vit.edits`), the image's mean colour, the
image itself blurred by a Gaussian, or black."""

AnyFill: TypeAlias = Literal["drop", "mean", "blur", "black", "grey", "impute"]
"""Those, and two that metrics have from their papers: "grey", the colour that normalisation turns into zeros, and
"impute", noisy linear imputation from the pixels around (`vit.impute`). Of half-seen pixels the unseen half is so
filled, from pixels that are seen in full."""

BLUR = 1 / 8
"""Deviation of that Gaussian, as a share of the input's shorter side: 28 pixels of 224. It ends at three deviations,
and sees the image continued by its mirror image."""


Read: TypeAlias = Callable[[Float[Tensor, "m k"], Int[Tensor, " m"]], Tensor]
"""What to keep of the logits of some sets: given with them the image that each set is of. Gives a row for each."""


def coalition_scores(trace: Trace, keep: Bool[Tensor, "b m p"], fill: AnyFill = "drop") -> Float[Tensor, "b m"]:
    """Give the score of each image's own target with only the patches `keep` seen, for m sets of each image.

    Patches are counted row by row. Counts as m forward passes of the trace's batch. With "drop", each image's record
    remarks on how patches were dropped, and what proved it. Raises MethodNotApplicableError where patches of the model
    cannot be dropped.
    """
    images, sets, _ = keep.shape
    owner = torch.arange(images).repeat_interleave(sets)
    return read_sets(trace, owner, keep.flatten(0, 1), fill, partial(_target_score, trace)).reshape(images, sets)


def read_sets(trace: Trace, owner: Int[Tensor, " m"], keep: Bool[Tensor, "m p"], fill: AnyFill, read: Read) -> Tensor:
    """Run the model on sets of patches, set i of the batch's image `owner[i]`; keep what `read` makes of the logits.

    Otherwise as `coalition_scores`; images may have different numbers of sets, or none.
    """
    flat = keep.to(trace.inputs.device)
    if fill == "drop":
        trace.forwards += -(-len(owner) // len(trace.images))
        how = token_dropping(trace.vit).describe()
        for image in sorted(set(owner.tolist())):
            if how not in trace.notes[image]:
                trace.note(image, how)
        return read(dropped_logits(trace.vit, trace.inputs.detach(), owner, flat), owner)

    def blend(rows: Tensor) -> Images:
        return _blend(trace, owner[rows], patches_to_pixels(trace, flat[rows]), fill)

    return _through(trace, owner, blend, read)


def _target_score(trace: Trace, logits: Float[Tensor, "m k"], owner: Int[Tensor, " m"]) -> PerImage:
    return trace.target.select(owner).score(logits)


def blended_scores(trace: Trace, masks: Float[Tensor, "b m H W"], fill: AnyFill) -> Float[Tensor, "b m"]:
    """Give the score of each image seen through m soft masks: image * mask + fill * (1 - mask), in pixels.

    Raises InputError for fill="drop": half a token cannot be dropped.
    """
    return read_blended(trace, masks, fill, partial(_target_score, trace)).reshape(masks.shape[:2])


def read_blended(
    trace: Trace, masks: Float[Tensor, "b m H W"] | Bool[Tensor, "b m H W"], fill: AnyFill, read: Read
) -> Tensor:
    """Run the model on images seen through masks of pixels; keep what `read` makes of the logits, a row for each mask.

    Otherwise as `blended_scores`; a mask may be hard, and is then 1 where a pixel is seen.
    """
    if fill == "drop":
        raise InputError("Masks of pixels cannot be used with fill='drop'.", "Use fill='mean', 'blur' or 'black'.")
    images, sets = masks.shape[:2]
    owner = torch.arange(images).repeat_interleave(sets)
    flat = masks.flatten(0, 1)
    return _through(trace, owner, lambda rows: _blend(trace, owner[rows], flat[rows], fill), read)


def scores_of(trace: Trace, images: Float[Tensor, "m 3 H W"], owner: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Give the scores of changed images in [0, 1], each by the target of the image of the batch that it came from.

    owner  for each changed image the index of that image in the trace's batch
    """
    return _score(trace, owner.cpu(), lambda rows: trace.vit.prepare(images[rows.to(images.device)]))


def logits_of(trace: Trace, images: Float[Tensor, "m 3 H W"], owner: Int[Tensor, " m"]) -> Float[Tensor, "m k"]:
    """Give all outputs for changed images in [0, 1], from which the score of any target can be read.

    owner  for each changed image the index of the image of the trace's batch that it came from
    """

    def make(rows: Tensor) -> Images:
        return trace.vit.prepare(images[rows.to(images.device)])

    return _through(trace, owner.cpu(), make, lambda logits, _owner: logits)


def filling(trace: Trace, fill: AnyFill) -> Images:
    """Give what takes the place of unseen pixels whichever they are, as normalised inputs "b 3 H W"; see `AnyFill`."""
    inputs = trace.inputs.detach()
    made: dict[str, Callable[[], Images]] = {
        "mean": lambda: inputs.mean((2, 3), keepdim=True).expand_as(inputs),
        "blur": lambda: _blurred(inputs),
        "black": lambda: trace.vit.prepare(torch.zeros_like(trace.images[:1])).expand_as(inputs),
        "grey": lambda: torch.zeros_like(inputs),
    }
    if fill not in made:
        raise InputError(f"fill={fill!r} gives no pixels.", "Use 'mean', 'blur' or 'black'.")
    return trace.once(("filling", fill), made[fill])


def patches_to_pixels(trace: Trace, keep: Bool[Tensor, "m p"]) -> Float[Tensor, "m H W"]:
    """Turn sets of patches into masks of the model's input, 1 where a patch is kept; each pixel is of one patch.

    What lies beyond the last whole patch is seen by none, and kept.
    """
    (high, wide), (height, width) = trace.vit.patch, trace.inputs.shape[2:]
    grid = keep.reshape(-1, *trace.vit.grid).to(trace.inputs.dtype)
    spread = grid.repeat_interleave(high, 1).repeat_interleave(wide, 2)
    return F.pad(spread, (0, width - spread.shape[2], 0, height - spread.shape[1]), value=1.0)


def _blend(trace: Trace, owner: Tensor, masks: Tensor, fill: AnyFill) -> Images:
    """Mix images with their filling: row i is of image `owner[i]`, seen through mask i."""
    inputs = trace.inputs.detach()
    owner = owner.to(inputs.device)
    masks = masks.to(inputs)[:, None]
    filled = _imputed(trace, owner, masks[:, 0] == 1) if fill == "impute" else filling(trace, fill)[owner]
    return inputs[owner] * masks + filled * (1 - masks)


def _imputed(trace: Trace, owner: Int[Tensor, " m"], known: Bool[Tensor, "m H W"]) -> Images:
    """Fill each image in from its known pixels, with its own noise, which is the same for all sets of an image.

    The noise is drawn from the image's seed: so neither the batch nor the method matters to it.
    """
    inputs = trace.inputs.detach()

    def draw() -> Images:
        drawn = [torch.randn(inputs.shape[1:], generator=each, dtype=torch.float64) for each in trace.generators(NOISE)]
        return torch.stack(drawn)

    noise = trace.once(("noise of imputation",), draw)
    pairs = zip(owner.tolist(), known.cpu(), strict=True)
    filled = [imputed(inputs[image].double().cpu(), seen, noise[image]) for image, seen in pairs]
    return torch.stack(filled).to(inputs)


def _score(trace: Trace, owner: Tensor, make: Callable[[Tensor], Images]) -> PerImage:
    """Score inputs by the targets of the images that they are of; see `_through`."""
    return _through(trace, owner, make, partial(_target_score, trace))


def _through(trace: Trace, owner: Tensor, make: Callable[[Tensor], Images], read: Read) -> Tensor:
    """Run inputs that are made when they are needed: `make` is given the numbers of the rows of one pass."""
    trace.forwards += -(-len(owner) // len(trace.images))
    found = []
    for rows in torch.arange(len(owner)).chunk(-(-len(owner) // rows_per_pass(trace.vit))):
        with torch.no_grad():
            logits = finite_logits(trace.vit.body.forward(make(rows)))
        found.append(read(logits, owner[rows]))
    return torch.cat(found)


def _blurred(inputs: Images) -> Images:
    """Blur along rows, then along columns; in single precision at least."""
    deviation = BLUR * min(inputs.shape[2:])
    reach = int(3 * deviation)
    steps = torch.arange(-reach, reach + 1, device=inputs.device).to(torch.promote_types(inputs.dtype, torch.float32))
    kernel = torch.exp(-0.5 * (steps / deviation) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    mirrored = F.pad(inputs.to(kernel.dtype), (reach,) * 4, mode="reflect")
    across = F.conv2d(mirrored, kernel, groups=3)
    return F.conv2d(across, kernel.transpose(2, 3), groups=3).to(inputs.dtype)
