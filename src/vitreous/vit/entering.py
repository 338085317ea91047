"""Running the model on tokens that are given to it, as if they entered one of its blocks or had left the last."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.shapes import Logits, Tokens
from vitreous.vit.body import Body
from vitreous.vit.passes import own_leaf
from vitreous.vit.tap import Edit, Rules, Tap
from vitreous.vit.watch import watch


def read_out(body: Body, inputs: Tensor, tokens: Tokens, rules: Rules | None = None) -> Logits:
    """Read logits from any tokens (m, n, d) as if they had left the last block; keeps their graph. See `run_from`.

    This is also the logit lens.
    """
    return run_from(body, inputs, tokens, len(body.blocks), rules=rules)


def run_from(
    body: Body,
    inputs: Tensor,
    tokens: Tokens,
    block: int,
    edit: Callable[[Tokens], Tokens] | None = None,
    rules: Rules | None = None,
    attention: Edit | None = None,
) -> Logits:
    """Run the model on any tokens (m, n, d) as if they entered block `block`, and keep their graph.

    The model runs on m copies of one image, because it may count its images at the start and expect as many at the end.
    Earlier blocks are given one of them, and what enters `block` is exchanged. Nobody sees what comes before, so linear
    layers are not multiplied out there, and one image is convolved for all: the cost is little more than what follows.

    edit       changes what the attention of `block` projects, (m, n, d), which is behind the first norm in pre-norm
               models
    rules      stand in for functions of PyTorch, as in a trace; not for linear layers and convolutions, which have
               rules here
    attention  changes probabilities and values of `block`
    """
    unseen, entering = _Unseen(), _Entering(edit)

    def on_tokens(position: int, stream: Tokens) -> Tensor | None:  # not as many as came
        unseen.here = position < block
        entering.here = position == block and edit is not None
        if attention is not None:  # only there is it computed in the open
            tap.enter_block(block if position == block else None, len(tokens))
        if tokens.requires_grad and position >= block - 1:
            torch.set_grad_enabled(True)
        if position > block:
            return None
        if position == block:
            return tokens
        # A backward hook of the user's on the block before would else warn that nothing before it has a gradient.
        return own_leaf(stream[:1], needs_gradient=tokens.requires_grad and position == block - 1)

    def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return unseen.linear(rows, weight, bias) if unseen.here else entering.linear(rows, weight, bias)

    own: Rules = {F.linear: linear, F.conv2d: unseen.convolve, F.multi_head_attention_forward: entering.attend}
    copies = own_leaf(inputs[:1], needs_gradient=False).expand(tokens.shape[0], -1, -1, -1)
    tap = Tap(keep=False, edit=attention, rules={**(rules or {}), **own}, graph=tokens.requires_grad)
    with torch.inference_mode(mode=False), torch.no_grad(), tap, watch(body.anchors, on_tokens):
        return body.forward(copies)


class _Unseen:
    """Spares the work of the part of the model whose results are thrown away; shapes stay as they are."""

    def __init__(self) -> None:
        self.here = True

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        del bias
        return rows.new_zeros(*rows.shape[:-1], weight.shape[0])

    def convolve(self, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Convolve one image for all of its copies, which share their memory."""
        if not self.here or images.stride(0) != 0:
            return F.conv2d(images, *args, **kwargs)
        return F.conv2d(images[:1], *args, **kwargs).repeat(len(images), 1, 1, 1)


class _Entering:
    """Edits the first tensor that a block projects, wherever in the block it is projected: once for query, key, value.

    It is the same tensor that a trace records as the block's attention input.
    """

    def __init__(self, edit: Callable[[Tokens], Tokens] | None) -> None:
        self.here = False
        self._edit = edit
        self._seen: Tensor | None = None
        self._edited: Tensor | None = None

    def linear(self, node: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return F.linear(self._changed(node, batch_axis=0), *args, **kwargs)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        axis = 1 if query.dim() == 3 else 0
        query, key, value = (self._changed(part, batch_axis=axis) for part in (query, key, value))
        return F.multi_head_attention_forward(query, key, value, *args, **kwargs)

    def _changed(self, node: Tensor, batch_axis: int) -> Tensor:
        if not self.here or self._edit is None or node.dim() != 3:
            return node
        if self._seen is None:
            self._seen = node
            self._edited = self._edit(node.transpose(0, batch_axis)).transpose(0, batch_axis)
        return self._edited if node is self._seen and self._edited is not None else node
