"""Sets of patches and what the model answers to them. Metrics that ask about the same set share its forward pass."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitreous.metrics._case import Case
from vitreous.vit.coalitions import AnyFill, read_blended, read_sets
from vitreous.vit.trace import Trace

Sets = Bool[Tensor, "b m p"]


class Answers(NamedTuple):
    """What the model answers to m sets of patches of each image, in float64 on the CPU.

    score        of the image's target: a logit, a difference of two, or the length along a direction
    probability  of the target's class, by softmax over all outputs; NaN for a target that is no single class
    predicted    the class with the largest logit
    """

    score: Float[Tensor, "b m"]
    probability: Float[Tensor, "b m"]
    predicted: Int[Tensor, "b m"]

    def of(self, quantity: str) -> Float[Tensor, "b m"]:
        """Give the score for "logit" and the probability for "probability"."""
        return self.probability if quantity == "probability" else self.score


def answers(case: Case, keep: Sets, fill: AnyFill = "drop") -> Answers:
    """Ask the model about images of which only the patches `keep` are seen, with `fill` in place of the others.

    What was asked before in the same trace, by any metric about any method's map, is not computed again; nor is the
    unchanged image, whose answer is the trace's own.
    """
    images, sets, patches = keep.shape
    known = case.trace.once(("answers", fill), lambda: _unchanged(case.trace, patches))
    names = [_packed(each) for each in keep]
    new = [
        (image, place)
        for image in range(images)
        for place in {name: place for place, name in enumerate(names[image]) if (image, name) not in known}.values()
    ]
    if new:
        owner = torch.tensor([image for image, _ in new])
        asked = torch.stack([keep[image, place] for image, place in new])
        found = read_sets(case.trace, owner, asked, fill, partial(_reduce, case.trace))
        known |= {(image, names[image][place]): row for (image, place), row in zip(new, found, strict=True)}
    rows = torch.stack([known[image, name] for image in range(images) for name in names[image]])
    rows = rows.reshape(images, sets, 3)
    return Answers(rows[..., 0], rows[..., 1], rows[..., 2].long())


def pixel_answers(
    trace: Trace, masks: Float[Tensor, "b m H W"] | Bool[Tensor, "b m H W"], fill: AnyFill = "black"
) -> Answers:
    """Ask about each image as seen through m masks of pixels, 1 where a pixel is seen. Nothing is remembered.

    Raises InputError for fill="drop": pixels are no tokens.
    """
    rows = read_blended(trace, masks, fill, partial(_reduce, trace)).reshape(*masks.shape[:2], 3)
    return Answers(rows[..., 0], rows[..., 1], rows[..., 2].long())


def whole_answers(trace: Trace) -> Answers:
    """Give what the trace itself answered to the unchanged images, as answers to one set of each."""
    rows = _reduce(trace, trace.logits, torch.arange(len(trace.images)))[:, None]
    return Answers(rows[..., 0], rows[..., 1], rows[..., 2].long())


def _unchanged(trace: Trace, patches: int) -> dict[tuple[int, bytes], Tensor]:
    """Begin what is known with the whole images."""
    owner = torch.arange(len(trace.images))
    rows = _reduce(trace, trace.logits, owner)
    (whole,) = _packed(torch.ones(1, patches, dtype=torch.bool))
    return {(image, whole): row for image, row in enumerate(rows)}


def _packed(sets: Bool[Tensor, "m p"]) -> list[bytes]:
    """Name each set by its bits."""
    return [row.tobytes() for row in np.packbits(sets.cpu().numpy(), axis=1)]


def _reduce(trace: Trace, logits: Float[Tensor, "m k"], owner: Int[Tensor, " m"]) -> Float[Tensor, "m 3"]:
    """Keep score, probability and predicted class, in float64: class numbers are exact in it."""
    logits = logits.detach()
    target = trace.target.select(owner)
    exact = logits.double().cpu()
    single = (target.plus >= 0) & (target.minus < 0)
    share = exact.softmax(1).gather(1, target.plus.cpu().clamp(min=0)[:, None])[:, 0]
    probability = torch.where(single.cpu(), share, torch.nan)
    return torch.stack([target.score(logits).double().cpu(), probability, exact.argmax(1).double()], 1)
