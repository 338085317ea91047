"""AtMan: how much the score falls when less attention is paid to a patch. Deiseroth et al. 2023 (NeurIPS)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.vit.edits import rescored_logits, rows_per_pass
from vitreous.vit.trace import Trace


@method(
    family="perturbation",
    paper="arXiv:2301.08110",
    class_specific=True,
    signed=True,
    unit="score lost with attention suppressed",
    cost="patches x 1F",
    gradient=False,
    repeats=True,
)
def atman(trace: Trace, suppression: float = 0.9, threshold: float = 0.7, shift: bool = False) -> PatchMap:
    """Turn the attention to each patch, and to patches like it, down in all blocks; give the score before minus after.

    Scores before the softmax of which the patch is the key are multiplied by 1 - suppression, in all heads. Patches
    are alike if the cosine between their tokens entering the first block is at least `threshold`: an object's patches
    stand in for each other, and none would be missed alone.

    suppression  0 < suppression <= 1; the paper has 0.9
    threshold    cosine from which patches are turned down together, from -1 to 1; at 1, practically each alone
    shift        lift each query's scores so that the smallest is 0 before they are multiplied, as the official code
                 does. The equation does not, and then a patch with negative scores gains attention

    Ignores what does not pass through attention: a mean over patches at the end still reads the patch itself, and so
    does a pooling attention, which is left alone. Deviation: the loss in the score of the target takes the place of
    the gain in cross-entropy, so that contrasts and embeddings can be asked for. Raises InputError for numbers out of
    range.
    """
    if not 0 < suppression <= 1 or not -1 <= threshold <= 1:
        raise InputError(
            f"atman got suppression={suppression} and threshold={threshold}.",
            "Expected 0 < suppression <= 1 and -1 <= threshold <= 1.",
        )
    together = _alike(trace, threshold)
    images, patches, _ = together.shape
    owner = torch.arange(images).repeat_interleave(patches)
    trace.forwards += patches
    after = []
    for rows in torch.arange(len(owner)).chunk(-(-len(owner) // rows_per_pass(trace.vit))):
        keys = together.flatten(0, 1)[rows.to(together.device), None, None]
        turn_down = partial(_turn_down, factor=1 - suppression * keys.to(trace.logits.dtype), shift=shift)
        own = trace.inputs.detach()[owner[rows].to(trace.inputs.device)]
        logits = rescored_logits(trace.vit, own, turn_down)
        after.append(trace.target.select(owner[rows]).score(logits))
    fallen = trace.score.detach()[:, None] - torch.cat(after).reshape(images, patches)
    return fallen.reshape(-1, *trace.vit.grid)


def _alike(trace: Trace, threshold: float) -> Tensor:
    """For each patch the tokens that are turned down with it, "b p n": itself, and the patches that are like it.

    Tokens that are no patches never are. Likeness is computed in double precision, so that a cosine just at the
    threshold falls on the same side in a batch as alone.
    """
    first, count = trace.vit.prefix, trace.vit.grid[0] * trace.vit.grid[1]
    tokens = F.normalize(trace.tokens[0].detach()[:, first : first + count].double(), dim=2)
    alike = tokens @ tokens.transpose(1, 2) >= threshold
    alike |= torch.eye(count, dtype=torch.bool, device=alike.device)
    return F.pad(alike, (first, trace.vit.suffix))


def _turn_down(scores: Tensor, factor: Tensor, shift: bool) -> Tensor:
    """Multiply scores "m h n n" by the factor of their key, "m 1 1 n"; a shift alone would not change the softmax."""
    if shift:
        scores = scores - scores.amin(-1, keepdim=True)
    return scores * factor.to(scores.dtype)
