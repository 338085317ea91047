"""Slow oracles of methods that weigh attention by gradients: one image, one head, one token at a time, in float64.

Full n x n matrices are multiplied where the library follows one row, gradients are taken through the whole graph where
it goes back one block, and nothing of vitreous is imported.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oracles.slow import Score, SlowRun, SlowViT, attention_gradients, fuse, read_row
from oracles.slow_attention import discard_smallest


@dataclass(frozen=True)
class DeepRun:
    """What one image left behind in each block: `stream` has one more entry than there are blocks."""

    run: SlowRun
    stream: list[Tensor]
    between: list[Tensor]
    handed: list[Tensor]
    """What each token hands over to those that attend to it: its values through the output projection, no bias."""


def deep(vit: SlowViT, pixels: Tensor) -> DeepRun:
    tokens = vit._embed(pixels.detach().double().requires_grad_())
    stream, between, handed, scores, attention = [tokens], [], [], [], []
    blocks = 1 + max(int(name.split(".")[1]) for name in vit.weights if name.startswith("blocks."))
    for block in range(blocks):
        at = f"blocks.{block}"
        normed = vit._norm(tokens, f"{at}.norm1")
        mixed, block_scores, block_attention = vit._attend(normed, f"{at}.attn")
        width = normed.shape[1]
        weight, bias = vit.weights[f"{at}.attn.qkv.weight"][-width:], vit.weights[f"{at}.attn.qkv.bias"][-width:]
        handed.append((normed @ weight.T + bias) @ vit.weights[f"{at}.attn.proj.weight"].T)
        tokens = tokens + mixed
        between.append(tokens)
        tokens = tokens + vit._mlp(vit._norm(tokens, f"{at}.norm2"), f"{at}.mlp")
        stream.append(tokens)
        scores.append(block_scores)
        attention.append(block_attention)
    logits, reads = head(vit, tokens)
    return DeepRun(SlowRun(pixels, logits, reads, scores, attention, [], stream[1:]), stream, between, handed)


def head(vit: SlowViT, tokens: Tensor) -> tuple[Tensor, list[float]]:
    pool = {"token": vit._class_token, "avg": vit._mean, "map": vit._pooling_attention}[vit.pooling]
    pooled, reads = pool(tokens)
    return vit._linear(pooled, "head")[0], reads


def identity(run: SlowRun) -> Tensor:
    return torch.eye(len(run.attention[0][0]), dtype=torch.float64)


def gradient_rollout(vit: SlowViT, pixels: Tensor, score: Score, discard: float = 0.9) -> Tensor:
    run = vit.run(pixels)
    product = identity(run)
    for heads, gradients in zip(run.attention, attention_gradients(run, score), strict=True):
        weighted = fuse([attention * gradient for attention, gradient in zip(heads, gradients, strict=True)])
        mixed = (discard_smallest(vit, weighted.clamp(min=0), discard) + identity(run)) / 2
        for row in range(len(mixed)):
            mixed[row] = mixed[row] / mixed[row].sum()
        product = mixed @ product
    return read_row(vit, run, product)


def legrad(vit: SlowViT, pixels: Tensor, score: Score, last: int = 0) -> Tensor:
    found = deep(vit, pixels)
    blocks = len(found.between)
    total = torch.zeros(len(found.stream[0]), dtype=torch.float64)
    for block in range(blocks - last if last else 0, blocks):
        mean = found.stream[block + 1].mean(0)
        logits, _ = head(vit, torch.stack([mean] * len(total)))
        for attention in found.run.attention[block]:
            (gradient,) = torch.autograd.grad(score(logits), attention, retain_graph=True)
            for row in gradient:
                total = total + row.clamp(min=0) / len(total) / vit.heads
    return total[list(vit.patches)].reshape(vit.grid)


WALKED: dict[tuple, tuple[SlowViT, Tensor]] = {}
"""Path weights by model, image, score and number of points: three methods ask for the same."""


def path_weights(vit: SlowViT, pixels: Tensor, score: Score, points: int) -> Tensor:
    key = (id(vit), pixels.numpy().tobytes(), score, points)
    if key not in WALKED:
        each = []
        for alpha in torch.linspace(0, 1, points, dtype=torch.float64):
            run = vit.run(pixels.double() * alpha)
            each.append(torch.autograd.grad(score(run.logits), run.attention[-1]))
        heads = [sum(gradients) / points for gradients in zip(*each, strict=True)]
        WALKED[key] = (vit, fuse([gradient.clamp(min=0) for gradient in heads]))
    return WALKED[key][1]


def beyond_intuition_heads(vit: SlowViT, pixels: Tensor, score: Score, start: int = 3, points: int = 20) -> Tensor:
    run = vit.run(pixels)
    perception = identity(run)
    gradients = attention_gradients(run, score)
    for block in range(min(start, len(run.attention) - 1), len(run.attention)):
        pairs = list(zip(run.attention[block], gradients[block], strict=True))
        shares = [(attention.T @ gradient).abs().mean() for attention, gradient in pairs]
        mixed = sum(share / sum(shares) * attention for share, (attention, _) in zip(shares, pairs, strict=True))
        perception = (identity(run) + mixed) @ perception
    return read_row(vit, run, perception * path_weights(vit, pixels, score, points))


def beyond_intuition_tokens(vit: SlowViT, pixels: Tensor, score: Score, start: int = 5, points: int = 20) -> Tensor:
    found = deep(vit, pixels)
    perception = identity(found.run)
    for block in range(min(start, len(found.between) - 1), len(found.between)):
        pairs = zip(found.handed[block].detach(), found.stream[block].detach(), strict=True)
        growth = [math.sqrt((handed**2).sum()) / math.sqrt((token**2).sum()) for handed, token in pairs]
        mixed = fuse(found.run.attention[block]) @ torch.diag(torch.tensor(growth, dtype=torch.float64))
        perception = (identity(found.run) + mixed) @ perception
    return read_row(vit, found.run, perception * path_weights(vit, pixels, score, points))


def transition_attention(vit: SlowViT, pixels: Tensor, score: Score, start: int = 0, points: int = 20) -> Tensor:
    run = vit.run(pixels)
    states = fuse(run.attention[-1])
    for heads in reversed(run.attention[start:-1]):
        states = states @ fuse(heads) + states
    return read_row(vit, run, states * path_weights(vit, pixels, score, points))


def transformation(before: Tensor, after: Tensor) -> Tensor:
    """W, from pairs of a token before and after."""
    growth, cosines = [], []
    for old, new in zip(before.detach(), after.detach(), strict=True):
        lengths = math.sqrt((old**2).sum()), math.sqrt((new**2).sum())
        growth.append(lengths[1] / lengths[0])
        cosines.append(float((old * new).sum()) / (lengths[0] * lengths[1]))
    total = sum(math.exp(cosine) for cosine in cosines)
    entries = [ratio * math.exp(cosine) / total for ratio, cosine in zip(growth, cosines, strict=True)]
    return torch.diag(torch.tensor(entries, dtype=torch.float64))


def token_transformation(vit: SlowViT, pixels: Tensor, score: Score) -> Tensor:
    found = deep(vit, pixels)
    gradients = attention_gradients(found.run, score)
    contribution = torch.diag((found.stream[0].detach() ** 2).sum(1).sqrt())
    for block, between in enumerate(found.between):
        mixed = fuse(found.run.attention[block]) @ transformation(found.stream[block], found.handed[block])
        mixed = mixed * fuse([gradient.clamp(min=0) for gradient in gradients[block]])
        mlp = transformation(between, found.stream[block + 1] - between)
        contribution = (identity(found.run) + mlp) @ (identity(found.run) + mixed) @ contribution
    return read_row(vit, found.run, contribution)


def attcat(vit: SlowViT, pixels: Tensor, score: Score, side: str = "leaving") -> Tensor:
    found = deep(vit, pixels)
    total = torch.zeros(len(found.stream[0]), dtype=torch.float64)
    for block, heads in enumerate(found.run.attention):
        tokens = found.stream[block + 1] if side == "leaving" else found.stream[block]
        (gradient,) = torch.autograd.grad(score(found.run.logits), tokens, retain_graph=True)
        received = fuse(heads).sum(0) / len(total)
        for token in range(len(total)):
            total[token] += received[token] * (tokens[token] * gradient[token]).sum().detach()
    return total[list(vit.patches)].reshape(vit.grid)


def saw(vit: SlowViT, pixels: Tensor, score: Score, weights: str = "equal") -> Tensor:
    run = vit.run(pixels)
    gradients = attention_gradients(run, score)
    alpha = [1.0 for _ in gradients]
    if weights == "gradient":
        read = [token for token, share in enumerate(run.reads) if share]
        alpha = [sum(float(head[read].abs().sum()) for head in block) for block in gradients]
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for share, heads, block in zip(alpha, run.attention, gradients, strict=True):
        weighted = fuse([attention * gradient for attention, gradient in zip(heads, block, strict=True)])
        total = total + share / sum(alpha) * read_row(vit, run, weighted)
    return total


def head_relevance(vit: SlowViT, pixels: Tensor, score: Score, block: int = -1, head: int = -1) -> Tensor:
    run = vit.run(pixels)
    gradients = attention_gradients(run, score)[block]
    chosen = range(vit.heads) if head == -1 else [head]
    return sum(read_row(vit, run, run.attention[block][index] * gradients[index]) for index in chosen)
