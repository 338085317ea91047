"""Shared data sets: what was exported is what is read back, and what others are told about it is there."""

import json

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image
from pyarrow import parquet

import vitreous as vt
from vitreous.worlds import HumanMap, Mask, Region, Sample, Samples, export, scenes, shared

SIZES = [(5, 7), (8, 3), (4, 4)]


def mask_of(size, seed):
    drawn = np.random.default_rng(seed).integers(0, 3, size)
    return Mask(drawn == 1, drawn == 2)


def photograph(size, seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def everything():
    """Three photographs with whatever can be known, or nothing, and values that text would lose."""
    eyes = np.random.default_rng(9).normal(size=(2, 3)).astype(np.float32)
    samples = (
        Sample(
            "cat/a.jpg", photograph(SIZES[0], 0), "cat", 1,
            (
                Region("cat", (0.5, 1.0, 6.25, 1 / 3 + 4), lambda: mask_of(SIZES[0], 0)),
                Region(None, (0.0, 0.0, 7.0, 5.0), None, crowd=True),
                Region("tail", None, lambda: mask_of(SIZES[0], 1)),
            ),
            (HumanMap("eyes", lambda: eyes), HumanMap("clicks", lambda: np.zeros((4, 1), np.float32))),
            ("a note, with\na line",),
        ),
        Sample("bare", photograph(SIZES[1], 1)),
        Sample("ünïcode ☃", photograph(SIZES[2], 2), 'dog: "big"', 0, human=(HumanMap("eyes", lambda: -eyes),)),
    )  # fmt: skip
    return Samples("three", samples, ('dog: "big"', "cat"), ("left out: x.jpg",))


def equal(one, other):
    """Hold two samples against each other, down to every pixel."""
    assert (one.id, one.label, one.index, one.notes) == (other.id, other.label, other.index, other.notes)
    assert one.photo().digest == other.photo().digest
    told = [
        [(each.name, each.box, each.crowd, each.read is None) for each in sample.regions] for sample in (one, other)
    ]
    assert told[0] == told[1]
    for first, second in zip(one.masks(), other.masks(), strict=True):
        assert np.array_equal(first.inside, second.inside)
        assert np.array_equal(first.void, second.void)
    assert [each.name for each in one.human] == [each.name for each in other.human]
    for first, second in zip(one.human, other.human, strict=True):
        assert second.read().dtype == np.float32
        assert np.array_equal(first.read(), second.read())


def test_what_is_exported_is_read_back_to_the_last_bit(everything, tmp_path):
    export(everything, tmp_path / "set", "cc0-1.0")
    again = shared(tmp_path / "set")
    assert (again.name, again.labels, again.notes) == (everything.name, everything.labels, everything.notes)
    for one, other in zip(everything, again, strict=True):
        equal(one, other)


def test_exporting_what_was_read_back_gives_the_same_bytes(everything, tmp_path):
    export(everything, tmp_path / "one", "cc0-1.0")
    export(shared(tmp_path / "one"), tmp_path / "two", "cc0-1.0")
    files = [
        {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    ]
    assert len(files[0]) == 2 + 3 + 2
    assert files[0] == files[1]


def test_rendered_scenes_are_exported_as_pictures_with_their_masks(tmp_path):
    some = scenes()[:2]
    export(some, tmp_path / "set", "cc0-1.0", "Two scenes")
    for one, other in zip(some, shared(tmp_path / "set"), strict=True):
        equal(one, other)
    assert "one of their things is not in it" in (tmp_path / "set" / "README.md").read_text()


def test_an_evaluation_gives_the_same_values_on_the_shared_copy(tmp_path):
    export(scenes()[:2], tmp_path / "set", "cc0-1.0")
    vit = vt.open_vit("bundled:scenes")
    rows = [
        vt.evaluate(vit, samples, ["rollout"], ["pointing_game", "srg(steps=2)"], "label").rows
        for samples in (scenes()[:2], shared(tmp_path / "set"))
    ]
    assert {row.status for row in rows[1]} == {"ok"}
    assert [(row.sample, row.image_digest, row.value) for row in rows[0]] == [
        (row.sample, row.image_digest, row.value) for row in rows[1]
    ]


def test_the_table_is_what_hugging_face_calls_an_image_folder(everything, tmp_path):
    """`datasets` finds pictures by columns that end in file_name or file_names, relative to metadata.parquet."""
    export(everything, tmp_path / "set", "cc0-1.0")
    table = parquet.read_table(tmp_path / "set" / "metadata.parquet")
    region = pa.struct(
        [("name", pa.string()), ("box", pa.list_(pa.float64())), ("mask", pa.int64()), ("crowd", pa.bool_())]
    )
    human = pa.struct([("name", pa.string()), ("values", pa.list_(pa.list_(pa.float32())))])
    assert table.schema.remove_metadata() == pa.schema(
        [
            ("file_name", pa.string()), ("id", pa.string()), ("label", pa.string()), ("index", pa.int64()),
            ("masks_file_names", pa.list_(pa.string())), ("regions", pa.list_(region)), ("human", pa.list_(human)),
            ("notes", pa.list_(pa.string())),
        ]
    )  # fmt: skip
    for row in table.to_pylist():
        for name in [row["file_name"], *row["masks_file_names"]]:
            with Image.open(tmp_path / "set" / name) as picture:
                assert picture.format == "PNG"
    with Image.open(tmp_path / "set" / "masks" / "000000-00.png") as picture:
        values, mask = np.asarray(picture), mask_of(SIZES[0], 0)
    assert np.array_equal(values, np.select([mask.inside, mask.void], [255, 128], 0))


def test_the_card_has_licence_sources_counts_and_caveats(everything, tmp_path):
    export(everything, tmp_path / "set", "cc-by-4.0", "A: title", ["drawn by dice"], ["not for cats"])
    _, head, text = (tmp_path / "set" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    told = yaml.safe_load(head)
    assert (told["license"], told["pretty_name"], told["size_categories"]) == ("cc-by-4.0", "A: title", ["n<1K"])
    (data,) = told["configs"][0]["data_files"]
    assert data == {"split": "test", "path": ["metadata.parquet", "images/**", "masks/**"]}
    share = np.median([(mask_of(SIZES[0], 0).inside | mask_of(SIZES[0], 1).inside).mean()])
    for line in (
        "3 photographs, 1 with masks, 1 with boxes, 2 with human maps", "3 regions, 1 of them crowds",
        'cat 1, dog: "big" 1', "clicks 1, eyes 2", f"median {share:.3f}", "- drawn by dice", "- not for cats",
        "1 notes",
    ):  # fmt: skip
        assert line in text


@pytest.mark.parametrize("licence", ["", "CC BY", "mine\ntags: x", "a--b"])
def test_a_licence_is_required_and_has_to_be_an_identifier(everything, tmp_path, licence):
    with pytest.raises(vt.VitreousError, match="licence"):
        export(everything, tmp_path / "set", licence)
    with pytest.raises(TypeError):
        export(everything, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_nothing_is_overwritten_and_ids_are_unique(everything, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(vt.VitreousError, match="not empty"):
        export(everything, tmp_path, "cc0-1.0")
    twice = Samples("x", (everything[1], everything[1]))
    with pytest.raises(vt.VitreousError, match="id"):
        export(twice, tmp_path / "set", "cc0-1.0")


def rewrite(folder, change):
    """Change the rows of a shared data set as somebody else might."""
    path = folder / "metadata.parquet"
    table = parquet.read_table(path)
    rows = table.to_pylist()
    change(rows)
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[1].update(file_name="../../secret.png"), "does not lie in the folder"),
        (lambda rows: rows[1].update(file_name="images/none.png"), "not there"),
        (lambda rows: rows[0].update(masks_file_names=["/etc/passwd", "x"]), "does not lie in the folder"),
        (lambda rows: rows[0].update(masks_file_names=["masks/none.png", "x"]), "no mask"),
        (lambda rows: rows[0]["regions"][0].update(mask=7), "impossible"),
        (lambda rows: rows[0]["regions"][0].update(box=[1.0, 2.0]), "impossible"),
        (lambda rows: rows[0]["regions"][0].update(box=[0.0, 0.0, 70.0, 5.0]), "outside"),
        (lambda rows: rows[1].update(id="cat/a.jpg"), "two rows of one id"),
        (lambda rows: rows[1].update(id=None), "no id"),
    ],
)  # fmt: skip
def test_rows_that_were_tampered_with_are_refused(everything, tmp_path, change, told):
    export(everything, tmp_path / "set", "cc0-1.0")
    rewrite(tmp_path / "set", change)
    with pytest.raises(vt.VitreousError, match=told):
        shared(tmp_path / "set")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([[1.0, 2.0], [3.0]], "different lengths"),
        ([], "empty"),
        ([[float("nan")]], "not finite"),
        ([None], "different"),
    ],
)
def test_a_human_map_that_is_no_grid_is_refused_when_it_is_read(everything, tmp_path, values, told):
    export(everything, tmp_path / "set", "cc0-1.0")
    rewrite(tmp_path / "set", lambda rows: rows[0]["human"][0].update(values=values))
    with pytest.raises(vt.VitreousError, match=told):
        shared(tmp_path / "set")[0].human[0].read()


def test_another_table_another_layout_and_no_table_are_refused(everything, tmp_path):
    with pytest.raises(vt.VitreousError, match=r"metadata\.parquet"):
        shared(tmp_path)
    path = tmp_path / "set" / "metadata.parquet"
    export(everything, tmp_path / "set", "cc0-1.0")
    table = parquet.read_table(path)
    facts = json.loads(table.schema.metadata[b"vitreous"])
    parquet.write_table(table.replace_schema_metadata({"vitreous": json.dumps(facts | {"layout": 9})}), path)
    with pytest.raises(vt.VitreousError, match="layout"):
        shared(tmp_path / "set")
    parquet.write_table(table.drop_columns(["human"]), path)
    with pytest.raises(vt.VitreousError, match="human"):
        shared(tmp_path / "set")
    path.write_bytes(b"PAR1 not at all PAR1")
    with pytest.raises(vt.VitreousError, match="no valid Parquet"):
        shared(tmp_path / "set")
