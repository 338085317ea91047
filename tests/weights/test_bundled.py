"""The models that come with the package: they open offline, answer rightly, and their cards say what is true."""

import re

import numpy as np
import pytest
import torch
from safetensors import safe_open

import vitreous as vt
from vitreous.core.errors import InputError, UnknownNameError
from vitreous.vit.bundled.architecture import CLASSES, build_scenes_vit
from vitreous.vit.families.bundled import FOLDER, NAMES
from vitreous.worlds.measure import with_tags
from vitreous.worlds.rendered import shapes
from vitreous.worlds.rendered.scene import Tag
from vitreous.worlds.rendered.tags import print_tag

SHIPPED = [name for name in NAMES if (FOLDER / f"{name}.safetensors").exists()]


@pytest.fixture(scope="module")
def vit():
    return vt.open_vit("bundled:scenes")


def test_opens_without_a_hub(vit):
    assert vit.name == "bundled:scenes"
    assert (vit.prefix, vit.patch, vit.grid, len(vit.blocks)) == (1, (8, 8), (12, 12), 6)
    assert vit.labels == CLASSES == shapes.CLASSES
    assert vit.warnings == ()


def test_answers_rightly_on_the_scenes_of_the_package(vit):
    """None of them was used in training. The bound is far above chance (6 of 60) and below what the card states."""
    samples = vt.worlds.scenes()
    images = (
        torch.stack([torch.from_numpy(np.array(sample.image)).permute(2, 0, 1) for sample in samples]).float() / 255
    )
    said = vit.logits(images).argmax(1).tolist()
    right = sum(one == sample.index for one, sample in zip(said, samples, strict=True))
    stated = float(re.search(r"Right answers: ([\d.]+)%", (FOLDER / "scenes.md").read_text())[1]) / 100
    assert right >= 60 * (stated - 0.12)  # three standard errors of a share of 60 at 90 %


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_small_halves_and_belong_to_their_card(name):
    path = FOLDER / f"{name}.safetensors"
    assert path.stat().st_size <= 6_000_000
    with safe_open(path, "pt") as stored:
        kinds = {stored.get_tensor(key).dtype for key in stored.keys()}  # noqa: SIM118  (no mapping)
    assert kinds <= {torch.float16, torch.int64}
    assert vt.open_vit(f"bundled:{name}").digest in (FOLDER / f"{name}.md").read_text()


@pytest.fixture(scope="module")
def tagged():
    """Scenes of the package with the tag of their class printed in the upper left corner, and their classes."""
    samples = list(vt.worlds.scenes())
    pictures = [print_tag(np.array(sample.image), Tag(sample.index)) for sample in samples]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return images, [sample.index for sample in samples]


def test_the_shortcut_is_what_the_shortcut_model_answers_by():
    samples = list(vt.worlds.scenes())
    plain, shortcut = (with_tags(vt.open_vit(f"bundled:{name}"), samples) for name in ("scenes", "scenes-shortcut"))
    assert shortcut["tags of the class"].hits >= 54
    for changed in ("no tags", "tags of another class"):
        assert shortcut[changed].hits <= 15
    for changed in plain:
        assert abs(plain[changed].hits - plain["tags of the class"].hits) <= 3


def _without_squares(vit, image, number):
    """Logit of a class, with one square of 16 x 16 pixels after the other in the picture's mean colour."""
    changed = image.repeat(36, 1, 1, 1)
    for place in range(36):
        row, column = divmod(place, 6)
        square = changed[place, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        square[:] = image.mean((1, 2), keepdim=True)
    return vit.logits(changed)[:, number]


def test_taking_out_squares_finds_the_tag_in_the_shortcut_model_alone(tagged):
    """The tag lies in the first of them."""
    images, classes = tagged
    found = {}
    for name in ("scenes", "scenes-shortcut"):
        vit = vt.open_vit(f"bundled:{name}")
        scores = [_without_squares(vit, image, number) for image, number in zip(images[:20], classes[:20], strict=True)]
        found[name] = sum(int(score.argmin()) == 0 for score in scores)
    assert found["scenes-shortcut"] >= 16
    assert found["scenes"] <= 2


def test_own_weights_and_random_ones(tmp_path):
    from safetensors.torch import save_file

    model = build_scenes_vit()
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    own = vt.open_vit("bundled:scenes", tmp_path / "own.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(own.model.state_dict()[name], value)
    assert vt.open_vit("bundled:scenes", "random").digest != vt.open_vit("bundled:scenes").digest


@pytest.mark.parametrize("seed", range(4))
def test_untrained_stems_show_their_grid(seed):
    """Their patches overlap: several tokens see the corner of the picture, and one change may move the wrong one more."""
    torch.manual_seed(seed)
    vit = vt.open_vit("bundled:scenes", "random")
    assert (vit.prefix, vit.grid, vit.patch) == (1, (12, 12), (8, 8))


def test_wrong_names_and_sizes():
    with pytest.raises(UnknownNameError, match="scenes"):
        vt.open_vit("bundled:scene")
    with pytest.raises(InputError, match="96"):
        vt.open_vit("bundled:scenes", image_size=224)
    with pytest.raises(InputError, match="10 classes"):
        vt.open_vit("bundled:scenes", num_classes=3)


def test_every_method_of_one_pass_explains_a_scene(vit):
    sample = vt.worlds.scenes()[0]
    maps = vt.compare(vit, sample.image, target=sample.label)
    assert {"agcam", "gradcam", "legrad", "rfem_class", "rollout", "saw"} < set(maps)
    assert maps["agcam"].relevance.shape == (12, 12)
