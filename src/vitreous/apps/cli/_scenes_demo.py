"""The demo on rendered scenes: six methods beside the truth, scored on all scenes of the package."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vitreous as vt
from vitreous._version import __version__
from vitreous.bench.statistics import interval
from vitreous.core.defaults import DEFAULT_METHOD
from vitreous.core.heatmap_file import write_whole
from vitreous.show.scenes_page import Row, ScenePanel, Scored, draw_page
from vitreous.worlds.rendered.load import SceneSample, scenes
from vitreous.worlds.rendered.shapes import CLASSES
from vitreous.worlds.rendered.truth import logit_drops, mass_inside_target, rank_agreement

if TYPE_CHECKING:
    from vitreous.vit.vit import Vit

MODEL = "bundled:scenes"
METHODS = (DEFAULT_METHOD, "generic_attention", "agcam", "rollout", "gradcam", "attention_gradcam")
SHOWN = 10
AREA = "area alone (no method)"


def write_scenes_page(folder: Path) -> Path:
    """Explain the packaged scenes, score every map against the truth, and write the page. Gives its path."""
    began = time.perf_counter()
    vit = vt.open_vit(MODEL)
    samples = [sample for sample in scenes() if isinstance(sample, SceneSample)]
    panels = score_scenes(vit, samples, METHODS)
    rows = table_of(panels)
    facts = {
        "Command": "vitreous demo",
        "Model": f"{vit.name}, weights {vit.digest}",
        "Right answers": f"{sum(panel.predicted == panel.sample.label for panel in panels)} of {len(panels)} scenes",
        "Scenes": f"{len(samples)} rendered scenes of the package; those shown are the first of each class",
        "Target of every map": "the class of the scene",
        "Version": __version__,
        "Seconds": f"{time.perf_counter() - began:.0f}",
    }
    path = folder / "scenes.html"
    write_whole(path, draw_page(_first_of_each_class(panels), rows, facts).encode(), overwrite=True)
    return path


def score_scenes(vit: "Vit", samples: Sequence[SceneSample], methods: Sequence[str]) -> list[ScenePanel]:
    """Explain the class of each scene by all methods, and hold every map against what taking things out does."""
    pictures = [sample.photo().image for sample in samples]
    labels = [sample.label for sample in samples]
    found = vt.compare(vit, pictures, list(methods), target=labels)
    panels = []
    for sample, maps in zip(samples, found, strict=True):
        drops = logit_drops(vit, sample)
        scored = {
            method: Scored(heatmap, mass_inside_target(heatmap, sample), rank_agreement(heatmap, sample, drops))
            for method, heatmap in maps.items()
        }
        predicted = CLASSES[maps[methods[0]].provenance.predictions[0].index]
        panels.append(ScenePanel(sample, predicted, drops, scored))
    return panels


def table_of(panels: Sequence[ScenePanel]) -> list[Row]:
    """Average both scores of each method over the scenes, best order first; the last row ranks things by their area."""
    rows = []
    for method in panels[0].maps:
        masses = [panel.maps[method].mass for panel in panels]
        orders = [panel.maps[method].agreement for panel in panels]
        rows.append(Row(method, _mean(masses), _mean(orders), len(panels)))
    rows.sort(key=lambda row: -row.agreement[0])
    areas = [[float(panel.sample.coverage(thing).mean()) for thing in range(len(panel.drops))] for panel in panels]
    orders = [_spearman(area, panel.drops) for area, panel in zip(areas, panels, strict=True)]
    return [*rows, Row(AREA, _mean([area[0] for area in areas]), _mean(orders), len(panels))]


def _spearman(one: Sequence[float], other: np.ndarray) -> float:
    from scipy.stats import spearmanr  # noqa: PLC0415

    return float(spearmanr(one, other).statistic)


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Give the mean of what is defined, with its 95 % interval, which fewer than ten values do not have."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    found = interval(known[:, None], None, seed=0)
    return float(known.mean()), found.low, found.high


def _first_of_each_class(panels: Sequence[ScenePanel]) -> list[ScenePanel]:
    first: dict[str | None, ScenePanel] = {}
    for panel in panels:
        first.setdefault(panel.sample.label, panel)
    return list(first.values())[:SHOWN]
