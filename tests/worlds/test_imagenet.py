"""ImageNet's validation photographs, in three layouts."""

import pytest
from small_sets import HIGH, WIDE, item, save_photo, xml

from vitreous.core.errors import AnnotationError, DataError, InputError
from vitreous.worlds._files import LEFT_OUT
from vitreous.worlds.imagenet import imagenet

WNIDS = [f"n{number:08d}" for number in range(100, 1100)]
NAMES = [f"class {number}" for number in range(1000)]
FIRST, SECOND = "ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002"


# --- the re-packed selection


def test_real_boxes_are_scaled_each_axis_by_itself(shared):
    found = imagenet(shared / "data/imagenet_val")
    assert len(found) == 650
    assert sum(len(sample.regions) for sample in found) == 1000
    assert found.notes == ()
    first = found[0]
    assert (first.id, first.label, first.index) == ("ilsvrc2012_val_00000347", "canoe", 472)
    # 20,175,111,292 and three more of an original of 500x375, in a stored photograph of 227x227
    assert first.boxes[0] == pytest.approx((20 * 0.454, 175 * 227 / 375, 111 * 0.454, 292 * 227 / 375))
    assert len(first.boxes) == (shared / "data/imagenet_val/boxes.csv").read_text().count(f"{first.id}.jpg,")
    assert first.photo().size == (227, 227)


@pytest.fixture
def repacked(tmp_path):
    save_photo(tmp_path / "images/a.jpg")
    save_photo(tmp_path / "images/b.jpg")
    (tmp_path / "labels.csv").write_text(
        f"file,class_index,class_name,width,height\nb.jpg,7,cock,{WIDE},{HIGH}\na.jpg,0,tench,{WIDE},{HIGH}\n"
    )
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1,original_width,original_height\na.jpg,0,10,50,20,100,20\n")
    return tmp_path


def test_photographs_without_boxes_are_kept(repacked):
    found = imagenet(repacked)
    assert [(sample.id, sample.label, sample.index) for sample in found] == [("a", "tench", 0), ("b", "cock", 7)]
    assert found[0].boxes == ((0, 2, 3, 4),)
    assert found[1].notes == ("there are no boxes of this photograph",)
    assert found.labels is None
    (repacked / "boxes.csv").unlink()
    named = imagenet(repacked, names=NAMES)
    assert [sample.label for sample in named] == ["class 0", "class 7"]
    assert named.labels == tuple(NAMES)
    with pytest.raises(InputError, match=r"This folder has labels\.csv"):
        imagenet(repacked, wnids=WNIDS)


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("labels.csv", "c.jpg,1,x,6,4", r"c\.jpg', named by labels\.csv, line 4, is not there"),
        ("labels.csv", "a.jpg,1,x,6,4", "Expected each photograph once"),
        ("labels.csv", "../images/a.jpg,1,x,6,4", "does not lie in the folder"),
        ("boxes.csv", "c.jpg,0,0,1,1,6,4", r"line 3: 'c\.jpg' is not in labels\.csv"),
        ("boxes.csv", "a.jpg,5,0,1,1,6,4", "line 3: the box .* corners are exchanged"),
        ("boxes.csv", "a.jpg,0,0,101.5,1,100,20", "line 3: the box .* lies outside the picture of 100x20"),
        ("boxes.csv", "a.jpg,0,0,1,1,x,4", "line 3: original_width is 'x'"),
    ],
)
def test_bad_lines_are_faults(repacked, file, line, says):
    with (repacked / file).open("a") as listed:
        listed.write(line + "\n")
    with pytest.raises(DataError, match=says):
        imagenet(repacked)
    found = imagenet(repacked, bad="skip")
    assert [len(sample.regions) for sample in found] == [1, 0]
    assert len(found.notes) == 1


@pytest.mark.parametrize("index", ["1000", "-1", "1.5", "x"])
def test_impossible_indices_are_faults(repacked, index):
    listed = repacked / "labels.csv"
    listed.write_text(listed.read_text().replace("b.jpg,7,", f"b.jpg,{index},"))
    with pytest.raises(AnnotationError, match=r"labels\.csv, line 2"):
        imagenet(repacked)


def test_stored_size_must_be_the_stated_one(repacked):
    save_photo(repacked / "images/a.jpg", width=WIDE + 1)
    with pytest.raises(AnnotationError, match=r"line 3 says that 'a.jpg' has 6x4 pixels; seen upright it has 7x4"):
        imagenet(repacked)
    found = imagenet(repacked, bad="skip")
    assert (found[0].boxes, found[0].notes) == ((), (LEFT_OUT,))


# --- sub-folders


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "val"
    save_photo(root / WNIDS[5] / f"{SECOND}.JPEG")
    save_photo(root / WNIDS[8] / f"{FIRST}.JPEG")
    (tmp_path / "xml").mkdir()
    (tmp_path / f"xml/{FIRST}.xml").write_text(xml([item(WNIDS[8], 0, 0, 5, 3), item(WNIDS[8], 1, 1, 2, 2)]))
    return root


def test_an_index_is_given_only_where_it_is_known(official):
    found = imagenet(official)
    assert [(sample.id, sample.label, sample.index) for sample in found] == [
        (FIRST, WNIDS[8], None),
        (SECOND, WNIDS[5], None),
    ]
    assert found.labels is None
    found = imagenet(official, wnids=WNIDS, names=NAMES)
    assert [(sample.label, sample.index) for sample in found] == [("class 8", 8), ("class 5", 5)]
    for wnid in WNIDS:
        (official / wnid).mkdir(exist_ok=True)
    found = imagenet(official)
    assert [(sample.label, sample.index) for sample in found] == [(WNIDS[8], 8), (WNIDS[5], 5)]
    assert found.labels == tuple(WNIDS)


def test_boxes_are_taken_as_edges(official, tmp_path):
    found = imagenet(official, boxes=tmp_path / "xml")
    assert found[0].boxes == ((0, 0, 5, 3), (1, 1, 2, 2))
    assert found[0].regions[0].name == WNIDS[8]
    assert found[1].notes == ("there are no boxes of this photograph",)


def test_boxes_of_a_larger_original_are_scaled_and_of_another_shape_refused(official, tmp_path):
    listed = tmp_path / f"xml/{FIRST}.xml"
    listed.write_text(xml([item(WNIDS[8], 10, 0, 50, 30)], width=60, height=40))
    found = imagenet(official, boxes=tmp_path / "xml")
    assert found[0].boxes == ((1, 0, 5, 3),)
    assert found[0].notes == ("boxes were scaled from 60x40",)
    listed.write_text(xml([item(WNIDS[8], 10, 0, 50, 30)], width=60, height=60))
    with pytest.raises(AnnotationError, match="has 60x60 pixels; seen upright it has 6x4"):
        imagenet(official, boxes=tmp_path / "xml")
    save_photo(official / WNIDS[8] / f"{FIRST}.JPEG", orientation=6)
    listed.write_text(xml([item(WNIDS[8])]))
    with pytest.raises(AnnotationError, match="EXIF orientation 6"):
        imagenet(official, boxes=tmp_path / "xml")


@pytest.mark.parametrize("text", [xml([item("n00000001")]), xml([item(WNIDS[8], xmax=12)]), "<a/>"])
def test_bad_boxes_are_faults(official, tmp_path, text):
    (tmp_path / f"xml/{FIRST}.xml").write_text(text)
    with pytest.raises(AnnotationError, match=FIRST):
        imagenet(official, boxes=tmp_path / "xml")
    found = imagenet(official, boxes=tmp_path / "xml", bad="skip")
    assert [sample.regions for sample in found] == [(), ()]
    assert found[0].notes == (LEFT_OUT,)
    assert len(found.notes) == 1


def test_damaged_photograph_loses_its_boxes_with_a_note(official, tmp_path):
    (official / WNIDS[8] / f"{FIRST}.JPEG").write_bytes(b"nothing")
    found = imagenet(official, boxes=tmp_path / "xml")
    assert found[0].regions == ()
    assert found[0].notes == (LEFT_OUT,)
    assert "because it cannot be read" in found.notes[0]


def test_photograph_in_two_classes_is_a_fault(official):
    save_photo(official / WNIDS[5] / f"{FIRST}.JPEG")
    with pytest.raises(AnnotationError, match=f"several photographs '{FIRST}'"):
        imagenet(official)
    found = imagenet(official, bad="skip")
    assert [sample.id for sample in found] == [SECOND]  # which of two classes is right is not known
    assert len(found.notes) == 2


def test_lists_of_another_length_and_unknown_classes_are_refused(official):
    with pytest.raises(InputError, match="names has 3 entries"):
        imagenet(official, names=["a", "b", "c"])
    with pytest.raises(AnnotationError, match=f"The class '{WNIDS[5]}' is unknown"):
        imagenet(official, wnids=[*WNIDS[:5], "n99999999", *WNIDS[6:]])


# --- flat


@pytest.fixture
def flat(tmp_path):
    save_photo(tmp_path / f"flat/{FIRST}.JPEG")
    save_photo(tmp_path / f"flat/{SECOND}.JPEG")
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    return tmp_path / "flat"


def test_list_of_classes_by_index_or_by_identifier(flat, tmp_path):
    assert [sample.label for sample in imagenet(flat)] == [None, None]
    listed = tmp_path / "val.txt"
    listed.write_text(f"{SECOND}.JPEG 65\n{FIRST}.JPEG {WNIDS[970]}\nILSVRC2012_val_00000003.JPEG 1\n")
    found = imagenet(flat, classes=listed, wnids=WNIDS, names=tmp_path / "names.txt")
    assert [(sample.label, sample.index) for sample in found] == [("class 970", 970), ("class 65", 65)]
    assert found.notes == ("1 listed photographs are not there, the first is 'ILSVRC2012_val_00000003'",)
    found = imagenet(flat, classes=listed)
    assert [(sample.label, sample.index) for sample in found] == [(WNIDS[970], None), (None, 65)]


def test_bad_lists_of_classes(flat, tmp_path):
    listed = tmp_path / "val.txt"
    listed.write_text("490\n361\n")
    with pytest.raises(DataError, match="the development kit, counts classes in an order of its own"):
        imagenet(flat, classes=listed)
    listed.write_text(f"{FIRST} 3\n")
    with pytest.raises(AnnotationError, match=rf"'{SECOND}\.JPEG' is not in"):
        imagenet(flat, classes=listed)
    assert [sample.index for sample in imagenet(flat, classes=listed, bad="skip")] == [3, None]
    listed.write_text(f"{FIRST} 3\n{SECOND} 4\n{FIRST} 5\n")
    with pytest.raises(AnnotationError, match="is listed with 3 and 5"):
        imagenet(flat, classes=listed)
    assert [sample.index for sample in imagenet(flat, classes=listed, bad="skip")] == [None, 4]


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("file,class_index,class_name,width,height\n")
    with pytest.raises(DataError, match=r"Looked for labels\.csv with images/"):
        imagenet(tmp_path)
    (tmp_path / "labels.csv").unlink()
    save_photo(tmp_path / "cat.jpg")
    with pytest.raises(DataError, match=r"sub-folders named like n01440764.*There is 'cat\.jpg'"):
        imagenet(tmp_path)
