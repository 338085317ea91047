"""Slow oracles: explanation methods computed again from their definitions, in float64, with nothing borrowed.

A pre-norm ViT is run from its state dict alone, one image at a time, one head at a time, and every n x n matrix is
formed in full. Nothing of vitreous is imported. Where a definition leaves something open (models without a class
token, which entries rollout may discard), the convention is stated where it is used.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-6
"""Of timm's LayerNorm."""

OUTLYING = 3.0
"""Times the median norm above which a patch token stands out."""


@dataclass(frozen=True)
class SlowRun:
    """What one image left behind. Lists run over blocks, then heads; tensors are nodes of one graph.

    `reads` is the share of each last token in the prediction, which the methods start from; `entering` is what each
    attention projects, `leaving` the tokens that each block gives out.
    """

    pixels: Tensor
    logits: Tensor
    reads: list[float]
    scores: list[list[Tensor]]
    attention: list[list[Tensor]]
    entering: list[Tensor]
    leaving: list[Tensor]


@dataclass(frozen=True)
class SlowViT:
    """A timm VisionTransformer, written out; its head reads a class token, the patches' mean or a pooling attention."""

    weights: dict[str, Tensor]
    heads: int
    grid: tuple[int, int]
    patch: int
    prefix: int
    pooling: str

    @staticmethod
    def of(model: torch.nn.Module) -> "SlowViT":
        """Copy the numbers of a timm VisionTransformer."""
        weights = {name: tensor.detach().double().clone() for name, tensor in model.state_dict().items()}
        for tensor in weights.values():
            tensor.requires_grad_()  # so that attention has a gradient although its input is cut off
        return SlowViT(
            weights,
            model.blocks[0].attn.num_heads,
            tuple(model.patch_embed.grid_size),
            model.patch_embed.patch_size[0],
            model.num_prefix_tokens,
            model.global_pool,
        )

    @property
    def patches(self) -> range:
        """The tokens that are patches."""
        return range(self.prefix, self.prefix + self.grid[0] * self.grid[1])

    def run(self, pixels: Tensor, cut_attention_inputs: bool = False) -> SlowRun:
        """Run one normalised image (3, H, W); `cut_attention_inputs` like AGCAM's code: x.detach() before q, k, v."""
        pixels = pixels.detach().double().requires_grad_()
        tokens = self._embed(pixels)
        blocks = 1 + max(int(name.split(".")[1]) for name in self.weights if name.startswith("blocks."))
        scores, attention, entering, leaving = [], [], [], []
        for block in range(blocks):
            at = f"blocks.{block}"
            normed = self._norm(tokens, f"{at}.norm1")
            entering.append(normed)
            mixed, block_scores, block_attention = self._attend(
                normed.detach() if cut_attention_inputs else normed, f"{at}.attn"
            )
            scores.append(block_scores)
            attention.append(block_attention)
            tokens = tokens + mixed
            tokens = tokens + self._mlp(self._norm(tokens, f"{at}.norm2"), f"{at}.mlp")
            leaving.append(tokens)
        pooled, reads = {"token": self._class_token, "avg": self._mean, "map": self._pooling_attention}[self.pooling](
            tokens
        )
        return SlowRun(pixels, self._linear(pooled, "head")[0], reads, scores, attention, entering, leaving)

    def _embed(self, pixels: Tensor) -> Tensor:
        kernel, bias = self.weights["patch_embed.proj.weight"], self.weights["patch_embed.proj.bias"]
        side, rows = self.patch, []
        for row in range(self.grid[0]):
            for column in range(self.grid[1]):
                patch = pixels[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
                rows.append((kernel * patch).sum((1, 2, 3)) + bias)
        prefix = [self.weights[name][0] for name in ("cls_token", "reg_token") if name in self.weights]
        return torch.cat([*prefix, torch.stack(rows)]) + self.weights["pos_embed"][0]

    def _attend(self, normed: Tensor, at: str) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        weight, bias = self.weights[f"{at}.qkv.weight"], self.weights[f"{at}.qkv.bias"]
        query, key, value = (normed @ weight.T + bias).split(normed.shape[1], 1)
        output, scores, attention = self._heads(query, key, value)
        return self._linear(output, f"{at}.proj"), scores, attention

    def _heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """One head after the other: scaled scores, the softmax written out, and the mixture of values."""
        each = query.shape[1] // self.heads
        outputs, scores, attention = [], [], []
        for head in range(self.heads):
            own = slice(head * each, (head + 1) * each)
            scores.append(query[:, own] @ key[:, own].T / math.sqrt(each))
            exponentials = torch.exp(scores[-1] - scores[-1].max(1, keepdim=True).values)
            attention.append(exponentials / exponentials.sum(1, keepdim=True))
            outputs.append(attention[-1] @ value[:, own])
        return torch.cat(outputs, 1), scores, attention

    def _class_token(self, tokens: Tensor) -> tuple[Tensor, list[float]]:
        return self._norm(tokens[:1], "norm"), [1.0] + [0.0] * (len(tokens) - 1)

    def _mean(self, tokens: Tensor) -> tuple[Tensor, list[float]]:
        average = tokens[list(self.patches)].mean(0, keepdim=True)
        reads = [1 / len(self.patches) if token in self.patches else 0.0 for token in range(len(tokens))]
        return self._norm(average, "fc_norm"), reads

    def _pooling_attention(self, tokens: Tensor) -> tuple[Tensor, list[float]]:
        """SigLIP's head: one learned query attends to the patches, an MLP follows; what is read is the heads' mean."""
        normed = self._norm(tokens, "norm")[list(self.patches)]
        query = self._linear(self.weights["attn_pool.latent"][0], "attn_pool.q")
        key, value = self._linear(normed, "attn_pool.kv").split(normed.shape[1], 1)
        output, _, attention = self._heads(query, key, value)
        output = self._linear(output, "attn_pool.proj")
        output = output + self._mlp(self._norm(output, "attn_pool.norm"), "attn_pool.mlp")
        reads = [0.0] * len(tokens)
        for place, token in enumerate(self.patches):
            reads[token] = sum(float(head[0, place].detach()) for head in attention) / self.heads
        return output, reads

    def _mlp(self, tokens: Tensor, at: str) -> Tensor:
        hidden = self._linear(tokens, f"{at}.fc1")
        return self._linear(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))), f"{at}.fc2")

    def _norm(self, tokens: Tensor, at: str) -> Tensor:
        centred = tokens - tokens.mean(1, keepdim=True)
        variance = (centred**2).mean(1, keepdim=True)
        return centred / torch.sqrt(variance + EPSILON) * self.weights[f"{at}.weight"] + self.weights[f"{at}.bias"]

    def _linear(self, tokens: Tensor, at: str) -> Tensor:
        return tokens @ self.weights[f"{at}.weight"].T + self.weights[f"{at}.bias"]


def chosen(heads: list[Tensor], head: int | None) -> list[Tensor]:
    """All heads of a block, or one of them."""
    return heads if head is None else [heads[head]]


def numbers(run: SlowRun, first: int, last: int) -> list[int]:
    """The blocks from the first to the last, both counted in."""
    blocks = len(run.attention)
    return [block for block in range(blocks) if first % blocks <= block <= last % blocks]


Score = Callable[[Tensor], Tensor]
"""The explained number, as a function of the logits (k,) of one image."""


def read_row(vit: SlowViT, run: SlowRun, matrix: Tensor) -> Tensor:
    """The rows that the prediction reads, averaged as the head weighs them, at the patches, on the grid."""
    total = torch.zeros(matrix.shape[1], dtype=matrix.dtype)
    for token, share in enumerate(run.reads):
        total = total + share * matrix[token]
    return total[list(vit.patches)].reshape(vit.grid).detach()


def fuse(heads: list[Tensor], fusion: str = "mean") -> Tensor:
    """Make one matrix of all heads, entry by entry."""
    how = {"mean": lambda entries: sum(entries) / len(entries), "max": max, "min": min}[fusion]
    rows = zip(*[head.detach().tolist() for head in heads], strict=True)
    fused = [[how(entries) for entries in zip(*row, strict=True)] for row in rows]
    return torch.tensor(fused, dtype=torch.float64)


def attention_gradients(run: SlowRun, score: Score) -> list[list[Tensor]]:
    """Differentiate the score by every head's attention, one head at a time."""
    return [
        [torch.autograd.grad(score(run.logits), head, retain_graph=True)[0] for head in heads]
        for heads in run.attention
    ]


def outlying(vit: SlowViT, run: SlowRun, blocks: list[int]) -> set[tuple[int, int]]:
    """Places of the patches whose token is outlying where one of the blocks takes it in, from another block."""
    places = set()
    for block in blocks:
        if block == 0:
            continue
        tokens = run.leaving[block - 1].tolist()
        norms = [math.sqrt(sum(value * value for value in tokens[token])) for token in vit.patches]
        # torch and numpy disagree about the median of an even number; the lower of the two in the middle is meant
        median = statistics.median_low(norms)
        places |= {divmod(patch, vit.grid[1]) for patch, norm in enumerate(norms) if norm > OUTLYING * median}
    return places


def finish(vit: SlowViT, run: SlowRun, relevance: Tensor, blocks: list[int], outliers: str) -> Tensor:
    """Replace what is at outlying patches by the median of the neighbours that are not, if that is asked for."""
    places = outlying(vit, run, blocks) if outliers == "mask" else set()
    rows, columns = vit.grid
    old = relevance.tolist()
    new = relevance.clone()
    sound = [(row, column) for row in range(rows) for column in range(columns) if (row, column) not in places]
    for row, column in places:
        around = [old[r][c] for r, c in sound if abs(r - row) <= 1 and abs(c - column) <= 1]
        instead = around or [old[r][c] for r, c in sound]
        if instead:
            new[row, column] = statistics.median(instead)
    return new


def attention_gradcam(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    block: int = -1,
    relu: bool = True,
    head: int | None = None,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    gradients = chosen(attention_gradients(run, score)[block], head)
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for attention, gradient in zip(chosen(run.attention[block], head), gradients, strict=True):
        total = total + read_row(vit, run, gradient).mean() * read_row(vit, run, attention)
    total = total / len(gradients)
    return finish(vit, run, total.clamp(min=0) if relu else total, numbers(run, block, block), outliers)


def agcam(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    detach: bool = True,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels, cut_attention_inputs=detach)
    gradients = attention_gradients(run, score)
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for block in numbers(run, first, last):
        for scores, gradient in zip(chosen(run.scores[block], head), chosen(gradients[block], head), strict=True):
            total = total + read_row(vit, run, gradient.clamp(min=0) / (1 + torch.exp(-scores)))
    return finish(vit, run, total, numbers(run, first, last), outliers)


def generic_attention(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: str = "keep",
) -> Tensor:
    run = vit.run(pixels)
    gradients = attention_gradients(run, score)
    relevance = torch.eye(len(run.attention[0][0]), dtype=torch.float64)
    for block in numbers(run, first, last):
        pairs = zip(chosen(run.attention[block], head), chosen(gradients[block], head), strict=True)
        positive = [(gradient * attention).clamp(min=0) for attention, gradient in pairs]
        relevance = relevance + sum(positive) / len(positive) @ relevance
    return finish(vit, run, read_row(vit, run, relevance), numbers(run, first, last), outliers)


def gradcam(vit: SlowViT, pixels: Tensor, score: Score, block: int = -1, relu: bool = True) -> Tensor:
    run = vit.run(pixels)
    (gradient,) = torch.autograd.grad(score(run.logits), run.entering[block])
    features, slopes = run.entering[block].tolist(), gradient.tolist()
    total = torch.zeros(len(vit.patches), dtype=torch.float64)
    for channel in range(gradient.shape[1]):
        weight = sum(slopes[token][channel] for token in vit.patches) / len(vit.patches)
        total = total + weight * torch.tensor([features[token][channel] for token in vit.patches], dtype=torch.float64)
    total = total.reshape(vit.grid)
    return total.clamp(min=0) if relu else total


def saliency(vit: SlowViT, pixels: Tensor, score: Score, channels: str = "max") -> Tensor:
    run = vit.run(pixels)
    (gradient,) = torch.autograd.grad(score(run.logits), run.pixels)
    red, green, blue = gradient.abs()
    return torch.maximum(torch.maximum(red, green), blue) if channels == "max" else red + green + blue
