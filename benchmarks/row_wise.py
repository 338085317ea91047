"""Memory and time of head statistics read by rows, beside the same from a trace that keeps all attention.

Attention as large as that of DINOv2-g at 518 pixels: 40 blocks, 24 heads, 1370 tokens, one image. Weights are random and
tokens 192 wide instead of 1536, so that the machine's memory is spent on attention alone, which is what is measured. Each
way runs in a process of its own, which reports the most memory it held above what the opened model held; the pass of
the model itself, with fused attention, is the baseline. A trace is run with fewer blocks, because a whole one would need
9.8 GiB for one image, and told for each block.

    python benchmarks/row_wise.py [--blocks 40] [--traced 4] [--threads 2]
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import timm
import torch

import vitreous as vt
from vitreous.analysis.head_numbers import head_numbers, head_numbers_by_rows


def opened(blocks: int) -> vt.Vit:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_base_patch14_dinov2", pretrained=False, embed_dim=192, num_heads=24, depth=blocks, num_classes=10
    )
    return vt.open_vit(model.eval())


def memory(name: str) -> float:
    """Give what Linux says of this process, in MiB: VmRSS is held now, VmHWM the most since it was forgotten."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_most() -> None:
    """Hand freed memory back to the system, and let VmHWM begin anew."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def run(way: str, blocks: int, threads: int) -> None:
    """Run one way in this process and print what it took."""
    torch.set_num_threads(threads)
    vit = opened(blocks)
    opening = round(memory("VmHWM"))
    image = torch.rand(1, 3, *vit.preprocessing.size)
    forget_most()
    before, began = memory("VmRSS"), time.perf_counter()
    if way == "pass":
        vit.logits(image)
    elif way == "rows":
        head_numbers_by_rows(vit, image)
    else:
        with vit.trace(image, 0, capture=vt.Capture(graph=False)) as trace:
            head_numbers(trace)
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "way": way,
                "blocks": blocks,
                "MiB of the process while opening": opening,
                "tokens": vit.tokens,
                "MiB": round(memory("VmHWM") - before),
                "seconds": round(seconds, 2),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--traced", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=("pass", "rows", "trace"))
    options = parser.parse_args()
    if options.way:
        run(options.way, options.blocks, options.threads)
        return
    plan = (("pass", options.blocks), ("rows", options.blocks), ("rows", options.traced), ("trace", options.traced))
    for way, blocks in plan:
        command = [sys.executable, __file__, "--way", way, "--blocks", str(blocks), "--threads", str(options.threads)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
