"""What methods share that cover an image with its own features: channels as masks, and the scores of covered images.

The features of a block are its patch tokens as they enter the attention, one map on the patch grid for each channel.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import captured
from vitreous.vit.trace import Trace


def feature_maps(trace: Trace, block: int) -> Float[Tensor, "b d p"]:
    """Give the channels of the patch tokens that enter the attention of `block`, behind its first norm.

    Raises InputError for a block outside the model, and MethodNotApplicableError where that cannot be seen.
    """
    return trace.patches(trace.attention_inputs[captured(trace, block)].detach().transpose(1, 2))


def over_blocks(
    trace: Trace, block: int, plus: bool, relu: bool, one: Callable[[int], Float[Tensor, "b p"]]
) -> PatchMap:
    """Give the map of one block, or the sum of those of all blocks.

    plus  sum over all blocks of the model, and leave `block` aside
    relu  keep the positive part of each block's map, before the sum
    one   makes the map of a block by its number
    """
    maps = [one(each) for each in (range(len(trace.vit.blocks)) if plus else [block])]
    kept = [each.clamp(min=0) if relu else each for each in maps]
    return sum(kept[1:], kept[0]).reshape(-1, *trace.vit.grid)


def pixel_masks(trace: Trace, maps: Float[Tensor, "b m p"]) -> Float[Tensor, "b m H W"]:
    """Bring maps on the patch grid to the size of the model's input, bilinearly, and each to the range 0 to 1."""
    size = tuple(trace.inputs.shape[2:])
    larger = F.interpolate(
        maps.reshape(*maps.shape[:2], *trace.vit.grid), size=size, mode="bilinear", align_corners=False
    )
    return between_0_and_1(larger.flatten(2)).reshape(larger.shape)


def between_0_and_1(rows: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """Shift and scale each row so that its smallest number is 0 and its largest 1; a constant row becomes zeros."""
    low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
    return (rows - low) / torch.where(high > low, high - low, 1.0)


def confidence(trace: Trace, logits: Float[Tensor, "m k"], owner: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Give the softmax probability of the class explained, for outputs of copies of the images `owner` of the batch.

    A Contrast, an embedding and an output that is no class have no probability: theirs is the score itself.
    """
    target = trace.target.select(owner)
    raw = target.score(logits)
    if not trace.vit.has_classes:
        return raw
    is_class = ((target.plus >= 0) & (target.minus < 0)).to(raw.device)
    return torch.where(is_class, target.score(logits.log_softmax(1)).exp(), raw)
