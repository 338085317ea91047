"""HiResCAM: gradient times feature at each patch by itself, added up over channels. Draelos & Carin 2020."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._cam import Channels, Flat, combined
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper="arXiv:2011.08891",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="logit gradient x feature",
    cost="1F + backward of one block",
    inputs=True,
    only_block="block",
)
def hirescam(trace: Trace, block: int = -1, relu: bool = False, plus: bool = False) -> PatchMap:
    """Multiply the features that enter the attention of `block` by their gradient, and add up the channels.

    Unlike Grad-CAM, no gradient is averaged over patches, so evidence stays at the patch where it is.

    block  the block that is read, counted from 0, or from the end if negative
    relu   keep positive evidence alone. The paper does not; pytorch-grad-cam does
    plus   sum the maps of all blocks, each behind its ReLU if there is one; `block` is then left aside. Not in
           the paper, but in Mehri et al. (SkipPLUS, CVPR workshops 2024); needs a full backward

    The paper's guarantee, that the map shows what the model used, holds where a single linear layer follows.
    Here attention and MLP follow, and the map is their first-order expansion. Prefix tokens are left out.
    Raises InputError for a block outside the model, and MethodNotApplicableError where the input of the
    attention cannot be seen.
    """
    return combined(trace, block, plus, relu, _multiply)


def _multiply(features: Channels, gradient: Channels) -> Flat:
    """Add up the products over channels."""
    return (gradient * features).sum(1)
