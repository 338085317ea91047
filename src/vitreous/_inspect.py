"""Inspecting images: what heads, blocks, tokens and objects do in one pass, each image by itself."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from vitreous._explain import Sources
from vitreous._head_table import head_table, head_table_by_rows
from vitreous._inspection import Inspection
from vitreous._objects import Objects, check_names, default_map, masks_of, on_photo, regions_of, told_of
from vitreous._plan import Targets, one_target_each
from vitreous._prepare import Prepared, prepare
from vitreous._record import record_of_pass, top_predictions
from vitreous.analysis.context import Dependence, dependence
from vitreous.analysis.focus import focus, track
from vitreous.analysis.head_agreement import agreement_of, head_agreement
from vitreous.analysis.head_roles import head_roles
from vitreous.analysis.logit_lens import LogitLens, logit_lens
from vitreous.analysis.prior_agreement import Finding, judge
from vitreous.analysis.priors import Priors
from vitreous.analysis.relations import Relations, relate
from vitreous.analysis.token_query import name_outliers, name_tokens
from vitreous.core.errors import InputError, MethodNotApplicableError, VitreousError, near_matches
from vitreous.core.frame import Fit
from vitreous.core.heatmap import Heatmap
from vitreous.core.on_input import pixel_centres, shows_photo
from vitreous.core.target import Target, check_targets, label_of
from vitreous.vit.ambient import exact
from vitreous.vit.memory import bytes_per_image, free_bytes
from vitreous.vit.passes import Capture
from vitreous.vit.row_wise import reading_attention
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit, check_form

WHOLE = Capture(pixels=False, inputs=False, tokens=False)
Named: TypeAlias = Objects | Sequence[Objects | None] | None


def inspect(
    vit: Vit,
    images: Sources,
    target: Targets = None,
    fit: Fit = "crop",
    *,
    objects: Named = None,
    ablation: bool = True,
    draws: int = 49,
    priors: Priors | None = None,
    by_rows: bool | None = None,
    seed: int = 0,
) -> list[Inspection]:
    """Look inside the model while it predicts each image: heads, blocks, tokens, and objects if there are any.

    vit       an opened model with plain attention
    images    paths, PIL images, or a tensor "b 3 H W" in [0, 1] of the model's size; one counts as a list of one
    target    the class that importance, evidence by block and the effect of removals are about; as in `explain`
    fit       how a photograph becomes the model's input, as in `explain`
    objects   by name, boxes (left, top, right, bottom) in pixels of the photograph, or masks of its size; a list with
              one such mapping for each image. None: the regions of the default method's map stand for objects. Empty:
              no objects at all
    ablation  whether every head is silenced in turn, which costs most of the time: l * h passes, each from its own
              block on
    draws     places of the background, at most, at which patches of the same shape are removed for comparison; 0 for no
              removals
    priors    what somebody who knows the subject expects to matter, from `analysis.read_priors`: the default method's
              map is held against it; regions are the named objects
    by_rows   read attention a few rows at a time instead of keeping it, for models with many tokens; what needs it
              whole is then left out, and the result says so. None: where keeping it takes over half of the free memory
    seed      of everything random

    Gives an `Inspection` for each image, in order: its fields hold every number, `save` writes them as a page and as
    JSON. Errors as in `explain`; MethodNotApplicableError for models without plain attention.

    >>> import vitreous as vt
    >>> vit = vt.open_vit("bundled:scenes")
    >>> (inside,) = vt.inspect(vit, vt.worlds.scenes()[0].photo().image, ablation=False)
    >>> inside.numbers["distance"].unit
    'pixels of the model input'
    """
    sources = images if isinstance(images, Tensor | list | tuple) else [images]
    found = []
    for result in inspect_each(
        vit, sources, target, fit,
        objects=objects, ablation=ablation, draws=draws, priors=priors, by_rows=by_rows, seed=seed,
    ):  # fmt: skip
        if isinstance(result, VitreousError):
            raise result
        found.append(result)
    return found


def inspect_each(
    vit: Vit,
    images: Any,
    target: Targets = None,
    fit: Fit = "crop",
    *,
    objects: Named = None,
    ablation: bool = True,
    draws: int = 49,
    priors: Priors | None = None,
    by_rows: bool | None = None,
    seed: int = 0,
) -> Iterator[Inspection | VitreousError]:
    """Inspect one image after the other, giving the error in place of the result where an image met one.

    Arguments as in `inspect`, but `images` is a sequence or a tensor. What concerns all images alike is raised.
    """
    _ = vit.plain_readout  # raises for models without plain attention
    if isinstance(images, Tensor):
        check_form(images, vit.preprocessing.size)
    if len(images) == 0:
        raise InputError("images is empty.", "Give at least one image.")
    targets = one_target_each(target, len(images))
    check_targets(targets, vit.outputs, vit.labels, vit.has_classes)
    named = _one_each(objects, len(images))
    if draws < 0:
        raise InputError(f"draws={draws} is no number of places.", "Give 0 for no removals, or more.")
    too_much = bytes_per_image(vit, WHOLE) > free_bytes(vit.device) / 2
    asked = _Asked(ablation, draws, priors, too_much if by_rows is None else by_rows, by_rows is not None, seed)
    for index, (wanted, things) in enumerate(zip(targets, named, strict=True)):
        prepared = prepare(vit, images, index, fit)
        if isinstance(prepared, VitreousError):
            yield prepared
            continue
        try:
            yield _Look(vit, prepared, wanted, asked).at(things)
        except VitreousError as problem:
            yield problem


def _one_each(objects: Named, count: int) -> Sequence[Objects | None]:
    for each in objects if isinstance(objects, list | tuple) else [objects]:
        if each is not None:
            check_names(each)
    if objects is None or not isinstance(objects, list | tuple):
        return [objects] * count  # type: ignore[list-item]
    if len(objects) != count:
        raise InputError(f"objects is a list of {len(objects)}.", f"Give one mapping for each of {count} images.")
    return objects


@dataclass(frozen=True)
class _Asked:
    """What was asked for, as `inspect` has it."""

    ablation: bool
    draws: int
    priors: Priors | None
    by_rows: bool
    chosen: bool  # whether the caller said how attention is read
    seed: int

    def parameters(self, objects: Objects | None, heatmap: Heatmap | None) -> dict[str, Any]:
        """Give what the record says of it, and of what it was asked about."""
        priors = None
        if self.priors is not None:
            text = self.priors.model_dump_json(by_alias=True)
            names = ", ".join(prior.name for prior in self.priors.priors)
            priors = f"{names}; sha256 {hashlib.sha256(text.encode()).hexdigest()}"
        return {
            "ablation": self.ablation,
            "draws": self.draws,
            "by_rows": self.by_rows,
            "objects": None if objects is None else told_of(objects),
            "priors": priors,
            "map": None if heatmap is None else heatmap.provenance.method,
            "map_parameters": None if heatmap is None else dict(heatmap.provenance.parameters),
        }


class _Look:
    """One image being inspected; what could not be had is collected in `left_out`."""

    def __init__(self, vit: Vit, prepared: Prepared, target: Target, asked: _Asked) -> None:
        self.vit, self.prepared, self.target, self.asked = vit, prepared, target, asked
        self.left_out: list[str] = []

    def at(self, objects: Objects | None) -> Inspection:
        """Inspect the image with these objects."""
        began, asked = time.perf_counter(), self.asked
        images = self.prepared.image[None]
        capture = Capture(first=len(self.vit.blocks) - 1, graph=False) if asked.by_rows else WHOLE
        with exact(self.vit.device), self.vit.trace(images, [self.target], capture=capture, seed=asked.seed) as trace:
            heatmap = self._map() if objects is None or asked.priors is not None else None
            if heatmap is not None:
                trace.forwards += heatmap.provenance.forwards
                trace.backwards += heatmap.provenance.backwards
            names, masks = self._objects(objects, heatmap)
            first = masks[:1] if objects and names else None
            inside = self._rows(trace, images, first) if asked.by_rows else self._whole(trace, first)
            related, depends = self._related(trace, masks) if names else (None, ())
            record = record_of_pass(
                self.vit, trace, self.prepared, 0, top_predictions(self.vit, trace)[0],
                method="inspect", paper=None, parameters=asked.parameters(objects, heatmap), notes=(), seed=asked.seed,
                seconds=time.perf_counter() - began,
            )  # fmt: skip
            return Inspection(
                provenance=record,
                frame=self.prepared.frame,
                image=self.prepared.image,
                tokens=name_tokens(self.vit),
                reading=trace.reading[0].detach().float().cpu(),
                reads=self.vit.plain_readout.describe(),
                objects=names,
                found=objects is None,
                relations=related,
                dependence=depends,
                findings=self._judged(heatmap, objects, self._explained(trace)),
                explained=self._explained(trace),
                left_out=tuple(self.left_out),
                **inside,
            )

    def _whole(self, trace: Trace, first: Tensor | None) -> dict[str, Any]:
        """Measure all there is, from the attention that the trace kept.

        first  mask of the object that the focus is held against
        """
        agreement = head_agreement(trace)
        lens = logit_lens(trace)
        attention = [each.detach().float() for each in trace.attention]
        read = [torch.einsum("n,hnm->hm", trace.reading[0].detach().float(), each[0]) for each in attention]
        return {
            "readings": torch.stack(read).cpu(),
            "attention": torch.stack([each[0].mean(0) for each in attention]).cpu(),
            "numbers": head_table(trace, agreement, self.asked.ablation, self.left_out),
            "roles": head_roles(trace),
            "agreement": agreement,
            "focus": focus(trace, first),
            "lens": lens,
            "classes": self._classes(lens),
            "outliers": name_outliers(trace)[0],
        }

    def _rows(self, trace: Trace, images: Tensor, first: Tensor | None) -> dict[str, Any]:
        """Measure what needs no attention matrix as a whole."""
        vit = self.vit
        why = "as was asked for" if self.asked.chosen else "because keeping it takes over half of the free memory"
        self.left_out.append(
            f"Attention was read by rows and not kept, {why}. Left out are importance and silencing of heads, what they"
            " give to neighbours, their roles, evidence by block, attention between objects, the query of tokens and"
            " the flow map. Tokens of outlying norm were looked for in the last block alone."
        )
        readings = reading_attention(vit, images)
        trace.forwards += 2
        raw = trace.patches(readings)
        agreement = agreement_of(raw / raw.sum(-1, keepdim=True), vit.grid)
        maps = raw.mean(2).reshape(1, -1, *vit.grid)
        seen = track(maps, vit.patch, first)
        return {
            "readings": readings[0].cpu(),
            "attention": None,
            "numbers": head_table_by_rows(vit, images, agreement),
            "roles": None,
            "agreement": agreement,
            "focus": replace(seen, prefix_mass=1 - raw.sum(-1).mean(2).cpu()),
            "lens": None,
            "classes": (),
            "outliers": name_outliers(trace)[0],
        }

    def _classes(self, lens: LogitLens) -> tuple[tuple[str, ...], ...]:
        if lens.top is None:
            return ()
        return tuple(tuple(label_of(index, self.vit.labels) for index in each) for each in lens.top[0].tolist())

    def _map(self) -> Heatmap | None:
        found: Heatmap | None = self._tried(
            "The map of the default method", lambda: default_map(self.vit, self.prepared, self.target, self.asked.seed)
        )
        return found

    def _objects(self, objects: Objects | None, heatmap: Heatmap | None) -> tuple[tuple[str, ...], Tensor]:
        """Bring the objects to the model's input, or take the regions of the map for objects."""
        if objects is not None:
            names, masks, unseen = masks_of(objects, self.prepared.frame)
            self.left_out += unseen
            return names, masks
        return regions_of(heatmap, self.prepared.frame) if heatmap is not None else ((), torch.zeros(0))

    def _judged(self, heatmap: Heatmap | None, objects: Objects | None, class_name: str) -> tuple[Finding, ...]:
        """Hold the map against what is expected of its class."""
        if self.asked.priors is None or heatmap is None:
            return ()
        frame = self.prepared.frame
        regions = [(name, on_photo(name, each, frame)) for name, each in (objects or {}).items()]
        found = tuple(judge(heatmap.relevance, frame, self.asked.priors, class_name, regions))
        if not found:
            self.left_out.append(f"No expectation is about the class {class_name!r}.")
        self.left_out += _unknown_classes(self.vit, self.asked.priors)
        return found

    def _explained(self, trace: Trace) -> str:
        """Name the class that the score is of; of a contrast, the one that it is for. Empty for an embedding."""
        index = int(trace.target.plus[0])
        if index < 0:
            return ""
        return self.vit.labels[index] if self.vit.labels is not None else f"output {index}"

    def _related(self, trace: Trace, masks: Tensor) -> tuple[Relations | None, tuple[Dependence, ...]]:
        """Measure attention between objects, and what the score loses without each."""
        frame = self.prepared.frame
        shown = torch.from_numpy(shows_photo(frame, *pixel_centres(frame)))[None]  # padding is no background
        related = None if self.asked.by_rows else self._tried("Relations", lambda: relate(trace, [masks], shown)[0])
        if not self.asked.draws:
            return related, ()
        depends = self._tried(
            "Removals", lambda: tuple(dependence(trace, [masks], self.asked.draws, control="moved", shown=shown)[0])
        )
        return related, depends or ()

    def _tried(self, what: str, measure: Callable[[], Any]) -> Any:
        """Measure, or note why that is not to be had on this model."""
        try:
            return measure()
        except MethodNotApplicableError as problem:
            self.left_out.append(f"{what}: {problem.cause}")
            return None


def _unknown_classes(vit: Vit, priors: Priors) -> list[str]:
    """Say which expectations are about no class of the model: most likely a slip of the pen."""
    if vit.labels is None:
        return []
    found = []
    for prior in priors.priors:
        if not any(prior.about(label) for label in vit.labels):
            near = near_matches(prior.class_name, vit.labels)
            found.append(
                f"{prior.name!r} expects something of {prior.class_name!r}, no class of the model. {near}".strip()
            )
    return found
