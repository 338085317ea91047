"""Inspecting an image: what is put together is what each analysis says alone, and what is left out is told."""

import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import vitreous as vt
from contracts.families import FAMILIES, random_images
from oracles.planted import BRIGHTEST, open_planted, planted_images
from vitreous._objects import check_names
from vitreous.analysis import (
    head_ablation,
    head_agreement,
    head_importance,
    head_numbers,
    logit_lens,
    read_priors,
    relate,
)
from vitreous.core.errors import ImageError, InputError, MethodNotApplicableError, OutputExistsError

EVERY = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def scenes():
    return vt.open_vit("bundled:scenes")


@pytest.fixture(scope="module")
def sample():
    return vt.worlds.scenes()[3]


@pytest.fixture(scope="module")
def inside(scenes, sample):
    (found,) = vt.inspect(scenes, sample.photo().image, draws=9)
    return found


@EVERY
def test_every_family_is_inspected_and_numbers_are_those_of_the_analyses(family):
    vit = FAMILIES[family].open()
    image = random_images(vit, 1)
    (found,) = vt.inspect(vit, image, 1, draws=3)
    with vit.trace(image, 1) as trace:
        expected = {
            **{name: value[0] for name, value in vars(head_numbers(trace)).items()},
            "importance": head_importance(trace)[0],
            "ablation": head_ablation(trace)[0],
            "isolation": head_agreement(trace).isolation[0],
        }
        reading = torch.stack([torch.einsum("n,hnm->hm", trace.reading[0], each[0]) for each in trace.attention])
        lens = logit_lens(trace).score[0]
        attention = torch.stack([each[0].mean(0) for each in trace.attention])
    for name, number in found.numbers.items():
        if name != "near":
            assert torch.allclose(number.values, expected[name].float(), atol=1e-4, equal_nan=True), name
    assert {"entropy", "near", "importance", "ablation"} <= found.numbers.keys()
    assert torch.allclose(found.readings, reading, atol=1e-5)
    assert torch.allclose(found.attention, attention, atol=1e-5)
    assert torch.allclose(found.lens.score[0].float(), lens.float(), atol=1e-3)
    json.dumps(found.record(), allow_nan=False)


@EVERY
def test_attention_read_by_rows_gives_the_same_numbers_and_tells_what_is_left_out(family):
    vit = FAMILIES[family].open()
    image = random_images(vit, 1)
    (whole,) = vt.inspect(vit, image, 0, objects={}, ablation=False)
    (rows,) = vt.inspect(vit, image, 0, objects={}, by_rows=True)
    assert {"entropy", "distance", "sink_mass"} <= rows.numbers.keys() <= whole.numbers.keys()
    for name, number in rows.numbers.items():
        assert torch.allclose(number.values, whole.numbers[name].values, atol=1e-4, rtol=1e-3, equal_nan=True), name
    assert torch.allclose(rows.readings, whole.readings, atol=1e-5)
    assert torch.allclose(rows.focus.spread, whole.focus.spread, rtol=1e-3, equal_nan=True)
    assert rows.attention is None
    assert rows.lens is None
    assert "read by rows" in " ".join(rows.left_out)
    assert "silenced" in " ".join(whole.left_out)


def test_objects_on_a_cropped_photograph_are_those_that_the_model_saw(scenes):
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 192, 3), dtype=np.uint8))
    objects = {"middle": (60.0, 20.0, 120.0, 80.0), "edge": (0.0, 0.0, 40.0, 96.0)}  # the crop takes the middle half
    (found,) = vt.inspect(scenes, wide, objects=objects, ablation=False, draws=0)
    assert found.objects == ("middle",)
    assert any("edge lies outside" in text for text in found.left_out)
    mask = torch.zeros(1, 96, 96, dtype=torch.bool)
    mask[0, 20:80, 12:72] = True
    with scenes.trace(found.image[None], None) as trace:
        (expected,) = relate(trace, [mask])
    assert torch.allclose(found.relations.attention, expected.attention)
    drawn = np.zeros((96, 192), dtype=bool)
    drawn[20:80, 60:120] = True
    (same,) = vt.inspect(scenes, wide, objects={"middle": drawn}, ablation=False, draws=0)
    assert torch.equal(same.relations.attention, found.relations.attention)


def test_a_mask_file_is_an_object(scenes, sample, tmp_path):
    mask = sample.masks()[0].inside
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "m.png")
    photo = sample.photo().image
    (one,) = vt.inspect(scenes, photo, objects={"target": tmp_path / "m.png"}, ablation=False, draws=5)
    (other,) = vt.inspect(scenes, photo, objects={"target": mask}, ablation=False, draws=5)
    assert torch.equal(one.relations.attention, other.relations.attention)
    assert one.dependence == other.dependence


@pytest.mark.parametrize(
    ("thing", "reason"),
    [((5, 5, 5, 9), "has no extent"), (np.zeros((3, 3)), "of shape"), (7, "of shape")],
)
def test_what_is_no_object_is_refused(scenes, sample, thing, reason):
    with pytest.raises(InputError, match=reason):
        vt.inspect(scenes, sample.photo().image, objects={"it": thing}, ablation=False)


def test_the_planted_patch_is_found_and_taking_it_away_costs_the_score():
    vit = open_planted()
    place = 7
    images, _ = planted_images(vit, [(place, 2)])
    (found,) = vt.inspect(vit, images, BRIGHTEST, draws=9)
    assert found.found
    assert found.objects
    (needed, *others) = found.dependence
    assert needed.patches >= 1
    assert needed.drop > 1.0
    assert needed.drop > needed.high
    assert all(abs(each.drop) < 1e-3 for each in others)
    reading = found.readings[0, 0, vit.prefix :]
    assert int(reading[: vit.grid[0] * vit.grid[1]].argmax()) == place
    assert float(found.numbers["ablation"].values[0, 0]) > 1.0  # the head that reads the brightest patch
    assert abs(float(found.numbers["ablation"].values[0, 1])) < 1e-4


def test_expectations_are_held_against_the_map_of_the_default_method(scenes, sample, tmp_path):
    (tmp_path / "p.yaml").write_text(
        "version: 1\npriors:\n"
        '  - {name: target, class: "*", where: {regions: [target]}, expect: most, reason: <b>the shape tells</b>}\n'
        '  - {name: rim, class: "*", where: {zone: border, width: 0.02}, expect: none}\n'
        "  - {name: other class, class: nonsense, where: {zone: centre}, expect: most}\n",
        encoding="utf-8",
    )
    photo, mask = sample.photo().image, sample.masks()[0].inside
    (found,) = vt.inspect(
        scenes, photo, objects={"target": mask}, priors=read_priors(tmp_path / "p.yaml"), ablation=False, draws=0
    )
    assert [each.prior for each in found.findings] == ["target", "rim"]
    (heatmap,) = vt.explain(scenes, photo)
    positive = np.clip(heatmap.relevance, 0, None)
    high, wide = scenes.patch
    shares = mask.reshape(scenes.grid[0], high, scenes.grid[1], wide).mean((1, 3))
    assert found.findings[0].share == pytest.approx(float((positive * shares).sum() / positive.sum()), abs=1e-3)
    page = found.page()
    assert "<b>the shape tells" not in page
    assert "the shape tells" in page


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, _tag, attributes):
        self.found += [value for name, value in attributes if name in {"src", "href", "action", "srcset"}]


def test_page_and_numbers_are_written_and_loads_nothing(inside, tmp_path):
    page, numbers = inside.save(tmp_path / "new" / "scene")
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    assert all(link.startswith(("#", "data:")) for link in links.found)
    record = json.loads(numbers.read_text(encoding="utf-8"))
    assert record["provenance"]["method"] == "inspect"
    assert len(record["heads"]["entropy"]["values"]) == inside.readings.shape[0]
    assert record["focus"]["rank_with_next"][0] == pytest.approx(float(inside.focus.rank[0, 0]))
    with pytest.raises(OutputExistsError):
        inside.save(tmp_path / "new" / "scene")
    inside.save(tmp_path / "new" / "scene", overwrite=True)


def test_page_says_the_numbers_that_were_measured(inside):
    page = inside.page()
    assert inside.provenance.weights_digest in page
    assert inside.provenance.target in page
    for each in inside.dependence:
        assert f"Without {inside.objects[each.object]}" in page
    assert "attends to" in page


def test_numbers_that_are_not_finite_are_none_in_the_record(scenes, sample):
    vit = FAMILIES["timm"].open()
    (found,) = vt.inspect(vit, random_images(vit, 1), 0, objects={}, ablation=False)
    record = found.record()
    flat = json.dumps(record, allow_nan=False)
    assert "NaN" not in flat
    assert record["relations"] is None
    assert math.isnan(float("nan"))


def test_a_bad_file_costs_its_own_result_alone(scenes, sample, tmp_path):
    sample.photo().image.save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    paths = [tmp_path / "bad.png", tmp_path / "good.png"]
    first, second = vt.inspect_each(scenes, paths, ablation=False, draws=0)
    assert isinstance(first, ImageError)
    assert isinstance(second, vt.Inspection)
    with pytest.raises(ImageError):
        vt.inspect(scenes, paths, ablation=False)


def test_arguments_that_do_not_fit_are_refused(scenes, sample):
    photo = sample.photo().image
    with pytest.raises(InputError, match="images is empty"):
        vt.inspect(scenes, [])
    with pytest.raises(InputError, match="objects is a list of 2"):
        vt.inspect(scenes, [photo], objects=[{}, {}])


def test_a_model_without_plain_attention_is_refused():
    import timm

    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, embed_dim=24, depths=(1, 1), num_heads=(1, 2), window_size=4, num_classes=4
    )  # fmt: skip
    with pytest.raises(MethodNotApplicableError, match="plain attention"):
        vt.inspect(vt.open_vit(swin.eval(), require_attention=False), torch.rand(1, 3, 32, 32))


def test_the_same_seed_gives_the_same_inspection(scenes, sample):
    photo = sample.photo().image
    records = [vt.inspect(scenes, photo, draws=5, seed=2)[0].record() for _ in range(2)]
    for record in records:
        record["provenance"]["seconds"] = 0
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ({"background": (0, 0, 9, 9)}, "stands for all that is no object"),
        ({"cup": ("a", 0, 9, 9)}, "is not four numbers"),
        ({"cup": np.full((96, 96), 0.01)}, "holds float64"),
    ],
)
def test_objects_that_say_nothing_are_refused(scenes, sample, objects, reason):
    with pytest.raises(InputError) as told:
        vt.inspect(scenes, sample.photo().image, objects=objects, ablation=False)
    assert reason in str(told.value)


@pytest.mark.parametrize("objects", [7, "cup", {1: (0, 0, 9, 9)}, {"": (0, 0, 9, 9)}])
def test_objects_have_names(objects):
    with pytest.raises(InputError, match="Give a mapping"):
        check_names(objects)


def test_why_an_object_is_not_there_is_told(scenes):
    large = Image.fromarray(np.zeros((960, 1920, 3), dtype=np.uint8) + 90)
    objects = {
        "beside": (0.0, 0.0, 100.0, 960.0),
        "pole": (900.2, 100.0, 901.4, 800.0),
        "empty": np.zeros((960, 1920), bool),
    }
    (found,) = vt.inspect(scenes, large, objects=objects, ablation=False, draws=0)
    assert found.objects == ()
    assert found.left_out[:3] == (
        "beside lies outside of what the model saw.",
        "pole is too thin: it covers the centre of no pixel of the model's input.",
        "empty covers the centre of no pixel of the photograph.",
    )


def test_draws_below_zero_are_refused(scenes, sample):
    with pytest.raises(InputError, match="draws=-1"):
        vt.inspect(scenes, sample.photo().image, draws=-1)


def test_what_it_was_asked_about_is_in_the_record(scenes, sample, tmp_path):
    (tmp_path / "p.yaml").write_text('priors: [{name: rim, class: "*", where: {zone: border}, expect: none}]')
    photo, mask = sample.photo().image, sample.masks()[0].inside
    (one,) = vt.inspect(scenes, photo, objects={"a": (1, 2, 30, 40), "b": mask}, ablation=False, draws=0)
    (other,) = vt.inspect(scenes, photo, priors=read_priors(tmp_path / "p.yaml"), ablation=False, draws=0)
    assert one.provenance.parameters["objects"]["a"] == [1, 2, 30, 40]
    assert one.provenance.parameters["objects"]["b"].startswith("mask, sha256 ")
    assert one.provenance.parameters["map"] is None
    assert other.provenance.parameters["map"] == "libragrad"
    assert "rim; sha256 " in other.provenance.parameters["priors"]
    assert other.provenance.forwards >= one.provenance.forwards + 2
    assert other.provenance.backwards > one.provenance.backwards


def test_expectations_about_no_class_of_the_model_are_told(scenes, sample, tmp_path):
    (tmp_path / "p.yaml").write_text("priors: [{name: it, class: sphree, where: {zone: centre}, expect: most}]")
    (found,) = vt.inspect(
        scenes, sample.photo().image, objects={}, priors=read_priors(tmp_path / "p.yaml"), ablation=False, draws=0
    )
    assert found.findings == ()
    told = " ".join(found.left_out)
    assert "No expectation is about the class" in told
    assert "'sphree', no class of the model" in told
    assert "sphere" in told


def test_a_contrast_is_about_the_class_that_it_is_for(scenes, sample, tmp_path):
    (tmp_path / "p.yaml").write_text(
        'priors: [{name: both, class: cube, where: {zone: centre}, expect: some}, {name: both, class: "*", where: {zone: centre}, expect: some}]'
    )
    (found,) = vt.inspect(
        scenes, sample.photo().image, vt.Contrast("cube", "sphere"), objects={}, ablation=False, draws=0,
        priors=read_priors(tmp_path / "p.yaml"),
    )  # fmt: skip
    assert found.explained == "cube"
    assert [each.class_name for each in found.findings] == ["cube", "*"]
    page = found.page()
    assert "Expectation: both (cube)" in page
    assert "Expectation: both<" in page
    assert "Probability of cube if" not in page or "minus" not in page.split("Probability of")[1][:60]
    assert "Probability and rank of cube if the model ended" in page


def test_padding_is_no_background(scenes):
    flat = Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 300, 3), dtype=np.uint8))
    (found,) = vt.inspect(scenes, flat, fit="pad", objects={"it": (120.0, 10.0, 160.0, 50.0)}, ablation=False, draws=40)
    rows = 96 * 60 / 300 / scenes.patch[0]  # of patches that show anything at all, about
    (needed,) = found.dependence
    assert 0 < needed.draws <= (np.ceil(rows) + 1) * scenes.grid[1]
    shown = 60 / 300
    assert float(found.relations.shares[-1]) < shown  # the background is what is shown, less the object
