"""Slow oracles of methods that cover an image with its own features: loops, in float64, with nothing borrowed.

Independent are the model, the features, resizing, covering, ablation, clustering by merging pairs, the scores and the
map. k-means is that of scipy, from the same starting points. Random numbers are drawn from the generator given, in the
order that the method's docstring states, because another draw would be another map.
"""

from collections.abc import Callable

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from oracles.slow import Score, SlowViT


def blocks_of(vit: SlowViT) -> int:
    """How many blocks the model has."""
    return 1 + max(int(name.split(".")[1]) for name in vit.weights if name.startswith("blocks."))


def channels_of(vit: SlowViT, pixels: Tensor, block: int) -> Tensor:
    """What enters a block's attention at the patches, "d p"."""
    return vit.run(pixels).entering[block].detach()[list(vit.patches)].T


def shares(pixels: int, count: int) -> Tensor:
    """How much of each patch a pixel takes along one side: linear between centres, constant beyond the outermost."""
    found = torch.zeros(pixels, count, dtype=torch.float64)
    for pixel in range(pixels):
        place = min(max((pixel + 0.5) * count / pixels - 0.5, 0.0), count - 1.0)
        found[pixel, int(place)] += 1 - (place - int(place))
        found[pixel, min(int(place) + 1, count - 1)] += place - int(place)
    return found


def stretched(mask: Tensor) -> Tensor:
    """Bring a mask to the range 0 to 1."""
    return (mask - mask.min()) / (mask.max() - mask.min())


def masks_of(vit: SlowViT, channels: Tensor) -> list[Tensor]:
    """Each channel, resized to the image bilinearly and stretched."""
    down, across = (shares(count * vit.patch, count) for count in vit.grid)
    return [stretched(down @ channel.reshape(vit.grid) @ across.T) for channel in channels]


def score_cam(
    vit: SlowViT,
    pixels: Tensor,
    score: Score,
    behind: Callable[[str], Tensor],
    block: int = -1,
    channels: int | None = None,
    fill: str = "black",
    relu: bool = True,
    plus: bool = False,
) -> Tensor:
    """`behind` gives what shows where a mask is zero, by the name of the fill."""
    if plus:
        every = [score_cam(vit, pixels, score, behind, each, channels, fill, relu) for each in range(blocks_of(vit))]
        return torch.stack(every).sum(0)
    maps = channels_of(vit, pixels, block)
    if channels is not None:
        spread = [float(((channel - channel.mean()) ** 2).sum()) for channel in maps]
        maps = maps[sorted(range(len(maps)), key=lambda channel: -spread[channel])[:channels]]
    covered = [pixels * mask + behind(fill) * (1 - mask) for mask in masks_of(vit, maps)]
    scores = [float(score(vit.run(each).logits)) for each in covered]
    exponentials = [torch.tensor(each - max(scores), dtype=torch.float64).exp() for each in scores]
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for exponential, channel in zip(exponentials, maps, strict=True):
        total = total + exponential / sum(exponentials) * channel.reshape(vit.grid)
    return total.clamp(min=0) if relu else total


def ablation_cam(
    vit: SlowViT, pixels: Tensor, score: Score, block: int = -1, relu: bool = True, plus: bool = False
) -> Tensor:
    """The whole model runs again for each channel."""
    if plus:
        return torch.stack([ablation_cam(vit, pixels, score, each, relu) for each in range(blocks_of(vit))]).sum(0)
    maps = channels_of(vit, pixels, block)
    whole = float(score(vit.run(pixels).logits))
    total = torch.zeros(vit.grid, dtype=torch.float64)
    for number, channel in enumerate(maps):
        without = Ablated.without(vit, block, number)
        total = total + (whole - float(score(without.run(pixels).logits))) * channel.reshape(vit.grid)
    return total.clamp(min=0) if relu else total


class Ablated(SlowViT):
    """The same model, but that one channel of the patches is zero as it enters the attention of one block."""

    at: str
    channel: int

    @staticmethod
    def without(vit: SlowViT, block: int, channel: int) -> "Ablated":
        found = Ablated(**vars(vit))
        object.__setattr__(found, "at", f"blocks.{block % blocks_of(vit)}.attn")
        object.__setattr__(found, "channel", channel)
        return found

    def _attend(self, normed: Tensor, at: str) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        if at == self.at:
            normed = normed.clone()
            for token in self.patches:
                normed[token, self.channel] = 0.0
        return super()._attend(normed, at)


class Watched(SlowViT):
    """The same model, noting the tokens that leave each block: what enters the second norm, plus what the MLP adds."""

    noted: list[Tensor]

    @staticmethod
    def outputs(vit: SlowViT, pixels: Tensor) -> list[Tensor]:
        watched = Watched(**vars(vit))
        object.__setattr__(watched, "noted", [])
        watched.run(pixels)
        return [tokens.detach() for tokens in watched.noted]

    def _norm(self, tokens: Tensor, at: str) -> Tensor:
        if at.startswith("blocks.") and at.endswith("norm2"):
            self.noted.append(tokens)
        return super()._norm(tokens, at)

    def _mlp(self, tokens: Tensor, at: str) -> Tensor:
        added = super()._mlp(tokens, at)
        if at.startswith("blocks."):
            self.noted[-1] = self.noted[-1] + added
        return added


class Partial(SlowViT):
    """The same model on some of an image's patches alone: the tokens of the others are left out after embedding."""

    kept: list[int]
    whole: SlowViT

    @staticmethod
    def of_patches(vit: SlowViT, kept: list[int]) -> "Partial":
        found = Partial(**(vars(vit) | {"grid": (1, len(kept))}))
        object.__setattr__(found, "kept", kept)
        object.__setattr__(found, "whole", vit)
        return found

    def _embed(self, pixels: Tensor) -> Tensor:
        tokens = self.whole._embed(pixels)
        return tokens[[*range(self.prefix), *[self.prefix + patch for patch in self.kept]]]


def grouped(masks: list[Tensor], distance: float) -> list[list[int]]:
    """Merge the two groups whose least similar members are most similar, until these are too far apart."""
    unit = [mask.flatten() / mask.flatten().norm() for mask in masks]
    apart = [[1 - float(one @ other) for other in unit] for one in unit]
    groups = [[number] for number in range(len(masks))]
    while len(groups) > 1:
        farthest, first, second = min(
            (max(apart[one][other] for one in groups[first] for other in groups[second]), first, second)
            for first in range(len(groups))
            for second in range(first)
        )
        if farthest > distance:
            break
        groups[second] += groups[first]
        del groups[first]
    return sorted((sorted(group) for group in groups), key=lambda group: group[0])


def vit_cx(
    vit: SlowViT,
    pixels: Tensor,
    confidence: Score,
    generator: torch.Generator,
    block: int = -1,
    distance: float = 0.1,
    noise: float = 0.1,
) -> Tensor:
    """`confidence` is the probability of the class, or the score where there is none."""
    each = masks_of(vit, channels_of(vit, pixels, block))
    masks = [stretched(sum(each[member] for member in group)) for group in grouped(each, distance)]
    total, coverage = torch.zeros(vit.grid, dtype=torch.float64), torch.zeros(vit.grid, dtype=torch.float64)
    plain = confidence(vit.run(pixels).logits)
    for mask in masks:
        drawn = noise * torch.randn(pixels.shape, generator=generator).double()
        shown = confidence(vit.run(pixels * mask + drawn * (1 - mask)).logits)
        disturbed = confidence(vit.run(pixels + drawn * (1 - mask)).logits)
        causal = shown - disturbed + plain
        for row in range(vit.grid[0]):
            for column in range(vit.grid[1]):
                side = vit.patch
                here = mask[row * side : (row + 1) * side, column * side : (column + 1) * side].mean()
                total[row, column] += float(causal) * here
                coverage[row, column] += here
    return total / coverage


def tis(
    vit: SlowViT,
    pixels: Tensor,
    confidence: Score,
    generator: torch.Generator,
    masks: int = 1024,
    keep: float = 0.5,
) -> Tensor:
    maps = torch.cat([tokens[list(vit.patches)].T for tokens in Watched.outputs(vit, pixels)])
    start = torch.randperm(len(maps), generator=generator)[:masks]
    centres = maps[start]
    if masks < len(maps):
        centres = torch.from_numpy(kmeans2(maps.numpy(), centres.numpy(), iter=100, minit="matrix")[0])
    total, coverage = [0.0] * len(vit.patches), [0] * len(vit.patches)
    for centre in centres.tolist():
        order = sorted(range(len(centre)), key=lambda patch: -centre[patch])
        kept = sorted(order[: max(1, int(keep * len(centre)))])
        value = float(confidence(Partial.of_patches(vit, kept).run(pixels).logits))
        for patch in kept:
            total[patch] += value
            coverage[patch] += 1
    found = [value / count if count else 0.0 for value, count in zip(total, coverage, strict=True)]
    return torch.tensor(found, dtype=torch.float64).reshape(vit.grid)
