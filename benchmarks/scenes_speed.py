"""Speed of rendering scenes, relative to one bare pass of the renderer over the same scenes in the same run.

    python benchmarks/scenes_speed.py [--scenes 40] [--rounds 5]

The baseline is what cannot be avoided: one pass with one lamp over a world that is loaded already. Printed are the
median ratio over the rounds with its quartiles, and scenes per second and core for orientation.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import drjit
import mitsuba

from vitreous.worlds.rendered.draw import draw_scene
from vitreous.worlds.rendered.render import SIDE, _fill_lamp, _mitsuba, _world, render
from vitreous.worlds.rendered.scene import Scene


def contenders(scenes: Sequence[Scene]) -> dict[str, Callable[[], object]]:
    renderer = _mitsuba()
    worlds = [renderer.load_dict(_world(renderer, scene, SIDE, _fill_lamp(scene))) for scene in scenes]
    return {
        "one bare pass": lambda: [mitsuba.render(world, seed=0).array for world in worlds],
        "drawing": lambda: [draw_scene(0, index) for index in range(len(scenes))],
        "picture, things at its own resolution": lambda: [render(scene, finer=1) for scene in scenes],
        "picture, things twice as fine": lambda: [render(scene, finer=2) for scene in scenes],
        "picture, things 4 times as fine": lambda: [render(scene, finer=4) for scene in scenes],
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--scenes", type=int, default=40)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    drjit.set_thread_count(1)
    runs = contenders([draw_scene(0, index) for index in range(chosen.scenes)])
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(chosen.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    bare = seconds["one bare pass"]
    print(f"{chosen.scenes} scenes of {SIDE} pixels, one core, n={chosen.rounds}, Mitsuba {mitsuba.__version__}")
    for name, taken in seconds.items():
        low, middle, high = statistics.quantiles([one / base for one, base in zip(taken, bare, strict=True)], n=4)
        rate = chosen.scenes / statistics.median(taken)
        print(f"{name:40}{middle:>8.2f} x ({low:.2f} to {high:.2f}){rate:>8.1f} scenes/s")


if __name__ == "__main__":
    main()
