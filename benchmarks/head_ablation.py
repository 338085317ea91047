"""Speed of head ablation: every head of a ViT-B/16 silenced for one image, beside as many fused forward passes.

ViT-B/16 of random weights, one image, two threads. `head_ablation` runs the heads of a block together, from their own
block on; the baseline is 144 plain forward passes in batches of the same size, and the second one is what one would
write without it: 144 whole passes with an edit. Both run once per round, in turn, after a round to warm up, and times are
divided within the round. On average a block has 5.5 of 11 others behind it, so a little over half of the work is left.

Times are those of the clock, and for machines that others use as well those of the processor. The last line is what all
statistics of heads (numbers, offsets, roles, agreement, importance) of a batch of four cost together, from one trace, as a
multiple of a fused forward pass of that batch.

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
from vitreous.analysis import head_ablation, head_agreement, head_importance, head_roles

TARGET = 0.6
"""Of as many forward passes as there are heads."""


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Time by the clock, and of all threads together."""
    began, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - worked


def statistics_of(vit: vt.Vit, images: torch.Tensor) -> None:
    """All that is said of heads without another pass; importance takes the trace's backward."""
    with vit.trace(images, 0, capture=vt.Capture(pixels=False, inputs=False, tokens=False)) as trace:
        head_roles(trace)  # numbers and offsets as well
        head_agreement(trace)
        head_importance(trace)


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


def measure(vit: vt.Vit, image: torch.Tensor, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Time all three in turn; the first round warms up and is not counted. Raises if the two ablations differ."""
    names = ("fused", "ours", "one by one", "batch", "statistics")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    batch = torch.rand(4, 3, *vit.preprocessing.size)
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
        times["batch"] = seconds(lambda: vit.logits(batch))
        times["statistics"] = seconds(lambda: statistics_of(vit, batch))
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
    ratios, worked = (
        [ours[kind] / fused[kind] for ours, fused in zip(found["ours"], found["fused"], strict=True)] for kind in (0, 1)
    )
    heads = len(vit.blocks) * vit.heads
    print(f"{options.model}: {heads} heads, one image, {options.threads} threads, n={options.rounds} rounds")
    print(f"{heads} fused forward passes, seconds: {[f'{value:.2f}' for value, _ in found['fused']]}")
    print(f"head_ablation, seconds:             {[f'{value:.2f}' for value, _ in found['ours']]}")
    print(f"one by one, seconds (n=1):          {[f'{value:.2f}' for value, _ in found['one by one']]}")
    for name, each in (("clock", ratios), ("processor", worked)):
        told = [f"{one:.3f}" for one in each]
        print(f"of {heads} forward passes, {name}: median {statistics.median(each):.3f}, each {told}")
    every = [ours[0] / fused[0] for ours, fused in zip(found["statistics"], found["batch"], strict=True)]
    print(f"all statistics of a batch of four, x its forward pass: {[f'{each:.2f}' for each in every]}")
    print(f"target {TARGET}")
    if options.json:
        versions = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version()}
        record = {"threads": options.threads, "seconds": found, "ratios": ratios, **versions}
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    sys.exit(0 if statistics.median(ratios) <= TARGET else 1)


if __name__ == "__main__":
    main()
