"""Slow oracles of the methods that show attention: one head and one block at a time, every matrix in full."""

import math
import statistics as python_statistics

import torch
from torch import Tensor

from oracles.slow import Score, SlowRun, SlowViT, attention_gradients, chosen, finish, fuse, numbers, read_row


def raw_attention(
    vit: SlowViT, pixels: Tensor, _score: Score, block: int = -1, head: int | None = None, outliers: str = "keep"
) -> Tensor:
    run = vit.run(pixels)
    relevance = read_row(vit, run, fuse(chosen(run.attention[block], head)))
    return finish(vit, run, relevance, numbers(run, block, block), outliers)


def mean_attention(
    vit: SlowViT,
    pixels: Tensor,
    _score: Score,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    maps = [read_row(vit, run, fuse(chosen(run.attention[block], head))) for block in blocks]
    return finish(vit, run, sum(maps) / len(maps), blocks, outliers)


def divergence(one: list[float], other: list[float]) -> float:
    """Give the Jensen-Shannon divergence in bits, as the mean of two Kullback-Leibler divergences."""
    middle = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    return sum(
        sum(share * math.log2(share / mean) for share, mean in zip(given, middle, strict=True) if share > 0) / 2
        for given in (one, other)
    )


def consensus_attention(
    vit: SlowViT,
    pixels: Tensor,
    _score: Score,
    sharpness: float = 1.0,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for block in blocks:
        given = [read_row(vit, run, each) for each in chosen(run.attention[block], head)]
        looks = [(each / each.sum()).flatten().tolist() for each in given]
        weights = []
        for place, look in enumerate(looks):
            others = [1 - divergence(look, other) for number, other in enumerate(looks) if number != place]
            weights.append(python_statistics.fmean(others) ** sharpness if others else 1.0)
        for weight, each in zip(weights, given, strict=True):
            total = total + weight / sum(weights) * each / len(blocks)
    return finish(vit, run, total, blocks, outliers)


def discard_smallest(vit: SlowViT, matrix: Tensor, discard: float) -> Tensor:
    """Zero the smallest entries that lead from patch to patch; as many as `discard` is of the whole matrix."""
    rows = matrix.tolist()
    entries = sorted((rows[row][column], row, column) for row in vit.patches for column in vit.patches)
    for _, row, column in entries[: int(discard * matrix.numel())]:
        rows[row][column] = 0.0
    return torch.tensor(rows, dtype=torch.float64)


def rollout(
    vit: SlowViT,
    pixels: Tensor,
    _score: Score,
    fusion: str = "mean",
    discard: float = 0.0,
    residual: float = 0.5,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    """R = A_L … A_1 in full, each A the fused attention mixed with the identity and its rows divided by their sums."""
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    product: Tensor | None = None
    for block in blocks:
        fused = discard_smallest(vit, fuse(chosen(run.attention[block], head), fusion), discard)
        mixed = (1 - residual) * fused + residual * torch.eye(len(fused), dtype=fused.dtype)
        for row in range(len(mixed)):
            mixed[row] = mixed[row] / mixed[row].sum()
        product = mixed if product is None else mixed @ product
    return finish(vit, run, read_row(vit, run, product), blocks, outliers)


def query_attention(
    vit: SlowViT,
    pixels: Tensor,
    _score: Score,
    row: int | None = None,
    column: int | None = None,
    prefix_token: int | None = None,
    block: int = -1,
    head: int | None = None,
    direction: str = "attends to",
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    entries = fuse(chosen(run.attention[block], head)).tolist()
    shares = run.reads
    if prefix_token is not None:
        shares = [float(token == prefix_token) for token in range(len(entries))]
    elif row is not None:
        shares = [float(token == vit.prefix + row * vit.grid[1] + column) for token in range(len(entries))]
    found = []
    for patch in vit.patches:
        each = [
            entries[token][patch] if direction == "attends to" else entries[patch][token]
            for token in range(len(shares))
        ]
        found.append(sum(share * entry for share, entry in zip(shares, each, strict=True)))
    relevance = torch.tensor(found, dtype=torch.float64).reshape(vit.grid)
    return finish(vit, run, relevance, numbers(run, block, block), outliers)


def filtered(vit: SlowViT, run: SlowRun, mixing: list[list[Tensor]], k: float, statistics: str) -> Tensor:
    """Product, filter and weight of each head, and their sum; `mixing` runs over blocks, then heads."""
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for head in range(len(mixing[0])):
        product = torch.eye(len(mixing[0][0]), dtype=torch.float64)
        for block in mixing:
            product = (block[head].detach() + torch.eye(len(product), dtype=torch.float64)) @ product
        if statistics == "matrix":
            entries = [entry for row in product.tolist() for entry in row]
        else:
            entries = [entry for row in read_row(vit, run, product).tolist() for entry in row]
        bar = python_statistics.fmean(entries) + k * python_statistics.pstdev(entries)
        if statistics == "matrix":
            kept = read_row(
                vit, run, torch.tensor([[float(entry >= bar) for entry in row] for row in product.tolist()]).double()
            )
        else:
            kept = torch.tensor([float(entry >= bar) for entry in entries]).double().reshape(vit.grid)
        total = total + max(entries) * kept
    return total


def rfem(
    vit: SlowViT,
    pixels: Tensor,
    _score: Score,
    k: float = 0.25,
    statistics: str = "matrix",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    mixing = [chosen(run.attention[block], head) for block in blocks]
    return finish(vit, run, filtered(vit, run, mixing, k, statistics), blocks, outliers)


def rfem_class(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    k: float = 0.5,
    statistics: str = "matrix",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    blocks = numbers(run, first, last)
    gradients = attention_gradients(run, score)
    mixing = []
    for block in blocks:
        pairs = zip(chosen(run.attention[block], head), chosen(gradients[block], head), strict=True)
        mixing.append([(attention * gradient).clamp(min=0) for attention, gradient in pairs])
    return finish(vit, run, filtered(vit, run, mixing, k, statistics), blocks, outliers)
