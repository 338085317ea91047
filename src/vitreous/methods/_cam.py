"""What the CAM family shares: features and gradients at what enters the attention of a block, combined, of one or all.

Later features would not do: after the last attention a class token's logit no longer depends on patch
tokens, and their gradient is exactly zero. pytorch-grad-cam advises the same place for ViTs.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import captured
from vitreous.vit.trace import Trace

Channels: TypeAlias = Float[Tensor, "b d p"]
"""Channels of each image at its patches, prefix and suffix tokens left out."""

Flat: TypeAlias = Float[Tensor, "b p"]
Combine: TypeAlias = Callable[[Channels, Channels], Flat]


def combined(trace: Trace, block: int, plus: bool, relu: bool, combine: Combine) -> PatchMap:
    """Combine features and gradients of one block into a map, or those of each block into the sum of their maps.

    plus     sum over all blocks, and leave `block` aside
    relu     keep the positive part of each block's map, before the sum
    combine  makes a map "b p" of features and of their gradients, "b d p" each

    Raises InputError for a block outside the model or not captured, and MethodNotApplicableError where the
    input of an attention cannot be seen.
    """
    indices = block_indices(trace, block, plus)
    features, gradients = trace.attention_inputs, trace.attention_input_grad
    total = torch.zeros((), device=trace.logits.device)
    for index in indices:
        found = combine(channels(trace, features[index]), channels(trace, gradients[index]))
        total = total + (found.clamp(min=0) if relu else found)
    return total.reshape(-1, *trace.vit.grid)


def block_indices(trace: Trace, block: int, plus: bool) -> list[int]:
    """Where the block, or with `plus` each block of the model, is in the trace's sequences."""
    blocks = range(len(trace.vit.blocks)) if plus else [block]
    return [captured(trace, each) for each in blocks]


def channels(trace: Trace, tokens: Float[Tensor, "b n d"]) -> Channels:
    """Turn tokens into channels over patches, as convolutional layers have them."""
    return trace.patches(tokens.transpose(1, 2))
