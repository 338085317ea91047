"""LayerCAM: features weighted at each patch by the gradients that would raise the score. Jiang et al. 2021."""

from typing import Literal

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._cam import Channels, Flat, combined
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper=None,
    class_specific=True,
    signed=lambda parameters: not parameters["relu"] and parameters["positive"] == "gradient",
    unit="logit gradient x feature",
    cost="1F + backward of one block",
    inputs=True,
    only_block="block",
)
def layercam(
    trace: Trace,
    block: int = -1,
    relu: bool = True,
    positive: Literal["gradient", "product"] = "gradient",
    plus: bool = False,
) -> PatchMap:
    """Weigh the features that enter the attention of `block` by the positive part of their gradient, patch by patch.

    From "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions on Image
    Processing 30 (2021), eq. 5 and 6; its scaling and its fusion of layers by maxima are left out.

    block     the block that is read, counted from 0, or from the end if negative
    relu      keep positive evidence alone, as the paper does; False gives the sum before it
    positive  what is cut at zero in each channel: the "gradient", as in the paper, or the "product" of gradient
              and feature, which pytorch-grad-cam calls element-wise Grad-CAM and which is never negative
    plus      sum the maps of all blocks, each behind its own ReLU; `block` is then left aside. Not in the
              paper, but in Mehri et al. (SkipPLUS, CVPR workshops 2024); needs a full backward

    Deviation: the paper's features are behind a ReLU, so that a positive gradient means positive evidence.
    Tokens have signs, and "gradient" drops what a negative feature with a negative gradient adds to the score.
    Raises InputError for a block outside the model or another `positive`, and MethodNotApplicableError where
    the input of the attention cannot be seen.
    """
    choices = {"gradient": _by_gradient, "product": _by_product}
    if positive not in choices:
        raise InputError(f"layercam got positive={positive!r}.", "Use 'gradient' or 'product'.")
    return combined(trace, block, plus, relu, choices[positive])


def _by_gradient(features: Channels, gradient: Channels) -> Flat:
    """Let only gradients that are positive weigh."""
    return (gradient.clamp(min=0) * features).sum(1)


def _by_product(features: Channels, gradient: Channels) -> Flat:
    """Let only products that are positive count."""
    return (gradient * features).clamp(min=0).sum(1)
