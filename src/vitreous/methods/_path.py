"""What methods share that follow attention down and weigh it by a gradient averaged on the way to the image.

Beyond Intuition and Transition Attention Maps differ in how they follow, and ask for the same gradient: the trace
keeps it, so that all of them together pay for one path.
"""

import torch
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PerToken
from vitreous.methods._attention import one_head
from vitreous.methods._method import Parameters, block_index
from vitreous.methods._reading import weigh_rows
from vitreous.vit.memory import Held
from vitreous.vit.passes import Capture
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit


def path_weights(trace: Trace, points: int, head: int | None) -> Tensor:
    """Average the gradient of the last block's attention over the path; positive part, then mean over heads, or one.

    The path is the straight line from zero, the normalised image of the mean colour, to the image; `points` lie on
    it evenly, both ends among them. Gives "b rows n" for the rows that the prediction reads. Costs one forward and
    the backward of one block for each point, once for each trace. Raises InputError for less than two points.
    """
    if points < 2:
        raise InputError(f"points={points} make no path.", "Expected 2 or more; 20 are published.")
    return one_head(trace.once(("path weights", points), lambda: _path_weights(trace, points)), head).mean(1)


def _path_weights(trace: Trace, points: int) -> Tensor:
    """The same of each head, "b h rows n"."""
    capture = last_block_graph(trace.vit, {}).capture
    total = torch.zeros((), device=trace.logits.device)
    for point in range(points):
        inputs = trace.inputs.detach() * (point / (points - 1))
        with trace.again(inputs=inputs, capture=capture) as scaled:
            total = total + scaled.attention_grad[-1][:, :, trace.readout.rows]
    return (total / points).clamp(min=0)


def last_block_graph(vit: Vit, parameters: Parameters) -> Held:
    """Say what each point's pass keeps, which are made one after the other."""
    del parameters
    return Held(Capture(first=len(vit.blocks) - 1, pixels=False, inputs=False, tokens=False))


def published_first(trace: Trace, first: int | None, last: int, published: int) -> int:
    """Give the first block that is followed: `first`, or for None the published one, or `last` with a remark.

    The published values are made for twelve blocks, and have to mean something in a model of four: block `last`
    alone. Raises InputError for `last` outside the model.
    """
    if first is not None:
        return first
    final = block_index(last, len(trace.vit.blocks), "last")
    if published > final:
        for image in range(len(trace.images)):
            trace.note(
                image, f"the published first block {published} lies behind block {final}, followed alone instead"
            )
    return min(published, final)


def follow_rows(trace: Trace, rows: Tensor, mixing: list[Tensor], points: int, head: int | None) -> PerToken:
    """Follow "b rows n" down, rows <- rows @ mixing + rows for each block, and weigh them by the path's gradient."""
    for matrix in reversed(mixing):
        rows = torch.baddbmm(rows, rows, matrix)
    return weigh_rows(trace, rows * path_weights(trace, points, head))


def follow_from_identity(trace: Trace, mixing: list[Tensor], points: int, head: int | None) -> PerToken:
    """The same, starting from the identity's rows: each token that the prediction reads, and nothing else."""
    images, tokens, _ = mixing[-1].shape
    identity = torch.eye(tokens, dtype=mixing[-1].dtype, device=mixing[-1].device)
    return follow_rows(trace, identity[trace.readout.rows].repeat(images, 1, 1), mixing, points, head)
