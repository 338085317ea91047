"""Lists of photographs."""

import json
import sys
import zlib

import numpy as np
import pytest
from small_sets import HIGH, WIDE, block, save_mask, save_photo

from vitreous.core.errors import AnnotationError, DataError, MissingExtraError
from vitreous.worlds._files import LEFT_OUT
from vitreous.worlds.manifest import manifest

HEAD = "image,label,mask,x0,y0,x1,y1,id\n"


@pytest.fixture
def load(tmp_path):
    """Write a list beside three photographs and a mask, and load it."""
    for number, name in enumerate(("a.jpg", "b.jpg", "deep/c.png")):
        save_photo(tmp_path / name, seed=number)
    save_mask(tmp_path / "m.png", block(9))

    def load(text, encoding="utf-8", **options):
        (tmp_path / "list.csv").write_bytes(text.encode(encoding))
        return manifest(tmp_path / "list.csv", **options)

    return load


def test_lines_of_one_image_are_its_regions(load):
    found = load(
        HEAD + "b.jpg,cat,,,,,,\na.jpg,dog,m.png,,,,,first\na.jpg,dog,,1,0,6,4.0,first\ndeep/c.png,,,,,,,\n", inside=9
    )
    assert [(sample.id, sample.label, sample.index, len(sample.regions)) for sample in found] == [
        ("b.jpg", "cat", 0, 0),
        ("deep/c.png", None, None, 0),
        ("first", "dog", 1, 2),
    ]
    assert found.labels == ("cat", "dog")
    assert found.name == "list"
    assert found.notes == ()
    first = found[2]
    assert first.boxes == ((1, 0, 6, 4),)
    assert [region.name for region in first.regions] == ["dog", "dog"]
    assert np.array_equal(first.mask().inside, block(9) == 9)


def test_image_with_several_classes_has_no_label_of_its_own(load):
    (sample,) = load("image,label,x0,y0,x1,y1\na.jpg,dog,0,0,2,2\na.jpg,cat,2,2,4,4\n")
    assert (sample.label, sample.index) == (None, None)
    assert [region.name for region in sample.regions] == ["dog", "cat"]
    assert sample.notes == ("has several classes: cat, dog",)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_byte_order_marks_and_line_ends(load, mark, encoding, end):
    (sample,) = load(f"label{mark}image{end}dög{mark}a.jpg{end}{end}", encoding)
    assert (sample.id, sample.label) == ("a.jpg", "dög")


def test_formulas_are_names_and_quotes_are_understood(load):
    found = load('image,label\na.jpg,"=HYPERLINK(""x"",1)"\nb.jpg,"+1,5"\n')
    assert [sample.label for sample in found] == ['=HYPERLINK("x",1)', "+1,5"]


def test_paths_are_relative_to_the_list_or_to_root(load, tmp_path):
    text = "image\nc.png\n"
    assert load(text, root=tmp_path / "deep")[0].photo().size == (HIGH, WIDE)
    with pytest.raises(DataError, match=r"c\.png.*named by list\.csv, line 2, is not there"):
        load(text)


def test_columns_that_are_not_read_are_noted(load):
    assert load("image,source\na.jpg,web\n").notes == ("columns that are not read: 'source'",)


def test_repeated_lines_and_photographs_are_noted(load):
    found = load("image,id,x0,y0,x1,y1\na.jpg,u,0,0,2,2\na.jpg,u,0,0,2,2\ndeep/../a.jpg,v,,,,\n")
    assert [len(sample.regions) for sample in found] == [1, 0]
    assert found.notes == ("left out: list.csv, line 3 repeats line 2", "'u' and 'v' are the same photograph")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("imgae,label\na.jpg,cat\n", r"lacks the column 'image'; it has 'imgae', 'label'\. Did you mean 'imgae'"),
        ("image:label\na.jpg:cat\n", "lacks the column 'image'"),
        ("", "lacks the column 'image'; it has none"),
        ("image,Lable\na.jpg,cat\n", "column 'Lable', which is not read. Did you mean 'label'"),
        ("image,image\na.jpg,a.jpg\n", r"several columns \['image'\]"),
        ("image,label\na.jpg\n", "has 1 cells in line 2, not 2"),
        ("image,label\na.jpg,b,c\n", "has 3 cells in line 2, not 2"),
        ('image,label\na.jpg,"cat\n', "line 2: unexpected end of data"),
        ("image,label\n", "names no photograph"),
    ],
)
def test_lists_of_another_form_are_refused(load, text, says):
    with pytest.raises(DataError, match=says):
        load(text)


def test_other_encodings_are_refused(load):
    with pytest.raises(DataError, match=r"not UTF-8 text \(byte 19 is 0xf6\)"):
        load("image,label\na.jpg,dög\n", "latin-1")
    with pytest.raises(DataError, match="not UTF-8"):
        load("image\na.jpg\n", "utf-16")
    with pytest.raises(DataError, match="NUL characters"):
        load("image\na.jpg\n", "utf-16-le")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (",cat,,,,,,", "line 3: the column image is empty"),
        ("bb.jpg,,,,,,,", r"bb\.jpg.*line 3, is not there\. Did you mean 'b\.jpg'"),
        ("b.jpg,,n.png,,,,,", r"line 3: there is no mask .*n\.png"),
        ("b.jpg,,,1,2,,4,", "line 3: x1 is ''"),
        ("b.jpg,,,1,2,x,4,", "line 3: x1 is 'x'"),
        ("b.jpg,,,1,2,nan,4,", "line 3: x1 is 'nan'"),
        ("b.jpg,,,4,2,1,4,", r"line 3: the box \(4, 2, 1, 4\) has no area"),
        ("b.jpg,,,1,2,9,4,", r"line 3: the box \(1, 2, 9, 4\) lies outside the picture of 6x4"),
        ("b.jpg,,,,,,,u", "line 3: the id 'u' stands for 'b.jpg' and for 'a.jpg'"),
    ],
)
def test_faults_raise_with_their_line_or_are_noted(load, line, says):
    text = f"{HEAD}a.jpg,cat,,0,0,2,2,u\n{line}\n"
    with pytest.raises(DataError, match=says) as caught:
        load(text)
    assert 'bad="skip"' in caught.value.fix
    found = load(text, bad="skip")
    assert len(found.notes) == 1
    assert found.notes[0].startswith("left out: ")
    assert found[[sample.id for sample in found].index("u")].boxes == ((0, 0, 2, 2),)
    assert all(sample.regions == () for sample in found if sample.id != "u")
    assert all(sample.notes == (LEFT_OUT,) for sample in found if line.startswith(sample.id))


def test_boxes_are_checked_against_the_upright_photograph(load, tmp_path):
    save_photo(tmp_path / "a.jpg", orientation=6)
    text = "image,x0,y0,x1,y1\na.jpg,0,0,{},{}\n"
    assert load(text.format(HIGH, WIDE))[0].boxes == ((0, 0, HIGH, WIDE),)
    with pytest.raises(AnnotationError, match=r"outside the picture of 4x6 pixels.*if the picture were turned"):
        load(text.format(WIDE, HIGH))


def test_boxes_of_a_damaged_photograph_are_left_out_with_a_note(load, tmp_path):
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (9000).to_bytes(4) + (9000).to_bytes(4) + b"\x08\x02\0\0\0"
    for data, why in (
        (b"nothing", "no header"),
        (huge + zlib.crc32(huge[12:]).to_bytes(4) + b"\0\0\0\1IDAT", "9000 x 9000 pixels"),
    ):
        (tmp_path / "a.jpg").write_bytes(data)
        found = load("image,x0,y0,x1,y1\na.jpg,0,0,1,1\n")
        assert found[0].regions == ()
        assert found[0].notes == (LEFT_OUT,)
        assert "the boxes of 'a.jpg', because it cannot be read" in found.notes[0]
        assert why in found.notes[0]


def test_box_over_the_edge_by_rounding_is_cut_and_noted(load):
    (sample,) = load("image,x0,y0,x1,y1\na.jpg,-0.5,0,6.5,4\n")
    assert sample.boxes == ((0, 0, 6, 4),)
    assert "was cut off" in sample.notes[0]


# --- Parquet


@pytest.fixture
def parquet(tmp_path):
    """Write a Parquet list beside two photographs, and load it."""
    import pyarrow as pa
    from pyarrow import parquet

    save_photo(tmp_path / "a.jpg")
    save_photo(tmp_path / "b.jpg")

    def load(**columns):
        parquet.write_table(pa.table(columns), tmp_path / "list.parquet")
        return manifest(tmp_path / "list.parquet")

    return load


def test_parquet_says_the_same_as_csv(parquet):
    nan = float("nan")
    found = parquet(
        image=["b.jpg", "a.jpg"], label=[None, "7"], x0=[nan, 1], y0=[nan, 0], x1=[nan, 5.5], y1=[None, 4.0]
    )
    assert [(sample.id, sample.label, sample.boxes) for sample in found] == [
        ("a.jpg", "7", ((1, 0, 5.5, 4),)),
        ("b.jpg", None, ()),
    ]


def test_bad_parquet_is_refused(parquet, tmp_path):
    with pytest.raises(DataError, match=r"lacks the column 'image'.*Did you mean 'images'"):
        parquet(images=["a.jpg"])
    (tmp_path / "list.parquet").write_text(json.dumps({"image": "a.jpg"}))
    with pytest.raises(DataError, match="is no valid Parquet"):
        manifest(tmp_path / "list.parquet")


def test_parquet_names_the_extra_that_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pyarrow.*vitreous\[data\]"):
        manifest(tmp_path / "list.parquet")


def test_missing_list_is_told_as_a_list(tmp_path):
    with pytest.raises(DataError, match=r"^VX-E800: The list .*none\.csv' does not exist"):
        manifest(tmp_path / "none.csv")
