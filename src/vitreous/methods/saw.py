"""Self-attention weighted: every block's attention times its gradient, added up over the blocks."""

from typing import Literal

import torch

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of, of_blocks, one_head
from vitreous.methods._method import method
from vitreous.methods._reading import weigh_rows
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper=None,
    class_specific=True,
    signed=True,
    unit="logit gradient x attention",
    cost="1F1B",
    block_range=("first", "last"),
)
def saw(
    trace: Trace,
    weights: Literal["equal", "gradient"] = "equal",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Add up E_h[A_l * dA_l] over the blocks l, each with a weight alpha_l; the weights sum to 1.

    A_SAW = sum_l alpha_l E_h[A_l * dA_l], in the row that the prediction reads; E_h is the mean over heads.

    weights      "equal" gives every block the same alpha_l; "gradient" the block's share in the sum over blocks of
                 the mean absolute dA_l in that row, image by image
    head         the only head that is read in each block, its dA_l included, counted from 0, or from the end if
                 negative; None averages them all
    first, last  the blocks that are added up and share the weights, both included, counted likewise
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    A method of this name is in a paper of ICIP 2022 by Mallick, Benois-Pineau and Zemmari, whose exact definition is
    not public. This follows summaries of it; alpha_l is a choice made here, and no claim is made that the maps are
    the paper's.

    Signed, without a ReLU. Ignores values and MLPs, except through the gradient. Models without a class token: rows
    are averaged as the head reads them. Raises InputError for other weights, and for blocks
    or a head outside the model.
    """
    if weights not in {"equal", "gradient"}:
        raise InputError(f"saw got weights={weights!r}.", "Use 'equal' or 'gradient'.")
    rows = trace.readout.rows
    blocks, matrices = attention_between(trace, first, last, head)
    gradients = [one_head(gradient, head)[:, :, rows] for gradient in of_blocks(trace, blocks, trace.attention_grad)]
    alpha = torch.stack([gradient.abs().mean((1, 2, 3)) for gradient in gradients])
    if weights == "equal":
        alpha = torch.ones_like(alpha)
    alpha = alpha / alpha.sum(0).clamp(min=torch.finfo(alpha.dtype).tiny)
    total = torch.zeros((), device=trace.logits.device)
    for share, attention, gradient in zip(alpha, matrices, gradients, strict=True):
        total = total + share[:, None] * weigh_rows(trace, attention[:, :, rows] * gradient).mean(1)
    return map_of(trace, total, blocks, outliers)
