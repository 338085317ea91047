"""Truth: what is known about a sample, brought from its photograph to the pixels of the model's input."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import map_coordinates
from torch import Tensor

from vitreous._prepare import Prepared
from vitreous.core.errors import TargetError
from vitreous.core.fit import photo_to_input
from vitreous.core.frame import Frame
from vitreous.core.images import read_photo
from vitreous.core.on_input import box_on_input, pixel_centres, sampled, shows_photo
from vitreous.core.target import find_label
from vitreous.metrics._case import HumanTruth, SceneTruth, Truth
from vitreous.vit.vit import Vit
from vitreous.worlds.rendered.load import SceneSample
from vitreous.worlds.sample import Sample, Samples


def truth_of(vit: Vit, samples: Samples, sample: Sample, prepared: Prepared) -> Truth:
    """Give what is known about one sample on the pixels of the model's input.

    A pixel of the input is inside a mask if its centre is; nothing is averaged. Raises AnnotationError for a mask or a
    human map that cannot be read.
    """
    frame = prepared.frame
    down, across = pixel_centres(frame)
    void = ~shows_photo(frame, down, across)
    mask = sample.mask()
    if mask is not None:
        void |= sampled(mask.void, down, across)
    scene = sample if isinstance(sample, SceneSample) else None
    return Truth(
        label=class_of(vit, samples, sample),
        mask=None if mask is None else torch.from_numpy(sampled(mask.inside, down, across) & ~void),
        void=torch.from_numpy(void),
        boxes=tuple(box for region in sample.regions if region.box for box in box_on_input(region.box, frame)),
        human=tuple(HumanTruth(each.name, _spread(each.read(), frame, down, across)) for each in sample.human),
        scene=None if scene is None else partial(_scene_truth, vit, scene, frame),
        stressed=None if scene is None else partial(_under_stress, vit, scene, frame),
    )


def class_of(vit: Vit, samples: Samples, sample: Sample) -> int | None:
    """Find a sample's class among the model's outputs, by its name, or by its number where both count alike.

    By name if the model has names and one of them is the sample's. By number if the data set's classes are a standard
    list and the model has as many outputs as it needs, or if the model has as many outputs as the data set has classes
    and no names of its own. None if neither says: a guess would be counted as a mistake of the model.
    """
    if sample.label is not None and vit.labels is not None:
        try:
            return find_label(sample.label, vit.labels)
        except TargetError:
            pass  # ImageNet has two cranes: the number may still tell them apart
    alike = samples.labels is None or (vit.labels is None and len(samples.labels) == vit.outputs)
    return sample.index if alike and sample.index is not None and sample.index < vit.outputs else None


def _spread(values: np.ndarray, frame: Frame, down: np.ndarray, across: np.ndarray) -> Float[Tensor, "H W"]:
    """Interpolate a map whose grid covers the whole photograph, by straight lines between the centres of its cells."""
    rows = down / frame.photo_size[0] * values.shape[0] - 0.5
    columns = across / frame.photo_size[1] * values.shape[1] - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    return torch.from_numpy(map_coordinates(values.astype(np.float64), places, order=1, mode="nearest"))


def _scene_truth(vit: Vit, sample: SceneSample, frame: Frame) -> SceneTruth:
    """Render, or load, the scene without each of its things, and give it as the model sees it."""
    down, across = pixel_centres(frame)
    removed = [_as_input(vit, removal.image, frame) for removal in sample.removals()]
    coverage = [sampled(sample.coverage(thing), down, across) for thing in range(len(sample.things))]
    names = tuple(thing.shape for thing in sample.things)
    return SceneTruth(torch.stack(removed), torch.from_numpy(np.stack(coverage)), names)


def _under_stress(vit: Vit, sample: SceneSample, frame: Frame, axis: str, level: int) -> Float[Tensor, "3 H W"]:
    """Render the scene under a stress axis, of the size of its picture."""
    from vitreous.worlds.rendered.render import as_picture, render  # noqa: PLC0415  (an optional library)
    from vitreous.worlds.rendered.stress import stress  # noqa: PLC0415

    changed = render(stress(sample.scene, axis, level), frame.photo_size[0], finer=1)
    return _as_input(vit, as_picture(changed), frame)


def _as_input(vit: Vit, picture: Image.Image, frame: Frame) -> Float[Tensor, "3 H W"]:
    return photo_to_input(read_photo(picture), frame, vit.preprocessing.interpolation)
