"""Head importance: how much the score would change if a head spoke a little louder. Michel, Levy & Neubig 2019."""

import torch

from vitreous.analysis.head_numbers import PerHead
from vitreous.vit.trace import Trace


def head_importance(trace: Trace) -> PerHead:
    """Give |d score / d xi|, "b l h", for a factor xi before the output of each head in every captured block.

    The derivative is the sum over attention of A dS/dA, because the score depends on the attention of a head only
    through its output, which is linear in it: no pass is needed beside the trace's own. It is a slope at xi = 1. What
    happens when a head is silent, at xi = 0, `head_ablation` finds out, and the two may rank heads differently.

    Follows arXiv:1905.10650, with the score of the explained class in place of a loss, for each image alone: average
    over images for a model. Theirs is divided by the l2 norm of its block before blocks are compared, which is left to
    the reader, since it makes heads of blocks that do nothing look important.
    """
    pairs = zip(trace.attention, trace.attention_grad, strict=True)
    return torch.stack([(weights.detach() * grad).sum((2, 3)).abs().float() for weights, grad in pairs], 1)
