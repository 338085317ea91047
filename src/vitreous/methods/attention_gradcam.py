"""Attention Grad-CAM: the last block's attention heads, weighted by their gradient. Baseline of Chefer et al. 2021."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, map_of, one_head
from vitreous.methods._method import captured, method
from vitreous.methods._reading import read_rows
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper="arXiv:2012.09838",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="logit gradient x attention",
    cost="1F + backward of one block",
    only_block="block",
)
def attention_gradcam(
    trace: Trace, block: int = -1, relu: bool = True, head: int | None = None, outliers: Outliers = "keep"
) -> PatchMap:
    """Weigh each head's class-token row by the mean gradient of that row over the patches, and average the heads.

    Grad-CAM with attention heads as channels, as its authors' comparison defines it (section 4).

    block     the block that is read, counted from 0, or from the end if negative
    relu      keep positive evidence alone, as published; False gives the signed average before it
    head      the only head that is read, counted from 0, or from the end if negative; None averages them all
    outliers  "mask" replaces the values of patches whose token has an outlying norm where the block takes it
              in by the median of their neighbours, see `vit.outliers`; "keep" does not

    With `relu` the map can be zero everywhere: it is then flagged as uninformative. Ignores all blocks but
    `block`. In models without a class token the rows are averaged as the head reads them. Raises InputError
    for a block or head outside the model.
    """
    index = captured(trace, block)
    attention = read_rows(trace, one_head(trace.attention[index], head))
    gradient = trace.patches(read_rows(trace, one_head(trace.attention_grad[index], head)))
    weights = gradient.mean(-1, keepdim=True)
    cam = (weights * attention).mean(1)
    cam = cam.clamp(min=0) if relu else cam
    here = trace.first + index
    return map_of(trace, cam, range(here, here + 1), outliers)
