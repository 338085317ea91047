"""PASCAL VOC, in a folder of three photographs made here."""

import numpy as np
import pytest
from small_sets import HIGH, WIDE, item, save_mask, save_photo, xml

from vitreous.core.errors import AnnotationError, DataError
from vitreous.worlds._files import LEFT_OUT
from vitreous.worlds.voc import CLASSES, voc

CAT, PERSON = CLASSES.index("cat") + 1, CLASSES.index("person") + 1
OBJECTS = np.array([[0, 255, 1, 1, 255, 2], [0, 255, 1, 1, 255, 2], [0, 0, 255, 255, 0, 3], [0, 0, 0, 0, 0, 3]])
KINDS = np.select([OBJECTS == 1, OBJECTS == 2, OBJECTS == 3, OBJECTS == 255], [CAT, PERSON, PERSON, 255], 0)


@pytest.fixture
def root(tmp_path):
    tmp_path = tmp_path / "VOCdevkit/VOC2012"
    for name in ("2007_2", "2007_1", "2008_3"):
        save_photo(tmp_path / f"JPEGImages/{name}.jpg")
    for kind in ("Segmentation", "Main"):
        (tmp_path / "ImageSets" / kind).mkdir(parents=True)
        (tmp_path / "ImageSets" / kind / "val.txt").write_text("2007_2\n2007_1\n\n")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/2007_1.xml").write_text(xml([item(), item("person", 1, 1, WIDE, HIGH, 1)]))
    save_mask(tmp_path / "SegmentationClass/2007_1.png", KINDS, "P")
    save_mask(tmp_path / "SegmentationObject/2007_1.png", OBJECTS, "P")
    return tmp_path


# --- segmentation


def test_objects_are_regions_and_their_rim_is_void(root):
    found = voc(root)
    assert [(sample.id, len(sample.regions), sample.notes) for sample in found] == [
        ("2007_1", 3, ()),
        ("2007_2", 0, ("there is no mask of this photograph",)),
    ]
    assert [region.name for region in found[0].regions] == ["cat", "person", "person"]
    for number, mask in enumerate(found[0].masks(), start=1):
        assert np.array_equal(mask.inside, number == OBJECTS)
        assert np.array_equal(mask.void, OBJECTS == 255)
    assert np.array_equal(found[0].mask().inside, (OBJECTS > 0) & (OBJECTS < 255))
    assert (found.labels, found.name) == (CLASSES, "voc val")


def test_without_objects_a_region_is_all_of_one_class(root):
    (root / "SegmentationObject/2007_1.png").unlink()
    (root / "SegmentationObject").rmdir()
    sample = voc(root)[0]
    assert [region.name for region in sample.regions] == ["cat", "person"]
    assert np.array_equal(sample.masks()[1].inside, (OBJECTS == 2) | (OBJECTS == 3))


def test_photograph_of_background_and_void_alone_has_no_region(root):
    for folder in ("SegmentationClass", "SegmentationObject"):
        save_mask(root / folder / "2007_1.png", np.where(OBJECTS == 255, 255, 0), "P")
    assert voc(root)[0].regions == ()


def changed(values, old, new):
    return np.where(values == old, new, values)


@pytest.mark.parametrize(
    ("kinds", "objects", "says"),
    [
        (changed(KINDS, CAT, 21), OBJECTS, "has the value 21.*as indices of a palette"),
        (
            np.where(OBJECTS[:, :] == 1, [[1, 1, CAT, PERSON, 1, 1]], KINDS),
            OBJECTS,
            r"object 1 lies on the classes \[8, 15\]",
        ),
        (changed(KINDS, CAT, 0), OBJECTS, r"object 1 lies on the classes \[0\]"),
        (KINDS[:, :5], OBJECTS, "says that '2007_1.jpg' has 5x4 pixels; seen upright it has 6x4"),
        (KINDS, OBJECTS[:3], "differ in size"),
    ],
)
def test_masks_that_contradict_are_faults(root, kinds, objects, says):
    save_mask(root / "SegmentationClass/2007_1.png", kinds, "P")
    save_mask(root / "SegmentationObject/2007_1.png", objects, "P")
    with pytest.raises(AnnotationError, match=says):
        voc(root)
    found = voc(root, bad="skip")
    assert found[0].regions == ()
    assert found[0].notes == (LEFT_OUT,)
    assert len(found.notes) == 1


# --- detection


def test_boxes_counted_from_one_become_edges_counted_from_zero(root):
    found = voc(root, kind="detection")
    first = found[0]
    assert first.boxes == ((1, 0, 6, 3), (0, 0, 6, 4))
    assert [region.name for region in first.regions] == ["cat", "person"]
    assert first.masks() == ()
    assert first.notes == ("object 2 (person) is marked difficult",)
    assert found[1].notes == ("there are no boxes of this photograph",)


def test_boxes_counted_from_zero_by_mistake_are_cut_and_noted(root):
    (root / "Annotations/2007_1.xml").write_text(xml([item(xmin=0, ymin=0)]))
    sample = voc(root, kind="detection")[0]
    assert sample.boxes == ((0, 0, 6, 3),)
    assert sample.notes == ("object 1 (cat): the part of the box outside, at most a pixel, was cut off",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (xml([item("kat")]), "has the class 'kat'. Did you mean 'cat'"),
        (xml([item("")]), "object 1 has no name"),
        (xml([item(), item(xmin=5, xmax=4)]), r"object 2: the box \(4, 0, 4, 3\) has no area"),
        (xml([item(xmax=9)]), r"object 1: the box \(1, 0, 9, 3\) lies outside"),
        (xml([item(xmax="")]), "object 1: xmax is ''"),
        (xml([item()], width=7), "says that '2007_1.jpg' has 7x4 pixels; seen upright it has 6x4"),
        (xml([item()], width=0), "picture has 0x4 pixels"),
        ("<annotation></annotation>", "size/width is ''"),
        ("<annotation>", "is no valid XML"),
        (xml([item()], start='<!DOCTYPE a [<!ENTITY b "c">]>'), "DOCTYPE or entities"),
    ],
)
def test_bad_boxes_are_faults(root, text, says):
    (root / "Annotations/2007_1.xml").write_text(text)
    with pytest.raises(AnnotationError, match=says):
        voc(root, kind="detection")
    found = voc(root, kind="detection", bad="skip")
    assert [sample.regions for sample in found] == [(), ()]
    assert found[0].notes == (LEFT_OUT,)
    assert len(found.notes) == 1


def test_boxes_of_the_unturned_photograph_say_so(root):
    save_photo(root / "JPEGImages/2007_1.jpg", orientation=8)
    with pytest.raises(AnnotationError, match="EXIF orientation 8 and is seen turned"):
        voc(root, kind="detection")
    with pytest.raises(AnnotationError, match="EXIF orientation 8 and is seen turned"):
        voc(root)


def test_doctype_in_another_encoding_cannot_hide(root):
    text = xml([item()], start='<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a>')
    (root / "Annotations/2007_1.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(AnnotationError, match="not UTF-8"):
        voc(root, kind="detection")


# --- lists and layout


def test_photographs_that_are_listed_and_not_there_or_twice(root):
    (root / "ImageSets/Main/val.txt").write_text("2007_1\n2007_9\n2007_1\n../x\n")
    with pytest.raises(DataError, match=r"2007_9\.jpg', named by the split 'val', is not there"):
        voc(root, kind="detection")
    found = voc(root, kind="detection", bad="skip")
    assert [sample.id for sample in found] == ["2007_1"]
    assert [note.split(":")[0] for note in found.notes] == ["left out"] * 3
    assert "names '2007_1' twice" in found.notes[1]
    assert "'../x.jpg' does not lie in the folder" in found.notes[2]


def test_unknown_splits_and_lists_of_one_class_are_refused(root):
    with pytest.raises(DataError, match=r"no split 'vall' .* Did you mean 'val'"):
        voc(root, "vall")
    (root / "ImageSets/Main/cat_val.txt").write_text("2007_1 -1\n2007_2 1\n")
    with pytest.raises(DataError, match="has the line '2007_1 -1': it is about one class"):
        voc(root, "cat_val", kind="detection")


def test_the_folder_above_is_told_from_the_right_one(root):
    with pytest.raises(DataError, match=rf"Looked for ImageSets/Segmentation/ and JPEGImages/.*Did you mean '{root}'"):
        voc(root.parent.parent)
    with pytest.raises(Exception, match="'boxes'") as caught:
        voc(root, kind="boxes")
    assert type(caught.value).__name__ in {"InputError", "TypeCheckError"}  # the latter where types are checked first
