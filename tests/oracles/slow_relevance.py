"""Slow oracles of relevance propagation: a ViT whose every step says how relevance is shared, in float64.

Nothing of vitreous is imported. Constants are detached by hand. Where a rule weighs contributions, all of them are formed
one by one, and the sum is replaced by sum_i w_i c_i times a constant that makes up for the weights: input times
gradient then gives contribution i the share w_i c_i / sum_j w_j c_j, as the rule is written.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oracles.slow import EPSILON, SlowViT

Score = Callable[[Tensor], Tensor]


@dataclass
class Seen:
    """Inputs of the blocks, and every bias as a leaf with one row for each token it is added to."""

    blocks: list[Tensor] = field(default_factory=list)
    biases: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class RelevanceViT(SlowViT):
    """The same numbers as SlowViT; `balanced` and `constant_attention` say what is constant in the backward."""

    balanced: bool = True
    constant_attention: bool = True
    gamma_linear: float = 0.0
    gamma_conv: float = 0.0
    gamma_add: float = 0.0
    seen: Seen = field(default_factory=Seen)

    @staticmethod
    def like(vit: SlowViT, **rules: object) -> "RelevanceViT":
        return RelevanceViT(vit.weights, vit.heads, vit.grid, vit.patch, vit.prefix, vit.pooling, **rules)

    def relevance_run(self, pixels: Tensor) -> tuple[Tensor, Tensor, list[float]]:
        """Give the leaf of the pixels, the logits, and how the head reads the last tokens."""
        pixels = pixels.detach().double().requires_grad_()
        tokens = self._embed(pixels)
        for block in range(1 + max(int(name.split(".")[1]) for name in self.weights if name.startswith("blocks."))):
            at = f"blocks.{block}"
            self.seen.blocks.append(tokens)
            if block == 0:
                self.seen.biases.clear()  # those of the embedding are part of the first block's tokens
            tokens = self._residual(tokens, self._attend(self._norm(tokens, f"{at}.norm1"), f"{at}.attn")[0])
            tokens = self._residual(tokens, self._mlp(self._norm(tokens, f"{at}.norm2"), f"{at}.mlp"))
        pool = {"token": self._class_token, "avg": self._mean, "map": self._pooling_attention}[self.pooling]
        pooled, reads = pool(tokens)
        return pixels, self._linear(pooled, "head")[0], reads

    def _embed(self, pixels: Tensor) -> Tensor:
        kernel, bias = self.weights["patch_embed.proj.weight"], self.weights["patch_embed.proj.bias"]
        side = self.patch
        rows = [
            pixels[:, row * side : (row + 1) * side, column * side : (column + 1) * side].flatten()
            for row in range(self.grid[0])
            for column in range(self.grid[1])
        ]
        patches = weighted(torch.stack(rows), kernel.flatten(1), bias.expand(len(rows), -1), self.gamma_conv)
        prefix = [self.weights[name][0] for name in ("cls_token", "reg_token") if name in self.weights]
        return torch.cat([*prefix, patches]) + self.weights["pos_embed"][0]

    def _attend(self, normed: Tensor, at: str) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        query, key, value = self._linear(normed, f"{at}.qkv").split(normed.shape[1], 1)
        output, scores, attention = self._heads(query, key, value)
        return self._linear(output, f"{at}.proj"), scores, attention

    def _heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        each = query.shape[1] // self.heads
        learned = query is self.seen.__dict__.get("learned_query")
        outputs, scores, attention = [], [], []
        for head in range(self.heads):
            own = slice(head * each, (head + 1) * each)
            first, second = query[:, own], key[:, own]
            if self.balanced and not learned:
                first, second = half(first), half(second)
            scores.append(first @ second.T / math.sqrt(each))
            exponentials = torch.exp(scores[-1] - scores[-1].max(1, keepdim=True).values.detach())
            weights = exponentials / exponentials.sum(1, keepdim=True)
            attention.append(weights)
            mixed = value[:, own]
            if self.constant_attention:
                weights = weights.detach()
            elif self.balanced:
                weights, mixed = half(weights), half(mixed)
            outputs.append(weights @ mixed)
        return torch.cat(outputs, 1), scores, attention

    def _pooling_attention(self, tokens: Tensor) -> tuple[Tensor, list[float]]:
        normed = self._norm(tokens, "norm")[list(self.patches)]
        latent, weight, bias = (self.weights[f"attn_pool.{name}"] for name in ("latent", "q.weight", "q.bias"))
        query = (latent[0] @ weight.T + bias).detach()
        self.seen.__dict__["learned_query"] = query
        key, value = self._linear(normed, "attn_pool.kv").split(normed.shape[1], 1)
        output, _, attention = self._heads(query, key, value)
        output = self._linear(output, "attn_pool.proj")
        output = self._residual(output, self._mlp(self._norm(output, "attn_pool.norm"), "attn_pool.mlp"))
        reads = [0.0] * len(tokens)
        for place, token in enumerate(self.patches):
            reads[token] = sum(float(head[0, place].detach()) for head in attention) / self.heads
        return output, reads

    def _mlp(self, tokens: Tensor, at: str) -> Tensor:
        hidden = self._linear(tokens, f"{at}.fc1")
        gate = 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return self._linear(hidden * (gate.detach() if self.balanced else gate), f"{at}.fc2")

    def _norm(self, tokens: Tensor, at: str) -> Tensor:
        centred = tokens - tokens.mean(1, keepdim=True)
        deviation = torch.sqrt((centred**2).mean(1, keepdim=True) + EPSILON)
        normed = centred / (deviation.detach() if self.balanced else deviation)
        return normed * self.weights[f"{at}.weight"] + self._bias(f"{at}.bias", len(tokens))

    def _linear(self, tokens: Tensor, at: str) -> Tensor:
        return weighted(tokens, self.weights[f"{at}.weight"], self._bias(f"{at}.bias", len(tokens)), self.gamma_linear)

    def _bias(self, at: str, rows: int) -> Tensor:
        self.seen.biases.append(self.weights[at].detach().repeat(rows, 1).requires_grad_())
        return self.seen.biases[-1]

    def _residual(self, stream: Tensor, update: Tensor) -> Tensor:
        return made_up(torch.stack([stream, update], -1), stream + update, self.gamma_add)


def half(tensor: Tensor) -> Tensor:
    """The same number with half the gradient."""
    return tensor / 2 + tensor.detach() / 2


def weighted(tokens: Tensor, weight: Tensor, bias: Tensor, gamma: float) -> Tensor:
    """A linear layer by the gamma rule: contributions are formed one by one, the bias among them."""
    total = tokens @ weight.T + bias
    if gamma == 0:
        return total
    contributions = torch.cat([tokens[:, None, :] * weight[None], bias[:, :, None]], 2)
    return made_up(contributions, total, gamma)


def made_up(contributions: Tensor, total: Tensor, gamma: float) -> Tensor:
    """Weigh contributions, on the last axis, by 1 + gamma if they have the sign of their total."""
    agree = ((contributions > 0) & (total > 0)[..., None]) | ((contributions < 0) & (total < 0)[..., None])
    found = (contributions * (1 + gamma * agree.double())).sum(-1)
    return found * (total / found).detach()


def pixel_relevance(vit: SlowViT, pixels: Tensor, score: Score, **rules: object) -> Tensor:
    leaf, logits, _ = RelevanceViT.like(vit, **rules).relevance_run(pixels)
    (gradient,) = torch.autograd.grad(score(logits), leaf)
    red, green, blue = leaf * gradient
    return red + green + blue


def cp_lrp(vit: SlowViT, pixels: Tensor, score: Score) -> Tensor:
    return pixel_relevance(vit, pixels, score)


def attnlrp(vit: SlowViT, pixels: Tensor, score: Score, gamma_linear: float = 0.0, gamma_conv: float = 0.25) -> Tensor:
    given = {"gamma_linear": gamma_linear, "gamma_conv": gamma_conv}
    return pixel_relevance(vit, pixels, score, constant_attention=False, **given)


def reslrp(vit: SlowViT, pixels: Tensor, score: Score, gamma: float = 1.0) -> Tensor:
    return pixel_relevance(vit, pixels, score, constant_attention=False, gamma_add=gamma)


def libragrad(
    vit: SlowViT, pixels: Tensor, score: Score, libra: bool = True, aggregate: str = "fullgrad_plus"
) -> Tensor:
    slow = RelevanceViT.like(vit, balanced=libra, constant_attention=libra)
    _, logits, reads = slow.relevance_run(pixels)
    total = torch.zeros(len(reads), dtype=torch.float64)
    for block, tokens in enumerate(slow.seen.blocks):
        if block == 0 or aggregate.endswith("_plus"):
            (gradient,) = torch.autograd.grad(score(logits), tokens, retain_graph=True)
            total = total + (tokens * gradient).sum(1)
    for bias in slow.seen.biases if aggregate.startswith("fullgrad") else []:
        (gradient,) = torch.autograd.grad(score(logits), bias, retain_graph=True, allow_unused=True)
        if gradient is not None:
            total = total + placed(vit, (bias * gradient).sum(1), reads)
    return total[list(vit.patches)].reshape(vit.grid).detach()


def placed(vit: SlowViT, added: Tensor, reads: list[float]) -> Tensor:
    """Rows that stand for all tokens, for the patches, or for what the head pooled."""
    total = torch.zeros(len(reads), dtype=torch.float64)
    if len(added) == len(reads):
        return total + added
    if len(added) == len(vit.patches):
        total[list(vit.patches)] = added
        return total
    assert len(added) == 1
    return torch.tensor(reads, dtype=torch.float64) * added
