"""Speed of attention flow, beside solvers that take one patch at a time, in the same run.

Graphs of 12 blocks and 197 tokens, two threads, all 196 patches: a ViT-B/16 with random weights, a graph with
attention as peaked as that of trained models, the same far too peaked, and DeiT-tiny on photographs where weights and
a folder of them are given. In each round the contenders run in turn. scipy and OR-Tools (if installed) solve a few
patches, evenly chosen, and their time is extrapolated to all; the ratio to our time is taken within the round, and
printed are medians.

    python benchmarks/attention_flow.py [--rounds 5] [--patches 4] [--weights FILE --photos FOLDER] [--json FILE]
"""

import argparse
import importlib
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor

import vitreous as vt
from vitreous.methods._max_flow import UNIT, Network, maximum_flows

BLOCKS, SIDE, HEADS = 12, 14, 12
TOKENS = SIDE * SIDE + 1
SECONDS = 1.5
"""What an image of a ViT-B/16 may take on two cores."""


def graphs(weights: Path | None, photos: Path | None) -> dict[str, Tensor]:
    """Capacities "l n n" by name, the first block's first."""
    torch.manual_seed(0)
    big = vt.open_vit(timm.create_model("vit_base_patch16_224", pretrained=False).eval())
    made = {
        "ViT-B/16, random weights": capacities(big, torch.rand(1, 3, 224, 224)),
        "peaked": peaked(sharpness=1.0),
        "far too peaked": peaked(sharpness=4.0),
    }
    if weights is not None and photos is not None:
        small = vt.open_vit("timm:deit_tiny_patch16_224", weights=weights)
        for path in sorted(path for path in photos.iterdir() if path.suffix in {".jpg", ".png"}):
            squashed = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
            image = torch.from_numpy(np.array(squashed)).permute(2, 0, 1)[None] / 255
            made[f"DeiT-tiny, {path.name}"] = capacities(small, image)
    return made


def capacities(vit: vt.Vit, image: Tensor) -> Tensor:
    """Half the mean head's attention and half the identity, for each block."""
    with torch.no_grad(), vit.trace(image, 0) as trace:
        attention = torch.stack([block[0].double().mean(0) for block in trace.attention])
    return 0.5 * attention + 0.5 * torch.eye(attention.shape[1], dtype=torch.float64)


def peaked(sharpness: float) -> Tensor:
    """Heads that look nearby in some direction, at like tokens, or with depth more and more at six loud tokens."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    places = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).double()
    tokens, loud = normal(TOKENS, 8), torch.zeros(TOKENS, dtype=torch.float64)
    loud[torch.randperm(TOKENS, generator=draw)[:6]] = 1.0
    layers = []
    for block in range(BLOCKS):
        heads = []
        for head in range(HEADS):
            scores = normal(TOKENS, TOKENS)
            kind = (head + block) % 3
            if kind == 0:
                scores[1:, 1:] -= (places[:, None] + 2 * normal(2) - places).pow(2).sum(-1)
            elif kind == 1:
                mixed = tokens @ normal(8, 8) / 3
                scores += mixed @ mixed.T
            else:
                scores += 8.0 * loud * block / BLOCKS
            heads.append((sharpness * scores).softmax(-1))
        layers.append(0.5 * torch.stack(heads).mean(0) + 0.5 * torch.eye(TOKENS, dtype=torch.float64))
    return torch.stack(layers)


def by_scipy(source: Tensor, layers: Tensor, sinks: list[int]) -> list[float]:
    network = Network(source, layers)
    return [network.solve(sink, bound=1.0)[0] for sink in sinks]


def by_ortools(source: Tensor, layers: Tensor, sinks: list[int]) -> list[float]:
    max_flow = importlib.import_module("ortools.graph.python.max_flow")

    network, values = Network(source, layers), []
    origins = np.repeat(np.arange(network.end + 1), np.diff(network.pointers))
    for sink in sinks:
        amounts = network.capacities.copy()
        amounts[network.last] = layers[0][:, sink].numpy()
        solver = max_flow.SimpleMaxFlow()
        solver.add_arcs_with_capacity(origins, network.indices, np.rint(amounts * UNIT).astype(np.int64))
        solver.solve(network.start, network.end)
        values.append(solver.optimal_flow() / UNIT)
    return values


PEERS: dict[str, Callable[[Tensor, Tensor, list[int]], list[float]]] = {"scipy": by_scipy}
if importlib.util.find_spec("ortools"):
    PEERS["OR-Tools"] = by_ortools


def measure(layers: Tensor, rounds: int, patches: int) -> dict[str, float]:
    """Run all contenders in turn, `rounds` times after one to warm up; peers on some patches, extrapolated."""
    source = torch.zeros(TOKENS, dtype=torch.float64)
    source[0] = layers[-1, 0].sum()
    every = torch.arange(1, TOKENS)
    some = np.linspace(1, TOKENS - 1, patches).astype(int).tolist()
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *PEERS)}
    found = maximum_flows(source, layers, every)
    worst = 0.0
    for turn in range(rounds + 1):
        began = time.perf_counter()
        maximum_flows(source, layers, every)
        spent = {"ours": time.perf_counter() - began}
        for name, peer in PEERS.items():
            began = time.perf_counter()
            values = peer(source, layers, some)
            spent[name] = (time.perf_counter() - began) * len(every) / len(some)
            worst = max(worst, float((torch.tensor(values) - found.values[torch.tensor(some) - 1]).abs().max()))
        if turn:
            for name, value in spent.items():
                seconds[name].append(value)
    row = {"seconds": statistics.median(seconds["ours"]), "least": min(seconds["ours"])}
    for name in PEERS:
        row[name] = statistics.median(seconds[name])
        pairs = zip(seconds[name], seconds["ours"], strict=True)
        row[f"{name} / ours"] = statistics.median(other / own for other, own in pairs)
    at_bound = int((found.values >= found.trivial - 1e-7).sum())
    return row | {"differ by": worst, "gap": found.gap, "solved": found.solved, "at bound": at_bound}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--patches", type=int, default=4)
    arguments.add_argument("--weights", type=Path)
    arguments.add_argument("--photos", type=Path)
    arguments.add_argument("--json", type=Path)
    chosen = arguments.parse_args()
    torch.set_num_threads(2)
    rows = {}
    print(f"{TOKENS - 1} patches, target {SECONDS} s; peers extrapolated from {chosen.patches}; n = {chosen.rounds}")
    for name, layers in graphs(chosen.weights, chosen.photos).items():
        rows[name] = row = measure(layers, chosen.rounds, chosen.patches)
        print(f"{name:34}", "  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
