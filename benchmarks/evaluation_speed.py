"""Speed of causal metrics: deletion, insertion and SRG of one map, beside Quantus' pixel flipping and pytorch-grad-cam's ROAD.

ViT-B/16 of random weights, batch 8, two threads, twenty steps in each curve. Every contender runs once per round, in turn,
and its time is divided by that of one fused forward pass of the batch in the same round: machines are noisy, ratios within
a round less so. Peers are timed for what they evaluate, and compared by the time of one evaluation of one image.

Deletion, insertion and SRG ask for 20 + 20 + 40 evaluations of each image. Tokens are dropped, and insertion and SRG are
answered by the two curves of one ranking, so that fewer passes, over fewer tokens, answer all. Peers that are not
installed are left out and said so: pip install 'quantus==0.6.0' 'grad-cam==1.5.7'.

    python benchmarks/evaluation_speed.py [--rounds 3] [--steps 20] [--batch 8] [--threads 2] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timm
import torch

import vitreous as vt
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import METRICS

CURVES = {"deletion": 1, "insertion": 1, "srg": 2}
"""Metrics, and how many curves each asks for."""

SHARE, TIMES, OVERHEAD = 0.6, 5.0, 0.10


class Clock:
    """Adds up the seconds that a model's own forward takes, so that what is around it can be told apart."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.seconds = self.began = 0.0
        model.register_forward_pre_hook(lambda *_: setattr(self, "began", time.perf_counter()))
        model.register_forward_hook(
            lambda *_: setattr(self, "seconds", self.seconds + time.perf_counter() - self.began)
        )


def ours(vit: vt.Vit, images: torch.Tensor, maps: torch.Tensor, steps: int) -> Callable[[], None]:
    def run() -> None:
        with vit.trace(images, 0, capture=vt.Capture(graph=False)) as trace:
            case = Case(trace, maps, lambda _: maps, (Truth(),) * len(images))
            for name in CURVES:
                METRICS[name].function(case, steps=steps)

    return run


def whole_steps(steps: int) -> int:
    """Quantus takes only steps that divide the pixels: the largest number of them up to what is asked."""
    return next(number for number in range(steps, 0, -1) if 224 * 224 % number == 0)


def quantus_flipping(model: torch.nn.Module, inputs: torch.Tensor, maps: np.ndarray, steps: int) -> Callable[[], None]:
    metric = import_module("quantus").PixelFlipping(
        features_in_step=224 * 224 // steps, perturb_baseline="black", disable_warnings=True, normalise=False
    )
    batch, attributions = inputs.numpy(), maps[:, None]

    def run() -> None:
        metric(
            model, batch, np.zeros(len(batch), dtype=int), attributions, channel_first=True, softmax=False, device="cpu"
        )

    return run


def gradcam_road(model: torch.nn.Module, inputs: torch.Tensor, maps: np.ndarray) -> Callable[[], None]:
    target = import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(0)
    metric = import_module("pytorch_grad_cam.metrics.road").ROADCombined()
    return lambda: metric(inputs, maps, [target] * len(inputs), model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    vit = vt.open_vit(model)
    images = torch.rand(options.batch, 3, 224, 224)
    maps = torch.rand(options.batch, 14, 14)
    inputs = vit.prepare(images)
    fine = torch.nn.functional.interpolate(maps[:, None], size=(224, 224), mode="bilinear")[:, 0].numpy()
    asked = {"vitreous deletion + insertion + SRG": options.steps * sum(CURVES.values())}
    contenders: dict[str, Callable[[], object]] = {"fused forward": lambda: vit.logits(images)}
    contenders["vitreous deletion + insertion + SRG"] = ours(vit, images, maps, options.steps)
    if find_spec("quantus"):
        asked["Quantus PixelFlipping"] = whole_steps(options.steps)
        contenders["Quantus PixelFlipping"] = quantus_flipping(model, inputs, fine, whole_steps(options.steps))
    if find_spec("pytorch_grad_cam"):
        asked["pytorch-grad-cam ROADCombined"] = 18
        contenders["pytorch-grad-cam ROADCombined"] = gradcam_road(model, inputs, fine)
    clock = Clock(model)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    overhead = []
    for turn in range(options.rounds + 1):
        for name, run in contenders.items():
            clock.seconds, began = 0.0, time.perf_counter()
            run()
            took = time.perf_counter() - began
            if turn:  # the first round warms up
                seconds[name].append(took)
                if name.startswith("vitreous"):
                    overhead.append(1 - clock.seconds / took)
    report(seconds, asked, overhead, options)


def report(
    seconds: dict[str, list[float]], asked: dict[str, int], overhead: list[float], options: argparse.Namespace
) -> None:
    forward = seconds["fused forward"]
    ratios = {name: [one / two for one, two in zip(each, forward, strict=True)] for name, each in seconds.items()}
    mine = next(name for name in asked if name.startswith("vitreous"))
    print(
        f"ViT-B/16, batch {options.batch}, {options.threads} threads, {options.steps} steps, n={options.rounds} rounds"
    )
    print(f"{'':38}{'x one forward':>14}{'evaluations':>13}{'a forward each':>16}{'times ours':>12}")
    for name, count in asked.items():
        each = [ratio / count for ratio in ratios[name]]
        against = statistics.median(one * asked[mine] / two for one, two in zip(each, ratios[mine], strict=True))
        print(
            f"{name:38}{statistics.median(ratios[name]):14.2f}{count:13d}{statistics.median(each):16.3f}{against:12.2f}"
        )
    print(f"Targets: at most {SHARE} of a forward for each evaluation; peers at least {TIMES} times ours.")
    print(f"Outside the model: {statistics.median(overhead):.1%} of our time (target at most {OVERHEAD:.0%}).")
    for peer, package in (("Quantus", "quantus"), ("pytorch-grad-cam", "pytorch_grad_cam")):
        if not find_spec(package):
            print(f"{peer} is not installed and was left out.")
    if options.json:
        versions = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version()}
        options.json.write_text(
            json.dumps({"seconds": seconds, "overhead": overhead, **versions}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
