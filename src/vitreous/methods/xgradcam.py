"""XGrad-CAM: Grad-CAM whose weights keep what each channel contributes in all. Fu et al. 2020."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._cam import Channels, Flat, combined
from vitreous.methods._method import method
from vitreous.vit.trace import Trace

OFFSET = 1e-7
"""Added to the divisor, as pytorch-grad-cam does."""


@method(
    family="gradient",
    paper="arXiv:2008.02312",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="logit gradient x feature",
    cost="1F + backward of one block",
    inputs=True,
    only_block="block",
)
def xgradcam(trace: Trace, block: int = -1, relu: bool = True, plus: bool = False, absolute: bool = False) -> PatchMap:
    """Weigh the features of the patch tokens by their gradient, averaged over patches with the features as weights.

    Equation 8: a_k = sum(g_k F_k) / sum(F_k), so that each channel adds to the map what gradient times
    feature adds up to over the patches. Without ReLU the map's sum is thus that of `hirescam`.

    block     the block that is read, counted from 0, or from the end if negative
    relu      keep positive evidence alone, as the authors' code does; False gives the signed sum before it
    plus      sum the maps of all blocks, each behind its own ReLU; `block` is then left aside. Not in the paper,
              but in Mehri et al. (SkipPLUS, CVPR workshops 2024); needs a full backward
    absolute  average the gradient with the features' sizes |F_k| as weights: a_k = sum(g_k |F_k|) / sum(|F_k|), as
              the official code of LibraGrad (Mehri et al., CVPR 2025) does. No divisor is then near zero and no
              weight larger than the largest gradient, but the sum over the map is no longer that of `hirescam`

    Deviation: features of the paper are positive, behind a ReLU. Those of tokens have signs, and a channel
    whose sum is nearly zero gets a huge weight: its ups and downs then fill the map, while they cancel in
    the sum; `absolute` is a way out. 1e-7 is added to the divisor, as in pytorch-grad-cam; a channel that is
    zero throughout weighs nothing. Prefix tokens are left out. Raises InputError for a block outside the model,
    and MethodNotApplicableError where the input of the attention cannot be seen.
    """
    return combined(trace, block, plus, relu, _weigh_by_size if absolute else _weigh)


def _weigh(features: Channels, gradient: Channels) -> Flat:
    """Weigh each channel so that its sum over patches is kept."""
    kept = (gradient * features).sum(-1, keepdim=True)
    return (kept / (features.sum(-1, keepdim=True) + OFFSET) * features).sum(1)


def _weigh_by_size(features: Channels, gradient: Channels) -> Flat:
    """Weigh each channel by its mean gradient, in which a patch counts by the size of its feature."""
    sizes = features.abs()
    weights = (gradient * sizes).sum(-1, keepdim=True) / (sizes.sum(-1, keepdim=True) + OFFSET)
    return (weights * features).sum(1)
