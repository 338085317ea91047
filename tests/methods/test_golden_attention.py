"""Rollout without the first block on a real DeiT-tiny, against the map of the official implementation."""

import pytest

from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

PREFIXES = {"rollout_start1"}
TOLERANCE = 1e-5
"""Of the peak, by the README of the golden maps."""


@pytest.fixture(scope="module")
def maps(deit, golden):
    with deit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        run = METHODS["rollout"].function
        return {first: run(trace, first=first).detach().numpy() for first in (0, 1)}


def test_rollout_from_the_second_block(maps, golden):
    expected = golden.expected("rollout_start1", class_free=True)
    for question, found, official in zip(golden.questions, maps[1], expected, strict=True):
        assert relative_difference(found, official) < TOLERANCE, question


def test_the_first_block_matters(maps, golden):
    for found, official in zip(maps[0], golden.expected("rollout_start1", class_free=True), strict=True):
        assert relative_difference(found, official) > 1e-2
