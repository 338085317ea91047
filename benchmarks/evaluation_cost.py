"""What an evaluation costs for each image, and whether that and the memory stay the same for more images.

    python benchmarks/evaluation_cost.py                 100, 1,000 and 4,000 images
    python benchmarks/evaluation_cost.py 100 --methods attnlrp rollout --metrics "srg(steps=6)" pointing_game

Scenes of the package are repeated under new names. Each number of images is measured in a process of its own, since
memory that was once taken is not given back. Seconds are those that the one thread computes, so that they depend
little on what else the machine does.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

COUNTS = (100, 1000, 4000)
METHODS = ("rollout",)
METRICS = ("srg(steps=3)", "pointing_game")


def measure(count: int, methods: list[str], metrics: list[str]) -> None:
    """Evaluate so many images into a folder; print seconds of one core, and memory before, during and with all rows read back."""
    import torch

    import vitreous as vt

    torch.set_num_threads(1)
    vit = vt.open_vit("bundled:scenes")
    scenes = vt.worlds.scenes()
    many = [replace(scenes[place % len(scenes)], id=f"{place:07d}") for place in range(count)]
    samples = vt.worlds.Samples("repeated", tuple(many), scenes.labels)
    with tempfile.TemporaryDirectory() as folder:
        vt.evaluate(vit, samples[:8], methods, metrics, batch_size=8, out=f"{folder}/warm")
        before, began, during = peak(), time.process_time(), 0.0

        def look(done: int, _all: int) -> None:
            nonlocal during
            during = peak() if done == count else during

        vt.evaluate(vit, samples, methods, metrics, batch_size=8, out=f"{folder}/run", advance=look)
        print(f"{count} {time.process_time() - began:.3f} {before:.1f} {during:.1f} {peak():.1f}")


def peak() -> float:
    """Give the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("counts", nargs="*", type=int, default=COUNTS)
    arguments.add_argument("--methods", nargs="+", default=METHODS)
    arguments.add_argument("--metrics", nargs="+", default=METRICS)
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.one:
        measure(*json.loads(chosen.one))
        return
    print(
        "| images | core seconds | core seconds for each image | ratio | MiB before | MiB while it runs | MiB with all rows |"
    )
    print("|---|---|---|---|---|---|---|")
    first = 0.0
    for count in chosen.counts:
        asked = json.dumps([count, chosen.methods, chosen.metrics])
        told = subprocess.run(
            [sys.executable, __file__, "--one", asked], check=True, capture_output=True, text=True
        ).stdout.split()
        seconds, before, during, after = (float(text) for text in told[1:])
        first = first or seconds / count
        print(
            f"| {count:,} | {seconds:.1f} | {seconds / count:.4f} | {seconds / count / first:.2f} "
            f"| {before:.0f} | {during:.0f} | {after:.0f} |"
        )


if __name__ == "__main__":
    main()
