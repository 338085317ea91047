"""Measure what is on docs/findings.md, and write the page: heads, blocks, factors, relations, context and priors.

    vitreous worlds render --count 300 --seed 4 --finer 2 --out SCENES
    python benchmarks/findings run SHARED SCENES OUT [--only heads …] [--quick]
    python benchmarks/findings show OUT

SHARED is the folder with deit_tiny and the photographs. `run` measures every part that OUT does not hold yet, so that a
run that was interrupted goes on where it was, puts all parts together in OUT/findings.json, and shows them. `show`
writes docs/findings.md and its pictures from OUT/findings.json alone; a page of a trial (--quick), or one from which
parts are missing, goes to OUT instead.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from factors import changes, factors
from figures import draw
from focus import alignment, focus
from heads import heads
from measure import SEED, Found, Places, save
from page import write
from priors import consensus, priors
from relations import context, relations

import vitreous as vt

PARTS: dict[str, Callable[[Places], Found]] = {
    "heads-deit-chosen": lambda places: heads(places, "deit", "chosen"),
    "heads-deit-other": lambda places: heads(places, "deit", "other"),
    "heads-deit-coco": lambda places: heads(places, "deit", "coco"),
    "heads-scenes-packaged": lambda places: heads(places, "scenes", "packaged"),
    "heads-scenes-held": lambda places: heads(places, "scenes", "held"),
    "focus-deit": lambda places: focus(places, "deit"),
    "focus-scenes": lambda places: focus(places, "scenes"),
    "alignment-deit": lambda places: alignment(places, "deit"),
    "alignment-scenes": lambda places: alignment(places, "scenes"),
    "factors-deit-target": lambda places: factors(places, "deit", "target"),
    "factors-deit-reading": lambda places: factors(places, "deit", "reading"),
    "factors-scenes-target": lambda places: factors(places, "scenes", "target"),
    "factors-scenes-reading": lambda places: factors(places, "scenes", "reading"),
    "changes-sod": lambda places: changes(places, "sod", 150),
    "changes-pets": lambda places: changes(places, "pets", 100),
    "relations-deit": lambda places: relations(places, "deit"),
    "relations-scenes": lambda places: relations(places, "scenes"),
    "context": context,
    "priors": lambda places: priors(places, 180),
    "consensus": lambda places: consensus(places, 50),
}


def run(places: Places, out: Path, only: list[str]) -> None:
    """Measure the parts that are not there yet."""
    for name, measure in PARTS.items():
        path = out / "parts" / f"{name}.json"
        if path.exists() or not any(name.startswith(word) for word in only):
            continue
        began = time.perf_counter()
        found = measure(places)
        seconds = time.perf_counter() - began
        save(path, found | {"seconds": seconds, "seed": SEED, "quick": places.quick, "versions": versions()})
        print(f"{name}: {seconds:.0f} s", flush=True)


def versions() -> Found:
    return {"vitreous": vt.__version__, "torch": torch.__version__}


def gather(out: Path) -> None:
    """Put all parts that were measured together."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "parts").glob("*.json"))}
    save(out / "findings.json", found)


def show(found: Found, out: Path) -> None:
    """Write the page and its pictures from the numbers; those of a trial, or of some parts alone, beside the numbers."""
    unfinished = found.keys() != PARTS.keys() or any(part["quick"] for part in found.values())
    docs = out if unfinished else Path(__file__).parents[2] / "docs"
    write(found, docs / "findings.md")
    draw(found, docs / "images")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    steps = arguments.add_subparsers(dest="step", required=True)
    running = steps.add_parser("run")
    running.add_argument("shared", type=Path)
    running.add_argument("held_out", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--only", nargs="*", default=[""], help="beginnings of the names of parts")
    running.add_argument("--quick", action="store_true", help="a trial on few pictures")
    running.add_argument("--threads", type=int, default=1)
    steps.add_parser("show").add_argument("out", type=Path)
    chosen = arguments.parse_args()
    torch.set_num_threads(getattr(chosen, "threads", 1))
    if chosen.step == "run":
        run(Places(chosen.shared, chosen.held_out, chosen.quick), chosen.out, chosen.only)
        gather(chosen.out)
    show(json.loads((chosen.out / "findings.json").read_text(encoding="utf-8")), chosen.out)


if __name__ == "__main__":
    main()
