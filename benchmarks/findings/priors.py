"""How often maps disagree with what an expert expects, and whether weighing heads by agreement makes better maps."""

import numpy as np
from measure import SEED, Found, Places, mean

import vitreous as vt
from vitreous.analysis import Finding, Priors, judge, judge_many

METHODS = ("libragrad", "rollout", "random")
EXPECTED = {
    "priors": [
        {"name": "the animal", "class": "*", "where": {"regions": ["*"]}, "expect": "most"},
        {"name": "not the border", "class": "*", "where": {"zone": "border", "width": 0.1}, "expect": "none"},
    ]
}


def priors(places: Places, count: int) -> Found:
    """Hold maps of pets against two expectations: at least half on the animal, at most a tenth near the border."""
    vit, expected = places.deit(), Priors.model_validate(EXPECTED)
    samples = places.photographs("pets", count)
    found: dict[str, list[list[Finding]]] = {method: [] for method in METHODS}
    for start in range(0, len(samples), 8):
        part = samples[start : start + 8]
        maps = vt.compare(vit, [sample.image for sample in part], list(METHODS), fit="crop")
        for sample, of_image in zip(part, maps, strict=True):
            regions = [(region.name, region.read().inside) for region in sample.regions if region.read]
            for method, heatmap in of_image.items():
                values = np.asarray(heatmap.relevance, dtype=np.float64)
                found[method].append(judge(values, heatmap.frame, expected, sample.label or "?", regions))
    return {"model": "deit", "data": "pets", "n": len(samples), "methods": {
        method: {each.prior: {"value": each.rate, "low": each.low, "high": each.high, "n": each.images,
                              "share": each.share, "area": each.area, "even_rate": each.even_rate,
                              "unknown": each.unknown} for each in judge_many(all_of)}
        for method, all_of in found.items()
    }}  # fmt: skip


def consensus(places: Places, count: int) -> Found:
    """Compare the faithfulness of consensus attention with that of plain mean attention, on the same photographs."""
    samples = places.photographs("sod", count)
    methods = ["consensus_attention", "mean_attention", "random"]
    evaluation = vt.evaluate(places.deit(), samples, methods, ["srg"], batch_size=4, seed=SEED)
    values: dict[str, dict[str, float]] = {}
    for row in evaluation.rows:
        if row.value is not None:
            values.setdefault(row.method, {})[row.sample] = row.value
    names = sorted(values["mean_attention"])
    by_method = {method: np.array([values[method][name] for name in names]) for method in methods}
    return {"model": "deit", "data": "sod", "n": len(names),
            "gain": {method: mean(column) for method, column in by_method.items()},
            "difference": mean(by_method["consensus_attention"] - by_method["mean_attention"])}  # fmt: skip
