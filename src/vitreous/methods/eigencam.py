"""Eigen-CAM: how the patches differ most from one another in the features of one block. Muhammad & Yeasin 2020."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._cam import Channels, Flat, block_indices, channels
from vitreous.methods._method import method
from vitreous.vit.trace import Trace

SYMMETRIC = 1e-4
"""Below this share of the third moment there is no lopsidedness to take a sign from, only rounding."""


@method(
    family="gradient",
    paper="arXiv:2008.00299",
    class_specific=False,
    signed=True,
    unit="feature, along the first principal direction",
    cost="1F",
    gradient=False,
    only_block="block",
)
def eigencam(trace: Trace, block: int = -1, centre: bool = True, plus: bool = False) -> PatchMap:
    """Project the features that enter the attention of `block` on their first right singular vector.

    Section III of the paper: F = U S V^T over patches and channels, and the map is F v_1. Looks at no class and
    no gradient: two classes give the same map.

    block   the block that is read, counted from 0, or from the end if negative
    centre  subtract each channel's mean over the patches first, as pytorch-grad-cam does, which makes v_1 the
            first principal component. False is the paper, where v_1 is mostly what all patches have in common
    plus    sum the maps of all blocks; `block` is then left aside. Not in the paper. The direction, and so the
            sign, of each block is a choice of its own, so blocks can cancel

    The sign of a singular vector is arbitrary. It is chosen here so that the cubes of the map add up to a
    positive number: the fewer patches that stand out by more are positive. That need not be the object. If
    the map is symmetric, the first patch that stands out most is positive. What share of the sum of squares
    v_1 holds is written into the map's record: where it is small, the direction means little. Prefix tokens
    are left out. Raises InputError for a block outside the model, and MethodNotApplicableError where the input
    of the attention cannot be seen.
    """
    inputs, blocks = trace.attention_inputs, block_indices(trace, block, plus)
    total = torch.zeros((), device=trace.logits.device)
    for index in blocks:
        found, shares = _project(channels(trace, inputs[index]), centre)
        total = total + found
        for image, share in enumerate(shares):
            trace.note(image, f"block {trace.first + index}: the first direction holds {share:.0%} of the features")
    return total.reshape(-1, *trace.vit.grid)


def _project(features: Channels, centre: bool) -> tuple[Flat, list[float]]:
    """Project patches on the first right singular vector, with its sign chosen; and its share in the squares."""
    patches = features.transpose(1, 2)
    patches = patches.to(torch.promote_types(patches.dtype, torch.float32))  # half precision has no SVD
    patches = patches - patches.mean(1, keepdim=True) if centre else patches
    _, strengths, directions = torch.linalg.svd(patches, full_matrices=False)
    projected = torch.matmul(patches, directions[:, 0, :, None])[..., 0]
    shares = strengths[:, 0].square() / strengths.square().sum(1).clamp(min=torch.finfo(strengths.dtype).tiny)
    return projected * _sign(projected)[:, None], shares.tolist()


def _sign(projected: Flat) -> torch.Tensor:
    """Give +1 or -1 for each image: the sign of the third moment, or of the patch that stands out most."""
    moment, size = projected.pow(3).sum(1), projected.abs().pow(3).sum(1)
    peak = projected.abs().amax(1, keepdim=True)
    first = (projected.abs() >= (1 - SYMMETRIC) * peak).int().argmax(1, keepdim=True)
    decisive = torch.where(moment.abs() > SYMMETRIC * size, moment, projected.gather(1, first)[:, 0])
    return torch.where(decisive < 0, -1.0, 1.0).to(projected.dtype)
