"""Slow oracles of the gradient family, on the plain float64 ViT: loops over channels, patches, nodes and copies.

Each map is computed from its published equation, one image at a time. Nothing of vitreous is imported.
"""

import numpy as np
import torch
from torch import Tensor

from oracles.slow import Score, SlowRun, SlowViT


def _features_and_slopes(vit: SlowViT, run: SlowRun, score: Score, block: int) -> tuple[list, list]:
    """What enters the attention of a block and its gradient, as lists [patch][channel]."""
    (gradient,) = torch.autograd.grad(score(run.logits), run.entering[block], retain_graph=True)
    features = run.entering[block].detach()
    return [features[token].tolist() for token in vit.patches], [gradient[token].tolist() for token in vit.patches]


def _over_blocks(vit: SlowViT, pixels: Tensor, score: Score, block: int, relu: bool, plus: bool, one) -> Tensor:
    run = vit.run(pixels)
    total = [0.0] * len(vit.patches)
    for each in range(len(run.entering)) if plus else [block]:
        for patch, value in enumerate(one(*_features_and_slopes(vit, run, score, each))):
            total[patch] += max(value, 0.0) if relu else value
    return torch.tensor(total, dtype=torch.float64).reshape(vit.grid)


def _weighted(features: list, weights: list) -> list:
    return [sum(weight * value for weight, value in zip(weights, patch, strict=True)) for patch in features]


def gradcam(vit, pixels, score, block=-1, relu=True, plus=False):
    def one(features, slopes):
        return _weighted(features, [sum(column) / len(column) for column in zip(*slopes, strict=True)])

    return _over_blocks(vit, pixels, score, block, relu, plus, one)


def hirescam(vit, pixels, score, block=-1, relu=False, plus=False):
    def one(features, slopes):
        return [sum(f * g for f, g in zip(*pair, strict=True)) for pair in zip(features, slopes, strict=True)]

    return _over_blocks(vit, pixels, score, block, relu, plus, one)


def layercam(vit, pixels, score, block=-1, relu=True, positive="gradient", plus=False):
    def one(features, slopes):
        if positive == "gradient":
            return [
                sum(f * max(g, 0) for f, g in zip(*pair, strict=True)) for pair in zip(features, slopes, strict=True)
            ]
        return [sum(max(f * g, 0) for f, g in zip(*pair, strict=True)) for pair in zip(features, slopes, strict=True)]

    return _over_blocks(vit, pixels, score, block, relu, plus, one)


def xgradcam(vit, pixels, score, block=-1, relu=True, plus=False, absolute=False):
    def one(features, slopes):
        weights = []
        for values, gradients in zip(zip(*features, strict=True), zip(*slopes, strict=True), strict=True):
            shares = [abs(f) if absolute else f for f in values]
            kept = sum(f * g for f, g in zip(shares, gradients, strict=True))
            weights.append(kept / (sum(shares) + 1e-7))
        return _weighted(features, weights)

    return _over_blocks(vit, pixels, score, block, relu, plus, one)


def gradcam_plus_plus(vit, pixels, score, block=-1, relu=True, plus=False):
    def one(features, slopes):
        weights = []
        for values, gradients in zip(zip(*features, strict=True), zip(*slopes, strict=True), strict=True):
            weight = 0.0
            for g in gradients:
                if g > 0:
                    weight += g * g**2 / (2 * g**2 + sum(values) * g**3 + 1e-6)
            weights.append(weight)
        return _weighted(features, weights)

    return _over_blocks(vit, pixels, score, block, relu, plus, one)


def eigencam(vit, pixels, _score, block=-1, centre=True, plus=False):
    """The first right singular vector by the largest eigenvector of the d x d matrix F^T F."""
    run = vit.run(pixels)
    total = np.zeros(len(vit.patches))
    for each in range(len(run.entering)) if plus else [block]:
        features = np.array([run.entering[each][token].tolist() for token in vit.patches])
        if centre:
            features = features - features.sum(0) / len(features)
        _, vectors = np.linalg.eigh(features.T @ features)
        found = features @ vectors[:, -1]
        total += found if (found**3).sum() > 0 else -found
    return torch.from_numpy(total).reshape(vit.grid)


def pixel_slopes(vit: SlowViT, pixels: Tensor, score: Score) -> Tensor:
    run = vit.run(pixels)
    return torch.autograd.grad(score(run.logits), run.pixels)[0]


def input_x_gradient(vit, pixels, score):
    red, green, blue = pixels * pixel_slopes(vit, pixels, score)
    return red + green + blue


def smoothgrad(vit, pixels, score, copies=25, sigma=0.15, signed=False, *, generator):
    """`generator` draws the standard noise, copy after copy."""
    spread = sigma * (float(pixels.max()) - float(pixels.min()))
    total = torch.zeros_like(pixels)
    for _ in range(copies):
        noisy = pixels + spread * torch.randn(pixels.shape, generator=generator).double()
        total = total + pixel_slopes(vit, noisy, score)
    red, green, blue = total / copies
    if signed:
        return red + green + blue
    return torch.maximum(torch.maximum(red.abs(), green.abs()), blue.abs())


def integrated_gradients(vit, pixels, score, baseline="zero", nodes=50, *, black):
    """`black` is the normalised black image. Places and weights are numpy's."""
    pixels = pixels.double()
    start = torch.zeros_like(pixels) if baseline == "zero" else black
    total = torch.zeros_like(pixels)
    for place, weight in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
        point = start + (place + 1) / 2 * (pixels - start)
        total = total + weight / 2 * pixel_slopes(vit, point, score)
    red, green, blue = (pixels - start) * total
    return red + green + blue


def last_tokens(vit: SlowViT, pixels: Tensor) -> Tensor:
    """Tokens behind the last block, "n d"."""
    tokens = vit._embed(pixels)
    for block in range(1 + max(int(name.split(".")[1]) for name in vit.weights if name.startswith("blocks."))):
        at = f"blocks.{block}"
        tokens = tokens + vit._attend(vit._norm(tokens, f"{at}.norm1"), f"{at}.attn")[0]
        tokens = tokens + vit._mlp(vit._norm(tokens, f"{at}.norm2"), f"{at}.mlp")
    return tokens.detach()


def cam(vit, pixels, score, plus=False):
    """Mean of the patches, then LayerNorm, then the head, written out as one sum over patches.

    With mean m and deviation s of the pooled token, (m - mean(m)) / s is linear in the patches once s is known. With `plus` the same for what leaves each block, added up.
    """
    every = [block.detach() for block in vit.run(pixels).leaving] if plus else [last_tokens(vit, pixels)]
    # Scores are linear in the logits, except that the largest logit has to be found first.
    logits = vit.run(pixels).logits.detach().requires_grad_()
    (direction,) = torch.autograd.grad(score(logits), logits)
    return sum(_cam_of(vit, tokens, direction) for tokens in every)


def _cam_of(vit, tokens, direction):
    """Read tokens as if they had left the last block; `direction` is the score's slope by the logits."""
    tokens = [tokens[token] for token in vit.patches]
    pooled = sum(tokens) / len(tokens)
    deviation = torch.sqrt(((pooled - pooled.mean()) ** 2).mean() + 1e-6)
    gain, head = vit.weights["fc_norm.weight"], vit.weights["head.weight"]
    parts = [head @ (gain * (token - token.mean()) / deviation / len(tokens)) for token in tokens]
    return torch.stack([direction @ part for part in parts]).reshape(vit.grid)


def cam_bias(vit, pixels, score):
    """What no patch is given: the head's bias, and its answer to the norm's shift."""
    bias = vit.weights["head.weight"] @ vit.weights["fc_norm.bias"] + vit.weights["head.bias"]
    logits = vit.run(pixels).logits.detach().requires_grad_()
    (direction,) = torch.autograd.grad(score(logits), logits)
    return float((direction @ bias).detach())
