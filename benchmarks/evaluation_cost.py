"""What an evaluation costs for each image, and whether that and the memory stay the same for more images.

    python benchmarks/evaluation_cost.py                 100 and 1,000 images
    python benchmarks/evaluation_cost.py 100 1000 4000

Scenes of the package are repeated under new names; the model, its methods and metrics are those of the docs. Each number
of images is measured in a process of its own, since memory that was once taken is not given back. Seconds are those that
the one thread computes, so that they do not depend on what else the machine does.
"""

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

METHODS = ["attnlrp", "rollout"]
METRICS = ["srg(steps=6)", "pointing_game"]


def measure(count: int) -> None:
    """Evaluate so many images into a folder; print seconds of one core, and memory before, during and with all rows read back."""
    import torch

    import vitreous as vt

    torch.set_num_threads(1)
    vit = vt.open_vit("bundled:scenes")
    scenes = vt.worlds.scenes()
    many = [replace(scenes[place % len(scenes)], id=f"{place:07d}") for place in range(count)]
    samples = vt.worlds.Samples("repeated", tuple(many), scenes.labels)
    with tempfile.TemporaryDirectory() as folder:
        vt.evaluate(vit, samples[:8], METHODS, METRICS, batch_size=8, out=f"{folder}/warm")
        before, began, during = peak(), time.process_time(), 0.0

        def look(done: int, _all: int) -> None:
            nonlocal during
            during = peak() if done == count else during

        vt.evaluate(vit, samples, METHODS, METRICS, batch_size=8, out=f"{folder}/run", advance=look)
        print(f"{count} {time.process_time() - began:.3f} {before:.1f} {during:.1f} {peak():.1f}")


def peak() -> float:
    """Give the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]))
        return
    counts = [int(text) for text in sys.argv[1:]] or [100, 1000]
    print(
        "| images | core seconds | core seconds for each image | ratio | MiB before | MiB while it runs | MiB with all rows |"
    )
    print("|---|---|---|---|---|---|---|")
    first = 0.0
    for count in counts:
        told = subprocess.run(
            [sys.executable, __file__, "--one", str(count)], check=True, capture_output=True, text=True
        ).stdout.split()
        seconds, before, during, after = (float(text) for text in told[1:])
        first = first or seconds / count
        print(
            f"| {count:,} | {seconds:.1f} | {seconds / count:.4f} | {seconds / count / first:.2f} "
            f"| {before:.0f} | {during:.0f} | {after:.0f} |"
        )


if __name__ == "__main__":
    main()
