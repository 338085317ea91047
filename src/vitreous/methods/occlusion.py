"""Occlusion: how much the score falls when one patch is taken away. Zeiler & Fergus 2014, for patches."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.vit.coalitions import Fill, coalition_scores
from vitreous.vit.trace import Trace


@method(
    family="perturbation",
    paper="arXiv:1311.2901",
    class_specific=True,
    signed=True,
    unit="score lost without the patch",
    cost="patches x 1F",
    gradient=False,
    repeats=True,
)
def occlusion(trace: Trace, fill: Fill = "drop") -> PatchMap:
    """Take away each patch in turn, all others staying, and give the score before minus the score after.

    Positive where the patch speaks for the target. Ignores what patches do together: of two patches that say the same
    neither is missed, however much both are; `kernel_shap` shares that out.

    fill  what is seen instead of the patch: "drop" nothing at all, by leaving its token out; "mean" the image's mean
          colour; "blur" the blurred image; "black"

    Deviation: the paper slides a grey square over pixels; here it is a patch of the grid, which needs no step width,
    and by default nothing takes its place. Raises MethodNotApplicableError for models whose patches cannot be dropped.
    """
    rows, columns = trace.vit.grid
    others = ~torch.eye(rows * columns, dtype=torch.bool, device=trace.inputs.device)
    without = coalition_scores(trace, others.expand(len(trace.images), -1, -1), fill)
    return (trace.score.detach()[:, None] - without).reshape(-1, rows, columns)
