"""Vitreous shows what a Vision Transformer looked at, proves it, and records how the picture was made.

Names are loaded on first use, so that the command line can answer without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitreous._version import __version__

if TYPE_CHECKING:
    from vitreous._explain import compare, explain, explain_each, list_methods
    from vitreous.core.errors import VitreousError
    from vitreous.core.frame import Frame
    from vitreous.core.heatmap import Heatmap
    from vitreous.core.preprocessing import Preprocessing
    from vitreous.core.provenance import Provenance
    from vitreous.core.target import Contrast
    from vitreous._doctor import doctor
    from vitreous.vit.open import open_vit
    from vitreous.vit.passes import Capture
    from vitreous.vit.trace import Trace
    from vitreous.vit.vit import Vit

_HOME = {
    "Capture": "vitreous.vit.passes",
    "Contrast": "vitreous.core.target",
    "Frame": "vitreous.core.frame",
    "Heatmap": "vitreous.core.heatmap",
    "Preprocessing": "vitreous.core.preprocessing",
    "Provenance": "vitreous.core.provenance",
    "Trace": "vitreous.vit.trace",
    "Vit": "vitreous.vit.vit",
    "VitreousError": "vitreous.core.errors",
    "compare": "vitreous._explain",
    "doctor": "vitreous._doctor",
    "explain": "vitreous._explain",
    "explain_each": "vitreous._explain",
    "list_methods": "vitreous._explain",
    "open_vit": "vitreous.vit.open",
}

__all__ = [
    "Capture",
    "Contrast",
    "Frame",
    "Heatmap",
    "Preprocessing",
    "Provenance",
    "Trace",
    "Vit",
    "VitreousError",
    "__version__",
    "compare",
    "doctor",
    "explain",
    "explain_each",
    "list_methods",
    "open_vit",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'vitreous' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
