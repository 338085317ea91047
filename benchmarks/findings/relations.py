"""How objects attend to one another, and whether what the decision depends on is what counterfactuals say."""

from collections.abc import Iterable

import numpy as np
import torch
from measure import DRAWS, SEED, Found, Places, given, inputs_of, masks_of, prepared
from scipy import stats
from torch import Tensor

import vitreous as vt
from vitreous.analysis import Binding, Relations, binding, binding_statistics, dependence, relate, relation_statistics
from vitreous.core.fit import photo_to_input
from vitreous.core.images import read_photo
from vitreous.core.patches import patch_coverage
from vitreous.vit.coalitions import scores_of
from vitreous.worlds.rendered.load import SceneSample

LEAST = 0.25
MATTERS = 0.1
CONTROLS = 9


def relations(places: Places, model: str) -> Found:
    """Measure attention between objects: on photographs of COCO, or on scenes."""
    vit = places.model(model)
    samples = places.photographs("coco") if model == "deit" else places.scenes()
    every: list[Relations] = []
    apart: list[Relations] = []
    bound: list[list[Binding]] = []
    names: list[list[str]] = []
    apart_names: list[list[str]] = []
    again: list[Relations] = []
    again_names: list[list[str]] = []
    for sample in samples:
        masks, called = masks_of(vit, sample)
        covered = patch_coverage(masks, vit.grid, vit.patch)
        large = covered.sum(1) >= LEAST
        if not bool(large.any()):
            continue
        masks, covered = masks[large], covered[large]
        called = [name for name, kept in zip(called, large.tolist(), strict=True) if kept]
        orders = range(len(covered)), range(len(covered) - 1, -1, -1)
        alone, other = (sharing_none(covered, order) for order in orders)
        with torch.no_grad(), vit.trace(inputs_of(vit, [sample]), 0, capture=vt.Capture(graph=False)) as trace:
            every += relate(trace, [masks])
            apart += relate(trace, [masks[alone]])
            again += relate(trace, [masks[other]])
            bound += [binding(trace, [masks])]
        names.append(called)
        apart_names.append([called[place] for place in alone])
        again_names.append([called[place] for place in other])
    found = relation_statistics(every, names, seed=SEED)
    without = relation_statistics(apart, apart_names, seed=SEED)
    opposite = relation_statistics(again, again_names, seed=SEED)
    tied = binding_statistics(bound, seed=SEED)
    return {"model": model, "data": "coco128" if model == "deit" else "held-out scenes", "n": len(every),
            "objects": sum(map(len, names)), "objects_apart": sum(map(len, apart_names)), "pairs": len(found.pairs),
            "distance": by_block(found.distance), "distance_apart": by_block(without.distance), "distance_opposite": by_block(opposite.distance),
            "cooccurrence": by_block(found.cooccurrence),
            "binding": [
                given(value, tied.low[block], tied.high[block], tied.images) | {"corrected": float(tied.corrected[block])}
                for block, value in enumerate(tied.excess)
            ], "bound_objects": tied.objects}  # fmt: skip


def sharing_none(covered: Tensor, order: Iterable[int]) -> list[int]:
    """Choose objects, in this order, that share no patch with one chosen before."""
    kept: list[int] = []
    for place in order:
        if not bool(((covered[place] > 0) & (covered[kept] > 0)).any()):
            kept.append(place)
    return kept


def by_block(found: object) -> list[Found]:
    """Turn an association into one number for each block."""
    value, low, high, corrected, null, images = (
        getattr(found, name) for name in ("value", "low", "high", "corrected", "null", "images")
    )
    return [
        given(one, low[block], high[block], images) | {"corrected": float(corrected[block]), "null": float(null[block])}
        for block, one in enumerate(value)
    ]


def context(places: Places) -> Found:
    """Hold what the score loses without an object's patches against what it loses in the scene rendered without it."""
    vit, rows = places.model("scenes"), []
    for number, sample in enumerate(places.packaged()):
        if not isinstance(sample, SceneSample):
            raise TypeError("The packaged scenes are rendered ones.")
        frame = prepared(vit, sample).frame
        masks, _ = masks_of(vit, sample)
        label = sample.label
        with torch.no_grad(), vit.trace(inputs_of(vit, [sample]), label, capture=vt.Capture(graph=False)) as trace:
            (found,) = dependence(trace, [masks], draws=CONTROLS)
            removals = sample.removals()
            pictures = torch.stack([
                photo_to_input(read_photo(each.image), frame, vit.preprocessing.interpolation) for each in removals
            ])  # fmt: skip
            scores = scores_of(trace, pictures, torch.zeros(len(pictures), dtype=torch.long))
            true = (trace.score[0] - scores).tolist()
        rows += [
            (number, thing, found[thing].drop, found[thing].control, real)
            for thing, real in zip((each.number for each in removals), true, strict=True)
            if thing is not None
        ]
    table = np.array(rows, dtype=np.float64)
    table = table[np.isfinite(table[:, 2])]
    beside, held = table[table[:, 1] > 0], table[np.isfinite(table[:, 3])]
    matters = np.abs(beside[:, 4]) > MATTERS
    return {"model": "scenes", "data": "packaged scenes", "n": len(np.unique(table[:, 0])), "objects": len(table),
            "without_patch": len(rows) - len(table), "controls": CONTROLS,
            "drop": rank_correlation(table, 2), "control": rank_correlation(held, 3),
            "beside": rank_correlation(beside, 2), "beside_objects": len(beside), "matter": int(matters.sum()),
            "threshold": MATTERS,
            "largest_is_target": int(largest_is_target(table)), "mean_drop": float(table[:, 2].mean()),
            "mean_true": float(table[:, 4].mean())}  # fmt: skip


def largest_is_target(table: np.ndarray) -> int:
    """Count scenes in which the target costs most, by the tokens that were dropped."""
    scenes = [table[table[:, 0] == scene] for scene in np.unique(table[:, 0])]
    return sum(int(scene[scene[:, 2].argmax(), 1] == 0) for scene in scenes)


def rank_correlation(table: np.ndarray, column: int) -> Found:
    """Give Spearman's correlation with the truth over all objects; the bootstrap draws scenes."""
    scenes = [table[table[:, 0] == scene] for scene in np.unique(table[:, 0])]
    generator, drawn = np.random.default_rng(SEED), []
    for _ in range(DRAWS // 5):
        some = np.concatenate([scenes[place] for place in generator.integers(len(scenes), size=len(scenes))])
        drawn.append(stats.spearmanr(some[:, column], some[:, 4]).statistic)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return given(stats.spearmanr(table[:, column], table[:, 4]).statistic, low, high, len(table))
