"""Local weight files: read without running any code in them, and matched tensor by tensor.

Only `.safetensors`, and `.pth`/`.pt`/`.bin`/`.ckpt` through PyTorch's restricted unpickler. There is no fallback to
unrestricted unpickling: a file that needs it is refused.
"""

import argparse
import pickle
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vitreous.core.errors import UnsafeWeightsError, WeightsError, WeightsMismatchError, near_matches

Convert = Callable[[dict[str, Tensor], nn.Module], Mapping[str, Tensor]]
Shape = tuple[int, ...]
Problems = tuple[list[str], list[str], list[tuple[str, Shape, Shape]]]
"""Missing names, unexpected names, and names with the (given, wanted) shapes that differ."""

_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_NESTED = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model_state_dict", "model")
"""Where checkpoints keep their tensors; of several, the averaged ones, which are the ones evaluated."""
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_CASTABLE = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_HEADS = {"head", "head_dist", "fc", "classifier", "cls_classifier", "distillation_classifier", "heads"}
SHOWN = 10


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file by name.

    Raises WeightsError if it cannot be read, UnsafeWeightsError if it holds anything but tensors and plain containers.
    """
    path = Path(path).expanduser()
    _check_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as problem:
        raise WeightsError(
            f"The weight file {path} cannot be read: {problem.strerror}.", "Check its permissions."
        ) from problem
    if path.suffix == ".safetensors":
        return _load_safetensors(path, start)
    if path.suffix in _ENDINGS:
        return _load_pickle(path, start)
    raise UnsafeWeightsError(
        f"The weight file {path.name} has the ending {path.suffix!r}, expected one of {', '.join(_ENDINGS)}.",
        "Give .safetensors, or .pth with tensors alone (torch.save(model.state_dict(), …)).",
    )


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise WeightsError(
            f"weights={str(path)!r} is a folder, expected a file.",
            "Name the weight file in it, or open the folder as the model: open_vit(FOLDER).",
        )
    if not path.is_file():
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = near_matches(path.name, [name for name in siblings if name.endswith(_ENDINGS)])
        raise WeightsError(
            f"The weight file {path} does not exist. {near}".strip(),
            "Give the path of a .safetensors or .pth file, or weights='random'.",
        )
    if path.stat().st_size == 0:
        raise WeightsError(f"The weight file {path.name} is empty (0 bytes).", "Download or write it again.")


def _load_safetensors(path: Path, start: bytes) -> dict[str, Tensor]:
    if _looks_like(start) == "pickle":
        raise WeightsError(f"{path.name} is a PyTorch file by its content.", "Rename it to end in .pth.")
    try:
        tensors = dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as problem:
        raise WeightsError(
            f"{path} is no valid safetensors file: {str(problem)[:200]}.",
            "Delete it, and download or write it again.",
        ) from problem
    return _tensors(tensors, path)


def _load_pickle(path: Path, start: bytes) -> dict[str, Tensor]:
    if _looks_like(start) == "safetensors":
        raise WeightsError(f"{path.name} is a safetensors file by its content.", "Rename it to end in .safetensors.")
    try:
        # Training scripts keep their arguments beside the tensors; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats that are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as problem:
        told = str(problem)
        if isinstance(problem, pickle.UnpicklingError) and _looks_like(start) != "pickle":
            raise WeightsError(
                f"{path.name} is no PyTorch file: it begins with {start[:8]!r}.", "Download it again."
            ) from problem
        if isinstance(problem, pickle.UnpicklingError) or "weights_only=True" in told:
            raise UnsafeWeightsError(
                f"{path.name} holds {_forbidden(path, told)}, and loading it could run code.",
                "Where you trust it, save it again with torch.save(model.state_dict(), …) or as safetensors.",
            ) from problem
        reason = next(iter(told.splitlines()), type(problem).__name__)[:200].rstrip(".")
        raise WeightsError(
            f"{path} cannot be read: {reason}.", "Delete it, and download or write it again."
        ) from problem
    return _tensors(content, path)


def _looks_like(start: bytes) -> str:
    """Tell a format by a file's first bytes: a length of eight bytes and JSON, a zip archive, or a bare pickle."""
    if start[8:9] == b"{":
        return "safetensors"
    return "pickle" if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")) else "unknown"


def _forbidden(path: Path, told: str) -> str:
    """Say what a pickle asks for besides tensors, found by reading it without running it."""
    for mark, name in (
        ("TorchScript", "a TorchScript program"),
        (".tar format", "pickles in the old .tar format"),
    ):
        if mark in told:
            return name
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError, EOFError, IndexError):
        names = []
    return f"objects other than tensors ({_first(names)})" if names else "objects other than tensors"


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the tensors in a checkpoint, which may keep them under a key such as 'state_dict', several deep."""
    for _ in range(4):  # not for ever: a pickle may contain itself
        if isinstance(content, Mapping):
            content = next((content[name] for name in _NESTED if isinstance(content.get(name), Mapping)), content)
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise WeightsError(
        f"{path.name} holds no tensors by name (found {type(content).__name__}).", "Save model.state_dict()."
    )


def apply_weights(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    origin: str,
    convert: Convert | None = None,
    fresh: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Load tensors into a model strictly, and say what had to be adapted. Nothing is loaded unless everything fits.

    convert  the library's own conversion of other formats and image sizes, used only if the tensors do not fit as
             they are
    fresh    modules that keep their random initialisation, such as a head for other classes

    Raises WeightsMismatchError listing the first missing, unexpected and differently shaped tensors (a classification
    head with another number of classes is explained as such), and WeightsError for NaN or infinity.
    """
    kept = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(fresh)} if fresh else {}
    wanted = {name: tensor for name, tensor in model.state_dict().items() if name not in kept}
    given, notes = unwrapped(tensors, wanted, origin)
    given = {name: tensor for name, tensor in given.items() if not (fresh and name.startswith(fresh))}
    problems = _problems(given, wanted)
    if any(problems) and convert is not None:
        converted = _converted(given, model, convert)
        if _count(_problems(converted, wanted)) < _count(problems):
            notes = (*notes, *_conversion_notes(given, converted, origin))
            given, problems = converted, _problems(converted, wanted)
    if any(problems):
        raise mismatch(*problems, origin)
    cast = check_numbers(given, wanted, origin)
    model.load_state_dict({**given, **kept}, strict=True)
    return (*notes, *cast)


def _count(problems: Problems) -> int:
    return len(problems[0]) + len(problems[1]) + len(problems[2])


def _problems(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Problems:
    shapes = [
        (name, tuple(given[name].shape), tuple(wanted[name].shape))
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    missing = [name for name in wanted if name not in given]
    return missing, [name for name in given if name not in wanted], shapes


def _converted(given: dict[str, Tensor], model: nn.Module, convert: Convert) -> dict[str, Tensor]:
    try:
        return dict(convert(dict(given), model))
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError, AssertionError):
        return given  # not a format that the library converts: the mismatch itself is the error to show


def _conversion_notes(given: dict[str, Tensor], converted: dict[str, Tensor], origin: str) -> tuple[str, ...]:
    resampled = [
        f"{name} from {tuple(given[name].shape)} to {tuple(tensor.shape)}"
        for name, tensor in converted.items()
        if name in given and given[name].numel() != tensor.numel()
    ]
    renamed = sorted(set(given) - set(converted))
    notes = []
    if resampled:
        notes.append(f"{origin}: made for another image size, resampled by the library: {_first(resampled)}.")
    if renamed:
        notes.append(f"{origin}: converted from another format by the library ({len(renamed)} names changed).")
    return tuple(notes)


def check_numbers(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor] | None = None, origin: str = "the weights"
) -> tuple[str, ...]:
    """Refuse quantised numbers, NaN and infinity, and say what will be cast. Raises WeightsError naming the tensor."""
    for name, tensor in given.items():
        target = wanted[name].dtype if wanted is not None else tensor.dtype
        if (target in _CASTABLE) != (tensor.dtype in _CASTABLE):
            raise WeightsMismatchError(
                f"{origin}: {name!r} holds {_short(tensor.dtype)}, and the model wants {_short(target)}.",
                "Give floating-point weights; quantised ones need the library that made them.",
            )
        if tensor.dtype not in _CASTABLE or name.endswith("mask"):
            continue  # a mask may well hold minus infinity
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise WeightsError(
                f"{origin}: {name!r} holds NaN or infinity ({bad} of {tensor.numel()} numbers).",
                "Train it again, or take an earlier checkpoint: every score would be NaN.",
            )
    changed = {
        (_short(given[name].dtype), _short(tensor.dtype))
        for name, tensor in (wanted or {}).items()
        if tensor.dtype in _CASTABLE and given[name].dtype != tensor.dtype
    }
    return tuple(f"{origin} holds {old} numbers; they were cast to the model's {new}." for old, new in sorted(changed))


def unwrapped(
    tensors: Mapping[str, Tensor], wanted: Iterable[str], origin: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Remove what a training wrapper put before every name, and leave out what lies beside the model.

    A prefix counts if all wanted names, or nearly all, are there behind it. Raises WeightsMismatchError where several
    do, as in a checkpoint of a student and a teacher.
    """
    given, names = dict(tensors), list(wanted)
    while not any(name in given for name in names):
        wrapper = next((wrapper for wrapper in _WRAPPERS if all(name.startswith(wrapper) for name in given)), None)
        if wrapper is None:
            break
        given = {name.removeprefix(wrapper): tensor for name, tensor in given.items()}
    if not names or any(name in given for name in names):
        return given, ()
    prefixes = {name.removesuffix(known) for known in names[:3] for name in given if name.endswith(f".{known}")}
    # A head may differ, so not every name is asked for.
    fitting = sorted(prefix for prefix in prefixes if sum(prefix + name in given for name in names) >= 0.8 * len(names))
    if not fitting:
        return given, ()
    if len(fitting) > 1:
        raise WeightsMismatchError(
            f"{origin} holds several models, under {' and '.join(map(repr, fitting))}.",
            "Save the one to explain alone.",
        )
    inside = {name.removeprefix(fitting[0]): tensor for name, tensor in given.items() if name.startswith(fitting[0])}
    beside = [name for name in given if not name.startswith(fitting[0])]
    left = (f"{origin}: {len(beside)} tensors outside {fitting[0]!r} were left out ({_first(beside)}).",)
    return inside, left if beside else ()


def mismatch(
    missing: list[str], unexpected: list[str], shapes: list[tuple[str, Shape, Shape]], origin: str
) -> WeightsMismatchError:
    """Describe tensors that do not fit a model; a head for other classes gets its own sentence and advice."""
    about_head = all(_is_head(name) for name in [*missing, *unexpected, *(shape[0] for shape in shapes)])
    if shapes and about_head and not missing and not unexpected:
        name, given, expected = shapes[0]
        return WeightsMismatchError(
            f"{origin} has a head of {given[0]} classes ({name}), and the model was built with {expected[0]}.",
            f"Open it with num_classes={given[0]}.",
        )
    fix = "Open the architecture that these weights were trained with."
    if about_head and missing and not unexpected and not shapes:
        fix = "These weights have no head: open them with num_classes=0 to explain the embedding."
    if about_head and unexpected and not missing and not shapes:
        fix = "These weights have a head: open them with num_classes set to its classes."
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({_first(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} unexpected ({_first(unexpected)})")
    if shapes:
        listed = [f"{name}: {given} instead of {expected}" for name, given, expected in shapes]
        parts.append(f"{len(shapes)} of another shape ({_first(listed)})")
    return WeightsMismatchError(f"{origin} does not fit the model: {'; '.join(parts)}. Nothing was loaded.", fix)


def _is_head(name: str) -> bool:
    parts = name.split(".")
    return parts[-1] in {"weight", "bias"} and bool(_HEADS & set(parts[:-1])) and "blocks" not in parts


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
