"""Edges of the photograph: what an edge detector finds, without any model. A control.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", found that maps which look like an explanation may be little
more than this.
"""

import torch
import torch.nn.functional as F

from vitreous.core.shapes import Images, PatchMap, PixelMap
from vitreous.methods._method import method
from vitreous.vit.trace import Trace

_BRIGHTNESS = (0.2125, 0.7154, 0.0721)
"""Shares of red, green and blue in the brightness of a colour (ITU-R BT.709, rounded as in scikit-image)."""


@method(
    family="control",
    paper="arXiv:1810.03292",
    class_specific=False,
    signed=False,
    unit="change of brightness per pixel",
    cost="0F",
    gradient=False,
)
def edges(trace: Trace) -> PatchMap:
    """Average the magnitude of the brightness's gradient, by the Sobel operator, over the pixels of each patch.

    Brightness is that of the image in [0, 1] as the model's input shows it, before normalisation.

    Ignores model and target. Deviation from the paper, which names an edge detector without saying which: Sobel here.
    Pixels behind the last whole patch belong to none.
    """
    (rows, columns), (high, wide) = trace.vit.grid, trace.vit.patch
    slope = _gradient_magnitude(trace.images.double())[:, : rows * high, : columns * wide]
    return slope.reshape(-1, rows, high, columns, wide).mean((2, 4)).to(trace.logits)


def _gradient_magnitude(images: Images) -> PixelMap:
    """Length of the gradient by Sobel's kernels, scaled to brightness per pixel; the border is continued outwards.

    Written with slices, because a convolution on a GPU may round to ten bits.
    """
    shares = torch.tensor(_BRIGHTNESS, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    wider = F.pad((images * shares).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")[:, 0]
    down = (wider[:, 2:] - wider[:, :-2]) / 2
    across = (wider[:, :, 2:] - wider[:, :, :-2]) / 2
    down = (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 4
    across = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 4
    return torch.hypot(down, across)
