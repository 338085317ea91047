"""Every error Vitreous raises on purpose, as one tree.

    VitreousError
    ├── ImageError            E100  a photograph cannot be used
    │   ├── ImageNotFoundError    E101
    │   ├── ImageFormatError      E102
    │   ├── ImageDamagedError     E103
    │   └── ImageTooLargeError    E104
    ├── InputError            E120  a tensor or an argument cannot be used
    ├── ModelError            E200  a model cannot be opened or run
    │   ├── UnsupportedModelError E201
    │   ├── ModelModeError        E202
    │   ├── ModelOutputError      E203
    │   ├── NonFiniteError        E204
    │   ├── MemoryEstimateError   E205
    │   └── MethodNotApplicableError E206
    ├── WeightsError          E300  weights cannot be loaded
    │   ├── UnsafeWeightsError    E301
    │   ├── WeightsMismatchError  E302
    │   └── HubError              E303
    ├── TargetError           E400  the question asked of the model makes no sense
    ├── UnknownNameError      E500  no method, metric or family of that name
    ├── OutputError           E600  a result cannot be written or read back
    │   ├── OutputExistsError     E601
    │   └── RunFolderError        E602
    ├── MissingExtraError     E700  an optional library is not installed
    ├── DataError             E800  a data set cannot be read
    │   └── AnnotationError       E801
    └── WorkerError           E900  the worker processes of an evaluation cannot do it

An error names the argument, the value it got, the value it expected and the next step. `docs/errors.md` has one
section for each code.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class VitreousError(Exception):
    """Base of all errors of this package: one sentence of cause, one sentence of fix, one code."""

    code: ClassVar[str] = "VX-E000"

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause, fix)
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        """Give code, cause and fix on one line, as the command line prints it."""
        return f"{self.code}: {self.cause} {self.fix}"


class ImageError(VitreousError):
    """A photograph cannot be used."""

    code = "VX-E100"


class ImageNotFoundError(ImageError):
    """The path names nothing, or nothing that is a readable ordinary file."""

    code = "VX-E101"


class ImageFormatError(ImageError):
    """The file is not one of the image formats that are read."""

    code = "VX-E102"


class ImageDamagedError(ImageError):
    """The file is empty, cut short, or changed while it was being read."""

    code = "VX-E103"


class ImageTooLargeError(ImageError):
    """The file or the picture it promises is larger than the limits."""

    code = "VX-E104"


class InputError(VitreousError):
    """A tensor or an argument cannot be used."""

    code = "VX-E120"


class ModelError(VitreousError):
    """A model cannot be opened or run."""

    code = "VX-E200"


class UnsupportedModelError(ModelError):
    """The model failed a named check of `open_vit`: it is not a plain Vision Transformer as far as can be seen."""

    code = "VX-E201"


class ModelModeError(ModelError):
    """The model is in a state in which its output is random or cannot be observed."""

    code = "VX-E202"


class ModelOutputError(ModelError):
    """The model returns something that is not one score per class."""

    code = "VX-E203"


class NonFiniteError(ModelError):
    """NaN or infinity came out of the model or of a method."""

    code = "VX-E204"


class MemoryEstimateError(ModelError):
    """One image alone needs more memory than there is."""

    code = "VX-E205"


class MethodNotApplicableError(ModelError):
    """The method needs something that this model does not have."""

    code = "VX-E206"


class WeightsError(VitreousError):
    """Weights cannot be loaded."""

    code = "VX-E300"


class UnsafeWeightsError(WeightsError):
    """The file could run code when loaded, or is in a format that cannot be checked."""

    code = "VX-E301"


class WeightsMismatchError(WeightsError):
    """The tensors in the file are not the ones that the model has."""

    code = "VX-E302"


class HubError(WeightsError):
    """A model hub did not deliver the model."""

    code = "VX-E303"


class TargetError(VitreousError):
    """The class or contrast asked for does not exist in this model."""

    code = "VX-E400"


class UnknownNameError(VitreousError):
    """There is no method, metric, model family or option of that name."""

    code = "VX-E500"


class OutputError(VitreousError):
    """A result cannot be written, or a stored result cannot be read back."""

    code = "VX-E600"


class OutputExistsError(OutputError):
    """The file exists already; nothing is overwritten unless asked."""

    code = "VX-E601"


class RunFolderError(OutputError):
    """The folder of an evaluation holds another one, is being written, or is damaged."""

    code = "VX-E602"


class DataError(VitreousError):
    """A data set cannot be read: files are missing, or its list has another form than its loader expects."""

    code = "VX-E800"


class AnnotationError(DataError):
    """One annotation contradicts its image: a mask of another size, a box outside, an unknown class."""

    code = "VX-E801"


class WorkerError(VitreousError):
    """Worker processes cannot do an evaluation: it cannot be sent to them, would differ there, or ends them."""

    code = "VX-E900"


class MissingExtraError(VitreousError):
    """An optional library is needed and not installed."""

    code = "VX-E700"

    @classmethod
    def of(cls, library: str, extra: str, purpose: str) -> "MissingExtraError":
        """Build the error for `library`, which comes with `pip install vitreous[extra]`.

        `purpose` begins the sentence: what the user asked for that needs the library.
        """
        return cls(
            f"{purpose} needs the library {library!r}, which is not installed.",
            f"Install it with: pip install 'vitreous[{extra}]'.",
        )


def near_matches(name: str, known: Iterable[str], most: int = 3) -> str:
    """Say which known names resemble `name`, as a clause for an error message (empty if none does).

    At most `most` names, the most similar first; similar means a ratio of at least 0.5 in the sense of
    `difflib`.

    >>> near_matches("rolout", ["agcam", "rollout"])
    "Did you mean 'rollout'?"
    """
    matches = difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)
    return f"Did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""
