"""Score-CAM: features of one block, weighted by the score of the image seen through each of them. Wang et al. 2020."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._features import feature_maps, over_blocks, pixel_masks
from vitreous.methods._method import method
from vitreous.vit.coalitions import Fill, blended_scores
from vitreous.vit.trace import Trace

_AT_ONCE = 16
"""Channels whose masks are held at a time; only the memory depends on it."""


@method(
    family="gradient",
    paper="arXiv:1910.01279",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="feature, averaged over channels",
    cost="1F + 1F for each channel of each block read",
    gradient=False,
    only_block="block",
    repeats=True,
)
def score_cam(
    trace: Trace,
    block: int = -1,
    channels: int | None = None,
    fill: Literal["mean", "blur", "black"] = "black",
    relu: bool = True,
    plus: bool = False,
) -> PatchMap:
    """Add up the channels of the patch tokens, each with the softmax over channels of the score it lets through.

    Each channel is brought to the size of the image and to the range 0 to 1, and the image multiplied by it (eq. 4 to
    6 and algorithm 1). The paper subtracts the score of a baseline image, which the softmax takes out again.

    block     the block that is read, counted from 0, or from the end if negative: its patch tokens behind the first
              norm, as in `gradcam`
    channels  how many to use, of largest variance over the patches of each image; None uses all, as the paper does
    fill      what shows where a mask is 0. "black" is the paper's product. Its code multiplies normalised images, where
              nothing means the data set's mean colour; "mean" is the image's own, "blur" the image blurred
    relu      keep positive evidence alone, as the paper does; False gives the sum before it
    plus      sum the maps of all blocks, each with a softmax over its own channels and behind its own ReLU; `block` is
              then left aside. Not in the paper; after SkipPLUS (Mehri et al., CVPR workshops 2024). Each block costs
              what one does

    Ignores how evidence adds up: one channel lets the whole image through or little of it. Weights of a softmax over
    logits leave few channels, and often one. They are never zero, so the map shows something even where no channel
    matters. Deviations: patch tokens take the place of a convolution's feature map; the map stays on their grid.

    Raises InputError for a block outside the model or fewer than one channel, and MethodNotApplicableError where the
    input of the attention cannot be seen.
    """
    if channels is not None and channels < 1:
        raise InputError(f"score_cam got channels={channels}.", "Expected 1 or more, or None for all.")
    return over_blocks(trace, block, plus, relu, lambda each: _one(trace, each, channels, fill))


def _one(trace: Trace, block: int, channels: int | None, fill: Fill) -> Float[Tensor, "b p"]:
    """Make the map of one block, before the ReLU."""
    maps = feature_maps(trace, block)
    if channels is not None:
        liveliest = maps.var(2).topk(min(channels, maps.shape[1]), dim=1).indices
        maps = maps.gather(1, liveliest[:, :, None].expand(-1, -1, maps.shape[2]))
    scores = [
        blended_scores(trace, pixel_masks(trace, some), fill) for some in maps.chunk(-(-maps.shape[1] // _AT_ONCE), 1)
    ]
    weights = torch.cat(scores, 1).softmax(1).to(maps.dtype)
    return (weights[:, :, None] * maps).sum(1)
