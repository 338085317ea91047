"""Attention computed in the open: the same numbers as PyTorch's fused operators, with the probabilities as a node.

Scores, probabilities and values are (b, h, n, n) and (b, h, n, e). Half-precision models are computed in float32
here and cast back at the end, which is what the fused kernels do inside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.errors import ModelModeError, UnsupportedModelError
from vitreous.vit.ambient import exact

ScoreRows: TypeAlias = Callable[[slice], Tensor]
"""Gives the pre-softmax scores of some query tokens, "b h rows n", computed when asked for."""


@dataclass(frozen=True)
class Operands:
    """One attention call, before the softmax: enough to compute scores, probabilities and output.

    `dtype` is what the model computes in; the tensors here are float32 where that is a half-precision type.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    scale: float
    dtype: torch.dtype

    def scores(self, rows: slice = slice(None)) -> Tensor:
        """Pre-softmax scores of the query tokens `rows`: scaled products with all keys, plus bias or mask if any."""
        with exact(self.query.device):
            scores = (self.query[..., rows, :] * self.scale) @ self.key.transpose(-2, -1)
        bias = self._bias_of(rows)
        return scores if bias is None else scores + bias

    def attend(self, rows: slice = slice(None)) -> Tensor:
        """Probabilities of the query tokens `rows`. One that may attend to none gets zeros, as in PyTorch."""
        scores, bias = self.scores(rows), self._bias_of(rows)
        if bias is None or not bool((nothing := (bias == float("-inf")).all(-1, keepdim=True)).any()):
            return scores.softmax(-1)
        # Masked before the softmax too: the gradient of a NaN is NaN, even where it is thrown away.
        return scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)

    def _bias_of(self, rows: slice) -> Tensor | None:
        if self.bias is None or self.bias.shape[-2] == 1:  # one row for all query tokens
            return self.bias
        return self.bias[..., rows, :]


def sdpa_operands(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Operands:
    """Read the arguments of `F.scaled_dot_product_attention`, whose signature this has."""
    refuse_dropout(dropout_p)
    if torch.is_autocast_enabled(query.device.type):  # the model's own autocast: the operator would compute in its type
        lower = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(lower), key.to(lower), value.to(lower)
    if query.dim() == 3:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        attn_mask = attn_mask.unsqueeze(1) if attn_mask is not None and attn_mask.dim() == 3 else attn_mask
    if query.dim() != 4:
        raise UnsupportedModelError(
            f"An attention call has a query of shape {tuple(query.shape)}.",
            "Expected (images, heads, tokens, width) or (images, tokens, width).",
        )
    if enable_gqa and key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    dtype = query.dtype
    if dtype in {torch.float16, torch.bfloat16}:
        query, key, value = query.float(), key.float(), value.float()
    bias = additive_mask(attn_mask, query.dtype)
    if is_causal:
        causal = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        bias = additive_mask(causal, query.dtype)
    return Operands(query, key, value, bias, query.shape[-1] ** -0.5 if scale is None else scale, dtype)


def refuse_dropout(probability: float) -> None:
    """Raise ModelModeError if attention dropout is active: the map would be random."""
    if probability > 0:
        raise ModelModeError(
            f"Attention runs with dropout {probability}.", "Call model.eval() before explaining the model."
        )


def additive_mask(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Turn a boolean mask (True = may attend) into scores to add; a mask of scores is only cast."""
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask.logical_not(), float("-inf"))


@dataclass(frozen=True)
class Multihead:
    """A call of `F.multi_head_attention_forward`, taken apart at its projections.

    PyTorch passes (n, b, d) or, without a batch, (n, d).
    """

    operands: Operands
    entering: Tensor
    batched: bool
    need_weights: bool
    average_weights: bool
    out_weight: Tensor
    out_bias: Tensor | None

    def result(self, output: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor | None]:
        """Project the attention output (b, h, n, e) back, and give the weights if the caller asked for them."""
        images, heads, tokens, width = output.shape
        rows = output.transpose(1, 2).reshape(images, tokens, heads * width).to(self.out_weight.dtype)
        projected = F.linear(rows, self.out_weight, self.out_bias).transpose(0, 1)
        projected = projected if self.batched else projected.squeeze(1)
        if not self.need_weights:
            return projected, None
        weights = probabilities.mean(1) if self.average_weights else probabilities
        return projected, (weights if self.batched else weights.squeeze(0))


def multihead_operands(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Multihead:
    """Read the arguments of `F.multi_head_attention_forward`, whose signature this has."""
    extras = {"bias_k": bias_k, "bias_v": bias_v, "static_k": static_k, "static_v": static_v}
    used = [name for name, extra in extras.items() if extra is not None] + ["add_zero_attn"] * add_zero_attn
    if used:
        raise UnsupportedModelError(
            f"nn.MultiheadAttention is used with {', '.join(used)}, which adds tokens that are no patches.",
            "Build the attention without it.",
        )
    refuse_dropout(dropout_p if training else 0.0)
    batched = query.dim() == 3
    entering = query
    same = query is key and key is value
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    # Images first, as in every other linear layer.
    query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
    projected = _project(query, key, value, same, in_proj_weight, in_proj_bias, weights)
    parts = [_heads(part, num_heads) for part in projected]
    operands = sdpa_operands(
        parts[0], parts[1], parts[2], _merged_mask(attn_mask, key_padding_mask, parts[0], num_heads)
    )
    del embed_dim_to_check, is_causal  # is_causal is only a hint there: the mask is always passed as well
    return Multihead(operands, entering, batched, need_weights, average_attn_weights, out_proj_weight, out_proj_bias)


def _project(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    same: bool,
    weight: Tensor | None,
    bias: Tensor | None,
    weights: Any,
) -> tuple[Tensor, ...]:
    biases: tuple[Any, ...] = (None, None, None) if bias is None else bias.chunk(3)
    if weights is None and weight is not None:
        if same:
            return F.linear(query, weight, bias).chunk(3, -1)
        weights = weight.chunk(3)
    return tuple(F.linear(part, w, b) for part, w, b in zip((query, key, value), weights, biases, strict=True))


def _heads(rows: Tensor, heads: int) -> Tensor:
    images, tokens, width = rows.shape
    return rows.reshape(images, tokens, heads, width // heads).transpose(1, 2)


def _merged_mask(mask: Tensor | None, padding: Tensor | None, query: Tensor, heads: int) -> Tensor | None:
    """Merge nn.MultiheadAttention's two masks, in which True means *may not* attend, into one of scores to add."""
    merged: Tensor | None = None
    if mask is not None:
        merged = additive_mask(mask.logical_not() if mask.dtype == torch.bool else mask, query.dtype)
        if merged is not None and merged.dim() == 3:  # (b * h, n, n)
            merged = merged.view(-1, heads, *merged.shape[1:])
    if padding is not None:
        keys = additive_mask(padding.logical_not() if padding.dtype == torch.bool else padding, query.dtype)
        if keys is not None:  # (b, n), or (n) without a batch
            keys = keys.view(-1, 1, 1, keys.shape[-1])
            merged = keys if merged is None else merged + keys
    return merged
