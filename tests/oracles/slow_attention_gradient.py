"""Slow oracles of methods that weigh attention by gradients: one image, one head, one token at a time, in float64.

Full n x n matrices are multiplied where the library follows one row, gradients are taken through the whole graph where
it goes back one block, and nothing of vitreous is imported.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oracles.slow import (
    Score,
    SlowRun,
    SlowViT,
    attention_gradients,
    chosen,
    finish,
    fuse,
    numbers,
    read_row,
)
from oracles.slow_attention import discard_smallest


@dataclass(frozen=True)
class DeepRun:
    """What one image left behind in each block: `stream` has one more entry than there are blocks."""

    run: SlowRun
    stream: list[Tensor]
    between: list[Tensor]
    handed: list[list[Tensor]]
    """What each token hands over through each head: its values through the output projection, no bias."""


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
        values, out, each = normed @ weight.T + bias, vit.weights[f"{at}.attn.proj.weight"], width // vit.heads
        owns = [slice(number * each, (number + 1) * each) for number in range(vit.heads)]
        handed.append([values[:, own] @ out[:, own].T for own in owns])
        tokens = tokens + mixed
        between.append(tokens)
        tokens = tokens + vit._mlp(vit._norm(tokens, f"{at}.norm2"), f"{at}.mlp")
        stream.append(tokens)
        scores.append(block_scores)
        attention.append(block_attention)
    logits, reads = read_out(vit, tokens)
    return DeepRun(SlowRun(pixels, logits, reads, scores, attention, [], stream[1:]), stream, between, handed)


def read_out(vit: SlowViT, tokens: Tensor) -> tuple[Tensor, list[float]]:
    pool = {"token": vit._class_token, "avg": vit._mean, "map": vit._pooling_attention}[vit.pooling]
    pooled, reads = pool(tokens)
    return vit._linear(pooled, "head")[0], reads


def identity(run: SlowRun) -> Tensor:
    return torch.eye(len(run.attention[0][0]), dtype=torch.float64)


def gradient_rollout(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    discard: float = 0.9,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    product, slopes, blocks = identity(run), attention_gradients(run, score), numbers(run, first, last)
    for block in blocks:
        heads, gradients = chosen(run.attention[block], head), chosen(slopes[block], head)
        weighted = fuse([attention * gradient for attention, gradient in zip(heads, gradients, strict=True)])
        mixed = (discard_smallest(vit, weighted.clamp(min=0), discard) + identity(run)) / 2
        for row in range(len(mixed)):
            mixed[row] = mixed[row] / mixed[row].sum()
        product = mixed @ product
    return finish(vit, run, read_row(vit, run, product), blocks, outliers)


def legrad(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    found = deep(vit, pixels)
    blocks = numbers(found.run, first, last)
    total = torch.zeros(len(found.stream[0]), dtype=torch.float64)
    for block in blocks:
        mean = found.stream[block + 1].mean(0)
        logits, _ = read_out(vit, torch.stack([mean] * len(total)))
        heads = chosen(found.run.attention[block], head)
        for attention in heads:
            (gradient,) = torch.autograd.grad(score(logits), attention, retain_graph=True)
            for row in gradient:
                total = total + row.clamp(min=0) / len(total) / len(heads)
    return finish(vit, found.run, total[list(vit.patches)].reshape(vit.grid), blocks, outliers)


WALKED: dict[tuple, tuple[SlowViT, list[Tensor]]] = {}
"""Path weights of each head by model, image, score and number of points: three methods ask for the same."""


def path_weights(vit: SlowViT, pixels: Tensor, score: Score, points: int, head: int | None) -> Tensor:
    key = (id(vit), pixels.numpy().tobytes(), score, points)
    if key not in WALKED:
        each = []
        for alpha in torch.linspace(0, 1, points, dtype=torch.float64):
            run = vit.run(pixels.double() * alpha)
            each.append(torch.autograd.grad(score(run.logits), run.attention[-1]))
        WALKED[key] = (vit, [(sum(gradients) / points).clamp(min=0) for gradients in zip(*each, strict=True)])
    return fuse(chosen(WALKED[key][1], head))


def path_blocks(run: SlowRun, first: int | None, last: int, published: int) -> list[int]:
    """From the published first block on where none is given, and from the last itself if that comes before."""
    return numbers(run, min(published, last % len(run.attention)) if first is None else first, last)


def beyond_intuition_heads(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    points: int = 20,
    head: int | None = None,
    first: int | None = None,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    perception = identity(run)
    gradients = attention_gradients(run, score)
    blocks = path_blocks(run, first, last, 3)
    for block in blocks:
        pairs = list(zip(chosen(run.attention[block], head), chosen(gradients[block], head), strict=True))
        shares = [(attention.T @ gradient).abs().mean() for attention, gradient in pairs]
        mixed = sum(share / sum(shares) * attention for share, (attention, _) in zip(shares, pairs, strict=True))
        perception = (identity(run) + mixed) @ perception
    relevance = read_row(vit, run, perception * path_weights(vit, pixels, score, points, head))
    return finish(vit, run, relevance, blocks, outliers)


def beyond_intuition_tokens(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    points: int = 20,
    head: int | None = None,
    first: int | None = None,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    found = deep(vit, pixels)
    perception = identity(found.run)
    blocks = path_blocks(found.run, first, last, 5)
    for block in blocks:
        handed = sum(chosen(found.handed[block], head))
        pairs = zip(handed.detach(), found.stream[block].detach(), strict=True)
        growth = [math.sqrt((handed**2).sum()) / math.sqrt((token**2).sum()) for handed, token in pairs]
        mixed = fuse(chosen(found.run.attention[block], head)) @ torch.diag(torch.tensor(growth, dtype=torch.float64))
        perception = (identity(found.run) + mixed) @ perception
    relevance = read_row(vit, found.run, perception * path_weights(vit, pixels, score, points, head))
    return finish(vit, found.run, relevance, blocks, outliers)


def transition_attention(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    points: int = 20,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    states = fuse(chosen(run.attention[blocks[-1]], head))
    for block in reversed(blocks[:-1]):
        states = states @ fuse(chosen(run.attention[block], head)) + states
    relevance = read_row(vit, run, states * path_weights(vit, pixels, score, points, head))
    return finish(vit, run, relevance, blocks, outliers)


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


def token_transformation(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    found = deep(vit, pixels)
    gradients = attention_gradients(found.run, score)
    blocks = numbers(found.run, first, last)
    contribution = torch.diag((found.stream[blocks[0]].detach() ** 2).sum(1).sqrt())
    for block in blocks:
        between, handed = found.between[block], sum(chosen(found.handed[block], head))
        mixed = fuse(chosen(found.run.attention[block], head)) @ transformation(found.stream[block], handed)
        mixed = mixed * fuse([gradient.clamp(min=0) for gradient in chosen(gradients[block], head)])
        mlp = transformation(between, found.stream[block + 1] - between)
        contribution = (identity(found.run) + mlp) @ (identity(found.run) + mixed) @ contribution
    return finish(vit, found.run, read_row(vit, found.run, contribution), blocks, outliers)


def attcat(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    side: str = "leaving",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    found = deep(vit, pixels)
    total = torch.zeros(len(found.stream[0]), dtype=torch.float64)
    blocks = numbers(found.run, first, last)
    for block in blocks:
        heads = chosen(found.run.attention[block], head)
        tokens = found.stream[block + 1] if side == "leaving" else found.stream[block]
        (gradient,) = torch.autograd.grad(score(found.run.logits), tokens, retain_graph=True)
        received = fuse(heads).sum(0) / len(total)
        for token in range(len(total)):
            total[token] += received[token] * (tokens[token] * gradient[token]).sum().detach()
    return finish(vit, found.run, total[list(vit.patches)].reshape(vit.grid), blocks, outliers)


def saw(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    weights: str = "equal",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    slopes = attention_gradients(run, score)
    gradients = [chosen(slopes[block], head) for block in blocks]
    attentions = [chosen(run.attention[block], head) for block in blocks]
    alpha = [1.0 for _ in gradients]
    if weights == "gradient":
        read = [token for token, share in enumerate(run.reads) if share]
        alpha = [sum(float(head[read].abs().sum()) for head in block) for block in gradients]
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for share, heads, block in zip(alpha, attentions, gradients, strict=True):
        weighted = fuse([attention * gradient for attention, gradient in zip(heads, block, strict=True)])
        total = total + share / sum(alpha) * read_row(vit, run, weighted)
    return finish(vit, run, total, blocks, outliers)


def head_relevance(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    block: int = -1,
    head: int | None = None,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    gradients = chosen(attention_gradients(run, score)[block], head)
    pairs = zip(chosen(run.attention[block], head), gradients, strict=True)
    relevance = sum(read_row(vit, run, attention * gradient) for attention, gradient in pairs)
    return finish(vit, run, relevance, numbers(run, block, block), outliers)
