"""ViT-CX: how much more confident the model is where a group of features lets the image through. Xie et al. 2023."""

import torch
from jaxtyping import Float
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._features import between_0_and_1, confidence, feature_maps, pixel_masks
from vitreous.methods._method import method
from vitreous.vit.edits import rows_per_pass
from vitreous.vit.trace import Trace
from vitreous.vit.vit import finite_logits


@method(
    family="perturbation",
    paper="arXiv:2211.03064",
    class_specific=True,
    signed=True,
    unit="probability",
    cost="1F + 2F for each group of features",
    gradient=False,
    only_block="block",
    random=True,
    repeats=True,
)
def vit_cx(trace: Trace, block: int = -1, distance: float = 0.1, noise: float = 0.1) -> PatchMap:
    """Average over masks the effect of each mask, corrected for the noise outside it, where the mask lies.

    The masks are the channels of the patch tokens, brought to the size of the image and to the range 0 to 1. Those
    that look alike are added up and scaled again: section 4.1, agglomerative clustering by cosine distance with
    complete linkage. The causal score of a mask M is p(x M + e (1 - M)) - p(x + e (1 - M)) + p(x), with p the softmax
    probability of the class, x the normalised image and e noise; the map is its mean weighted by M (section 4.2).

    block     the block that is read, counted from 0, or from the end if negative: its patch tokens behind the first
              norm
    distance  largest cosine distance, 0 to 2, between two masks of one group
    noise     standard deviation of e, in units of the normalised image; 0 leaves its mean colour outside the mask

    A map of probabilities around p(x): only differences from patch to patch mean something. A Contrast or an embedding
    has no probability, and is explained by its score. The number of groups is remarked in the record.

    Deviation: the map stays on the patch grid, with each mask averaged over the pixels of a patch; the paper keeps
    pixels, which know no more. A patch that no mask shows gets 0.

    Raises InputError for numbers out of range or a block outside the model, and MethodNotApplicableError where the
    input of the attention cannot be seen.
    """
    if not 0 <= distance <= 2 or noise < 0:
        raise InputError(
            f"vit_cx got distance={distance} and noise={noise}.", "Expected 0 <= distance <= 2 and noise >= 0."
        )
    channels = feature_maps(trace, block)
    found = []
    for image, generator in enumerate(trace.generators("vit_cx")):
        masks = _grouped(pixel_masks(trace, channels[image : image + 1])[0], distance)
        scores = _causal_scores(trace, image, masks, noise, generator)
        shown = torch.nn.functional.interpolate(masks[:, None], size=trace.vit.grid, mode="area")[:, 0]
        total, coverage = torch.einsum("m,mhw->hw", scores.to(shown), shown), shown.sum(0)
        found.append(torch.where(coverage > 0, total / coverage, 0.0))
        trace.note(image, f"{len(channels[image])} channels made {len(masks)} groups")
        trace.forwards += -(-2 * len(masks) // len(channels))
    return torch.stack(found)


def _grouped(masks: Float[Tensor, "d H W"], distance: float) -> Float[Tensor, "m H W"]:
    """Add up masks that look alike, and bring each sum to 0 to 1. Groups are in the order of their first channel."""
    flat = masks.flatten(1).double()
    unit = torch.nn.functional.normalize(flat, dim=1)
    apart = (1 - unit @ unit.T).clamp(min=0)
    apart = ((apart + apart.T) / 2).fill_diagonal_(0)
    tree = linkage(squareform(apart.cpu().numpy(), checks=False), method="complete")
    groups = fcluster(tree, distance, criterion="distance").tolist()
    order = list(dict.fromkeys(groups))
    member = torch.tensor([[group == wanted for group in groups] for wanted in order]).to(flat)
    return between_0_and_1(member @ flat).to(masks.dtype).reshape(-1, *masks.shape[1:])


def _causal_scores(
    trace: Trace, image: int, masks: Float[Tensor, "m H W"], noise: float, generator: torch.Generator
) -> Float[Tensor, " m"]:
    """Confidence with a mask and noise outside it, less that with the same noise and no mask, plus that of the image.

    Noise is drawn mask by mask, so that it does not depend on how many fit into a pass.
    """
    x, found = trace.inputs[image].detach(), []
    for some in masks[:, None].chunk(-(-2 * len(masks) // rows_per_pass(trace.vit))):
        drawn = torch.stack([torch.randn(x.shape, generator=generator) for _ in some]).to(x)
        outside = noise * drawn * (1 - some)
        hidden, shown = _confidences(trace, image, torch.cat([x * some + outside, x + outside])).chunk(2)
        found.append(hidden - shown)
    return torch.cat(found) + _confidences(trace, image, x[None])


def _confidences(trace: Trace, image: int, inputs: Float[Tensor, "m 3 H W"]) -> Float[Tensor, " m"]:
    """Confidence in one image's target for normalised inputs that replace the image."""
    with torch.no_grad():
        logits = finite_logits(trace.vit.body.forward(inputs))
    return confidence(trace, logits, torch.full((len(inputs),), image))
