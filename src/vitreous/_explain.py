"""Explaining images: photographs in, heatmaps out. One trace serves all methods of a batch.

The way of an image: it is read and checked (`core.images`), given its geometry (`core.frame`) and resampled
to the model's size (`core.fit`); a batch of images is traced once (`vit.trace`); every method reads that
trace (`methods`); each map leaves with its geometry and its record as a `Heatmap`.

`explain` and `compare` stop at the first error, `explain_each` hands errors over in the place of results.
All three run the same code, so their maps are the same. What the one pass has to keep for all methods is
planned in `_plan`.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from vitreous._plan import (
    Methods,
    Planned,
    Targets,
    held_by,
    joint_capture,
    one_target_each,
    plan_methods,
    relevance_of,
)
from vitreous._prepare import Prepared, prepare
from vitreous._record import top_predictions, write_record
from vitreous.core.defaults import DEFAULT_METHOD
from vitreous.core.errors import InputError, VitreousError
from vitreous.core.frame import Fit
from vitreous.core.heatmap import Heatmap, PhotoSource
from vitreous.core.images import Fetched, Photo
from vitreous.core.target import Target, check_targets
from vitreous.methods._method import METHODS
from vitreous.vit.ambient import exact
from vitreous.vit.memory import batch_that_fits
from vitreous.vit.passes import Capture
from vitreous.vit.vit import Vit, check_form

MOST_PER_BATCH = 8
Sources: TypeAlias = PhotoSource | Sequence[PhotoSource] | Tensor


def explain(
    vit: Vit,
    images: Sources,
    method: str = DEFAULT_METHOD,
    target: Targets = None,
    fit: Fit = "crop",
    *,
    batch_size: int | None = None,
    seed: int = 0,
    **parameters: Any,
) -> list[Heatmap]:
    """Explain what the model predicts for each image, by one method.

    vit         an opened model, see `open_vit`
    images      paths, PIL images, or a tensor "b 3 H W" in [0, 1] of the model's size, which is used as it
                is. A single path or PIL image counts as a list of one
    method      a name from `list_methods`; its own parameters follow by name. The default is the most faithful of those
                that take at most three passes of the model, see docs/which_method.md
    target      None for the predicted class, an index, a class name, a Contrast, or a list with one for
                each image; "embedding" for the whole output of a model without classes
    fit         how a photograph becomes the model's input: "crop", "squash" or "pad", see `frame_photo`.
                Tensors have the size already, and ignore it
    batch_size  images traced together; if left out, at most 8 and as many as half of the free memory holds.
                The maps do not depend on it, beyond rounding
    seed        master seed of methods that draw random numbers; what an image gets depends on this and on
                itself alone
    parameters  parameters of the method; docs/methods.md lists them

    Gives a list with one `Heatmap` for each image, in order. Relevance is raw: float32, (gh, gw) for patch
    methods and (H, W) of the model input for pixel methods, in the unit that the heatmap states, as the
    method defines it and not scaled.

    Every image is read and checked before anything is computed, and the first error ends the call; see
    `explain_each` to go on after a bad file. Raises InputError for arguments that do not fit together,
    ImageError for a photograph, TargetError for a target that the model does not have, UnknownNameError for
    an unknown method, MethodNotApplicableError, MemoryEstimateError if a single image needs more memory
    than is free, and NonFiniteError for NaN or infinity.

    >>> import vitreous as vt
    >>> vit = vt.open_vit("timm:deit_tiny_patch16_224", "random")
    >>> (heatmap,) = vt.explain(vit, "cat.jpg", "rollout", residual=0.3)
    >>> heatmap.relevance.shape, heatmap.unit
    ((14, 14), 'attention mass')
    """
    found = compare(vit, _as_list(images), {method: parameters}, target, fit, batch_size=batch_size, seed=seed)
    return [maps[method] for maps in found]


def compare(
    vit: Vit,
    images: Sources,
    methods: Methods | None = None,
    target: Targets = None,
    fit: Fit = "crop",
    *,
    batch_size: int | None = None,
    seed: int = 0,
) -> Any:
    """Explain images by several methods that share one trace: one forward pass, and the fewest backward passes.

    images   as in `explain`
    methods  names, or a mapping from names to parameters; None takes every method that applies to the model and
             lives on the shared pass: not those that run the model many times, and no controls

    Gives a dict from method to heatmap for a single image, or a list of such dicts for a sequence or
    tensor, each in the order of `methods` (by name for None). `Provenance.seconds`, `forwards` and
    `backwards` are those of the whole trace: they are shared by all maps of a batch, not to be added up.
    Other arguments and errors as in `explain`.

    >>> import vitreous as vt
    >>> vit = vt.open_vit("timm:deit_tiny_patch16_224", "random")
    >>> maps = vt.compare(vit, "cat.jpg", {"rollout": {"fusion": "max"}, "gradcam": {}})
    >>> sorted(maps)
    ['gradcam', 'rollout']
    """
    single = not isinstance(images, Tensor | list | tuple)
    sources = _as_list(images)
    found = []
    for result in explain_each(vit, sources, methods, target, fit, batch_size=batch_size, seed=seed, check_first=True):
        if isinstance(result, VitreousError):
            raise result
        found.append(result)
    return found[0] if single else found


def explain_each(
    vit: Vit,
    images: Sequence[PhotoSource] | Tensor,
    methods: Methods | None = None,
    target: Targets = None,
    fit: Fit = "crop",
    *,
    batch_size: int | None = None,
    seed: int = 0,
    check_first: bool = False,
) -> Iterator[dict[str, Heatmap] | VitreousError]:
    """Explain images one batch at a time, giving each image's heatmaps, or the error that this image met, in order.

    A bad file costs its own result and nothing else; where a batch fails as a whole, its images are traced
    one by one to find the one at fault. Unless `check_first` is given, only one batch is held in memory,
    however long the list.

    images       a list of paths, PIL images or photographs, or a tensor "b 3 H W"; a single image has to be
                 put in a list
    check_first  read all images before the first is computed. If one has an error, the first error
                 is the only thing given, and nothing is computed

    Other arguments as in `compare`. This is a generator: nothing happens, and no argument is checked,
    before the first result is asked for. What concerns all images alike is raised then: InputError for no
    images or methods, a tensor of another shape or a batch_size below 1, TargetError, UnknownNameError,
    MethodNotApplicableError and MemoryEstimateError.

        for path, result in zip(paths, vt.explain_each(vit, paths, ["libragrad"]), strict=True):
            if isinstance(result, vt.VitreousError):
                print(path, result)
            else:
                result["libragrad"].save(path.with_suffix(".vitreous"))
    """
    plan = plan_methods(vit, methods)
    if isinstance(images, Tensor):
        check_form(images, vit.preprocessing.size)
    count = len(images)
    if count == 0:
        raise InputError("images is empty.", "Give at least one image.")
    targets = one_target_each(target, count)
    check_targets(targets, vit.outputs, vit.labels, vit.has_classes)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size={batch_size} is no number of images.", "Give 1 or more, or leave it out.")
    capture = joint_capture(vit, plan)
    size = batch_size or batch_that_fits(vit, capture, MOST_PER_BATCH, held=held_by(vit, plan))
    early = [prepare(vit, images, index, fit) for index in range(count)] if check_first else None
    problems = [item for item in early or [] if isinstance(item, VitreousError)]
    if problems:
        yield problems[0]
        return
    for start in range(0, count, size):
        indices = range(start, min(start + size, count))
        prepared = [early[index] if early is not None else prepare(vit, images, index, fit) for index in indices]
        good = [item for item in prepared if isinstance(item, Prepared)]
        wanted = [targets[index] for index, item in zip(indices, prepared, strict=True) if isinstance(item, Prepared)]
        maps = iter(_explain_batch(vit, good, plan, wanted, capture, seed))
        for item in prepared:
            yield item if isinstance(item, VitreousError) else next(maps)


def list_methods(pattern: str = "*") -> list[str]:
    """List the names of the explanation methods that match a shell pattern such as '*grad*', in alphabetical order.

    An empty list if none matches. `vitreous list` prints the same with the facts of each.

    >>> list_methods("*attention")
    ['generic_attention', 'mean_attention', 'raw_attention']
    """
    return METHODS.names(pattern)


def _as_list(images: Sources) -> Sequence[PhotoSource] | Tensor:
    """Put a single image into a list, and leave lists and tensors as they are."""
    if isinstance(images, str | Path | Image.Image | Fetched | Photo):
        return [images]
    return images


def _explain_batch(
    vit: Vit,
    prepared: list[Prepared],
    plan: list[Planned],
    targets: list[Target],
    capture: Capture,
    seed: int,
) -> list[dict[str, Heatmap] | VitreousError]:
    """Trace a batch; if it fails, trace its images alone, so that the error is that of the image at fault.

    A batch of one that fails gives its error as its result.
    """
    if not prepared:
        return []
    try:
        return list(_run_batch(vit, prepared, plan, targets, capture, seed))
    except VitreousError as problem:
        if len(prepared) == 1:
            return [problem]
    # One image of the batch met an error: alone, the others do not.
    alone = zip(prepared, targets, strict=True)
    return [result for item, target in alone for result in _explain_batch(vit, [item], plan, [target], capture, seed)]


def _run_batch(
    vit: Vit,
    prepared: list[Prepared],
    plan: list[Planned],
    targets: list[Target],
    capture: Capture,
    seed: int,
) -> list[dict[str, Heatmap]]:
    """Trace the images once, ask every method, and wrap each map with its geometry and record.

    The clock starts before the pass and stops after the last method: reading the files is not counted, and
    `seconds` is the time of the whole batch. The graph is freed when the trace ends, so only numbers leave
    here.
    """
    began = time.perf_counter()
    images = torch.stack([item.image for item in prepared])
    # An autocast of the caller's would change the methods' own arithmetic, and the record would not tell.
    with exact(vit.device), vit.trace(images, targets, capture=capture, seed=seed) as trace:
        found = {item.method.name: relevance_of(item, trace) for item in plan}
        seconds = time.perf_counter() - began
        record = partial(write_record, vit, trace, seed=seed, seconds=seconds)
        predictions = top_predictions(vit, trace)
        return [
            {
                item.method.name: Heatmap(
                    relevance=found[item.method.name].relevance[index],
                    unit=item.method.unit,
                    signed=item.method.is_signed(item.parameters),
                    frame=image.frame,
                    provenance=record(
                        item.method,
                        item.parameters,
                        image,
                        index,
                        predictions[index],
                        found[item.method.name].notes[index],
                    ),
                    photo=image.photo,
                )
                for item in plan
            }
            for index, image in enumerate(prepared)
        ]
