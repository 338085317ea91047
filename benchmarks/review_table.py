"""The review's table again: pixel accuracy, F1 and Jaccard of Otsu's masks, for every method, on masked photographs.

    vitreous evaluate sod:SOD --weights DEIT_TINY --limit 75 --out sod --batch-size 4 -m METHOD … \\
        --metric "otsu_pixel_accuracy(confidence=0.0)" --metric "otsu_f1(confidence=0.0)" --metric "otsu_jaccard(confidence=0.0)"
    python benchmarks/review_table.py sod pets > docs/localisation-table.md

Reads the table.csv that `vitreous evaluate` wrote into each folder, and prints one table in Markdown, best Jaccard of the
first folder first. The number in brackets behind a metric is the confidence from which on images are counted.
"""

import csv
import sys
from pathlib import Path

METRICS = ("otsu_pixel_accuracy", "otsu_f1", "otsu_jaccard")


def read(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(file)}


def percent(row: dict[str, str]) -> str:
    """Give value and interval in percent, as the review does."""
    if not row["value"] or row["value"] == "nan":
        return "none"
    numbers = [100 * float(row[name]) if row[name] not in {"", "nan"} else None for name in ("value", "low", "high")]
    value, low, high = numbers
    return f"{value:.1f}" if low is None or high is None else f"{value:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]]
    tables = {folder.name: read(folder) for folder in folders}
    labels = [f"{metric}(confidence=0.0)" for metric in METRICS]
    first = tables[folders[0].name]
    methods = sorted(
        {method for method, _ in first}, key=lambda method: -float(first[method, labels[-1]]["value"] or 0)
    )
    heads = [f"{name}: {metric.removeprefix('otsu_').replace('_', ' ')}" for name in tables for metric in METRICS]
    print(f"| method | {' | '.join(heads)} |")
    print(f"|---|{'--:|' * len(heads)}")
    for method in methods:
        cells = [percent(table[method, label]) for table in tables.values() for label in labels]
        print(f"| {method} | {' | '.join(cells)} |")
    for name, table in tables.items():
        counts = {row["n"] for (_, metric), row in table.items() if metric in labels}
        print(f"\n{name}: n = {' or '.join(sorted(counts))}.", end="")
    print()


if __name__ == "__main__":
    main()
