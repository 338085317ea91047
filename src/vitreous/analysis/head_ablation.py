"""Head ablation: by how much the score falls when a head is silent."""

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.analysis.head_numbers import PerHead
from vitreous.vit.edits import MOST_TOKENS
from vitreous.vit.entering import run_from
from vitreous.vit.trace import Trace


def head_ablation(trace: Trace) -> PerHead:
    """Give the score minus the score without each head, "b l h", for every captured block.

    A head is silenced by setting its output to zero at all tokens, and everything behind is computed anew. Positive:
    the head speaks for the target. Heads are taken out one at a time, so that of two that do the same neither seems to
    matter; effects do not add up.

    The heads of a block run together, from that block on, on what entered it: as many passes as there are heads, most
    of them not whole. Each gives what `trace.rescore` gives with an edit that silences that head, up to rounding.
    """
    drops = [
        torch.stack([_block(trace, place, image) for image in range(len(trace.images))])
        for place in range(len(trace.calls))
    ]
    return torch.stack(drops, 1)


def _block(trace: Trace, place: int, image: int) -> Float[Tensor, " h"]:
    """Silence each head of one block for one image."""
    entering = trace.tokens[place][image : image + 1].detach()
    heads, block = trace.attention[place].shape[1], trace.first + place
    most = max(1, MOST_TOKENS // entering.shape[1])
    found = []
    for some in torch.arange(heads, device=entering.device).chunk(-(-heads // most)):

        def silence(here: int, weights: Tensor, values: Tensor, chosen: Tensor = some) -> tuple[Tensor, Tensor]:
            del here  # attention is changed in this block alone
            quiet = values.expand(len(chosen), *values.shape[1:]).clone()
            quiet[torch.arange(len(chosen)), chosen] = 0
            return weights, quiet

        inputs = trace.inputs[image : image + 1].detach()
        logits = run_from(trace.vit.body, inputs, entering.expand(len(some), -1, -1), block, attention=silence)
        owner = torch.full((len(some),), image)
        found.append(trace.score[image].detach() - trace.target.select(owner).score(logits))
    trace.forwards += heads
    return torch.cat(found).float()
