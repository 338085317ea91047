"""Provenance: how a heatmap was made, complete enough to make it again."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Prediction(BaseModel):
    """One of the model's top outputs for an image. `probability` is the softmax over all outputs, if that is a meaning the output has."""

    model_config = ConfigDict(frozen=True)

    index: int
    label: str
    logit: float
    probability: float | None


class Provenance(BaseModel):
    """The record that travels with every heatmap. Times are seconds; `forwards` and `backwards` count passes of the whole batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    parameters: dict[str, Any]
    paper: str | None
    target: str
    score: float
    predictions: tuple[Prediction, ...]
    model: str
    weights_digest: str
    weights_source: str
    image: str
    image_digest: str
    preprocessing: dict[str, Any]
    seed: int
    versions: dict[str, str]
    device: str
    dtype: str
    seconds: float
    batch: int
    forwards: int
    backwards: int
    warnings: tuple[str, ...] = ()
    display: tuple[str, ...] = ()
