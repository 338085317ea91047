"""RISE: how much better random partial views score when they show a patch. Petsiuk et al. 2018 (BMVC)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.vit.coalitions import Fill, blended_scores, coalition_scores
from vitreous.vit.trace import Trace

TOGETHER = 64
"""Masks of pixels that are held at a time, for each image: at 224 x 224 pixels 12 MiB."""


@method(
    family="perturbation",
    paper="arXiv:1806.07421",
    class_specific=True,
    signed=True,
    unit="score of views with the patch above the mean",
    cost="masks x 1F",
    gradient=False,
    random=True,
    repeats=True,
)
def rise(trace: Trace, masks: int = 1000, shown: float = 0.5, cells: int = 7, fill: Fill = "drop") -> PatchMap:
    """Show the model random parts of the image; average the scores of those with a patch, less the mean of all.

    With pixels filled in, masks are those of section 3.2: a random grid of cells, enlarged bilinearly and shifted by up
    to one cell. A patch then counts by the mean of the mask over its pixels. Ignores interactions, and its error falls
    only as 1 / sqrt(masks).

    masks  how many random views of each image; the paper has 4,000 and 8,000
    shown  probability that a cell or patch is shown, 0 < shown < 1
    cells  cells along each side of the random grid; not used by fill="drop"
    fill   what is seen in place of hidden parts, see `occlusion`. "drop" leaves tokens out and runs about twice as fast

    Deviations: with "drop", each patch is shown or not by itself, since a token cannot be dropped by half. Sums are
    divided by how much each patch was really shown instead of its expectation, `shown` times `masks` (eq. 6), and the
    mean of all scores is subtracted, which the order of patches does not feel: zero then means that the patch makes no
    difference, and a score that never changes gives zeros. A patch that was never shown gets zero. The score is the
    target's logit instead of its probability. Raises InputError for numbers out of range.
    """
    if masks < 1 or not 0 < shown < 1 or cells < 1:
        raise InputError(
            f"rise got masks={masks}, shown={shown} and cells={cells}.",
            "Expected masks and cells of at least 1, and 0 < shown < 1.",
        )
    seen, scores = (_subsets if fill == "drop" else _windows)(trace, masks, shown, cells, fill)
    seen, scores = seen.cpu().double(), scores.detach().cpu().double()
    above = torch.einsum("bm,bmp->bp", scores - scores.mean(1, keepdim=True), seen)
    coverage = seen.sum(1)
    relevance = torch.where(coverage > 0, above / coverage, 0)
    return relevance.to(trace.logits).reshape(-1, *trace.vit.grid)


def _subsets(trace: Trace, masks: int, shown: float, _cells: int, fill: Fill) -> tuple[Tensor, Tensor]:
    """Draw sets of patches and score them: "b m p", and "b m"."""
    patches = trace.vit.grid[0] * trace.vit.grid[1]
    drawn = [torch.rand(masks, patches, generator=generator) < shown for generator in trace.generators("rise")]
    keep = torch.stack(drawn)
    return keep, coalition_scores(trace, keep, fill)


def _windows(trace: Trace, masks: int, shown: float, cells: int, fill: Fill) -> tuple[Tensor, Tensor]:
    """Draw masks of pixels and score them: how much each shows of each patch, "b m p", and "b m".

    A few masks at a time, since a thousand of them would be as large as a thousand images.
    """
    generators, seen, scores = trace.generators("rise"), [], []
    for first in range(0, masks, TOGETHER):
        count = min(TOGETHER, masks - first)
        drawn = torch.stack([_pixel_masks(trace, count, shown, cells, generator) for generator in generators])
        scores.append(blended_scores(trace, drawn, fill))
        seen.append(F.adaptive_avg_pool2d(drawn, trace.vit.grid).flatten(2))
    return torch.cat(seen, 1), torch.cat(scores, 1)


def _pixel_masks(
    trace: Trace, count: int, shown: float, cells: int, generator: Generator
) -> Float[Tensor, "count H W"]:
    """Draw grids of cells, enlarge them to one cell more than the image, and cut the image's size out at random.

    A cell is as many pixels wide as the image divided by `cells`, rounded up. Drawn on the CPU, in this order: all
    cells of all masks, then how far each is shifted down, then across.
    """
    height, width = trace.images.shape[2:]
    down, across = -(-height // cells), -(-width // cells)
    grids: Bool[Tensor, "count 1 cells cells"] = torch.rand(count, 1, cells, cells, generator=generator) < shown
    tops = torch.randint(0, down + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(0, across + 1, (count,), generator=generator).tolist()
    kind = torch.promote_types(trace.inputs.dtype, torch.float32)
    size = ((cells + 1) * down, (cells + 1) * across)
    large = F.interpolate(grids.to(kind), size=size, mode="bilinear", align_corners=False)[:, 0]
    cut = [mask[top : top + height, left : left + width] for mask, top, left in zip(large, tops, lefts, strict=True)]
    return torch.stack(cut)
