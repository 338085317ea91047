"""What pixel methods share that ask for the gradient again and again: on noisy copies, or along a path."""

from jaxtyping import Float
from torch import Tensor

from vitreous.methods._method import Parameters
from vitreous.vit.memory import Held
from vitreous.vit.passes import Capture
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit


def fused_graph(vit: Vit, parameters: Parameters) -> Held:
    """Say what each of these passes keeps, which are made one after the other."""
    del parameters
    return Held(Capture(first=len(vit.blocks), pixels=True, inputs=False, tokens=False))


def gradient_at(trace: Trace, inputs: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
    """Give the gradient of each image's score at other normalised inputs, one for each image of the trace.

    One pass with as many images as the trace has: it fits wherever the trace did, and needs less, because
    no block is watched and attention stays fused. The pass is counted as one of the trace.
    """
    unwatched = Capture(first=len(trace.vit.blocks), pixels=True, inputs=False, tokens=False)
    with trace.again(inputs=inputs, capture=unwatched) as other:
        return other.input_grad


def score_at(trace: Trace, inputs: Float[Tensor, "b 3 H W"]) -> Float[Tensor, " b"]:
    """Give each image's score at other normalised inputs, one for each image of the trace. Keeps no graph."""
    unwatched = Capture(first=len(trace.vit.blocks), graph=False, pixels=False, inputs=False, tokens=False)
    with trace.again(inputs=inputs, capture=unwatched) as other:
        return other.score.detach()
