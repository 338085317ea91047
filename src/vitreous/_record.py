"""The record of a map: which model, weights, image, parameters and versions it came from, and what was predicted."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vitreous._prepare import Prepared
from vitreous.core.provenance import Prediction, Provenance
from vitreous.core.target import label_of
from vitreous.core.versions import versions_in_use
from vitreous.methods._method import Method
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit


def top_predictions(vit: Vit, trace: Trace, most: int = 5) -> list[tuple[Prediction, ...]]:
    """Give the `most` largest outputs of each image, largest first; none where the outputs are an embedding.

    Probabilities are the softmax over all outputs, in float64. A model trained with sigmoids means
    something else by its logits, which nothing in it states.
    """
    if not vit.has_classes:
        return [()] * trace.logits.shape[0]
    logits = trace.logits.detach().cpu()
    probabilities = logits.double().softmax(1)
    top = logits.topk(min(most, logits.shape[1]), dim=1).indices.tolist()
    return [
        tuple(
            Prediction(
                index=index,
                label=label_of(index, vit.labels),
                logit=float(logits[image, index]),
                probability=float(probabilities[image, index]),
            )
            for index in indices
        )
        for image, indices in enumerate(top)
    ]


def write_record(
    vit: Vit,
    trace: Trace,
    method: Method,
    parameters: Mapping[str, Any],
    image: Prepared,
    index: int,
    predictions: tuple[Prediction, ...],
    notes: tuple[str, ...],
    *,
    seed: int,
    seconds: float,
) -> Provenance:
    """Write the record of one map. Warnings are those of the model first, then those of the photograph.

    index  the image's place in the trace's batch
    notes  what the method remarked about this map
    """
    return record_of_pass(
        vit, trace, image, index, predictions,
        method=method.name, paper=method.paper, parameters=parameters, notes=notes, seed=seed, seconds=seconds,
    )  # fmt: skip


def record_of_pass(
    vit: Vit,
    trace: Trace,
    image: Prepared,
    index: int,
    predictions: tuple[Prediction, ...],
    *,
    method: str,
    paper: str | None,
    parameters: Mapping[str, Any],
    notes: tuple[str, ...],
    seed: int,
    seconds: float,
) -> Provenance:
    """Write the record of whatever was made from one image of a trace, under the name `method`."""
    return Provenance(
        method=method,
        parameters=dict(parameters),
        paper=paper,
        target=trace.target.names[index],
        score=float(trace.score[index].detach()),
        predictions=predictions,
        model=vit.name,
        weights_digest=vit.digest,
        weights_source=vit.source,
        image=image.name,
        image_digest=image.digest,
        preprocessing={**asdict(vit.preprocessing), "fit": image.frame.fit},
        seed=seed,
        versions=dict(versions_in_use()),
        device=str(vit.device),
        dtype=str(vit.dtype).removeprefix("torch."),
        seconds=seconds,
        batch=trace.logits.shape[0],
        forwards=trace.forwards,
        backwards=trace.backwards,
        warnings=(*vit.warnings, *image.notes),
        notes=notes,
    )
