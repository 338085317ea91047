"""Speed of token dropping: RISE with tokens left out, beside RISE that fills them with the image's mean colour.

ViT-B/16 of random weights, one image, two threads. Both run once per round, in turn, after one round to warm up, and
their times are divided within the round: machines are noisy, ratios within a round less so. Printed are the medians with
their quartiles. Half of the patches are shown on average, so a sequence is about half as long, and attention, which is
quadratic, a quarter; the masks are drawn by each at its own cost.

    python benchmarks/token_dropping.py [--masks 1000] [--rounds 3] [--threads 2] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import timm
import torch

import vitreous as vt
from vitreous.vit.edits import token_dropping

TARGET = 1.8
FILLS = ("mean", "drop")


def measure(vit: vt.Vit, image: torch.Tensor, masks: int, rounds: int) -> dict[str, list[float]]:
    """Time both fills in turn; gives the seconds of each round, by the clock and of all threads together."""
    seconds: dict[str, list[float]] = {kind: [] for fill in FILLS for kind in (fill, f"{fill}, processor")}
    for turn in range(rounds + 1):
        for fill in FILLS:
            began, worked = time.perf_counter(), time.process_time()
            vt.explain(vit, image, "rise", masks=masks if turn else min(masks, 4), fill=fill, seed=turn)
            if turn:
                seconds[fill].append(time.perf_counter() - began)
                seconds[f"{fill}, processor"].append(time.process_time() - worked)
    return seconds


def summary(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:8.2f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:8.2f}  ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="vit_base_patch16_224")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vit = vt.open_vit(timm.create_model(options.model, pretrained=False).eval())
    image = torch.rand(1, 3, *vit.preprocessing.size)
    print(token_dropping(vit).describe())
    seconds = measure(vit, image, options.masks, options.rounds)
    ratios = [mean / drop for mean, drop in zip(seconds["mean"], seconds["drop"], strict=True)]
    pairs = zip(seconds["mean, processor"], seconds["drop, processor"], strict=True)
    worked = [mean / drop for mean, drop in pairs]
    print(f"RISE, {options.masks} masks, {options.model}, {options.threads} threads, n={options.rounds} rounds")
    for fill in FILLS:
        print(f"  fill={fill:5} seconds {summary(seconds[fill])}")
    print(f"  times faster       {summary(ratios)}   target {TARGET}")
    print(f"  in processor time  {summary(worked)}   for machines that others use as well")
    if options.json:
        versions = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version()}
        record = {"masks": options.masks, "threads": options.threads, "seconds": seconds, "ratios": ratios, **versions}
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    sys.exit(0 if statistics.median(ratios) >= TARGET else 1)


if __name__ == "__main__":
    main()
