"""Grad-CAM: features of one block, weighted by how much their average raises the score. Selvaraju et al. 2017."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._cam import Channels, Flat, combined
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper="arXiv:1610.02391",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="logit gradient x feature",
    cost="1F + backward of one block",
    inputs=True,
    only_block="block",
)
def gradcam(trace: Trace, block: int = -1, relu: bool = True, plus: bool = False) -> PatchMap:
    """Weigh the features of the patch tokens by their spatially averaged gradient and add them up (eq. 1 and 2).

    The features are those that enter the attention of `block`, behind its first norm. Later features would
    not do: after the last attention a class token's logit no longer depends on patch tokens, and their
    gradient is exactly zero.

    block  the block that is read, counted from 0, or from the end if negative
    relu   keep positive evidence alone, as the paper does; False gives the signed sum before it
    plus   sum the maps of all blocks, each behind its own ReLU; `block` is then left aside. Not in the paper:
           Grad-CAM+ of Mehri et al. (SkipPLUS, CVPR workshops 2024), which needs a full backward

    Deviation: the paper is about convolutional layers; patch tokens on their grid take the place of the
    feature map, and class, distillation and register tokens are left out. Raises InputError for a block
    outside the model, and MethodNotApplicableError where the input of the attention cannot be seen.
    """
    return combined(trace, block, plus, relu, _weigh)


def _weigh(features: Channels, gradient: Channels) -> Flat:
    """Weigh each channel by the mean of its gradient over the patches."""
    return (gradient.mean(-1, keepdim=True) * features).sum(1)
