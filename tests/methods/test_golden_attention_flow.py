"""Attention flow of a real DeiT-tiny, against an independent exact solver on the official graph."""

import pytest

from oracles.compare import relative_difference
from vitreous.methods._method import METHODS

PREFIXES = {"attention_flow"}
PHOTOS = 3


@pytest.fixture(scope="module")
def explained(deit, golden):
    """The maps of the first photographs, and what their records say."""
    chosen = {photo: place for place, (photo, _) in reversed(list(enumerate(golden.questions)))}
    places = sorted(chosen.values())[:PHOTOS]
    with deit.trace(golden.images()[places], None) as trace:
        found = METHODS["attention_flow"].function(trace).detach().numpy()
        return [golden.questions[place][0] for place in places], found, [notes[0] for notes in trace.notes]


def test_official_map(explained, golden):
    photos, found, _ = explained
    assert len(photos) == PHOTOS
    for photo, relevance in zip(photos, found, strict=True):
        assert relative_difference(relevance, golden.arrays[f"attention_flow/{photo}/any"]) < 3e-7, photo


def test_the_record_says_how_little_of_the_depth_is_in_the_map(explained):
    for note in explained[2]:
        assert 193 <= int(note.split()[0]) <= 196
        assert note.endswith("; 0 patches took the solver.")
