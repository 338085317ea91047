"""Speed and memory of explaining a batch, beside pytorch-grad-cam and captum in the same run.

ViT-B/16, batch 8, two threads. Every contender runs once per round, in turn, and its time is divided by that of the
fused forward pass of the same round: machines are noisy, ratios within a round less so. Printed are the median ratio
over the rounds with its quartiles, and the peak memory above the loaded model, measured in a process of its own.

    python benchmarks/explain_speed.py [--rounds 9] [--json FILE]
"""

import argparse
import ctypes
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch

import vitreous as vt
from vitreous.methods._method import METHODS

BATCH = 8
TARGETS = {
    "agcam": 2.1, "generic_attention": 2.1, "gradcam": 1.3, "compare 8 methods": 3.0, "all one-pass attention": 3.5,
    "attnlrp": 3.5, "reslrp": 3.5,
}  # fmt: skip
ATTENTION = tuple(name for name in METHODS if METHODS[name].shows_attention and METHODS[name].shares_pass)
"""All methods of attention, and of attention and gradient, that live on one pass of the model."""

EIGHT = (
    "raw_attention", "mean_attention", "rollout", "saliency", "gradcam", "attention_gradcam", "agcam", "generic_attention",
)  # fmt: skip
Contender = Callable[[], Any]


def build(only: str | None = None) -> dict[str, Contender]:
    """Build the contenders; with `only`, just that one, so that nothing else costs memory."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    images = torch.rand(BATCH, 3, 224, 224)
    inputs = (images - 0.5) / 0.5
    makers: dict[str, Callable[[], Contender]] = {
        "fused forward": lambda: lambda: fused_forward(model, inputs),
        **{name: ours(model, images, name) for name in ("rollout", "gradcam", "generic_attention", "agcam")},
        "compare 8 methods": ours(model, images, *EIGHT),
        "all one-pass attention": ours(model, images, *ATTENTION),
        **{name: ours(model, images, name) for name in ("attnlrp", "reslrp", "libragrad")},
        "pytorch-grad-cam GradCAM": lambda: peer_gradcam(model, inputs),
        "captum Saliency": lambda: peer_saliency(model, inputs),
    }
    return {name: make() for name, make in makers.items() if only in {None, name}}


def fused_forward(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(inputs)
    return logits


def ours(model: torch.nn.Module, images: torch.Tensor, *methods: str) -> Callable[[], Contender]:
    def make() -> Contender:
        vit = vt.open_vit(model)
        return lambda: vt.compare(vit, images, list(methods), batch_size=BATCH)

    return make


def peer_gradcam(model: torch.nn.Module, inputs: torch.Tensor) -> Contender:
    from pytorch_grad_cam import GradCAM

    def to_grid(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].reshape(tokens.shape[0], 14, 14, -1).permute(0, 3, 1, 2)

    cam = GradCAM(model=model, target_layers=[model.blocks[-1].norm1], reshape_transform=to_grid)  # type: ignore[index,union-attr]
    return lambda: cam(input_tensor=inputs, targets=None)


def peer_saliency(model: torch.nn.Module, inputs: torch.Tensor) -> Contender:
    from captum.attr import Saliency

    def run() -> Any:
        predicted = fused_forward(model, inputs).argmax(1)
        return Saliency(model).attribute(inputs.clone().requires_grad_(), target=predicted)

    return run


def measure_ratios(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Time all contenders in turn, `rounds` times, after one round to warm up."""
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        seconds = {}
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            seconds[name] = time.perf_counter() - began
        if turn:
            for name, value in seconds.items():
                ratios[name].append(value / seconds["fused forward"])
    return ratios


def measure_memory(name: str) -> float:
    """Run one contender in a process of its own; gives its peak above the loaded model and inputs, in MiB."""
    command = [sys.executable, __file__, "--peak-of", name]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(finished.stdout.strip().splitlines()[-1])


def peak_of(name: str) -> float:
    contender = build(only=name)[name]
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what building the model left behind is no part of this
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here on
    before = status_mib("VmRSS")
    contender()
    return status_mib("VmHWM") - before


def status_mib(field: str) -> float:
    """Read a line such as 'VmHWM:  123 kB' of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--only", nargs="*", help="contenders, beside the fused forward; all if left out")
    arguments.add_argument("--peak-of", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.peak_of:
        print(peak_of(chosen.peak_of))
        return
    contenders = {name: run for name, run in build().items() if name in {"fused forward", *(chosen.only or [name])}}
    peaks = {name: round(measure_memory(name)) for name in contenders}
    ratios = measure_ratios(contenders, chosen.rounds)
    rows = []
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        rows.append(
            {
                "contender": name,
                "ratio": round(middle, 3),
                "quartiles": [round(low, 3), round(high, 3)],
                "target": TARGETS.get(name),
                "peak_mib": peaks[name],
                "n": len(values),
            }
        )
    print(
        f"ViT-B/16, batch {BATCH}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.machine()}"
    )
    print(f"{'contender':28}{'x fused forward':>16}{'quartiles':>18}{'target':>8}{'peak MiB':>10}{'n':>4}")
    for row in rows:
        low, high = row["quartiles"]  # type: ignore[misc]
        target = row["target"] or ""
        print(
            f"{row['contender']:28}{row['ratio']:>16}{f'{low} - {high}':>18}{target:>8}{row['peak_mib']:>10}{row['n']:>4}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
