"""Ablation-CAM: features of one block, weighted by what the score loses without each. Desai & Ramaswamy 2020."""

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.shapes import PatchMap, Tokens
from vitreous.methods._features import feature_maps, over_blocks
from vitreous.methods._method import captured, method
from vitreous.vit.edits import rows_per_pass
from vitreous.vit.entering import run_from
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper=None,
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="loss of logit x feature",
    cost="1F + the blocks from the one read on, for each channel",
    gradient=False,
    only_block="block",
    repeats=True,
)
def ablation_cam(trace: Trace, block: int = -1, relu: bool = True, plus: bool = False) -> PatchMap:
    """Add up the channels of the patch tokens, each times the score that is lost when it is set to zero.

    From "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization" (WACV 2020),
    eq. 3 and 4. It takes the place of Grad-CAM's slope by a step, which a saturated score does not hide.

    block  the block that is read, counted from 0, or from the end if negative: its patch tokens behind the first
           norm, as in `gradcam`. Only this block and what follows is computed again; each channel counts as one
           forward pass in the record all the same
    relu   keep positive evidence alone, as the paper does; False gives the signed sum before it
    plus   sum the maps of all blocks, each behind its own ReLU; `block` is then left aside. Not in the paper; after
           SkipPLUS (Mehri et al., CVPR workshops 2024). A channel is ablated in one block at a time

    Deviations: patch tokens take the place of a convolution's feature map, and a channel is set to zero in these
    alone; class and register tokens keep theirs. The paper divides the loss by the score. That is the same number for
    all channels, so it changes no ranking, but it turns a map about where the score is negative, which logits and
    contrasts may be: left out.

    Raises InputError for a block outside the model, and MethodNotApplicableError where the input of the attention
    cannot be seen.
    """
    return over_blocks(trace, block, plus, relu, lambda each: _one(trace, each))


def _one(trace: Trace, block: int) -> Float[Tensor, "b p"]:
    """Make the map of one block, before the ReLU."""
    maps = feature_maps(trace, block)
    lost = torch.stack([_lost(trace, block, image) for image in range(len(maps))]).to(maps.dtype)
    trace.forwards += maps.shape[1]
    return (lost[:, :, None] * maps).sum(1)


def _lost(trace: Trace, block: int, image: int) -> Float[Tensor, " d"]:
    """How much of one image's score is lost with each channel of its patch tokens."""
    index = captured(trace, block)
    entering = trace.tokens[index][image : image + 1].detach()
    of = trace.patches(torch.arange(entering.shape[1], device=entering.device))
    width, most = trace.attention_inputs[index].shape[2], rows_per_pass(trace.vit)
    found = []
    for some in torch.arange(width, device=entering.device).chunk(-(-width // most)):

        def edit(tokens: Tokens, channels: Tensor = some) -> Tokens:
            without = tokens.clone()
            without[torch.arange(len(channels))[:, None], of[None], channels[:, None]] = 0
            return without

        inputs = trace.inputs[image : image + 1].detach()
        logits = run_from(trace.vit.body, inputs, entering.expand(len(some), -1, -1), index + trace.first, edit)
        owner = torch.full((len(some),), image)
        found.append(trace.score[image].detach() - trace.target.select(owner).score(logits))
    return torch.cat(found)
