"""Transformer Input Sampling: how sure the model is when given some of the patches. Englebert et al. 2023."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._features import confidence
from vitreous.methods._method import method
from vitreous.vit.edits import dropped_logits
from vitreous.vit.trace import Trace

_ROUNDS = 100
"""Most rounds of k-means; it ends as soon as no channel changes its group."""


@method(
    family="perturbation",
    paper=None,
    class_specific=True,
    signed=True,
    unit="probability",
    cost="1F + 1F on half of the tokens for each mask",
    gradient=False,
    random=True,
    repeats=True,
)
def tis(trace: Trace, masks: int = 1024, keep: float = 0.5) -> PatchMap:
    """Average for each patch the confidence over all the sets of patches that it belongs to.

    From "Explaining through Transformer Input Sampling" (ICCV Workshops, NIVT 2023). The outputs of all blocks give
    one map on the patch grid for each block and channel; k-means groups these maps, and each group's mean is a mask:
    the patches of its largest values are kept, all others are dropped from the sequence, behind the position
    embedding. So nothing takes the place of what is not seen. Confidence is the softmax probability of the class.

    masks  groups of k-means, which start from that many maps picked at random. Where the model has no more maps than
           that, each is a mask by itself
    keep   share of the patches that each mask keeps, rounded down, at least one; 0 < keep <= 1

    Values lie around the confidence in half of the image: only differences from patch to patch mean something. A
    Contrast or an embedding has no probability, and is explained by its score. A patch of no mask gets 0, and a remark
    in the record counts these. Deviations: none known; tokens that are no patches are kept always, whatever they are.

    Raises InputError for numbers out of range, and MethodNotApplicableError where patches cannot be dropped.
    """
    if masks < 1 or not 0 < keep <= 1:
        raise InputError(f"tis got masks={masks} and keep={keep}.", "Expected masks >= 1 and 0 < keep <= 1.")
    patches = trace.vit.grid[0] * trace.vit.grid[1]
    columns = torch.cat([trace.patches(tokens.detach().transpose(1, 2)) for tokens in trace.tokens[1:]], 1)
    found = []
    for image, generator in enumerate(trace.generators("tis")):
        centres = _centres(columns[image].double(), masks, generator)
        seen = torch.zeros(centres.shape, dtype=torch.bool, device=centres.device)
        seen = seen.scatter(1, centres.topk(max(1, int(keep * patches)), dim=1).indices, value=True)
        scores = _confidences(trace, image, seen)
        member = seen.to(scores.dtype)
        coverage = member.sum(0)
        found.append(torch.where(coverage > 0, scores @ member / coverage, 0.0))
        if bool((coverage == 0).any()):
            trace.note(image, f"{int((coverage == 0).sum())} patches are in no mask and have relevance 0")
    trace.forwards += min(masks, columns.shape[1])
    return torch.stack(found).reshape(-1, *trace.vit.grid)


def _centres(points: Float[Tensor, "c p"], groups: int, generator: torch.Generator) -> Float[Tensor, "k p"]:
    """Group points by Lloyd's k-means, from some of them picked at random; a group left empty keeps its centre."""
    start = torch.randperm(len(points), generator=generator)[:groups]
    centres = points[start.to(points.device)]
    if groups >= len(points):
        return centres
    nearest: Tensor | None = None
    for _ in range(_ROUNDS):
        before, nearest = nearest, torch.cdist(points, centres).argmin(1)
        if before is not None and torch.equal(before, nearest):
            break
        member = torch.nn.functional.one_hot(nearest, len(centres)).to(points)
        count = member.sum(0)[:, None]
        centres = torch.where(count > 0, member.T @ points / count.clamp(min=1), centres)
    return centres


def _confidences(trace: Trace, image: int, seen: Bool[Tensor, "m p"]) -> Float[Tensor, " m"]:
    """Confidence in one image's target with only some patches seen, for each set of patches."""
    owner = torch.full((len(seen),), image)
    return confidence(trace, dropped_logits(trace.vit, trace.inputs.detach(), owner, seen), owner)
