"""What heads do and whether they agree: roles, distances, concordance, and heads that stand alone."""

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from measure import SEED, Found, Places, each, inputs_of, mean, parts_of, with_depth
from torch import Tensor

import vitreous as vt
from vitreous.analysis import (
    HeadAgreement,
    HeadRoles,
    RoleMeasures,
    head_agreement,
    head_numbers,
    outlying_heads,
    role_measures,
    roles_of,
)
from vitreous.analysis.head_numbers import patch_distances
from vitreous.worlds.sample import Sample

RESAMPLES = 400
MOST = 64


def heads(places: Places, model: str, data: str) -> Found:
    """Measure roles and agreement of all heads on one set of pictures."""
    vit = places.model(model)
    images = inputs_of(vit, samples_of(places, data))
    measures, agreements, distances = [], [], []
    for part in parts_of(images):
        with torch.no_grad(), vit.trace(part, capture=vt.Capture(graph=False)) as trace:
            measures.append(role_measures(trace))
            agreements.append(head_agreement(trace))
            distances.append(head_numbers(trace).distance)
    distance = torch.cat(distances)
    return {"model": model, "data": data, "n": len(images), "patches": vit.grid[0] * vit.grid[1],
            "even_distance": float(patch_distances(vit).mean()),
            **of_roles(joined(measures)), **of_distance(distance), **of_agreement(agreements)}  # fmt: skip


def samples_of(places: Places, data: str) -> list[Sample]:
    """Give the pictures: thresholds of roles were chosen on "chosen" and on the packaged scenes, and on no others."""
    if data in {"chosen", "other"}:
        every = sorted(places.photographs("imagenet"), key=lambda sample: sample.id)
        return every if places.quick else every[0 if data == "chosen" else 5 :: 10][:MOST]
    if data == "coco":
        return places.photographs("coco", MOST)
    return places.packaged() if data == "packaged" else places.scenes(60)


def joined(measures: list[RoleMeasures]) -> RoleMeasures:
    """Put the measures of all batches together."""
    names = [each.name for each in fields(RoleMeasures) if each.name != "first"]
    whole: dict[str, Any] = {name: torch.cat([getattr(batch, name) for batch in measures]) for name in names}
    return replace(measures[0], **whole)


def taken(measures: RoleMeasures, images: Tensor) -> RoleMeasures:
    """Give the measures of some of the images, which may come several times."""
    names = [each.name for each in fields(RoleMeasures) if each.name != "first"]
    some: dict[str, Any] = {name: getattr(measures, name)[images] for name in names}
    return replace(measures, **some)


def of_roles(measures: RoleMeasures) -> Found:
    """Name the roles; intervals are those of drawing the images anew and naming the roles again."""
    found = roles_of([measures])
    generator, count = np.random.default_rng(SEED), len(measures.distance)
    drawn = [
        roles_of([taken(measures, torch.from_numpy(generator.integers(count, size=count)))]) for _ in range(RESAMPLES)
    ]
    counts = {}
    for role, value in found.counts().items():
        low, high = np.quantile([each.counts()[role] for each in drawn], [0.025, 0.975])
        counts[role] = {"value": value, "low": float(low), "high": float(high), "n": count}
    return {"counts": counts, "heads": [
        {"head": [block, head], "roles": [told(found, drawn, block, head, place) for place in range(len(roles))]}
        for block, row in enumerate(found.heads) for head, roles in enumerate(row)
    ]}  # fmt: skip


def told(found: HeadRoles, drawn: list[HeadRoles], block: int, head: int, place: int) -> Found:
    """Tell one role of one head, with the interval of the number that gave it."""
    role = found.heads[block][head][place]
    values = [float(each.values[role.name][block, head]) for each in drawn]
    low, high = np.quantile(values, [0.025, 0.975])
    return {"name": role.name, "threshold": role.threshold, "stability": role.stability, "offset": role.offset,
            "number": {"value": role.value, "low": float(low), "high": float(high), "n": found.images}}  # fmt: skip


def of_distance(distance: Tensor) -> Found:
    """Give the mean distance of attention by block, and by head for the chart."""
    by_block = distance.nanmean(2)
    return {
        "distance": each(by_block),
        "distance_with_depth": with_depth(by_block),
        "distance_by_head": distance.nanmean(0).tolist(),
    }


def of_agreement(found: list[HeadAgreement]) -> Found:
    """Tell how alike heads look, and which ones stand alone: on the mean of all images, and in how many."""
    whole = {
        name: torch.cat([getattr(batch, name) for batch in found])
        for name in ("concordance", "overall", "agreed", "chance", "isolation", "block_divergence")
    }
    count = len(whole["overall"])
    often = Counter((each.block, each.head) for batch in found for image in batch.outlying() for each in image)
    following = whole["block_divergence"].diagonal(1, 1, 2)
    return {
        "concordance": each(whole["concordance"]),
        "concordance_chance": 1 / whole["isolation"].shape[2],
        "concordance_with_depth": with_depth(whole["concordance"]),
        "overall": mean(whole["overall"]),
        "agreed": mean(whole["agreed"]),
        "agreed_mean": found[0].top / found[0].converging[0].numel(),
        "agreed_chance": float(whole["chance"].max()),
        "divergence_of_next": each(following),
        "outlying": [
            {"head": [each.block, each.head], "excess": each.excess, "limit": each.limit,
             "images": often[each.block, each.head], "n": count}
            for each in outlying_heads(whole["isolation"].mean(0))
        ],
        "often": [{"head": list(head), "images": times, "n": count} for head, times in often.most_common(4)],
    }  # fmt: skip
