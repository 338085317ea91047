"""Entropy: over how many patches relevance is spread. The complexity of Bhatt et al. 2020."""

import math
from typing import Literal

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric


@metric(category="form", better="neither", unit="share, or nats", cost="none", paper="arXiv:2005.00631")
def entropy(case: Case, unit: Literal["share", "nats"] = "share") -> PerImage:
    """Give the entropy of the patches' shares of absolute relevance: - sum_i q_i ln q_i with q = |phi| / sum |phi|.

    0 if a single patch has all, largest if all have the same. The paper counts simple as good; here neither is better,
    because a map can be simple and wrong.

    unit  "share": of the largest possible entropy, ln p for p patches, from 0 to 1, comparable between grids; "nats":
          as in the paper. exp of it is the number of patches over which relevance is in effect spread

    Signs and places are ignored, pixel maps are summed over each patch. NaN for a map that is zero everywhere, and
    for the share of a grid of one patch.
    """
    size = case.per_patch.abs()
    nats: PerImage = torch.special.entr(size / size.sum(1, keepdim=True)).sum(
        1
    )  # no relevance anywhere divides by 0: NaN
    patches = size.shape[1]
    largest = math.log(patches) if patches > 1 else math.nan
    return nats.div(largest) if unit == "share" else nats
