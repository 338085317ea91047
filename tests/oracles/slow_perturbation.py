"""Slow oracles of the perturbation methods: patches are deleted from SlowViT's own sequence, one set at a time.

Nothing of vitreous is imported. A model of which no patch is left is run on its class and register tokens; a head that
averages or pools patches alone then reads tokens of zeros.
"""

import functools
import itertools
import math

import torch
from torch import Tensor

from oracles.slow import Score, SlowViT

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).float()
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).float()


def logits_of(vit: SlowViT, tokens: Tensor, change=None) -> Tensor:
    """Run the blocks and the head on any tokens "n d"; those after the prefix are patches, however many."""
    blocks = 1 + max(int(name.split(".")[1]) for name in vit.weights if name.startswith("blocks."))
    for block in range(blocks):
        at = f"blocks.{block}"
        if len(tokens):
            normed = vit._norm(tokens, f"{at}.norm1")
            mixed = attend(vit, normed, f"{at}.attn", change) if change else vit._attend(normed, f"{at}.attn")[0]
            tokens = tokens + mixed
            tokens = tokens + vit._mlp(vit._norm(tokens, f"{at}.norm2"), f"{at}.mlp")
    if vit.pooling == "token":
        return vit._linear(vit._norm(tokens[:1], "norm"), "head")[0]
    patches = tokens[vit.prefix :]
    if not len(patches):
        patches = torch.zeros(1, vit.weights["pos_embed"].shape[2], dtype=torch.float64)
    if vit.pooling == "avg":
        return vit._linear(vit._norm(patches.mean(0, keepdim=True), "fc_norm"), "head")[0]
    return vit._linear(pool(vit, vit._norm(patches, "norm")), "head")[0]


def attend(vit: SlowViT, normed: Tensor, at: str, change) -> Tensor:
    """Self-attention, one head and one query after the other, whose scores `change` alters."""
    weight, bias = vit.weights[f"{at}.qkv.weight"], vit.weights[f"{at}.qkv.bias"]
    query, key, value = (normed @ weight.T + bias).split(normed.shape[1], 1)
    each = normed.shape[1] // vit.heads
    rows = []
    for row in range(len(normed)):
        parts = []
        for head in range(vit.heads):
            own = slice(head * each, (head + 1) * each)
            scores = key[:, own] @ query[row, own] / math.sqrt(each)
            exponentials = torch.exp(change(scores))
            parts.append(exponentials @ value[:, own] / exponentials.sum())
        rows.append(torch.cat(parts))
    return vit._linear(torch.stack(rows), f"{at}.proj")


def pool(vit: SlowViT, normed: Tensor) -> Tensor:
    """SigLIP's pooling attention over whatever patches there are."""
    query = vit._linear(vit.weights["attn_pool.latent"][0], "attn_pool.q")
    key, value = vit._linear(normed, "attn_pool.kv").split(normed.shape[1], 1)
    output = vit._linear(vit._heads(query, key, value)[0], "attn_pool.proj")
    return output + vit._mlp(vit._norm(output, "attn_pool.norm"), "attn_pool.mlp")


@torch.no_grad()
def seen(vit: SlowViT, pixels: Tensor, kept: set[int], fill: str) -> Tensor:
    """Logits of a normalised image of which only the patches `kept` are seen."""
    if fill == "drop":
        tokens = vit._embed(pixels.double())
        stay = [*range(vit.prefix), *(vit.prefix + patch for patch in sorted(kept))]
        return logits_of(vit, tokens[stay])
    mask = torch.zeros(pixels.shape[1:], dtype=torch.float64)
    for patch in kept:
        row, column = divmod(patch, vit.grid[1])
        mask[row * vit.patch : (row + 1) * vit.patch, column * vit.patch : (column + 1) * vit.patch] = 1
    return through(vit, pixels, mask, fill)


@torch.no_grad()
def through(vit: SlowViT, pixels: Tensor, mask: Tensor, fill: str) -> Tensor:
    """Logits of a normalised image seen through a mask of pixels."""
    return logits_of(vit, vit._embed(pixels.double() * mask + filling(pixels, fill) * (1 - mask)))


@functools.cache
def filling(pixels: Tensor, fill: str) -> Tensor:
    pixels = pixels.double()
    if fill == "mean":
        return torch.stack([torch.full_like(channel, float(channel.mean())) for channel in pixels])
    if fill == "black":
        dark = ((0 - MEAN) / STD).double()
        return torch.stack(
            [torch.full_like(channel, float(value)) for channel, value in zip(pixels, dark, strict=True)]
        )
    return blurred(pixels)


def blurred(pixels: Tensor) -> Tensor:
    """Each pixel as the weighted mean of its surroundings, in two dimensions at once, mirrored at the borders."""
    _, height, width = pixels.shape
    deviation = min(height, width) / 8
    reach = int(3 * deviation)
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    bell = torch.exp(-(steps**2) / (2 * deviation**2))
    weights = torch.outer(bell, bell)
    result = torch.zeros_like(pixels)
    for row in range(height):
        rows = [mirror(row + int(step), height) for step in steps]
        for column in range(width):
            columns = [mirror(column + int(step), width) for step in steps]
            around = pixels[:, rows][:, :, columns]
            result[:, row, column] = (around * weights).sum((1, 2)) / weights.sum()
    return result


def mirror(place: int, size: int) -> int:
    place = abs(place)
    return 2 * (size - 1) - place if place >= size else place


# --- the methods


def occlusion(vit: SlowViT, pixels: Tensor, score: Score, _generator, fill: str = "drop") -> Tensor:
    patches = set(range(len(vit.patches)))
    full = score(vit.run(pixels).logits).detach()
    values = [full - score(seen(vit, pixels, patches - {patch}, fill)) for patch in sorted(patches)]
    return torch.stack(values).reshape(vit.grid)


def rise(
    vit: SlowViT, pixels: Tensor, score: Score, generator: torch.Generator, masks: int = 1000, shown: float = 0.5,
    cells: int = 7, fill: str = "drop",
) -> Tensor:  # fmt: skip
    """Draws the same random numbers in the same order; all that is done with them is written out."""
    patches = len(vit.patches)
    totals, coverage, scores = [0.0] * patches, [0.0] * patches, []
    for weights, kept_or_mask in draw(vit, pixels, generator, masks, shown, cells, fill):
        run = seen if fill == "drop" else through
        scores.append(float(score(run(vit, pixels, kept_or_mask, fill))))
        for patch, weight in enumerate(weights):
            totals[patch] += scores[-1] * weight
            coverage[patch] += weight
    average = sum(scores) / len(scores)
    values = [total / cover - average if cover else 0.0 for total, cover in zip(totals, coverage, strict=True)]
    return torch.tensor(values, dtype=torch.float64).reshape(vit.grid)


def draw(vit, pixels, generator, masks, shown, cells, fill):
    if fill == "drop":
        for row in (torch.rand(masks, len(vit.patches), generator=generator) < shown).tolist():
            yield [float(kept) for kept in row], {patch for patch, kept in enumerate(row) if kept}
        return
    _, height, width = pixels.shape
    down, across = math.ceil(height / cells), math.ceil(width / cells)
    for first in range(0, masks, 64):
        count = min(64, masks - first)
        grids = torch.rand(count, 1, cells, cells, generator=generator) < shown
        tops = torch.randint(0, down + 1, (count,), generator=generator).tolist()
        lefts = torch.randint(0, across + 1, (count,), generator=generator).tolist()
        for grid, top, left in zip(grids[:, 0].double(), tops, lefts, strict=True):
            mask = torch.zeros(height, width, dtype=torch.float64)
            for row, column in itertools.product(range(height), range(width)):
                mask[row, column] = bilinear(
                    grid, (row + top, column + left), ((cells + 1) * down, (cells + 1) * across)
                )
            side = vit.patch
            yield (
                [
                    float(mask[row * side : (row + 1) * side, column * side : (column + 1) * side].mean())
                    for row, column in itertools.product(*map(range, vit.grid))
                ],
                mask,
            )


def bilinear(grid: Tensor, place: tuple[int, int], size: tuple[int, int]) -> float:
    """A grid enlarged to `size`, read at one pixel; centres of cells and pixels correspond, borders are continued."""
    ends = []
    for at, new, old in zip(place, size, grid.shape, strict=True):
        where = max((at + 0.5) * old / new - 0.5, 0.0)
        low = min(int(where), old - 1)
        ends.append([(low, 1 - (where - low)), (min(low + 1, old - 1), where - low)])
    return sum(float(grid[row, column]) * a * b for (row, a), (column, b) in itertools.product(*ends))


def shapley(players: int, worth) -> list[float]:
    """Shapley values from their definition: over all sets, what a player adds, weighed by the orders of play."""
    worths = {
        kept: worth(set(kept)) for size in range(players + 1) for kept in itertools.combinations(range(players), size)
    }
    values = []
    for player in range(players):
        others = [other for other in range(players) if other != player]
        total = 0.0
        for size in range(players):
            share = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            for kept in itertools.combinations(others, size):
                total += share * (worths[tuple(sorted((*kept, player)))] - worths[kept])
        values.append(total)
    return values


def kernel_shap(
    vit: SlowViT, pixels: Tensor, score: Score, generator: torch.Generator, samples: int = 2048, fill: str = "drop"
) -> Tensor:
    """Draws the same sets, and solves for the values and one multiplier of the constraint together."""
    players = len(vit.patches)
    sizes = torch.arange(1, players)
    chosen = 1 + torch.multinomial(
        1.0 / (sizes * (players - sizes)), samples // 2, replacement=True, generator=generator
    )
    numbers = torch.rand(samples // 2, players, generator=generator).tolist()
    sets = []
    for size, row in zip(chosen.tolist(), numbers, strict=True):
        first = set(sorted(range(players), key=lambda player, row=row: row[player])[:size])
        sets += [first, set(range(players)) - first]
    empty = float(score(seen(vit, pixels, set(), fill)))
    total = float(score(vit.run(pixels).logits).detach()) - empty
    system = torch.zeros(players + 1, players + 1, dtype=torch.float64)
    right = torch.zeros(players + 1, dtype=torch.float64)
    for kept in sets:
        gain = float(score(seen(vit, pixels, kept, fill))) - empty
        for one in kept:
            right[one] += gain
            for other in kept:
                system[one, other] += 1
    system[-1, :players] = system[:players, -1] = 1
    right[-1] = total
    return torch.linalg.solve(system, right)[:players].reshape(vit.grid)


@torch.no_grad()
def atman(
    vit: SlowViT, pixels: Tensor, score: Score, _generator, suppression: float = 0.9, threshold: float = 0.7,
    shift: bool = False,
) -> Tensor:  # fmt: skip
    tokens = vit._embed(pixels.double())
    full = score(logits_of(vit, tokens))
    values = []
    for patch in vit.patches:
        like = [
            other for other in vit.patches
            if other == patch or float(torch.cosine_similarity(tokens[patch], tokens[other], 0)) >= threshold
        ]  # fmt: skip

        def change(scores, like=like):
            scores = scores - scores.min() if shift else scores.clone()
            scores[like] *= 1 - suppression
            return scores

        values.append(full - score(logits_of(vit, tokens, change)))
    return torch.stack(values).reshape(vit.grid)
