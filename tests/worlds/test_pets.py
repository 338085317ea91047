"""Oxford-IIIT Pet, in both layouts."""

import numpy as np
import pytest
from PIL import Image
from small_sets import item, save_mask, save_photo, xml

from vitreous.core.errors import AnnotationError, DataError
from vitreous.worlds._files import LEFT_OUT
from vitreous.worlds.pets import pets

TRIMAP = np.array([[2, 2, 3, 1, 1, 3], [2, 2, 3, 1, 1, 3], [2, 2, 2, 3, 3, 2], [2, 2, 2, 2, 2, 2]])
NAMES = ("Abyssinian_1", "american_bulldog_10", "american_bulldog_2")


@pytest.fixture
def official(tmp_path):
    for name in NAMES:
        save_photo(tmp_path / f"images/{name}.jpg")
        save_mask(tmp_path / f"annotations/trimaps/{name}.png", TRIMAP)
    (tmp_path / "annotations/trimaps/._Abyssinian_1.png").write_bytes(b"left by a Mac")
    lines = ["Abyssinian_1 1 1 1", "american_bulldog_2 2 2 1", "american_bulldog_10 2 2 1"]
    (tmp_path / "annotations/list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(lines) + "\n")
    (tmp_path / "annotations/test.txt").write_text(lines[1] + "\n")
    (tmp_path / "annotations/xmls").mkdir()
    (tmp_path / "annotations/xmls/Abyssinian_1.xml").write_text(xml([item("cat", 2, 1, 6, 3)]))
    return tmp_path


def test_real_selection_agrees_with_pillow(shared):
    found = pets(shared / "data/pets")
    assert len(found) == 180
    assert found.labels == ("abyssinian", "american_bulldog", "bengal")
    assert [sum(sample.index == index for sample in found) for index in range(3)] == [60, 60, 60]
    assert found.notes == ()
    for sample in found[::6]:
        with Image.open(shared / f"data/pets/masks/{sample.id}.png") as mask:
            counts = mask.histogram()
        read = sample.mask()
        assert (int(read.inside.sum()), int(read.void.sum())) == (counts[255], counts[128])
        assert sample.label == sample.id.rsplit("_", 1)[0]


def test_official_lists_and_trimaps(official):
    found = pets(official)
    assert [(sample.id, sample.label, sample.index) for sample in found] == [
        ("Abyssinian_1", "Abyssinian", 0),
        ("american_bulldog_10", "american_bulldog", 1),
        ("american_bulldog_2", "american_bulldog", 1),
    ]
    assert found.labels == ("Abyssinian", "american_bulldog")
    (mask,) = found[0].masks()
    assert np.array_equal(mask.inside, TRIMAP == 1)
    assert np.array_equal(mask.void, TRIMAP == 3)
    assert [region.name for region in found[0].regions] == ["Abyssinian"]


def test_splits_count_their_own_classes_where_some_are_missing(official):
    found = pets(official, "test")
    assert [(sample.id, sample.index) for sample in found] == [("american_bulldog_2", 0)]
    assert found.labels == ("american_bulldog",)
    with pytest.raises(DataError, match=r"Looked for trainval\.txt.*There is 'list\.txt', 'test\.txt'"):
        pets(official, "trainval")


def test_heads_are_regions_on_request(official):
    first, second = pets(official, heads=True)[:2]
    assert [(region.name, region.box) for region in first.regions] == [("Abyssinian", None), ("head", (1, 0, 6, 3))]
    assert len(first.masks()) == 1
    assert len(second.regions) == 1


@pytest.mark.parametrize("text", [xml([item(xmax=9)]), xml([item()], width=8), "<a>"])
def test_bad_heads_are_faults(official, text):
    (official / "annotations/xmls/Abyssinian_1.xml").write_text(text)
    assert len(pets(official)) == 3
    with pytest.raises(AnnotationError):
        pets(official, heads=True)
    found = pets(official, heads=True, bad="skip")
    assert [len(sample.regions) for sample in found] == [1, 1, 1]
    assert [sample.notes for sample in found] == [(LEFT_OUT,), (), ()]
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Bengal_1 3 1 2", r"Bengal_1\.jpg', named by list\.txt: 'Bengal_1', is not there"),
        ("Abyssinian_1 1 1 1", "'Abyssinian_1' is listed twice"),
        ("american_bulldog_3 1 2 1", "has the index of 'Abyssinian', 1"),
        ("Bengal_1 0 1 2", "in the line 'Bengal_1 0 1 2'"),
        ("Bengal_1", "in the line 'Bengal_1'"),
        ("../Bengal_1 3 1 1", "does not lie in the folder"),
    ],
)
def test_bad_lines_are_faults(official, line, says):
    with (official / "annotations/list.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=says):
        pets(official)
    found = pets(official, bad="skip")
    assert [sample.id for sample in found] == list(NAMES)
    assert len(found.notes) == 1


def test_missing_mask_keeps_the_photograph(official):
    (official / "annotations/trimaps/Abyssinian_1.png").unlink()
    found = pets(official)
    assert found[0].regions == ()
    assert found[0].notes == ("there is no mask of this photograph",)
    assert found.notes == ("there is no mask of 'Abyssinian_1'",)


def test_other_values_are_refused_when_read(official):
    save_mask(official / "annotations/trimaps/Abyssinian_1.png", np.where(TRIMAP == 3, 0, TRIMAP))
    with pytest.raises(AnnotationError, match=r"has the values 0 .* expected 1 inside, 3 void, 2 outside"):
        pets(official)[0].masks()


def test_layouts_are_never_guessed(official, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "labels.csv").write_text("file,breed,superclass\n")
    with pytest.raises(DataError, match="not both"):
        pets(tmp_path)
    with pytest.raises(DataError, match=r"Looked for images/ with annotations/list\.txt"):
        pets(tmp_path / "images")


def test_selection_has_no_splits(tmp_path):
    save_photo(tmp_path / "images/a_1.jpg")
    save_mask(tmp_path / "masks/a_1.png", np.where(TRIMAP == 3, 128, 0))
    (tmp_path / "labels.csv").write_text("file,breed,superclass\na_1.jpg,a,cat\n")
    assert pets(tmp_path)[0].mask().void.sum() == (TRIMAP == 3).sum()
    with pytest.raises(DataError, match="a selection without splits and heads"):
        pets(tmp_path, "test")
    with pytest.raises(Exception, match="'training'") as caught:
        pets(tmp_path, "training")
    assert type(caught.value).__name__ in {"InputError", "TypeCheckError"}  # the latter where types are checked first
