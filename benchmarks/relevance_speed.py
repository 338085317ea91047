"""Speed of Transformer Attribution, beside a plain write-up of the published algorithm in the same run.

ViT-B/16, batch 8, two threads. Every contender runs once per round, in turn, and its time is divided by that of the
fused forward pass of the same round. Printed are the median ratio over the rounds with its quartiles. On a machine that
others use too, `--cpu` takes the seconds of the processors in place of those of the clock.

The plain write-up (below) is how the paper's algorithm is usually built: every layer of a timm ViT is run by a class of
our own that keeps its input and has a `down` method, attention is not fused, and relevance goes through all layers. The
gradient of attention is that of one more backward. "as published" does besides what the authors' code does: it computes
the inhibiting relevance of linear layers, which it multiplies by zero, and the gradients of all weights.

    python benchmarks/relevance_speed.py [--rounds 5] [--batch 8] [--threads 2] [--cpu] [--json FILE]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vitreous as vt
from vitreous.methods.transformer_attribution import transformer_attribution

TARGET = 5.0
"""Fused forward passes that Transformer Attribution in single precision should take at most; it is "mixed" by default."""

Contender = Callable[[], Any]


def divide(relevance: Tensor, total: Tensor) -> Tensor:
    return torch.where(total == 0, 0.0, relevance / (total + 1e-9))


class PlainLinear:
    def __init__(self, layer: nn.Linear, inhibiting: bool) -> None:
        self.layer = layer
        self.inhibiting = inhibiting

    def __call__(self, tokens: Tensor) -> Tensor:
        self.entered = tokens.detach()
        return F.linear(tokens, self.layer.weight, self.layer.bias)

    def down(self, relevance: Tensor) -> Tensor:
        weight = self.layer.weight.detach()
        raising, lowering = weight.clamp(min=0), weight.clamp(max=0)
        found = self._by(raising, lowering, relevance)
        return found - 0 * self._by(lowering, raising, relevance) if self.inhibiting else found

    def _by(self, of_positive: Tensor, of_negative: Tensor, relevance: Tensor) -> Tensor:
        found = torch.zeros_like(self.entered)
        with torch.enable_grad():
            parts = [
                (self.entered.clamp(min=0).requires_grad_(), of_positive),
                (self.entered.clamp(max=0).requires_grad_(), of_negative),
            ]
            results = [F.linear(tokens, weight) for tokens, weight in parts]
        ratio = divide(relevance, (results[0] + results[1]).detach())
        for (tokens, _), result in zip(parts, results, strict=True):
            found += tokens.detach() * torch.autograd.grad(result, tokens, ratio)[0]
        return found


class PlainProduct:
    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        self.operands = left.detach(), right.detach()
        return left @ right

    def down(self, relevance: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            left, right = (operand.clone().requires_grad_() for operand in self.operands)
            result = left @ right
        slopes = torch.autograd.grad(result, (left, right), divide(relevance, result.detach()))
        return self.operands[0] * slopes[0] / 2, self.operands[1] * slopes[1] / 2


class PlainSum:
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self.operands = first.detach(), second.detach()
        return first + second

    def down(self, relevance: Tensor) -> tuple[Tensor, Tensor]:
        ratio = divide(relevance, self.operands[0] + self.operands[1])
        parts = [operand * ratio for operand in self.operands]
        sums = [part.flatten(1).sum(1)[:, None, None] for part in parts]
        size, passed = sums[0].abs() + sums[1].abs(), relevance.flatten(1).sum(1)[:, None, None]
        first, second = (
            part * divide(divide(own.abs(), size) * passed, own) for part, own in zip(parts, sums, strict=True)
        )
        return first, second


class PlainBlock:
    def __init__(self, block: Any, inhibiting: bool) -> None:
        self.block = block
        layers = (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2)
        self.qkv, self.proj, self.fc1, self.fc2 = (PlainLinear(layer, inhibiting) for layer in layers)
        self.scores, self.mixture, self.first, self.second = PlainProduct(), PlainProduct(), PlainSum(), PlainSum()

    def __call__(self, tokens: Tensor) -> Tensor:
        block, (images, count, width) = self.block, tokens.shape
        heads = block.attn.num_heads
        qkv = self.qkv(block.norm1(tokens)).reshape(images, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        self.attention = (self.scores(qkv[0], qkv[1].transpose(-2, -1)) * block.attn.scale).softmax(-1)
        mixed = self.mixture(self.attention, qkv[2]).transpose(1, 2).reshape(images, count, width)
        tokens = self.first(tokens, self.proj(mixed))
        return self.second(tokens, self.fc2(F.gelu(self.fc1(block.norm2(tokens)))))

    def down(self, relevance: Tensor) -> Tensor:
        beside, relevance = self.second.down(relevance)
        relevance = beside + self.fc1.down(self.fc2.down(relevance))
        beside, relevance = self.first.down(relevance)
        images, count, width = relevance.shape
        heads = self.attention.shape[1]
        relevance = self.proj.down(relevance).reshape(images, count, heads, width // heads).transpose(1, 2)
        self.relevance, value = self.mixture.down(relevance)
        query, key = self.scores.down(self.relevance)
        qkv = torch.stack([query, key.transpose(-2, -1), value]).permute(1, 3, 0, 2, 4)
        return beside + self.qkv.down(qkv.reshape(images, count, 3 * width))


def plain_transformer_attribution(model: Any, inputs: Tensor, as_published: bool = False) -> Tensor:
    """Transformer Attribution of the predicted class, (b, 14, 14)."""
    blocks, head = [PlainBlock(block, as_published) for block in model.blocks], PlainLinear(model.head, as_published)
    tokens = model.patch_embed(inputs)
    tokens = torch.cat([model.cls_token.expand(len(inputs), -1, -1), tokens], 1) + model.pos_embed
    for block in blocks:
        tokens = block(tokens)
    logits = head(model.norm(tokens)[:, 0])
    best = logits.argmax(1)
    start = F.one_hot(best, logits.shape[1]).to(logits.dtype)
    nodes = [block.attention for block in blocks] + (list(model.parameters()) if as_published else [])
    gradients = torch.autograd.grad((logits * start).sum(), nodes)[: len(blocks)]
    with torch.no_grad():
        relevance = torch.zeros_like(tokens)
        relevance[:, 0] = head.down(start)
        for block in reversed(blocks):
            relevance = block.down(relevance)
        product = torch.eye(tokens.shape[1], dtype=tokens.dtype).expand(len(inputs), -1, -1)
        for block, gradient in zip(blocks, gradients, strict=True):
            product = product + (gradient * block.relevance).clamp(min=0).mean(1) @ product
    return product[:, 0, 1:].reshape(-1, 14, 14)


def build(batch: int, threads: int) -> dict[str, Contender]:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    model = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    images = torch.rand(batch, 3, 224, 224)
    vit = vt.open_vit(model)
    inputs = vit.prepare(images)

    def forward() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(inputs)
        return logits

    def ours(precision: str, *methods: str) -> Contender:
        return lambda: vt.compare(vit, images, {name: {"precision": precision} for name in methods}, batch_size=batch)

    family = ("transformer_attribution", "lrp_rollout", "full_lrp", "partial_lrp")
    return {
        "fused forward": forward,
        "plain write-up, float32": lambda: plain_transformer_attribution(model, inputs),
        "plain, as published, float32": lambda: plain_transformer_attribution(model, inputs, as_published=True),
        "transformer_attribution, single": ours("single", family[0]),
        "transformer_attribution, mixed": ours("mixed", family[0]),
        "transformer_attribution, double": ours("double", family[0]),
        "partial_lrp, double": ours("double", family[3]),
        "all four of the family, double": ours("double", *family),
    }


def check() -> float:
    """Give the largest difference of the two, relative to the peak, in float64 on a small model."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False).double().eval()
    vit = vt.open_vit(model)
    images = torch.rand(2, 3, 224, 224)
    with vit.trace(images) as trace:
        own = transformer_attribution(trace)
    plain = plain_transformer_attribution(model, vit.prepare(images))
    return float((own - plain).abs().max() / plain.abs().max())


def measure_ratios(contenders: dict[str, Contender], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Time all contenders in turn, `rounds` times, after one round to warm up."""
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        seconds = {}
        for name, run in contenders.items():
            began = clock()
            run()
            seconds[name] = clock() - began
        if turn:
            for name, value in seconds.items():
                ratios[name].append(value / seconds["fused forward"])
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"the two in float64 differ by {check():.1e} of the peak")
    clock = time.process_time if options.cpu else time.perf_counter
    ratios = measure_ratios(build(options.batch, options.threads), options.rounds, clock)
    for name, values in ratios.items():
        low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        print(f"{name:36} {median:6.2f} x fused forward  [{low:.2f}, {high:.2f}]  n={len(values)}")
    if options.json:
        options.json.write_text(json.dumps(ratios), encoding="utf-8")


if __name__ == "__main__":
    main()
