"""Running one method, and comparing its map with what an oracle says."""

import numpy as np

from vitreous.methods._method import METHODS

TOLERANCE = 1e-9
"""Of the peak of a map, in float64."""


def case_name(case):
    name, parameters = case
    return f"{name}({', '.join(f'{key}={value}' for key, value in parameters.items())})"


def trace_map(vit, images, target, name, **parameters):
    method = METHODS[name]
    with vit.trace(images, target) as trace:
        return method.function(trace, **method.complete(parameters)).detach()


def assert_same(found, expected, tolerance=TOLERANCE):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def relative_difference(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()
