"""What `vitreous.worlds` offers, and what it costs to ask."""

import doctest
import inspect
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vitreous import worlds
from vitreous.core.errors import AnnotationError
from vitreous.worlds import Mask, Region, Sample, Samples, _annotation


def test_names_are_sorted_documented_and_there():
    assert worlds.__all__ == sorted(worlds.__all__)
    assert dir(worlds) == worlds.__all__
    for name in worlds.__all__:
        assert inspect.getdoc(getattr(worlds, name)), name
        if name.islower():
            assert f"\n{name} " in worlds.__doc__
    with pytest.raises(AttributeError, match="no attribute 'cocoa'"):
        _ = worlds.cocoa


def test_importing_a_module_does_not_hide_its_function():
    code = (
        "import importlib; from vitreous import worlds\n"
        "for name in worlds.__all__:\n"
        "    if name.islower() and name not in {'human_maps', 'scenes'}: importlib.import_module('vitreous.worlds.' + name)\n"
        "print([name for name in worlds.__all__ if not callable(getattr(worlds, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loaders_do_not_load_what_they_may_never_need():
    heavy = "{'torch', 'pyarrow', 'faster_coco_eval', 'scipy', 'matplotlib'}"
    code = f"import sys; import vitreous.worlds; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_examples_in_docstrings():
    for module in (_annotation, sys.modules["vitreous.worlds.repeats"]):
        result = doctest.testmod(module)
        assert (result.failed, result.attempted > 0) == (0, True)


def mask(*rows):
    values = np.array([list(row) for row in rows])
    return Mask(values == "1", values == "?")


def test_masks_are_joined_and_inside_wins_over_void():
    picture = Image.new("RGB", (3, 2))
    first, second = mask("1?.", "1?."), mask(".1?", "...")
    sample = Sample(
        "a",
        picture,
        regions=(Region(read=lambda: first), Region(box=(0.0, 0.0, 1.0, 1.0)), Region(read=lambda: second)),
    )
    joined = sample.mask()
    assert np.array_equal(joined.inside, mask("11.", "1..").inside)
    assert np.array_equal(joined.void, mask("..?", ".?.").void)
    with pytest.raises(AnnotationError, match="Sample 'a': a mask is 3x2 pixels, its photograph 2x3"):
        Sample("a", Image.new("RGB", (2, 3)), regions=sample.regions).masks()


def test_part_of_a_data_set_is_a_data_set():
    samples = Samples(
        "x",
        tuple(Sample(str(place), Image.new("RGB", (1, 1)), label="ab"[place % 2]) for place in range(4)),
        ("a", "b"),
        ("n",),
    )
    part = samples[1:3]
    assert ([sample.id for sample in part], part.name, part.labels, part.notes) == (["1", "2"], "x", ("a", "b"), ("n",))
    assert [sample.id for sample in samples.of("b")] == ["1", "3"]
    assert [sample.id for sample in reversed(samples)] == ["3", "2", "1", "0"]
