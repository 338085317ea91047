"""Human relevance maps."""

import json
import zipfile

import numpy as np
import pytest
from small_sets import HIGH, WIDE, save_photo

from vitreous.core.errors import AnnotationError, DataError
from vitreous.worlds._files import LEFT_OUT
from vitreous.worlds.human import human_maps


@pytest.fixture
def build(tmp_path):
    """Write two photographs with maps, some entries replaced, and load them."""

    def build(arrays=None, about=None, photo=None, **options):
        rng = np.random.default_rng(3)
        stored = {
            f"{name}/{kind}": rng.normal(size=(3, 5)).astype(np.float32) for name in "ba" for kind in ("fix", "click")
        }
        stored |= arrays or {}
        np.savez_compressed(tmp_path / "maps.npz", **{key: value for key, value in stored.items() if value is not None})
        photos = {name: {"file": f"images/{name}.jpg", "width": WIDE, "height": HIGH} for name in "ba"}
        photos["b"] |= photo or {}
        maps = {"fix": {"grid_height_width": [3, 5]}, "click": {}} if about is None else about
        (tmp_path / "maps.json").write_text(json.dumps({"what": "test", "maps": maps, "photos": photos}))
        for name in "ba":
            save_photo(tmp_path / f"images/{name}.jpg")
        return human_maps(tmp_path, **options), stored

    return build


def test_real_maps_are_the_stored_numbers(shared):
    root = shared / "data/human_maps"
    found = human_maps(root)
    assert len(found) == 12
    assert found.notes == ()
    with np.load(root / "maps.npz", allow_pickle=False) as stored:
        for sample in (found[0], found[-1]):
            assert len(sample.human) == 7
            for human in sample.human:
                assert np.array_equal(human.read(), stored[f"{sample.id}/{human.name}"])
        assert sum(len(sample.human) for sample in found) == len(stored.files)
    assert found[0].photo().size == (405, 405)


def test_maps_are_given_unscaled_in_sorted_order(build):
    found, stored = build()
    assert [(sample.id, [human.name for human in sample.human]) for sample in found] == [
        ("a", ["click", "fix"]),
        ("b", ["click", "fix"]),
    ]
    assert np.array_equal(found[1].human[0].read(), stored["b/click"])
    assert found.notes == ()


def test_missing_maps_are_faults_and_spare_ones_noted(build):
    with pytest.raises(AnnotationError, match=r"There is no map 'a/fix' in maps\.npz"):
        build(arrays={"a/fix": None})
    found, _ = build(arrays={"a/fix": None, "c/fix": np.ones((3, 5))}, bad="skip")
    assert [[human.name for human in sample.human] for sample in found] == [["click"], ["click", "fix"]]
    assert [sample.notes for sample in found] == [(LEFT_OUT,), ()]
    assert found.notes == (
        "left out: There is no map 'a/fix' in maps.npz.",
        "left out: 'c/fix' of maps.npz is not named in maps.json",
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.full((3, 5), np.nan, np.float32), "not finite"),
        (np.ones((3, 5, 1), np.float32), r"shape \(3, 5, 1\)"),
        (np.ones((3, 5), np.int32), "type int32"),
        (np.ones((5, 3), np.float32), r"shape \(5, 3\); stated is \[3, 5\]"),
        (np.array([[{}]], dtype=object), "cannot be read .*allow_pickle"),
    ],
)
def test_maps_that_are_none_are_refused_when_read(build, values, says):
    found, _ = build(arrays={"b/fix": values})
    with pytest.raises(AnnotationError, match=says):
        found[1].human[1].read()


def test_map_that_unpacks_to_too_much_is_refused(build, monkeypatch):
    from vitreous.worlds import human

    monkeypatch.setattr(human, "_MOST_BYTES", 150)
    found, _ = build()
    with pytest.raises(AnnotationError, match=r"unpacks to 188 bytes\. The limit is 150"):
        found[0].human[0].read()


def test_damaged_archives_are_refused(build, tmp_path):
    found, _ = build()
    with zipfile.ZipFile(tmp_path / "maps.npz", "w") as archive:
        archive.writestr("b/fix.npy", b"nothing")
    with pytest.raises(AnnotationError, match="'b/fix' cannot be read"):
        found[1].human[1].read()
    with pytest.raises(AnnotationError, match="'b/click' cannot be read"):
        found[1].human[0].read()
    (tmp_path / "maps.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no npz file"):
        human_maps(tmp_path)


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        ({"file": "images/c.jpg"}, r"c\.jpg', named by maps\.json, is not there"),
        ({"file": "../b.jpg"}, "does not lie in the folder"),
        ({"file": None}, "the photograph 'b' has no file"),
        ({"width": "wide"}, "width of 'b' is 'wide'"),
        ({"width": 7}, "says that 'b.jpg' has 7x4 pixels; seen upright it has 6x4"),
    ],
)
def test_bad_photographs_are_faults(build, photo, says):
    with pytest.raises(DataError, match=says):
        build(photo=photo)
    found, _ = build(photo=photo, bad="skip")
    assert len(found[0].human) == 2
    assert sum(len(sample.human) for sample in found) == 2
    assert len(found.notes) == 1


def test_other_forms_are_refused(build, tmp_path):
    with pytest.raises(DataError, match=r"Looked for maps\.json and maps\.npz"):
        human_maps(tmp_path)
    build()
    (tmp_path / "maps.json").write_text('{"photos": {}}')
    with pytest.raises(DataError, match=r"maps\.json has 'photos'"):
        human_maps(tmp_path)
