"""Random numbers: a map that knows neither image nor model, which every explanation has to beat. A control."""

import torch

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="control",
    paper=None,
    class_specific=False,
    signed=False,
    unit="random number between 0 and 1",
    cost="0F",
    gradient=False,
    random=True,
)
def random(trace: Trace) -> PatchMap:
    """Draw each patch's relevance from the uniform distribution on [0, 1), independently of all others.

    A metric that rates this map no worse than an explanation has not been shown to measure anything; what it scores
    over many seeds is the chance level. From no paper.

    Fixed by the seed and the image's pixels, which only tell one image's draw from another's: model, weights and
    target have no part in it, and a model in another precision gets the same numbers.
    """
    rows, columns = trace.vit.grid
    drawn = [torch.rand(rows, columns, generator=generator) for generator in trace.generators("random")]
    return torch.stack(drawn).to(trace.logits)
