"""What is known about a photograph, on the pixels of the model's input: held against pictures that went the same way."""

import numpy as np
import pytest
import torch
from PIL import Image

import vitreous as vt
from contracts.families import timm_vit
from vitreous._prepare import prepare
from vitreous.bench.data import open_data
from vitreous.bench.truth import class_of, truth_of
from vitreous.worlds import HumanMap, Mask, Region, Sample, Samples
from vitreous.worlds.rendered.truth import logit_drops

SIZES = [(60, 90), (90, 60), (24, 32), (200, 31)]


@pytest.fixture(scope="module")
def vit():
    plain = vt.Preprocessing(size=(24, 32), mean=(0.5,) * 3, std=(0.5,) * 3, crop_share=0.9)
    return vt.open_vit(timm_vit(), preprocessing=plain)


def drawn(size, box):
    """A photograph that is white inside a box and black outside, and its mask."""
    inside = np.zeros(size, bool)
    left, top, right, bottom = box
    inside[top:bottom, left:right] = True
    picture = Image.fromarray((np.stack([inside] * 3, -1) * 255).astype(np.uint8))
    return picture, inside


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_a_mask_lies_where_the_model_sees_the_object(vit, size, fit):
    height, width = size
    box = (width // 4, height // 3, 3 * width // 4, 3 * height // 4)
    picture, inside = drawn(size, box)
    region = Region("thing", tuple(map(float, box)), lambda: Mask(inside, np.zeros_like(inside)))
    sample = Sample("one", picture, regions=(region,))
    prepared = prepare(vit, [picture], 0, fit)
    truth = truth_of(vit, Samples("some", (sample,)), sample, prepared)
    seen = prepared.image[0]  # what the model is shown of it, resampled by Pillow
    sure = ((seen < 0.02) | (seen > 0.98)) & ~truth.void
    assert sure.sum() > 0.3 * (~truth.void).sum()
    assert torch.equal(truth.mask[sure], (seen > 0.5)[sure])
    left, top, right, bottom = truth.boxes[0]
    rows, columns = truth.mask.any(1).nonzero()[:, 0], truth.mask.any(0).nonzero()[:, 0]
    assert (left, right) == (pytest.approx(int(columns.min()), abs=1), pytest.approx(int(columns.max()) + 1, abs=1))
    assert (top, bottom) == (pytest.approx(int(rows.min()), abs=1), pytest.approx(int(rows.max()) + 1, abs=1))


def test_padding_and_undecided_pixels_are_void_and_never_inside(vit):
    picture, inside = drawn((20, 80), (0, 0, 80, 20))
    void = np.zeros_like(inside)
    void[:, :20] = True
    sample = Sample("one", picture, regions=(Region("thing", None, lambda: Mask(inside & ~void, void)),))
    truth = truth_of(vit, Samples("some", (sample,)), sample, prepare(vit, [picture], 0, "pad"))
    rows = truth.void[:, 20:].all(1)
    assert rows.sum() == 24 - 8  # 80 x 20 becomes 32 x 8
    assert bool(truth.void[:, :8].all())
    assert not bool((truth.mask & truth.void).any())
    assert truth.mask.sum() == 8 * 24


def test_what_the_crop_cuts_off_is_no_truth(vit):
    picture, inside = drawn((24, 400), (0, 0, 20, 24))
    region = Region("thing", (0.0, 0.0, 20.0, 24.0), lambda: Mask(inside, np.zeros_like(inside)))
    sample = Sample("one", picture, regions=(region,))
    truth = truth_of(vit, Samples("some", (sample,)), sample, prepare(vit, [picture], 0, "crop"))
    assert not bool(truth.mask.any())
    assert truth.boxes == ()


def test_a_human_map_covers_the_whole_photograph(vit):
    """A ramp over the photograph says at each pixel of the input where that lies on the photograph."""
    ramp = np.tile((np.arange(50) + 0.5) / 50, (10, 1)).astype(np.float32)
    picture, _ = drawn((60, 90), (0, 0, 1, 1))
    sample = Sample("one", picture, human=(HumanMap("looked", lambda: ramp),))
    prepared = prepare(vit, [picture], 0, "crop")
    truth = truth_of(vit, Samples("some", (sample,)), sample, prepared)
    expected = [prepared.frame.to_photo(column + 0.5, 0.0)[0] / 90 for column in range(32)]
    assert truth.human[0].values[7].tolist() == pytest.approx(expected, abs=1e-6)
    assert truth.human[0].name == "looked"


def test_classes_are_found_by_name_or_by_number_and_never_guessed():
    vit = vt.open_vit("bundled:scenes")
    picture, _ = drawn((96, 96), (0, 0, 1, 1))

    def asked(label, index, labels):
        return class_of(vit, Samples("some", (), labels), Sample("one", picture, label, index))

    assert asked(vit.labels[3], None, None) == 3
    assert asked(vit.labels[3], 7, ("other",) * 10) == 3  # the data set counts otherwise
    assert asked("zebra", 7, ("other",) * 10) is None
    assert asked("zebra", 7, None) == 7  # a standard list
    assert asked(None, 99, None) is None


def test_a_scene_gives_its_counterfactuals_as_the_model_sees_them():
    vit, scenes = vt.open_vit("bundled:scenes"), vt.worlds.scenes()
    sample = scenes[3]
    truth = truth_of(vit, scenes, sample, prepare(vit, [sample.image], 0, "crop"))
    scene = truth.scene()
    assert scene.removed.shape == (len(sample.things), 3, 96, 96)
    assert scene.names[0] == sample.label
    images = torch.cat([prepare(vit, [sample.image], 0, "crop").image[None], scene.removed])
    logits = vit.logits(images)[:, truth.label]
    assert (logits[0] - logits[1:]).tolist() == pytest.approx(logit_drops(vit, sample).tolist(), abs=1e-3)
    assert scene.coverage[0].numpy() == pytest.approx(sample.coverage(0))
    assert float(scene.coverage.sum(0).max()) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("text", "told"),
    [("scnes", "Did you mean 'scenes'"), ("folder", "needs root"), ("folder(rot='x')", "no parameter 'rot'"),
     ("folder:/nowhere/at/all", "nowhere"), ("masks:/nowhere", "needs masks")],
)  # fmt: skip
def test_data_sets_that_are_not_understood_are_refused(text, told):
    with pytest.raises(vt.VitreousError, match=told):
        open_data(text)


def test_data_sets_are_named_by_text(tmp_path):
    assert open_data("scenes").name == "scenes/packaged"
    (tmp_path / "cat").mkdir()
    drawn((20, 30), (0, 0, 5, 5))[0].save(tmp_path / "cat" / "a.png")
    for text in (f"folder:{tmp_path}", f"folder(root={str(tmp_path)!r})"):
        assert [sample.label for sample in open_data(text)] == ["cat"]
