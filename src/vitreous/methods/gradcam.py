"""Grad-CAM: features of one block, weighted by how much their average raises the score. Selvaraju et al. 2017."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import captured, method
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
def gradcam(trace: Trace, block: int = -1, relu: bool = True) -> PatchMap:
    """Weigh the features of the patch tokens by their spatially averaged gradient and add them up (eq. 1 and 2).

    The features are those that enter the attention of `block`, behind its first norm. Later features would
    not do: after the last attention a class token's logit no longer depends on patch tokens, and their
    gradient is exactly zero.

    block  the block that is read, counted from 0, or from the end if negative
    relu   keep positive evidence alone, as the paper does; False gives the signed sum before it

    Deviation: the paper is about convolutional layers; patch tokens on their grid take the place of the
    feature map, and class, distillation and register tokens are left out. Raises InputError for a block
    outside the model, and MethodNotApplicableError where the input of the attention cannot be seen.
    """
    index = captured(trace, block)
    features = trace.patches(trace.attention_inputs[index].transpose(1, 2))
    gradient = trace.patches(trace.attention_input_grad[index].transpose(1, 2))
    weights = gradient.mean(-1, keepdim=True)
    cam = (weights * features).sum(1)
    cam = cam.clamp(min=0) if relu else cam
    return cam.reshape(-1, *trace.vit.grid)
