"""How the focus moves through the blocks, what a lens reads there, and how alike the blocks' representations are."""

from collections import Counter
from math import comb

import numpy as np
import torch
from measure import Found, Places, each, inputs_of, masks_of, mean, parts_of, salient_of, with_depth
from scipy import stats
from torch import Tensor

import vitreous as vt
from vitreous.analysis import CkaSums, collect_features, logit_lens
from vitreous.analysis import focus as focus_of

BATCHES = 10


def focus(places: Places, model: str) -> Found:
    """Follow the attention of what is read: on salient objects of photographs, or on the targets of scenes."""
    vit = places.model(model)
    samples = places.photographs("sod") if model == "deit" else places.scenes()
    images = inputs_of(vit, samples)
    inside = torch.stack([
        salient_of(vit, sample) if model == "deit" else masks_of(vit, sample)[0][0] for sample in samples
    ])  # fmt: skip
    seen = inside.flatten(1).any(1)  # some objects lie wholly in what was cropped away
    images, inside = images[seen], inside[seen]
    found: dict[str, list[Tensor]] = {}
    even = 0.0
    for part, objects, others in zip(parts_of(images), parts_of(inside), parts_of(inside.roll(-1, 0)), strict=True):
        with torch.no_grad(), vit.trace(part, capture=vt.Capture(graph=False)) as trace:
            own, other, lens = focus_of(trace, objects), focus_of(trace, others), logit_lens(trace)
        even = own.even_spread
        for name, values in {
            "lift": above_chance(own.overlap, own.chance),
            "control": above_chance(other.overlap, other.chance),
            "overlap": own.overlap, "chance": own.chance, "spread": own.spread, "entropy": own.entropy,
            "rank": own.rank, "prefix": own.prefix_mass, "probability": lens.probability, "top": lens.top,
        }.items():  # fmt: skip
            found.setdefault(name, []).append(none_left(values))
    whole = {name: torch.cat(parts) for name, parts in found.items()}
    top = whole["top"][..., 0]
    return {"model": model, "data": "sod" if model == "deit" else "held-out scenes", "n": len(images),
            "left_out": int((~seen).sum()), "even_spread": even, "side": vit.preprocessing.size[1],
            **of_focus(whole), **of_lens(top, whole["probability"])}  # fmt: skip


def none_left(values: Tensor | None) -> Tensor:
    if values is None:
        raise ValueError("The model or the data lack what this finding is about.")
    return values


def above_chance(overlap: Tensor | None, chance: Tensor | None) -> Tensor:
    return none_left(overlap) - none_left(chance)[:, None]


def of_focus(whole: dict[str, Tensor]) -> Found:
    """Put numbers by block together, with differences between blocks, which are of the same images."""
    beyond = whole["lift"] - whole["control"]
    peak, tight = int(beyond.mean(0).argmax()), int(whole["spread"].mean(0).argmin())
    return {
        "overlap": each(whole["overlap"]), "chance": mean(whole["chance"]), "lift": each(whole["lift"]),
        "control": each(whole["control"]), "beyond": each(beyond), "spread": each(whole["spread"]),
        "entropy": each(whole["entropy"]), "rank": each(whole["rank"]), "prefix": each(whole["prefix"]),
        "peak": peak, "tightest": tight,
        "peak_minus_first": mean(beyond[:, peak] - beyond[:, 0]),
        "peak_minus_last": mean(beyond[:, peak] - beyond[:, -1]),
        "tightest_minus_first": mean(whole["spread"][:, tight] - whole["spread"][:, 0]),
        "tightest_minus_last": mean(whole["spread"][:, tight] - whole["spread"][:, -1]),
        "entropy_last_minus_first": mean(whole["entropy"][:, -1] - whole["entropy"][:, 0]),
        "beyond_with_depth": with_depth(beyond),
    }  # fmt: skip


def of_lens(top: Tensor, probability: Tensor) -> Found:
    """Count how often each position already reads as the model's answer, and how often two pictures share it."""
    agree, count = (top == top[:, -1:]).sum(0).tolist(), len(top)
    pairs = sum(comb(times, 2) for times in Counter(top[:, -1].tolist()).values())
    return {
        "agree": [share(number, count) for number in agree],
        "agree_chance": pairs / comb(count, 2),
        "probability": each(probability),
    }


def share(number: int, count: int) -> Found:
    """Give a share with its exact interval (Clopper & Pearson)."""
    exact = stats.binomtest(number, count).proportion_ci(0.95, method="exact")
    return {"value": number / count, "low": float(exact.low), "high": float(exact.high), "n": count}


def alignment(places: Places, model: str) -> Found:
    """Compare the representations at all positions by CKA, of what is read; intervals leave out one batch at a time."""
    vit = places.model(model)
    samples = places.photographs("sod") if model == "deit" else places.scenes()
    stream = collect_features(vit, parts_of(inputs_of(vit, samples))).stream
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(stream)))
    size = max(4, len(stream) // BATCHES)
    batches = [list(stream[part].unbind(1)) for part in parts_of(order, size) if len(part) == size]
    whole = between(batches)
    without = np.stack([between(batches[:place] + batches[place + 1 :]) for place in range(len(batches))])
    count = len(batches)
    error = np.sqrt((count - 1) / count * ((without - without.mean(0)) ** 2).sum(0)) * stats.t.ppf(0.975, count - 1)

    def number(one: int, other: int) -> Found:
        value, half = float(whole[one, other]), float(error[one, other])
        return {"value": value, "low": value - half, "high": value + half, "n": count * size}

    positions = len(whole)
    known = [place for place in range(positions) if np.isfinite(whole[place, place])]
    return {"model": model, "data": "sod" if model == "deit" else "held-out scenes", "n": count * size,
            "batches": count, "positions": positions, "known": known,
            "next": {place: number(place, place + 1) for place in known if place + 1 in known},
            "last": {place: number(place, positions - 1) for place in known}}  # fmt: skip


def between(batches: list[list[Tensor]]) -> np.ndarray:
    sums = CkaSums()
    for batch in batches:
        sums.add(batch)
    found: np.ndarray = sums.result().similarity.double().numpy()
    return found
