"""Tap: sees, keeps and edits every attention call of whatever model runs inside it.

PyTorch hands every call of its functional operators to the active `TorchFunctionMode` of the thread. The Tap answers
attention calls itself, with the probabilities as a node of the graph, and passes everything else on. No module is
touched, and other threads do not notice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vitreous.core.errors import UnsupportedModelError
from vitreous.vit.ambient import exact
from vitreous.vit.attention import Operands, ScoreRows, multihead_operands, sdpa_operands
from vitreous.vit.gate import Switch, gate
from vitreous.vit.handwritten import HandwrittenAttention, positional
from vitreous.vit.known import KnownLinears
from vitreous.vit.row_linear import row_linear

Edit: TypeAlias = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
Rules: TypeAlias = Mapping[Callable[..., Any], Callable[..., Any]]
RowReader: TypeAlias = Callable[[int, slice, Tensor], None]
"""Is given a block, some of its query tokens, and their probabilities "b h rows n"."""


_NORMS = frozenset({F.layer_norm, F.rms_norm})


@dataclass(frozen=True)
class AttentionCall:
    """One attention call: where it happened and its nodes.

    kind   'sdpa', 'multihead' or 'handwritten'
    dtype  what the model itself computes in there
    """

    block: int | None
    kind: str
    probabilities: Tensor
    values: Tensor
    scores: ScoreRows
    dtype: torch.dtype


@dataclass(frozen=True)
class Entering:
    """What a block's attention projects: the raw node, and the axis of its images."""

    node: Tensor
    batch_axis: int

    def batch_first(self, rows: Tensor) -> Tensor:
        """Give the node, or a gradient of its shape, as "b n d"."""
        return rows.transpose(0, 1) if self.batch_axis == 1 else rows


@dataclass(frozen=True)
class Projection:
    """The linear layer that mixes the heads' outputs (b, n, h * e) into the token stream: (d, h * e) and (d)."""

    weight: Tensor
    bias: Tensor | None


@dataclass
class Recording:
    """What one pass left behind; filled by the Tap and by the hooks of `watch`."""

    calls: list[AttentionCall] = field(default_factory=list)
    entering: dict[int, Entering] = field(default_factory=dict)
    projections: dict[int, Projection] = field(default_factory=dict)
    between: dict[int, Tensor] = field(default_factory=dict)
    tokens: dict[int, Tensor] = field(default_factory=dict)
    linears: KnownLinears = field(default_factory=KnownLinears)


class Tap(TorchFunctionMode):
    """Answers the attention calls made while it is active.

    first   blocks before this one keep their fused attention and are not recorded
    keep    whether calls are recorded at all (an edited pass need not be)
    edit    may replace probabilities and values of each block
    rules   replacements for torch functions, for instance ones with an edited backward. The arithmetic inside attention
            calls, which the Tap does itself by `@`, `Tensor.softmax` and `F.linear`, is replaced as well
    graph   whether the pass keeps a graph. A `torch.no_grad()` of the model itself is ignored then: it saves memory in
            training and is no part of what the model computes (a linear probe on a frozen backbone has one)
    linears whether what linear layers of tokens give is kept for another pass
    reader  is handed the probabilities of each block, `at_once` query tokens at a time. Where the model calls an
            operator, no more of them exist at once; a model that spells its attention out makes all of a block itself
    """

    def __init__(
        self,
        first: int = 0,
        keep: bool = True,
        edit: Edit | None = None,
        rules: Rules | None = None,
        graph: bool = False,
        linears: bool = False,
        reader: RowReader | None = None,
        at_once: int = 64,
    ) -> None:
        super().__init__()
        self.first = first
        self.keep = keep
        self.edit = edit
        self.rules: Rules = {} if rules is None else rules
        self.graph = graph
        self.linears = linears
        self.reader = reader
        self.at_once = at_once
        self.block: int | None = None
        self.images = 1
        self.switch = Switch()
        self.recording = Recording()
        self._handwritten = HandwrittenAttention()
        self._saving = _saving_hooks()

    def enter_block(self, block: int | None, images: int) -> None:
        """Say which block runs from here on (None: none), and how many images the pass has."""
        self.block = block
        self.images = images
        self._handwritten.forget()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer one call of a torch function; everything inside runs without the Tap."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":  # attribute access such as tensor.shape
            return func(*args, **kwargs)
        if name == "_set_grad_enabled" and self.graph and args == (False,):
            return None
        args, kwargs = (
            without_parameters(args),
            {name: without_parameters(value) for name, value in kwargs.items()},
        )
        return self._answer(func, args, kwargs)

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not self.rules:
            return self._call(func, args, kwargs)
        with Ruling(self.rules):  # the Tap's own arithmetic obeys the rules as well
            return self._call(func, args, kwargs)

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is F.scaled_dot_product_attention and self._open:
            return self._scaled_dot_product(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multihead(func, *args, **kwargs)
        if self.block is not None and self._open:
            return self._inside_block(func, args, kwargs)
        return func(*args, **kwargs)

    @property
    def _open(self) -> bool:
        """Whether attention of the running block is computed in the open; false where nobody looks at it."""
        if self.block is not None and (self.edit is not None or self.reader is not None):
            return True
        return self.keep and (self.block is None or self.block >= self.first)

    def _scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        shape = query.shape
        if query.dim() == 3 and query.shape[0] != self.images and query.shape[0] % self.images == 0:
            # Images and heads on one axis, as for torch.bmm.
            query, key, value = (self._by_image(part) for part in (query, key, value))
            if attn_mask is not None and attn_mask.dim() == 3 and attn_mask.shape[0] == shape[0]:
                attn_mask = self._by_image(attn_mask)
        operands = sdpa_operands(query, key, value, attn_mask, *args, **kwargs)
        output, _ = self._attend("sdpa", operands, whole=False)
        return output.to(operands.dtype).reshape(*shape[:-1], output.shape[-1])

    def _by_image(self, flat: Tensor) -> Tensor:
        return flat.reshape(self.images, -1, *flat.shape[1:])

    def _multihead(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._open:
            return func(*args, **kwargs)
        call = multihead_operands(*args, **kwargs)
        self._enter_attention(call.entering, batch_axis=1 if call.batched else 0)
        attended = self._attend("multihead", call.operands, whole=call.need_weights)
        self._leave_attention(call.out_weight, call.out_bias)
        return call.result(*attended)

    def _attend(self, kind: str, operands: Operands, whole: bool) -> tuple[Tensor, Tensor]:
        """Compute attention in the open and record it. Gives output (b, h, n, e) and probabilities.

        whole  whether somebody needs the probabilities of all query tokens at once; else they may be empty
        """
        with exact(operands.query.device):
            if self.reader is not None and self.block is not None and not whole:
                return self._by_rows(self.reader, self.block, operands)
            probabilities, values = self._through(
                kind, operands.attend(), operands.value, operands.scores, operands.dtype
            )
            return probabilities @ values, probabilities

    def _by_rows(self, reader: RowReader, block: int, operands: Operands) -> tuple[Tensor, Tensor]:
        """Compute attention for some query tokens after others, and keep nothing but its output."""
        output = []
        for rows in self._pieces(operands.query.shape[-2]):
            probabilities = operands.attend(rows)
            reader(block, rows, probabilities)
            output.append(probabilities @ operands.value)
        return torch.cat(output, -2), operands.query.new_zeros(0)

    def _pieces(self, tokens: int) -> list[slice]:
        return [slice(start, min(start + self.at_once, tokens)) for start in range(0, tokens, self.at_once)]

    def _through(
        self, kind: str, probabilities: Tensor, values: Tensor, scores: ScoreRows, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Edit, gate and record probabilities and values; gives those to go on with."""
        if self.edit is not None and self.block is not None:
            probabilities, values = self.edit(self.block, probabilities, values)
        if self.reader is not None and self.block is not None:
            for rows in self._pieces(probabilities.shape[-2]):
                self.reader(self.block, rows, probabilities[..., rows, :])
        if not self.keep:
            return probabilities, values
        if torch.is_grad_enabled() and _saving_hooks() != self._saving:
            raise UnsupportedModelError(
                "The model runs its blocks under torch.utils.checkpoint: they would run again, unwatched, in the "
                "backward.",
                "Switch gradient checkpointing off.",
            )
        if self.block is not None and torch.is_grad_enabled() and probabilities.requires_grad:
            probabilities, values = gate(probabilities, self.switch), gate(values, self.switch)
        self.recording.calls.append(AttentionCall(self.block, kind, probabilities, values, scores, dtype))
        return probabilities, values

    def _inside_block(self, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = positional(func, args, kwargs)
        if func is F.linear:
            self._enter_attention(args[0], batch_axis=0)
            self._leave_attention(*args[1:])
            if torch.is_grad_enabled() and args[0].requires_grad and F.linear not in self.rules:
                return self._linear(*args, **kwargs)
        if func in _NORMS and args:
            self._leave_residual(args[0])
        attention = self._handwritten.contraction(func, args, kwargs, self.images)
        if attention is not None:
            through = self._through(
                "handwritten",
                attention.probabilities,
                attention.values,
                attention.scores,
                attention.values.dtype,
            )
            return attention.result(*through)
        result = func(*args, **kwargs)
        self._handwritten.follow(func, args, kwargs, result)
        return result

    def _linear(self, tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        result = row_linear(tokens, weight, bias)
        if self.linears and tokens.dim() == 3:
            self.recording.linears.add(tokens, weight, result)
        return result

    def _enter_attention(self, node: Tensor, batch_axis: int) -> None:
        """Remember the first tensor a block projects: what enters its attention, with pre-norm the norm's output."""
        if self.keep and self.block is not None and node.dim() == 3:
            self.recording.entering.setdefault(self.block, Entering(node, batch_axis))

    def _leave_attention(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Remember the first linear layer behind a block's attention that takes the outputs of all its heads."""
        calls = self.recording.calls
        if not self.keep or self.block is None or not calls or calls[-1].block != self.block:
            return
        values = calls[-1].values
        if weight.dim() == 2 and weight.shape[1] == values.shape[1] * values.shape[3]:
            self.recording.projections.setdefault(self.block, Projection(weight, bias))

    def _leave_residual(self, tokens: Tensor) -> None:
        """Remember what a block normalises first behind its attention: the stream between attention and MLP."""
        if self.block is not None and self.block in self.recording.projections and tokens.dim() == 3:
            self.recording.between.setdefault(self.block, tokens)


class Ruling(TorchFunctionMode):
    """Replaces torch functions by their rules; the rules themselves run without it."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer one call by its rule, if it has one."""
        return self.rules.get(func, func)(*args, **kwargs or {})


def _saving_hooks() -> object:
    """Whatever is asked at the moment to store tensors for the backward in another way: checkpointing does so."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)  # noqa: SLF001


def without_parameters(value: Any) -> Any:
    """Detach parameters, also inside lists: their gradients are never asked for, and nothing need be kept for them."""
    if isinstance(value, Tensor) and value.is_inference():
        return value.clone().detach()  # a model built in inference mode has tensors that autograd may not save
    if isinstance(value, torch.nn.Parameter):
        return value.detach()
    if isinstance(value, tuple | list) and type(value) in {tuple, list}:
        return type(value)(without_parameters(item) for item in value)
    return value
