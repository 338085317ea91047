"""COCO instances."""

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from small_sets import HIGH, WIDE, save_photo

from vitreous.core.errors import AnnotationError, DataError, MissingExtraError
from vitreous.worlds._files import LEFT_OUT
from vitreous.worlds.coco import coco

SQUARE = [2, 1, 5, 1, 5, 3, 2, 3]  # columns 2 to 4, rows 1 and 2


def told(**changes):
    """Give annotations of two photographs, with some entries replaced."""
    image = {"id": 7, "file_name": "b.jpg", "width": WIDE, "height": HIGH}
    annotation = {
        "id": 1,
        "image_id": 7,
        "category_id": 3,
        "bbox": [2, 1, 3, 2],
        "segmentation": [SQUARE],
        "iscrowd": 0,
    }
    return {
        "images": [image | changes.get("image", {}), {"id": 8, "file_name": "a.jpg", "width": WIDE, "height": HIGH}],
        "annotations": [annotation | changes.get("annotation", {})],
        "categories": [{"id": 9, "name": "zebra"}, {"id": 3, "name": "cat"}],
    }


@pytest.fixture
def load(tmp_path):
    """Write photographs and annotations, and load them."""

    def load(content, photo=None, **options):
        save_photo(tmp_path / "images/a.jpg")
        save_photo(tmp_path / "images/b.jpg", **(photo or {}))
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "list.json").write_text(text)
        return coco(tmp_path / "list.json", tmp_path / "images", **options)

    return load


# --- real data


@pytest.fixture(scope="module")
def real(shared):
    folder = shared / "data/coco128"
    content = json.loads((folder / "annotations.json").read_text())
    return coco(folder / "annotations.json", folder / "images"), content


def test_every_object_agrees_with_the_area_and_the_extent_that_the_file_states(real):
    samples, content = real
    files = {image["id"]: image["file_name"] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_id = {sample.id: sample for sample in samples}
    seen, near = dict.fromkeys(by_id, 0), 0
    masks = {name: [region.read() for region in sample.regions] for name, sample in by_id.items()}
    for annotation in content["annotations"]:
        name = files[annotation["image_id"]]
        place = seen[name]
        seen[name] += 1
        region, mask = by_id[name].regions[place], masks[name][place]
        assert region.name == names[annotation["category_id"]]
        assert abs(int(mask.inside.sum()) - annotation["area"]) <= 1
        rows, columns = np.nonzero(mask.inside)
        if len(rows):
            extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            short = np.subtract(extent, region.box) * (1, 1, -1, -1)  # how far the mask stays behind its box
            assert short.min() >= -0.51
            assert short.max() <= 4.01  # pointed ends are thinner than a pixel
            near += int(short.max() <= 1.01)
    assert sum(seen.values()) == len(content["annotations"]) == 506
    assert near > 0.9 * 506
    assert [len(by_id[name].regions) for name in by_id] == [seen[name] for name in by_id]


def test_masks_have_the_size_of_their_photographs_and_match_another_rasteriser(real):
    for sample in real[0][:6]:
        size = sample.photo().size
        for region, mask in zip(sample.regions, sample.masks(), strict=True):
            assert mask.inside.shape == size
            drawn = Image.new("1", size[::-1])
            for part in region.read.args[0]:
                ImageDraw.Draw(drawn).polygon(part, fill=1)
            other = np.asarray(drawn)
            rim = 2 * sum(size) + 4 * len(region.read.args[0][0])  # Pillow fills the outline as well
            assert (other ^ mask.inside).sum() <= rim


def test_real_labels_are_the_eighty_categories_in_order(real):
    assert real[0].labels[:3] == ("person", "bicycle", "car")
    assert len(real[0].labels) == 80
    assert [sample.id for sample in real[0]] == sorted(sample.id for sample in real[0])


# --- what is read


def test_boxes_outlines_and_images_without_annotations(load):
    found = load(told())
    assert [sample.id for sample in found] == ["a.jpg", "b.jpg"]
    assert found.labels == ("cat", "zebra")
    assert found[0].regions == ()
    assert found[0].mask() is None
    (region,) = found[1].regions
    assert (region.name, region.box, region.crowd) == ("cat", (2, 1, 5, 3), False)
    expected = np.zeros((HIGH, WIDE), dtype=bool)
    expected[1:3, 2:5] = True
    (mask,) = found[1].masks()
    assert np.array_equal(mask.inside, expected)
    assert not mask.void.any()


def test_parts_are_joined_and_crowds_marked(load):
    parts = [SQUARE, [0, 0, 1, 0, 1, 4, 0, 4]]
    (region,) = load(told(annotation={"segmentation": parts, "iscrowd": 1}))[1].regions
    expected = np.zeros((HIGH, WIDE), dtype=bool)
    expected[1:3, 2:5] = True
    expected[:, 0] = True
    assert region.crowd
    assert np.array_equal(region.read().inside, expected)


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_go_down_the_columns(load, compressed):
    counts = [5, 6, 13]  # column 1 from its second pixel, to the third of column 2
    if (
        compressed
    ):  # each count of the format is one character here, because each is below 16; the third is a difference
        counts = "".join(chr(48 + count) for count in (5, 6, 13))
    outline = {"size": [HIGH, WIDE], "counts": counts}
    (region,) = load(told(annotation={"segmentation": outline}))[1].regions
    expected = np.zeros(HIGH * WIDE, dtype=bool)
    expected[5:11] = True
    assert np.array_equal(region.read().inside, expected.reshape(WIDE, HIGH).T)


def test_outline_without_pixels_is_an_empty_mask(load):
    (mask,) = load(told(annotation={"segmentation": [[1, 1, 1.1, 1, 1, 1.1]]}))[1].masks()
    assert not mask.inside.any()


def test_box_or_outline_alone_are_enough(load):
    (region,) = load(told(annotation={"segmentation": []}))[1].regions
    assert (region.box, region.read) == ((2, 1, 5, 3), None)
    (region,) = load(told(annotation={"bbox": []}))[1].regions
    assert region.box is None
    assert region.read().inside.sum() == 6


def test_box_over_the_edge_by_rounding_is_cut_and_noted(load):
    sample = load(told(annotation={"bbox": [2, 1, 4.01, 2]}))[1]
    assert sample.boxes == ((2, 1, 6, 3),)
    assert "was cut off" in sample.notes[0]


def test_names_in_sub_folders_are_found(load, tmp_path):
    save_photo(tmp_path / "images/deep/b.jpg")
    assert [sample.id for sample in load(told(image={"file_name": "deep/b.jpg"}))] == ["a.jpg", "deep/b.jpg"]


# --- what is refused

BAD = {
    "photograph not there": (told(image={"file_name": "bb.jpg"}), r"bb\.jpg.*named by image 7, is not there"),
    "path out of the folder": (told(image={"file_name": "../images/b.jpg"}), "does not lie in the folder"),
    "size as text": (told(image={"width": "6"}), r"image 7 has the size \('6', 4\)"),
    "id twice": (told(image={"id": 8}), "image 8, 'b.jpg', occurs twice"),
    "file twice": (told(image={"file_name": "a.jpg"}), "image 7, 'a.jpg', occurs twice"),
    "no such image": (told(annotation={"image_id": 99}), "there is no image 99"),
    "no such category": (told(annotation={"category_id": 4}), "annotation 1 of 'b.jpg': there is no category 4"),
    "category as list": (told(annotation={"category_id": [3]}), r"there is no category \[3\]"),
    "image as list": (
        told(image={"id": [7]}, annotation={"image_id": [7]}),
        r"there is no image \[7\]|image \[7\] has",
    ),
    "box inside out": (told(annotation={"bbox": [2, 1, -1, 2]}), r"\(2, 1, 1, 3\) has no area"),
    "box outside": (told(annotation={"bbox": [2, 1, 9, 2]}), r"\(2, 1, 11, 3\) lies outside"),
    "box of three": (told(annotation={"bbox": [2, 1, 9]}), r"bbox is '\[2, 1, 9\]'"),
    "box of words": (told(annotation={"bbox": [2, 1, 3, "x"]}), "bbox is 'x'"),
    "nothing at all": (told(annotation={"bbox": None, "segmentation": None}), "neither a box nor an outline"),
    "odd polygon": (told(annotation={"segmentation": [SQUARE[:-1]]}), "the outline has a part"),
    "short polygon": (told(annotation={"segmentation": [[0, 0, 3, 3]]}), "the outline has a part"),
    "polygon of words": (told(annotation={"segmentation": [["x"] * 6]}), "the outline has a part"),
    "endless polygon": (told(annotation={"segmentation": [[0, 0, 1e12, 0, 3, 3]]}), r"to \(1000000000000\.0, 3\.0\)"),
    "other run size": (told(annotation={"segmentation": {"size": [6, 4], "counts": [24]}}), r"size \[6, 4\]"),
    "negative run": (told(annotation={"segmentation": {"size": [4, 6], "counts": [25, -1]}}), "run lengths"),
    "other size": (told(image={"width": 5, "height": 3}), "says that 'b.jpg' has 5x3 pixels; seen upright it has 6x4"),
}


@pytest.mark.parametrize("case", BAD)
def test_faults_raise_or_are_left_out_and_noted(load, case):
    content, says = BAD[case]
    with pytest.raises(DataError, match=says):
        load(content)
    found = load(content, bad="skip")
    assert any(note.startswith("left out: ") for note in found.notes)
    assert all(sample.regions == () for sample in found if sample.id == "b.jpg")
    assert ("a.jpg" in [sample.id for sample in found]) == (case not in {"id twice", "file twice"})


def test_annotation_of_the_unturned_photograph_says_so(load):
    with pytest.raises(AnnotationError, match="EXIF orientation 6 and is seen turned"):
        load(told(), photo={"orientation": 6})
    turned = {"width": HIGH, "height": WIDE}
    outline = {"bbox": [1, 2, 2, 3], "segmentation": [[1, 2, 3, 2, 3, 5, 1, 5]]}
    (mask,) = load(told(image=turned, annotation=outline), photo={"orientation": 6})[1].masks()
    assert mask.inside.shape == (WIDE, HIGH)


def test_photograph_replaced_after_loading_is_noticed_when_its_mask_is_read(load, tmp_path):
    found = load(told())
    save_photo(tmp_path / "images/b.jpg", width=9)
    with pytest.raises(AnnotationError, match="a mask is 6x4 pixels, its photograph 9x4"):
        found[1].masks()


def test_damaged_photograph_loses_its_annotations_with_a_note(load, tmp_path):
    load(told())
    (tmp_path / "images/b.jpg").write_bytes(b"\xff\xd8\xff nothing")
    found = coco(tmp_path / "list.json", tmp_path / "images")
    assert found[1].regions == ()
    assert found[1].notes == (LEFT_OUT,)
    assert "the annotations of 'b.jpg', because it cannot be read" in found.notes[0]


@pytest.mark.parametrize("counts", ["zzzz", "0", "", [24, 1], [3]])
def test_run_lengths_of_another_sum_are_refused_when_read(load, counts):
    sample = load(told(annotation={"segmentation": {"size": [HIGH, WIDE], "counts": counts}}))[1]
    with pytest.raises(AnnotationError, match=r"annotation 1 of 'b.jpg': the outline cannot be decoded"):
        sample.masks()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "no valid JSON"),
        ("[1]", "holds a list"),
        (
            '{"images": [], "annotation": [], "categories": []}',
            "no list 'annotations' of objects; it has 'images', 'ann",
        ),
        ('{"images": [3], "annotations": [], "categories": []}', "no list 'images' of objects"),
        ("[" * 100_000, "no valid JSON"),
        (
            told() | {"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]},
            "category 3, 'dog', has no name or",
        ),
        (told() | {"categories": [{"id": "3", "name": "cat"}]}, "category '3', 'cat', has no name or not an id"),
    ],
)
def test_files_of_another_form_are_refused(load, content, says):
    for bad in ("raise", "skip"):
        with pytest.raises(DataError, match=says):
            load(content, bad=bad)


def test_masks_name_the_extra_that_they_need(load, monkeypatch):
    sample = load(told())[1]
    for name in ("faster_coco_eval", "faster_coco_eval.core", "faster_coco_eval.core.mask"):
        monkeypatch.setitem(sys.modules, name, None)
    assert sample.boxes == ((2, 1, 5, 3),)
    with pytest.raises(MissingExtraError, match=r"faster-coco-eval.*vitreous\[data\]"):
        sample.masks()


def test_skip_and_raise_are_the_only_two(load):
    with pytest.raises(Exception, match="'ignore'") as caught:
        load(told(), bad="ignore")
    assert type(caught.value).__name__ in {"InputError", "TypeCheckError"}  # the latter where types are checked first
