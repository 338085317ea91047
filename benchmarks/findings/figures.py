"""The page's pictures, of rendered scenes alone: heads, focus and factors."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from words import Found

from vitreous.show.plots.block_series import draw_block_series
from vitreous.show.plots.factor_chart import draw_factor_chart
from vitreous.show.plots.head_heatmap import draw_head_heatmap
from vitreous.show.plots.numbers import BlockSeries, FactorScores, HeadNumber

CHARTED = ("hue", "shape", "material", "things", "floor", "wall", "light_azimuth", "camera_elevation")
MOST = 16
DOTS = 80


def draw(found: Found, folder: Path) -> None:
    """Draw all pictures whose numbers are there."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "findings-heads.png": (heads, "heads-scenes-held"),
        "findings-focus.png": (focus, "focus-scenes"),
        "findings-factors.png": (factors, "factors-deit-target"),
    }
    for name, (figure, part) in wanted.items():
        if part in found:
            figure(found[part]).savefig(folder / name, dpi=DOTS)


def heads(part: Found) -> Figure:
    """Draw distance, in units of even attention, of every head of the scenes model."""
    distance = np.array(part["distance_by_head"]) / part["even_distance"]
    meaning = "mean distance of attention between patches; 1 for attention spread evenly"
    numbers = {"Distance of attention": HeadNumber(distance, "share of even attention's", meaning)}
    return draw_head_heatmap(numbers, title=f"Scenes model, {part['n']} held-out scenes")


def focus(part: Found) -> Figure:
    """Draw focus and lens of the scenes model by block."""
    of = f"bootstrap, n={part['n']}"

    def series(name: str, unit: str, meaning: str, interval: str) -> BlockSeries:
        columns = [np.array([each[end] for each in part[name]]) for end in ("value", "low", "high")]
        return BlockSeries(columns[0], unit, meaning, columns[1], columns[2], f"95 %, {interval}")

    shown = {
        "On the target": series("beyond", "share", "beyond the object of another scene", of),
        "Spread of attention": series("spread", "pixels", "distance from its centre", of),
        "Lens, entering the block: final class": series(
            "agree", "share of scenes", "read as top class", f"exact, n={part['n']}"
        ),
    }
    return draw_block_series(shown, title="Scenes model through its blocks; the lens has one place more")


def factors(part: Found) -> Figure:
    """Draw what can be read from the heads of DeiT-tiny at the target's patches, of some factors of each group."""
    columns = [part["names"].index(name) for name in CHARTED]
    score, corrected = (np.array(part[name])[..., columns] for name in ("score", "corrected"))
    blocks, count = score.shape[:2]
    names = tuple(f"{block}.{head}" for block in range(blocks) for head in range(count))
    meaning = f"linear probe, {part['folds']} folds; control: {part['shuffles']} shuffles, corrected"
    scores = FactorScores(
        names,
        CHARTED,
        score.reshape(-1, len(columns)),
        corrected.reshape(-1, len(columns)) < 0.05,
        "held-out score",
        meaning,
    )
    return draw_factor_chart(scores, most=MOST, title=f"DeiT-tiny at the target of {part['n']} scenes")
