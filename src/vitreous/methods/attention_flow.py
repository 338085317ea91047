"""Attention flow: how much could flow from the prediction down to each patch. Abnar & Zuidema 2020."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of
from vitreous.methods._max_flow import MaximumFlows, maximum_flows
from vitreous.methods._method import method
from vitreous.vit.trace import Trace

AT_BOUND = 1e-7
"""A flow that is so close to its trivial bound sits at it: the rounding of float32 attention is ten times less."""


@method(
    family="attention",
    paper="arXiv:2005.00928",
    class_specific=False,
    signed=False,
    unit="maximum flow",
    cost="1F",
    gradient=False,
    repeats=True,
    block_range=("first", "last"),
)
def attention_flow(
    trace: Trace, head: int | None = None, first: int = 0, last: int = -1, outliers: Outliers = "keep"
) -> PatchMap:
    """Take attention as the capacity of pipes between tokens, and find the largest flow to each patch by itself.

    Section 3 of the paper: nodes are the tokens at each level, edges lead from a token to what it attends to
    one block below, with capacity 0.5 mean-head attention + 0.5 identity for the skip connection. The
    relevance of a patch is the maximum flow from the class token at the top to it, exact to 1e-6 (in
    general far closer: an equal cut proves it).

    head         the only head whose attention is a capacity in each block, counted from 0, or from the end if
                 negative; None takes the mean of them all
    first, last  the blocks that the flow goes through, both included, counted likewise; "the first" below is
                 then the first of these
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    Ignores values, MLPs and the target: two classes give the same map. It also ignores most of the depth. In
    trained models almost all patches sit at a trivial bound, the smaller of what leaves the source (1) and
    what can enter the patch (0.5 + 0.5 times the attention it gets in the first block); the record of each
    map says how many. Computed in float64 on the CPU.

    Models without a class token have a source that gives each last token as much of what the token can hand
    on as its share in the prediction; a class token, read alone, can hand on all it has, as in the paper.
    Deviation: the authors' code divides the map by its sum, which is left to display. Raises InputError for
    blocks or a head outside the model.
    """
    blocks, matrices = attention_between(trace, first, last, head)
    reading = trace.reading.double().cpu()
    tokens = reading.shape[1]
    sinks = trace.patches(torch.arange(tokens))
    skip = torch.eye(tokens, dtype=torch.float64)
    flows = torch.zeros_like(reading)
    for image, shares in enumerate(reading):
        mixing = [0.5 * attention[image].detach().double().cpu().mean(0) + 0.5 * skip for attention in matrices]
        found = maximum_flows(shares * mixing[-1].sum(1), torch.stack(mixing), sinks)
        flows[image, sinks] = found.values
        trace.note(image, _describe(found))
    return map_of(trace, flows.to(trace.logits), blocks, outliers)


def _describe(found: MaximumFlows) -> str:
    """Say how little of the depth a map reflects, and how exact it is."""
    at_bound, of = int((found.values >= found.trivial - AT_BOUND).sum()), len(found.values)
    told = ": this map tells mostly the first block's attention" if 2 * at_bound > of else ""
    exactness = f"Flow and cut agree within {found.gap:.0e}; {found.solved} patches took the solver."
    return f"{at_bound} of {of} patches sit at the trivial bound{told}. {exactness}"
