"""Vitreous shows what a Vision Transformer looked at, proves it, and records how the picture was made.

Names are loaded on first use, so that the command line can answer without loading torch.

This file holds the public names and nothing else; each is documented where it is defined.

open_vit                    opens a model, checks that it can be watched, and gives a `Vit`
explain                     one method on a list of images: a list of `Heatmap`
compare                     several methods on the same images, sharing one trace: dicts from method to
                            `Heatmap`
explain_each                the same one batch at a time, with errors as results, for long lists
list_methods                the names that `method` and `methods` accept
inspect                     heads, blocks, tokens and objects of each image, as numbers and as a page: an `Inspection`
inspect_each                the same one image at a time, with errors as results
analysis                    the questions that `inspect` asks, one by one, and those about data sets
prepare_images              photographs as the tensor that a model takes, for `Vit.trace` and `analysis`
randomised                  a copy of a model with random weights, to see whether a map depends on what was learned
evaluate                    methods, metrics and samples in, rows with their costs out: an `Evaluation`
list_metrics                the names that `metrics` accepts
doctor                      what was found out about a model, and which methods apply to it
Heatmap, Frame, Provenance  the raw map, where it lies on the photograph, and how it was made
Evaluation                  rows of an evaluation, and what they were made of
Contrast                    a target that asks why one class rather than another
Preprocessing               what a model expects of its input, for modules that do not say it themselves
Vit, Trace, Capture         an opened model, one watched pass of it, and what that pass is to keep
VitreousError               the base of every error raised on purpose; `docs/errors.md` explains their codes
worlds                      data sets: rendered scenes with known truth, and loaders for photographs

The shortest way from a photograph to a picture and a file that can be read back:

    import vitreous as vt

    vit = vt.open_vit("timm:deit_tiny_patch16_224")
    (heatmap,) = vt.explain(vit, "cat.jpg")
    heatmap.overlay().show()
    heatmap.save("cat.vitreous")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitreous._version import __version__

if TYPE_CHECKING:
    from vitreous import analysis, worlds
    from vitreous._doctor import doctor
    from vitreous._explain import compare, explain, explain_each, list_methods
    from vitreous._inspect import inspect, inspect_each
    from vitreous._inspection import Inspection
    from vitreous._prepare import prepare_images
    from vitreous.bench.evaluate import Evaluation, evaluate, list_metrics
    from vitreous.core.errors import VitreousError
    from vitreous.core.frame import Frame
    from vitreous.core.heatmap import Heatmap
    from vitreous.core.preprocessing import Preprocessing
    from vitreous.core.provenance import Provenance
    from vitreous.core.target import Contrast
    from vitreous.vit.open import open_vit
    from vitreous.vit.passes import Capture
    from vitreous.vit.randomise import randomised
    from vitreous.vit.trace import Trace
    from vitreous.vit.vit import Vit

_HOME = {
    "Capture": "vitreous.vit.passes",
    "Contrast": "vitreous.core.target",
    "Evaluation": "vitreous.bench.evaluate",
    "Frame": "vitreous.core.frame",
    "Heatmap": "vitreous.core.heatmap",
    "Inspection": "vitreous._inspection",
    "Preprocessing": "vitreous.core.preprocessing",
    "Provenance": "vitreous.core.provenance",
    "Trace": "vitreous.vit.trace",
    "Vit": "vitreous.vit.vit",
    "VitreousError": "vitreous.core.errors",
    "compare": "vitreous._explain",
    "doctor": "vitreous._doctor",
    "evaluate": "vitreous.bench.evaluate",
    "explain": "vitreous._explain",
    "explain_each": "vitreous._explain",
    "inspect": "vitreous._inspect",
    "inspect_each": "vitreous._inspect",
    "list_methods": "vitreous._explain",
    "list_metrics": "vitreous.bench.evaluate",
    "open_vit": "vitreous.vit.open",
    "prepare_images": "vitreous._prepare",
    "randomised": "vitreous.vit.randomise",
}

__all__ = [
    "Capture",
    "Contrast",
    "Evaluation",
    "Frame",
    "Heatmap",
    "Inspection",
    "Preprocessing",
    "Provenance",
    "Trace",
    "Vit",
    "VitreousError",
    "__version__",
    "analysis",
    "compare",
    "doctor",
    "evaluate",
    "explain",
    "explain_each",
    "inspect",
    "inspect_each",
    "list_methods",
    "list_metrics",
    "open_vit",
    "prepare_images",
    "randomised",
    "worlds",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use (PEP 562) and keep it, so that this runs once for each name.

    Raises AttributeError for any other name, as a module without this function would.
    """
    if name in {"analysis", "worlds"}:
        return import_module(f"vitreous.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'vitreous' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names alone, so that completion in a shell offers what is meant to be used."""
    return __all__
