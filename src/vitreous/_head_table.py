"""The numbers of heads that an inspection shows, each with its unit and with what it does and does not say."""

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous._inspection import HeadNumber
from vitreous.analysis.head_ablation import head_ablation
from vitreous.analysis.head_agreement import HeadAgreement
from vitreous.analysis.head_importance import head_importance
from vitreous.analysis.head_numbers import HeadNumbers, head_numbers, head_numbers_by_rows
from vitreous.analysis.head_offsets import head_offsets
from vitreous.core.errors import MethodNotApplicableError
from vitreous.core.shapes import Images
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

SHARE = "share of attention"
MEANINGS: dict[str, tuple[str, str, bool]] = {
    "entropy": (
        "share of that of even attention",
        "1: a patch attends to all tokens alike; 0: to a single one. Mean over the patches that ask.",
        False,
    ),
    "confidence": (SHARE, "The largest share that a patch gives to one token. Mean over patches.", False),
    "distance": (
        "pixels of the model input",
        "How far a patch looks: mean distance to the patches that it attends to, weighted by attention.",
        False,
    ),
    "near": (SHARE, "What a patch gives to itself and the up to eight patches around it.", False),
    "prefix_mass": (SHARE, "What patches give to class and register tokens.", False),
    "self_mass": (SHARE, "What a patch gives to itself.", False),
    "sink_mass": (SHARE, "The largest share that any single token gets from all patches on average.", False),
    "isolation": (
        "bits",
        (
            "Mean Jensen-Shannon divergence from the other heads of the block in what the prediction's tokens attend"
            " to: 0 for the same places, 1 for no place in common."
        ),
        False,
    ),
    "importance": (
        "score",
        (
            "Size of the slope of the score as the head's output is made larger (Michel et al. 2019). A slope, not an"
            " effect: silencing may do something else."
        ),
        False,
    ),
    "ablation": (
        "score",
        (
            "By how much the score falls when the head is silent, by an intervention; below zero the head speaks"
            " against the class. Heads that do the same stand in for each other, so that effects do not add up."
        ),
        True,
    ),
}
"""Unit, meaning and sign of every number, in the order in which they are shown."""


def head_table(trace: Trace, agreement: HeadAgreement, ablation: bool, left_out: list[str]) -> dict[str, HeadNumber]:
    """Measure all numbers for one image. What the model does not allow is noted in `left_out`.

    ablation  whether heads are silenced, the one number that takes passes of its own
    """
    offsets = head_offsets(trace, 1) if max(trace.vit.grid) > 1 else None  # a single patch has no neighbour
    found = _of_attention(head_numbers(trace), agreement)
    if offsets is not None:
        found["near"] = offsets.near[0]
    try:
        found["importance"] = head_importance(trace)[0]
    except MethodNotApplicableError as problem:
        left_out.append(f"Importance of heads: {problem.cause}")
    if ablation:
        found["ablation"] = head_ablation(trace)[0]
    else:
        left_out.append("Heads were not silenced: it was not asked for.")
    return _told(found)


def head_table_by_rows(vit: Vit, images: Images, agreement: HeadAgreement) -> dict[str, HeadNumber]:
    """Measure what can be measured a few rows at a time, for one image."""
    return _told(_of_attention(head_numbers_by_rows(vit, images), agreement))


def _of_attention(numbers: HeadNumbers, agreement: HeadAgreement) -> dict[str, Float[Tensor, "l h"]]:
    names = ("entropy", "confidence", "distance", "prefix_mass", "self_mass", "sink_mass")
    return {name: getattr(numbers, name)[0] for name in names} | {"isolation": agreement.isolation[0]}


def _told(found: dict[str, Float[Tensor, "l h"]]) -> dict[str, HeadNumber]:
    """Add unit and meaning, in the order of `MEANINGS`. A number that no head has is left out."""
    return {
        name: HeadNumber(found[name].detach().float().cpu(), *MEANINGS[name])
        for name in MEANINGS
        if name in found and not bool(torch.isnan(found[name]).all())
    }
