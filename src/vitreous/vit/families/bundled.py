"""Models trained by this project that come with the package: they need neither network nor hub."""

from pathlib import Path

from safetensors.torch import load_file

from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.bundled.architecture import CLASSES, SIDE, build_scenes_vit
from vitreous.vit.families import Built, Request
from vitreous.vit.weights import apply_weights, load_weights

FOLDER = Path(__file__).parents[1] / "bundled"
NAMES = ("scenes", "scenes-shortcut")


def build(request: Request) -> Built:
    """Build `bundled:scenes` or `bundled:scenes-shortcut`. Raises UnknownNameError, InputError or a WeightsError.

    The weights are stored in half precision and computed with in single.
    """
    if request.name not in NAMES:
        raise UnknownNameError(
            f"No model {request.name!r} comes with the package. {near_matches(request.name, NAMES)}".strip(),
            f"Use one of {', '.join(f'bundled:{name}' for name in NAMES)}.",
        )
    if request.num_classes is not None or request.image_size not in {None, (SIDE, SIDE)}:
        raise InputError(
            f"bundled:{request.name} has {len(CLASSES)} classes and takes {SIDE} x {SIDE} pixels.",
            "Leave out num_classes and image_size.",
        )
    model = build_scenes_vit()
    notes: tuple[str, ...] = ()
    if request.weights is None:
        stored = load_file(FOLDER / f"{request.name}.safetensors")
        model.load_state_dict(stored)  # copied into tensors of single precision
    elif request.file is not None:
        notes = apply_weights(model, load_weights(request.file), Path(request.file).name)
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(size=(SIDE, SIDE), mean=half, std=half, crop_share=1.0)
    source = request.source(f"vitreous bundled {request.name}")
    return Built(model.eval(), preprocessing, CLASSES, source, warnings=notes)
