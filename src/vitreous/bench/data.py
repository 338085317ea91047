"""Data sets named by text, for command lines and configurations."""

import inspect
from collections.abc import Callable
from typing import Any

from vitreous import worlds
from vitreous.core.calls import read_call
from vitreous.core.errors import InputError, UnknownNameError, near_matches
from vitreous.worlds.sample import Samples

LOADERS = (
    "coco", "folder", "human_maps", "imagenet", "manifest", "masks", "parquet", "pets", "remote", "scenes",
    "shared", "sod", "voc", "webdataset",
)  # fmt: skip


def open_data(text: str) -> Samples:
    """Load a data set: a loader of `vt.worlds`, a colon and its folder or file; or with all parameters in brackets.

        scenes                                    the scenes of the package
        sod:photographs/sod                       the first parameter of the loader
        masks(images='photos', masks='outlines')  any of them

    Raises UnknownNameError for another loader, InputError for parameters that it does not have, and what the loader
    raises.
    """
    name, colon, path = text.partition(":")
    if colon and "(" not in name:
        load = _loader(name)
        return _call(load, {next(iter(inspect.signature(load).parameters)): path})
    name, given = read_call(text, "data")
    return _call(_loader(name), given)


def _loader(name: str) -> Callable[..., Samples]:
    if name not in LOADERS:
        raise UnknownNameError(
            f"There is no data set loader {name!r}. {near_matches(name, LOADERS)}".strip(),
            f"Write one of {', '.join(LOADERS)}, a colon and a path: folder:photographs.",
        )
    found: Callable[..., Samples] = getattr(worlds, name)
    return found


def _call(load: Callable[..., Samples], given: dict[str, Any]) -> Samples:
    parameters = inspect.signature(load).parameters
    unknown = [name for name in given if name not in parameters]
    required = [name for name, each in parameters.items() if each.default is inspect.Parameter.empty]
    missing = [name for name in required if name not in given]
    if unknown or missing:
        raise InputError(
            f"The loader {load.__name__!r} has no parameter {unknown[0]!r}."
            if unknown
            else f"The loader {load.__name__!r} needs {', '.join(missing)}.",
            f"It takes {', '.join(parameters)}.",
        )
    return load(**given)
