"""Manifest: what an evaluation was made of, in a file beside its rows, so that nobody goes on with something else."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from vitreous.bench.plan import EvaluationPlan
from vitreous.core.versions import versions_in_use
from vitreous.vit.vit import Vit
from vitreous.worlds.sample import Samples

SCHEMA = 1
SHARD = 32
"""Samples whose rows are written together."""


class Manifest(BaseModel):
    """Everything that decides the values of an evaluation. Two runs of equal manifests give equal values.

    schema_version                   of the folder's layout
    model, weights_digest, …         as in `Provenance`
    data, samples, samples_digest    name of the data set, how many samples, and sha256 over their ids in order; images'
                                     own digests are in the rows
    methods, metrics                 for each label the name and all parameters
    target, fit, seed, batch_size    as in `evaluate`
    shard                            samples whose rows are in one file
    versions, device, dtype, threads what else changes the last bits of a number
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    model: str
    weights_digest: str
    weights_source: str
    preprocessing: dict[str, Any]
    data: str
    samples: int
    samples_digest: str
    methods: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    target: Any
    fit: str
    seed: int
    batch_size: int
    shard: int
    versions: dict[str, str]
    device: str
    dtype: str
    threads: int

    def differences(self, other: "Manifest") -> list[str]:
        """Name the fields in which another manifest differs, each with both values; within a mapping, key by key.

        Each begins with the name of the field and a space or a colon.
        """
        return list(_differing("", self.model_dump(mode="json"), other.model_dump(mode="json")))

    @property
    def shards(self) -> list[range]:
        """The samples of each shard, by their places in the data set."""
        return [range(start, min(start + self.shard, self.samples)) for start in range(0, self.samples, self.shard)]


def describe_run(vit: Vit, samples: Samples, plan: EvaluationPlan) -> Manifest:
    """Write the manifest of an evaluation that is about to be made."""
    ids = "\n".join(sample.id for sample in samples)
    target = plan.target if isinstance(plan.target, str | int | None) else asdict(plan.target)
    return Manifest(
        schema_version=SCHEMA,
        model=vit.name,
        weights_digest=vit.digest,
        weights_source=vit.source,
        preprocessing=json.loads(json.dumps(asdict(vit.preprocessing))),
        data=samples.name,
        samples=len(samples),
        samples_digest=hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest(),
        methods={label: {"name": item.method.name, **item.parameters} for label, item in plan.methods.items()},
        metrics={label: {"name": item.metric.name, **item.parameters} for label, item in plan.metrics.items()},
        target=target,
        fit=plan.fit,
        seed=plan.seed,
        batch_size=plan.batch_size,
        shard=max(plan.batch_size, SHARD // plan.batch_size * plan.batch_size),
        versions=dict(versions_in_use()),
        device=str(vit.device),
        dtype=str(vit.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )


def _differing(path: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Go through what two mappings differ in; `path` is where they stand."""
    for key in dict.fromkeys((*mine, *theirs)):
        place = f"{path} {key}".strip()
        if key not in theirs:
            yield f"{place}: only there"
        elif key not in mine:
            yield f"{place}: only now"
        elif isinstance(mine[key], dict) and isinstance(theirs[key], dict):
            yield from _differing(place, mine[key], theirs[key])
        elif mine[key] != theirs[key]:
            yield f"{place}: {_short(mine[key])} there, {_short(theirs[key])} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"
