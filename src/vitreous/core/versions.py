"""Versions: of this package, Python, and the libraries whose change can change a number."""

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from vitreous._version import __version__

LIBRARIES = (
    "torch",
    "timm",
    "transformers",
    "torchvision",
    "open_clip_torch",
    "pillow",
    "numpy",
    "scipy",
    "scikit-image",
)


@cache
def versions_in_use() -> Mapping[str, str]:
    """Give the version of each library that is installed, by its name on the package index.

    Looked up once: it reads the files of each installed package, which for a batch took a tenth of a forward pass.
    """
    found = {"vitreous": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
