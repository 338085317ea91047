"""Folders of photographs."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import save_photo

from vitreous.core.errors import DataError, ImageDamagedError
from vitreous.worlds.folder import folder


def test_sub_folders_are_classes_in_sorted_order(tmp_path):
    for name in ("dog/b.jpg", "cat/z.png", "cat/a.JPG", "cat/deep/q.webp", "ant/1.jpg"):
        save_photo(tmp_path / name)
    found = folder(tmp_path)
    assert found.labels == ("ant", "cat", "dog")
    assert [(sample.id, sample.label, sample.index) for sample in found] == [
        ("ant/1.jpg", "ant", 0),
        ("cat/a.JPG", "cat", 1),
        ("cat/deep/q.webp", "cat", 1),
        ("cat/z.png", "cat", 1),
        ("dog/b.jpg", "dog", 2),
    ]
    assert found.notes == ()
    assert np.array_equal(np.asarray(found[3].photo().image), np.asarray(Image.open(tmp_path / "cat/z.png")))
    assert [sample.id for sample in found.of("dog", "ant")] == ["ant/1.jpg", "dog/b.jpg"]


def test_flat_folder_has_no_classes(tmp_path):
    save_photo(tmp_path / "b.jpg")
    save_photo(tmp_path / "a.png")
    found = folder(str(tmp_path))
    assert [(sample.id, sample.label, sample.index) for sample in found] == [
        ("a.png", None, None),
        ("b.jpg", None, None),
    ]
    assert found.labels is None
    assert found.name == tmp_path.name


def test_whatever_is_left_out_is_noted_and_empty_classes_keep_their_index(tmp_path):
    save_photo(tmp_path / "b/1.jpg")
    (tmp_path / "b/1.txt").write_text("x")
    (tmp_path / "b/.hidden.jpg").write_text("x")
    (tmp_path / "a").mkdir()
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "b/round").symlink_to(tmp_path)
    found = folder(tmp_path)
    assert found.labels == ("a", "b")
    assert [sample.index for sample in found] == [1]
    assert found.notes == (
        "left out: 'b/1.txt' is not named like a photograph",
        "left out: 'b/round' is a folder",
        "left out: 'readme.md' is not named like a photograph",
        "the class 'a' has no photographs",
    )


def test_names_of_any_script_are_ids_and_bytes_that_are_no_text_are_refused(tmp_path):
    for name in ("käse/🐈.jpg", "käse/חתול.jpg", "käse/a b'c.jpg"):
        save_photo(tmp_path / name)
    assert [sample.id for sample in folder(tmp_path)] == ["käse/a b'c.jpg", "käse/חתול.jpg", "käse/🐈.jpg"]
    save_photo(tmp_path / "käse" / os.fsdecode(b"caf\xe9.jpg"))
    with pytest.raises(DataError, match=r"The name 'caf\\udce9\.jpg' .* is no UTF-8 text"):
        folder(tmp_path)


def test_folders_that_cannot_be_listed_are_told(tmp_path, monkeypatch):
    save_photo(tmp_path / "cat/a.jpg")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot be listed \(Permission denied\)"):
        folder(tmp_path)


def test_photographs_beside_classes_are_refused(tmp_path):
    save_photo(tmp_path / "cat/a.jpg")
    save_photo(tmp_path / "stray.jpg")
    with pytest.raises(DataError, match=r"'stray\.jpg'.*sub-folder"):
        folder(tmp_path)


def test_other_folders_are_refused_with_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"Looked for photographs.*There is 'notes\.txt'"):
        folder(tmp_path)
    with pytest.raises(DataError, match="is a file, not a folder"):
        folder(tmp_path / "notes.txt")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"does not exist. Did you mean 'photos'"):
        folder(tmp_path / "photo")
    with pytest.raises(DataError, match="There is nothing"):
        folder(tmp_path / "photos")


def test_damaged_photograph_raises_when_it_is_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    found = folder(tmp_path)
    with pytest.raises(ImageDamagedError):
        found[0].photo()
