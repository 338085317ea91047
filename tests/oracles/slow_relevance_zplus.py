"""Slow oracle of Transformer Attribution and its family: every rule a sum over explicit contributions, in float64.

The model is run once more from the weights of `SlowViT`, one image at a time, with all intermediate values kept; then
relevance is handed down step by step, without automatic differentiation. Only the ordinary gradient of attention comes
from `SlowViT`. Rules as in section 3 of the paper, offsets as in its published code; where that has no rule (mean and
attention pooling, contrasts), what is done is stated where it is done.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oracles.slow import Score, SlowRun, SlowViT, attention_gradients, read_row

OFFSET = 1e-9


def divide(relevance: Tensor, total: Tensor) -> Tensor:
    return torch.where(total == 0, torch.zeros_like(relevance), relevance / (total + OFFSET))


def through_linear(weight: Tensor, tokens: Tensor, relevance: Tensor) -> Tensor:
    """Share each output's relevance among its positive products with inputs; one token at a time."""
    rows = []
    for token, arriving in zip(tokens, relevance, strict=True):
        products = (weight * token).clamp(min=0)
        rows.append((products * divide(arriving, products.sum(1))[:, None]).sum(0))
    return torch.stack(rows)


def through_product(left: Tensor, right: Tensor, relevance: Tensor, nodes: int = 2) -> tuple[Tensor, Tensor]:
    """Share by the products left_ik right_kj, the same to both factors, or all to one if the other is a constant."""
    products = left[:, :, None] * right[None]
    shares = products * divide(relevance, products.sum(1))[:, None] / nodes
    return shares.sum(2), shares.sum(0)


def through_sum(first: Tensor, second: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Residual add: a copy, as which the sum is used twice; the split; and the share of each branch's |sum|."""
    total = first + second
    relevance = divide(relevance, total) * total
    parts = [first * divide(relevance, total), second * divide(relevance, total)]
    sums = [part.sum() for part in parts]
    size = sums[0].abs() + sums[1].abs()
    scaled = [
        part * divide(divide(own.abs(), size) * relevance.sum(), own) for part, own in zip(parts, sums, strict=True)
    ]
    return scaled[0], scaled[1]


@dataclass
class Heads:
    """One attention over tokens: what went in and out, head by head."""

    query: list[Tensor] = field(default_factory=list)
    key: list[Tensor] = field(default_factory=list)
    value: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    relevance: list[Tensor] = field(default_factory=list)

    @property
    def output(self) -> Tensor:
        return torch.cat([a @ v for a, v in zip(self.attention, self.value, strict=True)], 1)

    @staticmethod
    def of(heads: int, query: Tensor, key: Tensor, value: Tensor) -> "Heads":
        width = query.shape[1] // heads
        split = [[part[:, head * width : (head + 1) * width] for head in range(heads)] for part in (query, key, value)]
        attention = [torch.softmax(q @ k.T / math.sqrt(width), 1) for q, k in zip(split[0], split[1], strict=True)]
        return Heads(*split, attention)

    def down(self, relevance: Tensor, query_is_constant: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Hand relevance of the output down to query, key and value; remember that of the attention."""
        found = []
        width = self.value[0].shape[1]
        for head in range(len(self.attention)):
            own = relevance[:, head * width : (head + 1) * width]
            on_attention, on_value = through_product(self.attention[head], self.value[head], own)
            self.relevance.append(on_attention)
            nodes = 1 if query_is_constant else 2
            on_query, on_key = through_product(self.query[head], self.key[head].T, on_attention, nodes)
            found.append((on_query, on_key.T, on_value))
        query, key, value = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return query, key, value


@dataclass
class Block:
    entering: Tensor
    normed: Tensor
    heads: Heads
    mixed: Tensor
    between: Tensor
    mlp_in: Tensor
    hidden: Tensor
    mlp_out: Tensor


class Propagation:
    """One image's forward pass with everything kept, and relevance from some start at the logits down to the pixels."""

    def __init__(self, vit: SlowViT, pixels: Tensor) -> None:
        self.vit = vit
        self.weights = {name: tensor.detach() for name, tensor in vit.weights.items()}
        self.pixels = pixels.detach().double()
        self.embedded, self.positions = self._embed()
        tokens = self.embedded + self.positions
        self.blocks = []
        for number in range(1 + max(int(name.split(".")[1]) for name in self.weights if name.startswith("blocks."))):
            self.blocks.append(self._block(tokens, f"blocks.{number}"))
            tokens = self.blocks[-1].between + self.blocks[-1].mlp_out
        self.last = tokens

    def _embed(self) -> tuple[Tensor, Tensor]:
        bare = self.vit._embed(self.pixels).detach()
        positions = self.weights["pos_embed"][0]
        return bare - positions, positions

    def _block(self, tokens: Tensor, at: str) -> Block:
        vit = self.vit
        normed = vit._norm(tokens, f"{at}.norm1").detach()
        query, key, value = vit._linear(normed, f"{at}.attn.qkv").detach().split(tokens.shape[1], 1)
        heads = Heads.of(vit.heads, query, key, value)
        mixed = vit._linear(heads.output, f"{at}.attn.proj").detach()
        between = tokens + mixed
        return Block(tokens, normed, heads, mixed, between, *self._mlp(between, f"{at}.norm2", f"{at}.mlp"))

    def _mlp(self, tokens: Tensor, norm: str, at: str) -> tuple[Tensor, Tensor, Tensor]:
        normed = self.vit._norm(tokens, norm).detach()
        hidden = self.vit._linear(normed, f"{at}.fc1").detach()
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return normed, hidden, self.vit._linear(hidden, f"{at}.fc2").detach()

    def down(self, start: Tensor) -> tuple[list[list[Tensor]], Tensor]:
        """Hand down relevance `start` of the logits; gives that of each attention, by block and head, and of pixels."""
        for block in self.blocks:
            block.heads.relevance.clear()
        relevance = self._from_head(start)
        for number in reversed(range(len(self.blocks))):
            relevance = self._through_block(self.blocks[number], f"blocks.{number}", relevance)
        on_tokens, _ = through_sum(self.embedded, self.positions, relevance)
        return [list(block.heads.relevance) for block in self.blocks], self._to_pixels(
            on_tokens[list(self.vit.patches)]
        )

    def _through_block(self, block: Block, at: str, relevance: Tensor) -> Tensor:
        beside, relevance = through_sum(block.between, block.mlp_out, relevance)
        relevance = beside + self._through_mlp(block.mlp_in, block.hidden, f"{at}.mlp", relevance)
        beside, relevance = through_sum(block.entering, block.mixed, relevance)
        relevance = through_linear(self.weights[f"{at}.attn.proj.weight"], block.heads.output, relevance)
        relevance = torch.cat(block.heads.down(relevance), 1)
        return beside + through_linear(self.weights[f"{at}.attn.qkv.weight"], block.normed, relevance)

    def _through_mlp(self, entering: Tensor, hidden: Tensor, at: str, relevance: Tensor) -> Tensor:
        relevance = through_linear(self.weights[f"{at}.fc2.weight"], hidden, relevance)
        return through_linear(self.weights[f"{at}.fc1.weight"], entering, relevance)

    def _from_head(self, start: Tensor) -> Tensor:
        found = torch.zeros_like(self.last)
        patches = list(self.vit.patches)
        head = self.weights["head.weight"]
        if self.vit.pooling == "token":
            normed = self.vit._norm(self.last[:1], "norm").detach()
            found[:1] = through_linear(head, normed, start[None])
        elif self.vit.pooling == "avg":
            # Each token by its absolute value, channel by channel.
            normed = self.vit._norm(self.last[patches].mean(0, keepdim=True), "fc_norm").detach()
            arriving = through_linear(head, normed, start[None])[0]
            products = self.last[patches].abs() / len(patches)
            found[patches] = products * divide(arriving, products.sum(0))
        else:
            found[patches] = self._from_pooling_attention(head, patches, start)
        return found

    def _from_pooling_attention(self, head: Tensor, patches: list[int], start: Tensor) -> Tensor:
        """The query is learned, a constant; so all relevance of scores goes to the keys."""
        vit = self.vit
        normed = vit._norm(self.last, "norm").detach()[patches]
        query = vit._linear(self.weights["attn_pool.latent"][0], "attn_pool.q").detach()
        key, value = vit._linear(normed, "attn_pool.kv").detach().split(normed.shape[1], 1)
        heads = Heads.of(vit.heads, query, key, value)
        output = vit._linear(heads.output, "attn_pool.proj").detach()
        entering, hidden, added = self._mlp(output, "attn_pool.norm", "attn_pool.mlp")
        relevance = through_linear(head, output + added, start[None])
        beside, relevance = through_sum(output, added, relevance)
        relevance = beside + self._through_mlp(entering, hidden, "attn_pool.mlp", relevance)
        relevance = through_linear(self.weights["attn_pool.proj.weight"], heads.output, relevance)
        _, on_key, on_value = heads.down(relevance, query_is_constant=True)
        return through_linear(self.weights["attn_pool.kv.weight"], normed, torch.cat([on_key, on_value], 1))

    def _to_pixels(self, relevance: Tensor) -> Tensor:
        """z^B: products x w - lowest w+ - highest w-, for pixels between the lowest and the highest of the image."""
        kernel, side = self.weights["patch_embed.proj.weight"], self.vit.patch
        low, high = self.pixels.min(), self.pixels.max()
        found = torch.zeros_like(self.pixels)
        for place, arriving in enumerate(relevance):
            row, column = (side * part for part in divmod(place, self.vit.grid[1]))
            patch = self.pixels[:, row : row + side, column : column + side]
            products = patch * kernel - low * kernel.clamp(min=0) - high * kernel.clamp(max=0)
            ratio = arriving / (products.sum((1, 2, 3)) + OFFSET)
            found[:, row : row + side, column : column + side] = (products * ratio[:, None, None, None]).sum(0)
        return found.sum(0)


@dataclass(frozen=True)
class Answer:
    """What is needed of one image and score: its run, gradient and relevance of each head's attention, and of pixels."""

    run: SlowRun
    gradients: list[list[Tensor]]
    attention: list[list[Tensor]]
    pixels: Tensor


def answer(vit: SlowViT, pixels: Tensor, score: Score) -> Answer:
    """Relevance of what the score counts positively, less that of what it counts negatively."""
    run, propagation = vit.run(pixels), Propagation(vit, pixels)
    logits = run.logits.detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(logits), logits)
    attention, on_pixels = propagation.down(slope.clamp(min=0))
    if (slope < 0).any():
        other, other_pixels = propagation.down((-slope).clamp(min=0))
        attention = [
            [plus - minus for plus, minus in zip(*heads, strict=True)] for heads in zip(attention, other, strict=True)
        ]
        on_pixels = on_pixels - other_pixels
    return Answer(run, attention_gradients(run, score), attention, on_pixels)


def product(mixing: list[Tensor], start: int) -> Tensor:
    total = torch.eye(len(mixing[0]), dtype=torch.float64)
    for matrix in mixing[start % len(mixing) :]:
        total = (matrix + torch.eye(len(matrix), dtype=torch.float64)) @ total
    return total


def transformer_attribution(vit: SlowViT, known: Answer, start: int = 0) -> Tensor:
    mixing = [
        sum((gradient * head).clamp(min=0) for gradient, head in zip(*heads, strict=True)) / vit.heads
        for heads in zip(known.gradients, known.attention, strict=True)
    ]
    return read_row(vit, known.run, product(mixing, start))


def lrp_rollout(vit: SlowViT, known: Answer, start: int = 0) -> Tensor:
    mixing = [sum(head.clamp(min=0) for head in heads) / vit.heads for heads in known.attention]
    return read_row(vit, known.run, product(mixing, start))


def partial_lrp(vit: SlowViT, known: Answer, relu: bool = True) -> Tensor:
    kept = [head.clamp(min=0) if relu else head for head in known.attention[-1]]
    return read_row(vit, known.run, sum(kept) / vit.heads)


def full_lrp(_vit: SlowViT, known: Answer) -> Tensor:
    return known.pixels
