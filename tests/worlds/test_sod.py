"""Salient objects."""

import numpy as np
import pytest
from PIL import Image
from small_sets import block, save_mask, save_photo

from vitreous.core.errors import AnnotationError, DataError
from vitreous.worlds.sod import sod


@pytest.fixture
def root(tmp_path):
    for name in ("b", "a"):
        save_photo(tmp_path / f"images/{name}.jpg")
        save_mask(tmp_path / f"masks/{name}.png", block())
    return tmp_path


def test_real_masks_agree_with_pillow(shared):
    found = sod(shared / "data/sod")
    assert len(found) == 150
    assert sum(sample.label is not None for sample in found) == 39
    assert found.notes == ()
    first = found[0]
    assert (first.id, first.label, first.index) == ("100080", "brown bear", 294)
    for sample in found[:10]:
        with Image.open(shared / f"data/sod/masks/{sample.id}.png") as mask:
            assert int(sample.mask().inside.sum()) == mask.convert("L").histogram()[255]
            assert sample.photo().image.size == mask.size


def test_without_the_list_nothing_has_a_class(root):
    assert [(sample.id, sample.label) for sample in sod(root)] == [("a", None), ("b", None)]
    assert np.array_equal(sod(root)[1].mask().inside, block() == 255)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("c.jpg,3,cat", r"line 3: 'c\.jpg' with class_index '3'"),
        ("b.jpg,-3,cat", "class_index '-3'"),
        ("a.jpg,3,cat", "has a class already"),
    ],
)
def test_bad_lines_raise_or_are_noted(root, line, says):
    (root / "checked.csv").write_text(f"file,class_index,class_name\na.jpg,1,dog\n{line}\n")
    with pytest.raises(AnnotationError, match=says):
        sod(root)
    found = sod(root, bad="skip")
    assert [sample.label for sample in found] == ["dog", None]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("left out: checked.csv, line 3")


def test_another_layout_is_refused(tmp_path):
    (tmp_path / "imgs").mkdir()
    with pytest.raises(DataError, match=r"Looked for images/ and masks/.*There is 'imgs'"):
        sod(tmp_path)
