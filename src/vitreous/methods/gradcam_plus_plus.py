"""Grad-CAM++: Grad-CAM with positive gradients alone, each weighted by its share. Chattopadhyay et al. 2018."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._cam import Channels, Flat, combined
from vitreous.methods._method import method
from vitreous.vit.trace import Trace

OFFSET = 1e-6
"""Added to the divisor, as pytorch-grad-cam does."""


@method(
    family="gradient",
    paper="arXiv:1710.11063",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="weighted logit gradient x feature",
    cost="1F + backward of one block",
    inputs=True,
    only_block="block",
)
def gradcam_plus_plus(trace: Trace, block: int = -1, relu: bool = True, plus: bool = False) -> PatchMap:
    """Weigh the features of the patch tokens by their positive gradients, and those by their higher powers.

    Equations 10 and 19: w_k = sum(a_k (g_k)+) with a_k = g_k^2 / (2 g_k^2 + sum(F_k) g_k^3), sums over patches.
    The powers stand for second and third derivatives, as they would be if the score were an exponential.

    block  the block that is read, counted from 0, or from the end if negative
    relu   keep positive evidence alone, as the paper does; False gives the signed sum before it
    plus   sum the maps of all blocks, each behind its own ReLU; `block` is then left aside. Not in the paper,
           but in Mehri et al. (SkipPLUS, CVPR workshops 2024); needs a full backward

    Deviation: the gradient of the score itself is taken, not of its exponential, and 1e-6 is added to the
    divisor, both as in pytorch-grad-cam. Features of the paper are positive, behind a ReLU. Those of tokens
    have signs: where sum(F_k) g_k comes near -2 the divisor nearly vanishes, and one channel fills the map. It
    looks only at channels whose increase raises the score, so that a patch which counts by being low can be
    missed. Prefix tokens are left out. Raises InputError for a block outside the model, and
    MethodNotApplicableError where the input of the attention cannot be seen.
    """
    return combined(trace, block, plus, relu, _weigh)


def _weigh(features: Channels, gradient: Channels) -> Flat:
    """Weigh each channel by its positive gradients; where the gradient is zero, nothing is divided."""
    square = gradient.square()
    divisor = 2 * square + features.sum(-1, keepdim=True) * square * gradient + OFFSET
    share = torch.where(gradient != 0, square / divisor, 0)
    weights = (share * gradient.clamp(min=0)).sum(-1, keepdim=True)
    return (weights * features).sum(1)
