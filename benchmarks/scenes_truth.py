"""Which method tells the truth: all methods on held-out scenes, held against what taking things out really does.

    vitreous worlds render --count 2000 --seed 4 --finer 2 --out held-out
    python benchmarks/scenes_truth.py held-out [--model bundled:scenes] [--scenes 300] [--methods NAME ...]

Without names, all methods that live on the shared pass are scored, the controls among them. Printed are, for each method, the mean and the 95 % bootstrap interval of both scores of `vitreous demo`, and in how many
scenes taking out the target lowers its logit more than taking out anything else. Needs the extra "scenes".
"""

import argparse
from pathlib import Path

import vitreous as vt
from vitreous.apps.cli._scenes_demo import score_scenes, table_of
from vitreous.methods._method import METHODS
from vitreous.worlds.measure import Share
from vitreous.worlds.rendered.load import SceneSample


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("held_out", type=Path)
    arguments.add_argument("--model", default="bundled:scenes")
    arguments.add_argument("--scenes", type=int, default=300)
    arguments.add_argument("--methods", nargs="*")
    chosen = arguments.parse_args()
    samples = [sample for sample in vt.worlds.scenes(chosen.held_out) if isinstance(sample, SceneSample)]
    vit = vt.open_vit(chosen.model)
    sharing = [name for name in METHODS if METHODS[name].shares_pass and not METHODS[name].why_not(vit)]
    panels = score_scenes(vit, samples[: chosen.scenes], chosen.methods or sharing)
    most = sum(bool(panel.drops[0] > panel.drops[1:].max()) for panel in panels)
    print(f"{chosen.model} on {chosen.held_out}: the target matters most in {Share(most, len(panels))}")
    print(f"{'method':24}{'order':>8}{'':20}{'on target':>10}")
    for row in table_of(panels):
        order, mass = (f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in (row.agreement, row.mass))
        print(f"{row.name:24}{order:>26}{mass:>26}  n={row.count}")


if __name__ == "__main__":
    main()
