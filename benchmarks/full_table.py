"""Every method by the main metrics, on photographs and on scenes: the runs behind docs/which_method.md.

    vitreous worlds render --count 300 --seed 4 --finer 2 --out HELD-OUT
    python benchmarks/full_table.py run SHARED HELD-OUT OUT [--only imagenet_val sod …] [--threads 1]
    python benchmarks/full_table.py run SHARED HELD-OUT OUT --dear --only imagenet_val sod pets scenes
    python benchmarks/full_table.py cost SHARED OUT
    python benchmarks/full_table.py show OUT > docs/full-table.md

SHARED is the folder with deit_tiny and the photographs. A run that was interrupted goes on where it was.

Methods that run the model dozens of times are judged on fewer images, and three of them with fewer masks than their
default, as their label says: their maps alone would take days. Images are taken at random, the same for all methods:
the few are the first of the many.
"""

import argparse
import json
import math
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

import vitreous as vt
from vitreous.bench._section import Record
from vitreous.bench.data import open_data
from vitreous.bench.evaluate import Evaluation
from vitreous.bench.row import Row
from vitreous.bench.statistics import compare
from vitreous.bench.table import summarise
from vitreous.methods._method import METHODS
from vitreous.metrics._metric import METRICS, Metric
from vitreous.worlds.sample import Samples

DEAR = {
    "atman": {},
    "integrated_gradients": {},
    "kernel_shap": {"samples": 512},
    "occlusion": {},
    "rise": {"masks": 300},
    "score_cam": {},
    "smoothgrad": {},
    "tis": {"masks": 256},
    "vit_cx": {},
}
"""Methods of more than twenty-five passes, and the parameters they get here."""

CURVES = ("srg", "deletion", "insertion", "abpc")
SINGLE = ("region_masking", "completeness_error")
MORE = (
    "saco", "road", "positive_perturbation", "negative_perturbation", "sensitivity_n", "faithfulness_correlation",
    "infidelity", "random_logit",
)  # fmt: skip
FORM = ("gini", "entropy")
MASKS = (
    "otsu_pixel_accuracy(confidence=0.0)", "otsu_f1(confidence=0.0)", "otsu_jaccard(confidence=0.0)",
    "segmentation_pixel_accuracy", "segmentation_miou", "segmentation_average_precision", "pixel_average_precision",
    "relevance_mass_accuracy", "relevance_rank_accuracy", "pointing_game", "pxap",
)  # fmt: skip
BOXES = ("pointing_game_boxes", "max_box_acc")
HUMAN = ("human_spearman", "human_pearson", "human_nss", "human_auc_judd", "human_kl", "human_sim")
TRUTH = (
    "counterfactual_rank", "counterfactual_top", "mass_on_target", "background_independence", "distractibility",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One run: which photographs, how many of them for usual and for dear methods, steps of curves, other metrics."""

    data: str
    count: int
    dear: int
    steps: int
    others: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Labels of all metrics, the causal ones first."""
        curves = tuple(f"{name}(steps={self.steps})" for name in CURVES)
        return (*curves, *SINGLE, *self.others) if self.steps else self.others


PARTS = {
    "imagenet_val": Part("imagenet", 200, 10, 5, (*BOXES, *FORM)),
    "sod": Part("sod", 75, 10, 10, MASKS),
    "pets": Part("pets", 90, 0, 5, MASKS),
    "human_maps": Part("human_maps", 12, 0, 0, HUMAN),
    "scenes": Part("scenes", 300, 20, 10, TRUTH),
    "imagenet_more": Part("imagenet", 12, 0, 0, MORE),
}


def model_of(part: str, shared: Path) -> vt.Vit:
    """The model of the package for its scenes, DeiT-tiny for photographs."""
    if part == "scenes":
        return vt.open_vit("bundled:scenes")
    folder = shared / "deit_tiny"
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    return vt.open_vit("timm:deit_tiny_patch16_224", str(folder / "deit_tiny_patch16_224.safetensors"), labels=labels)


def samples_of(part: Part, shared: Path, held_out: Path) -> Samples:
    folder = held_out if part.data == "scenes" else shared / {"imagenet": "imagenet_val"}.get(part.data, part.data)
    return open_data(f"{part.data}:{folder}")


def drawn(samples: Samples, count: int) -> Samples:
    """Draw so many samples, which begin with those that a smaller count gives: data sets are in the order of classes."""
    places = random.Random(0).sample(range(len(samples)), len(samples))[:count]
    return Samples(samples.name, tuple(samples[place] for place in places), samples.labels, samples.notes)


def methods_for(vit: vt.Vit, dear: bool) -> dict[str, dict[str, int]]:
    """The usual or the dear methods that apply, with their parameters."""
    return {name: DEAR.get(name, {}) for name in METHODS if (name in DEAR) == dear and not METHODS[name].why_not(vit)}


def run(shared: Path, held_out: Path, out: Path, only: list[str], dear: bool) -> None:
    for name in only:
        part, vit = PARTS[name], model_of(name, shared)
        folder, count = (f"{name}-dear", part.dear) if dear else (name, part.count)
        samples, began = drawn(samples_of(part, shared, held_out), count), time.perf_counter()
        vt.evaluate(vit, samples, methods_for(vit, dear), part.metrics, batch_size=4, out=out / folder)
        print(f"{folder}: {len(samples)} samples, {time.perf_counter() - began:.0f} s", flush=True)


def cost(shared: Path, out: Path, rounds: int) -> None:
    """Measure what one method alone takes, through its public interface, beside a fused forward of the same batch."""
    vit = model_of("sod", shared)
    images = [sample.image for sample in drawn(samples_of(PARTS["sod"], shared, shared), 4)]
    found = {}
    for dear in (False, True):
        for name, given in methods_for(vit, dear).items():
            ratios = []
            for _ in range(1 if dear else rounds):
                forward = fused_seconds(vit, len(images))
                (heatmap, *_) = vt.explain(vit, images, name, None, "crop", batch_size=len(images), **given)
                ratios.append(heatmap.provenance.seconds / forward)
            passes = heatmap.provenance.forwards, heatmap.provenance.backwards
            found[name] = {"forwards": passes[0], "backwards": passes[1], "ratio": statistics.median(ratios)}
            print(name, found[name], flush=True)
    (out / "cost.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def fused_seconds(vit: vt.Vit, batch: int) -> float:
    """The quickest of three ordinary forward passes."""
    inputs, seconds = torch.rand(batch, 3, *vit.preprocessing.size), []
    with torch.no_grad():
        for _ in range(3):
            began = time.perf_counter()
            vit.model(inputs)
            seconds.append(time.perf_counter() - began)
    return min(seconds)


@dataclass(frozen=True)
class View:
    """One printed table: its title, and its columns as (run, metric, heading); sorted by the first."""

    title: str
    columns: tuple[tuple[str, str, str], ...]


VIEWS = (
    View(
        "Faithfulness: symmetric relevance gain, in logits (higher is better)",
        tuple((run, f"srg(steps={PARTS[run].steps})", run) for run in ("imagenet_val", "sod", "pets", "scenes")),
    ),
    View(
        "Deletion (lower is better) and insertion (higher is better), areas under the probability",
        tuple(
            (run, f"{metric}(steps={PARTS[run].steps})", f"{run} {metric}")
            for run in ("imagenet_val", "sod", "pets", "scenes")
            for metric in ("deletion", "insertion")
        ),
    ),
    View(
        "Place: average precision of pixels, share of relevance inside, pointing game (higher is better)",
        (
            ("sod", "pixel_average_precision", "sod: average precision"),
            ("pets", "pixel_average_precision", "pets: average precision"),
            ("sod", "relevance_mass_accuracy", "sod: mass inside"),
            ("sod", "pointing_game", "sod: pointing"),
            ("pets", "pointing_game", "pets: pointing"),
            ("imagenet_val", "pointing_game_boxes", "imagenet_val: pointing, boxes"),
            ("imagenet_val", "max_box_acc", "imagenet_val: MaxBoxAcc"),
        ),
    ),
    View(
        "Known truth of the scenes (higher is better)",
        tuple(("scenes", metric, metric) for metric in TRUTH),
    ),
    View("Human maps (KL: lower is better; others: higher)", tuple(("human_maps", metric, metric) for metric in HUMAN)),
    View(
        "Other causal metrics (infidelity, positive_perturbation: lower is better; random_logit: lower is more specific)",
        tuple(("imagenet_more", metric, metric) for metric in MORE),
    ),
)


PAIRS = (
    *(("consensus", part) for part in ("libragrad", "attnlrp", "saw")),
    *(("libragrad", other) for other in ("attnlrp", "gradient_rollout", "legrad", "agcam", "generic_attention")),
)
"""Comparisons that were decided on beforehand: consensus and its parts, the default method and its rivals."""


HEAD = """# All tables

Written by `python benchmarks/full_table.py show`; [which method?](which_method.md) has the conclusions and the commands. A DeiT-tiny on
photographs, the small model of the package on its scenes; predicted class. Means with 95 % bootstrap intervals; **in brackets** what is not better
than the random map (paired tests, Holm). Passes and times, as multiples of a fused forward pass, are those of one map of a batch of four
photographs (2 threads). Images are the same for all methods, but methods of dozens of passes have fewer of them: n is below each table.
`consensus` was the mean of `saw`, `attnlrp` and `libragrad`; it is no longer in the package."""


def show(out: Path) -> None:
    """Print all tables in Markdown."""
    print(HEAD)
    records = {}
    rows = {run: found for run in PARTS if (out / run / "rows").exists() and (found := rows_of(out, run))}
    for run, found in rows.items():
        for record in summarise(found, metrics_of(out, run)).records():
            records[run, str(record["metric"]), str(record["method"])] = record
    costs = json.loads((out / "cost.json").read_text(encoding="utf-8"))
    for view in VIEWS:
        print(f"\n## {view.title}\n")
        print_view(view, records, costs)
    print("\n## Differences in symmetric relevance gain, with p of paired tests (Wilcoxon, Holm)\n")
    print_pairs(rows)


def rows_of(out: Path, run: str) -> list[Row]:
    """Rows of a run together with those of its dear methods; both have the same random control."""
    parts = [Evaluation.load(out / name) for name in (run, f"{run}-dear") if (out / name).exists()]
    return [row for place, part in enumerate(parts) for row in part.rows if place == 0 or row.method != "random"]


def metrics_of(out: Path, run: str) -> dict[str, Metric]:
    told = Evaluation.load(out / run).manifest.metrics
    return {label: METRICS[str(each["name"])].under(each) for label, each in told.items()}


def print_pairs(rows: dict[str, list[Row]]) -> None:
    """Print the paired tests of symmetric relevance gain: `PAIRS` are corrected together, and dear methods together."""
    runs = [run for run in rows if PARTS[run].steps]
    print(f"| | {' | '.join(runs)} |\n|---|{'--:|' * len(runs)}")
    found = {}
    wanted = dict.fromkeys(PAIRS)
    for run in runs:
        measured: dict[str, dict[tuple[str, str], tuple[float, ...]]] = {}
        for row in rows[run]:
            if row.metric == f"srg(steps={PARTS[run].steps})" and row.status == "ok":
                measured.setdefault(row.method, {})[row.sample, row.image_digest] = row.parts
        dear = [("libragrad", method) for method in measured if method.partition("(")[0] in DEAR]
        wanted |= dict.fromkeys(dear)
        known = [pair for pair in PAIRS if measured.keys() >= set(pair)]
        for each in (*compare(measured, known, None, 0), *compare(measured, dear, None, 0)):
            found[run, each.first, each.second] = f"{each.difference:+.2f} ({p_text(each.corrected)}, n={each.images})"
    for first, second in wanted:
        print(f"| {first} minus {second} | {' | '.join(found.get((run, first, second), '') for run in runs)} |")


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def print_view(view: View, records: dict[tuple[str, str, str], Record], costs: dict[str, dict[str, float]]) -> None:
    """Print one table of what was evaluated: methods by the first column, best first."""
    evaluated = {(run, metric) for run, metric, _ in records}
    view = View(view.title, tuple(column for column in view.columns if column[:2] in evaluated))
    if not view.columns:
        print("Not evaluated.")
        return
    run, metric, _ = view.columns[0]
    every = [record for key, record in records.items() if key[:2] == (run, metric)]
    sign = -1 if every and every[0]["better"] == "higher" else 1
    ordered = sorted(every, key=lambda record: sign * float(record["value"]))
    shown_columns = {column[:2] for column in view.columns}
    others = {str(each["method"]): each for key, each in records.items() if key[:2] in shown_columns}
    ordered += [each for method, each in others.items() if method not in {record["method"] for record in ordered}]
    print(f"| method | passes | x forward | {' | '.join(heading for *_, heading in view.columns)} |")
    print(f"|---|---|--:|{'--:|' * len(view.columns)}")
    for record in ordered:
        method = str(record["method"])
        spent = costs.get(method.partition("(")[0])
        passes = f"{spent['forwards']:.0f}F{spent['backwards']:.0f}B | {spent['ratio']:.1f}" if spent else "| "
        cells = [shown(records.get((run, metric, method)), method) for run, metric, _ in view.columns]
        print(f"| {method} | {passes} | {' | '.join(cells)} |")
    for run, metric, heading in view.columns:
        counts = Counter(int(record["n"]) for key, record in records.items() if key[:2] == (run, metric))
        told = ", ".join(f"{count} ({number} methods)" for count, number in counts.most_common())
        print(f"{chr(10) if heading == view.columns[0][2] else ''}{heading}: n = {told}.", end=" ")
    print()


def shown(record: Record | None, method: str) -> str:
    """Value and interval; in brackets if no better than random by the corrected test."""
    if record is None or math.isnan(float(record["value"])):
        return "\N{EN DASH}"
    text = f"{record['value']:.2f}"
    if not math.isnan(float(record["low"])):
        text += f" ({record['low']:.2f} to {record['high']:.2f})"
    return text if method == "random" or record["against_control"] == "better" else f"[{text}]"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    steps = arguments.add_subparsers(dest="step", required=True)
    running = steps.add_parser("run")
    running.add_argument("shared", type=Path)
    running.add_argument("held_out", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    running.add_argument("--dear", action="store_true", help="the dear methods instead of the others")
    running.add_argument("--threads", type=int, default=1)
    costing = steps.add_parser("cost")
    costing.add_argument("shared", type=Path)
    costing.add_argument("out", type=Path)
    costing.add_argument("--rounds", type=int, default=5)
    costing.add_argument("--threads", type=int, default=2)
    steps.add_parser("show").add_argument("out", type=Path)
    chosen = arguments.parse_args()
    torch.set_num_threads(getattr(chosen, "threads", 1))
    if chosen.step == "run":
        run(chosen.shared, chosen.held_out, chosen.out, chosen.only, chosen.dear)
    elif chosen.step == "cost":
        cost(chosen.shared, chosen.out, chosen.rounds)
    else:
        show(chosen.out)


if __name__ == "__main__":
    main()
