"""What relevance methods share: input times gradient of a second pass whose backward is edited."""

from collections.abc import Hashable, Mapping

from vitreous.core.shapes import PixelMap
from vitreous.vit.passes import Capture
from vitreous.vit.rules.names import Function, spelled
from vitreous.vit.trace import Trace


def pixel_relevance(trace: Trace, key: tuple[Hashable, ...], rules: Mapping[Function, Function]) -> PixelMap:
    """Multiply the normalised input by its gradient under rules, and add up the colour channels.

    key  says which rules these are: methods that come to the same rules share the pass
    """

    def propagate() -> PixelMap:
        capture = Capture(inputs=False, tokens=False)
        with trace.again(rules=spelled(rules), inputs=trace.inputs, capture=capture) as edited:
            exact = edited.score.dtype  # float32 where the model computes in less
            return (edited.inputs.to(exact) * edited.input_grad.to(exact)).sum(1).detach()

    return trace.once(("relevance", *key), propagate)
