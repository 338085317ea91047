"""Speed of head ablation: every head of a ViT-B/16 silenced for one image, beside as many fused forward passes.

ViT-B/16 of random weights, one image, two threads. `head_ablation` runs the heads of a block together, from their own
block on; the baseline is 144 plain forward passes in batches of the same size, and the second one is what one would
write without it: 144 whole passes with an edit. Both run once per round, in turn, after a round to warm up, and times are
divided within the round. On average a block has 5.5 of 11 others behind it, so a little over half of the work is left.

    python benchmarks/head_ablation.py [--rounds 3] [--threads 2] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch

import vitreous as vt
from vitreous.analysis.head_ablation import head_ablation

TARGET = 0.6
"""Of as many forward passes as there are heads."""


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fused(vit: vt.Vit, image: torch.Tensor) -> None:
    """As many forward passes as there are heads, a block's heads in one batch."""
    several = image.expand(vit.heads, -1, -1, -1).contiguous()
    for _ in vit.blocks:
        vit.logits(several)


def one_by_one(trace: vt.Trace) -> torch.Tensor:
    """Silence head by head in whole passes."""
    found = []
    for block in range(len(trace.vit.blocks)):
        for head in range(trace.vit.heads):

            def silence(
                here: int, weights: torch.Tensor, values: torch.Tensor, at: tuple[int, int] = (block, head)
            ) -> tuple[torch.Tensor, torch.Tensor]:
                if here != at[0]:
                    return weights, values
                quiet = values.clone()
                quiet[:, at[1]] = 0
                return weights, quiet

            found.append(trace.score.detach() - trace.rescore(edit=silence))
    return torch.stack(found, 1).reshape(1, len(trace.vit.blocks), -1)


def measure(vit: vt.Vit, image: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """Time all three in turn; the first round warms up and is not counted. Raises if the two ablations differ."""
    found: dict[str, list[float]] = {"fused": [], "ours": [], "one by one": []}
    for turn in range(rounds + 1):
        with vit.trace(image, 0, capture=vt.Capture(graph=False)) as trace:
            times = {
                "fused": seconds(lambda: fused(vit, image)),
                "ours": seconds(lambda t=trace: head_ablation(t)),  # type: ignore[misc]
            }
            if turn == 1:
                whole: list[torch.Tensor] = []
                times["one by one"] = seconds(lambda t=trace, w=whole: w.append(one_by_one(t)))  # type: ignore[misc]
                difference = float((whole[0] - head_ablation(trace)).abs().max())
                scale = float(trace.score.detach().abs().max())
                print(f"largest difference between the two ways {difference:.1e}, of a score of {scale:.2f}")
        if turn:
            for name, value in times.items():
                found[name].append(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="vit_base_patch16_224")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vit = vt.open_vit(timm.create_model(options.model, pretrained=False).eval())
    image = torch.rand(1, 3, *vit.preprocessing.size)
    found = measure(vit, image, options.rounds)
    ratios = [ours / fused for ours, fused in zip(found["ours"], found["fused"], strict=True)]
    heads = len(vit.blocks) * vit.heads
    print(f"{options.model}: {heads} heads, one image, {options.threads} threads, n={options.rounds} rounds")
    print(f"{heads} fused forward passes, seconds: {[f'{value:.2f}' for value in found['fused']]}")
    print(f"head_ablation, seconds:             {[f'{value:.2f}' for value in found['ours']]}")
    print(f"one by one, seconds (n=1):          {[f'{value:.2f}' for value in found['one by one']]}")
    print(
        f"of {heads} forward passes: median {statistics.median(ratios):.3f}, each {[f'{each:.3f}' for each in ratios]}"
    )
    print(f"target {TARGET}")
    if options.json:
        versions = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version()}
        record = {"threads": options.threads, "seconds": found, "ratios": ratios, **versions}
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    sys.exit(0 if statistics.median(ratios) <= TARGET else 1)


if __name__ == "__main__":
    main()
