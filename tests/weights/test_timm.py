"""timm: names, hub repositories and folders, opened by the library's own loading code, without a network."""

import json
import re

import numpy as np
import pytest
import timm as library
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from vitreous.core.errors import (
    HubError,
    UnknownNameError,
    UnsafeWeightsError,
    UnsupportedModelError,
    WeightsError,
    WeightsMismatchError,
)
from vitreous.vit.families import Request, timm

from .conftest import COMMIT, put, same_weights, tiny_timm

NAME = "test_vit"  # timm's own smallest: 64 wide, six blocks, 160 pixels, published for ImageNet


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """What the hub holds of timm's smallest model, with weights of ours."""
    torch.manual_seed(3)
    model = library.create_model(NAME).eval()
    folder = tmp_path_factory.mktemp("published") / "test_vit"
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder, model


# -- names, with the hub's file in the cache ---------------------------------------------------------------------


def test_name(cache, published, capfd):
    folder, model = published
    put(cache, "timm/test_vit.r160_in1k", folder)
    built = timm.build(Request(NAME))
    assert same_weights(built.model, model)
    assert not built.model.training
    assert built.source == f"timm/test_vit.r160_in1k@{COMMIT} (tag r160_in1k)"
    assert built.warnings == ()
    assert built.outputs == "classes"
    assert built.labels[0] == "tench, Tinca tinca"
    assert len(built.labels) == 1000
    assert built.preprocessing.size == (160, 160)
    assert same_weights(timm.build(Request("test_vit.r160_in1k")).model, model)
    assert capfd.readouterr().out == ""


def test_name_through_a_hub(hub, published):
    hub.folder = published[0]
    assert same_weights(timm.build(Request(NAME)).model, published[1])
    assert all("timm/test_vit.r160_in1k" in asked for asked in hub.asked)


def test_name_with_other_classes(cache, published):
    put(cache, "timm/test_vit.r160_in1k", published[0])
    built = timm.build(Request(NAME, num_classes=5))
    assert built.labels is None
    assert built.warnings == ("num_classes=5 is not what the published weights have: the head is new and random.",)
    assert same_weights(built.model.blocks, published[1].blocks)
    headless = timm.build(Request(NAME, num_classes=0))
    assert (headless.outputs, headless.warnings) == ("embedding", ())


def test_name_with_another_image_size(cache, published):
    put(cache, "timm/test_vit.r160_in1k", published[0])
    built = timm.build(Request(NAME, image_size=(96, 128)))
    assert built.preprocessing.size == (96, 128)
    assert "timm resampled the positions" in built.warnings[0]
    expected = resample_abs_pos_embed(published[1].pos_embed, (6, 8), (10, 10), num_prefix_tokens=1)
    torch.testing.assert_close(built.model.pos_embed.data, expected)


def test_pickle_at_the_hub_is_read_with_restrictions(cache, published, tmp_path):
    import os

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "went off"),)

    folder = tmp_path / "old"
    folder.mkdir()
    torch.save(published[1].state_dict(), folder / "pytorch_model.bin")
    snapshot = put(cache, "timm/test_vit.r160_in1k", folder)
    assert same_weights(timm.build(Request(NAME)).model, published[1])
    torch.save({"x": Bomb()}, (snapshot / "pytorch_model.bin").resolve())
    with pytest.raises(UnsafeWeightsError, match="could run code"):
        timm.build(Request(NAME))
    assert not (tmp_path / "went off").exists()


def test_safetensors_are_preferred(cache, published, tmp_path, copied):
    folder = copied(published[0])
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02never looked at")
    put(cache, "timm/test_vit.r160_in1k", folder)
    assert same_weights(timm.build(Request(NAME)).model, published[1])


def test_damaged_file_in_the_cache(cache, published):
    blob = (put(cache, "timm/test_vit.r160_in1k", published[0]) / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-4])
    with pytest.raises(WeightsError, match=r"no valid safetensors file.*Delete it"):
        timm.build(Request(NAME))


def test_nan_in_the_cache(cache, published, copied):
    folder = copied(published[0])
    tensors = {**published[1].state_dict(), "norm.weight": torch.full((64,), float("nan"))}
    save_file(tensors, folder / "model.safetensors")
    put(cache, "timm/test_vit.r160_in1k", folder)
    with pytest.raises(WeightsError, match=r"'norm.weight' holds NaN"):
        timm.build(Request(NAME))


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="Did you mean 'deit_tiny_patch16_224'"):
        timm.build(Request("deit_tiny_patch16_242", "random"))
    with pytest.raises(UnknownNameError, match=r"no weights 'r160_in2k'.*r160_in1k"):
        timm.build(Request("test_vit.r160_in2k", "random"))


def test_name_without_published_weights(cache):
    with pytest.raises(HubError, match="no published weights"):
        timm.build(Request("levit_256d"))


def test_options_that_a_model_does_not_take():
    with pytest.raises(UnsupportedModelError, match=r"cannot be built.*image_size"):
        timm.build(Request("resnet10t", "random", image_size=(64, 64)))


# -- local files ------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """Let a name of timm build a model of two blocks, so that files stay small."""
    real = library.create_model

    def create(name, **options):
        shape = {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": 32}
        return real(name, **{**shape, **options})

    monkeypatch.setattr(timm.timm, "create_model", create)


def opened(path, **options):
    return timm.build(Request("vit_tiny_patch16_224", str(path), **options))


def test_local_file(tiny, tmp_path, timm_model):
    save_file(timm_model.state_dict(), tmp_path / "w.safetensors")
    built = opened(tmp_path / "w.safetensors", num_classes=3)
    assert same_weights(built.model, timm_model)
    assert built.source == "file w.safetensors"
    assert built.labels is None
    assert built.warnings == ()


def test_other_class_count_and_its_advice(tiny, tmp_path, timm_model):
    save_file(timm_model.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"head of 3 classes.*built with 1000") as caught:
        opened(tmp_path / "w.safetensors")
    advice = int(re.search(r"num_classes=(\d+)", caught.value.fix).group(1))
    assert same_weights(opened(tmp_path / "w.safetensors", num_classes=advice).model, timm_model)


def test_positions_of_another_image_size(tiny, tmp_path):
    trained = tiny_timm(size=64)
    torch.save({"model": trained.state_dict()}, tmp_path / "w.pth")
    built = opened(tmp_path / "w.pth", num_classes=3)
    assert "made for another image size" in built.warnings[0]
    assert "pos_embed from (1, 65, 16) to (1, 17, 16)" in built.warnings[0]
    expected = resample_abs_pos_embed(trained.pos_embed, (4, 4), (8, 8), num_prefix_tokens=1)
    torch.testing.assert_close(built.model.pos_embed.data, expected)
    assert same_weights(built.model.blocks, trained.blocks)
    native = opened(tmp_path / "w.pth", num_classes=3, image_size=(64, 64))
    assert native.warnings == ()
    assert same_weights(native.model, trained)


def test_official_deit(tiny, tmp_path, timm_model):
    """The original checkpoints of DeiT keep the tensors under 'model'."""
    torch.save({"model": timm_model.state_dict()}, tmp_path / "deit.pth")
    assert same_weights(opened(tmp_path / "deit.pth", num_classes=3).model, timm_model)


def test_official_dinov2(tiny, tmp_path, monkeypatch):
    """The original format adds the class token's position in the model, and names registers and layer scales otherwise.

    Oracle: a token that enters the first block is the same sum of class token and position in both formats.
    """
    torch.manual_seed(4)
    shape = {"init_values": 1.0, "reg_tokens": 4, "no_embed_class": True}
    inner = timm.timm.create_model
    monkeypatch.setattr(timm.timm, "create_model", lambda name, **options: inner(name, **{**shape, **options}))
    ours = tiny_timm(classes=0, **shape)
    official = {name: tensor for name, tensor in ours.state_dict().items() if name not in {"pos_embed", "reg_token"}}
    official["cls_token"] = torch.randn(1, 1, 16)
    official["register_tokens"] = torch.randn(1, 4, 16)
    official["pos_embed"] = torch.randn(1, 17, 16)
    official["mask_token"] = torch.zeros(1, 16)
    torch.save(official, tmp_path / "dinov2.pth")
    built = opened(tmp_path / "dinov2.pth", num_classes=0)
    torch.testing.assert_close(built.model.cls_token.data, official["cls_token"] + official["pos_embed"][:, :1])
    torch.testing.assert_close(built.model.pos_embed.data, official["pos_embed"][:, 1:])
    torch.testing.assert_close(built.model.reg_token.data, official["register_tokens"])
    assert any("converted from another format" in warning for warning in built.warnings)


def test_headless_file(tiny, tmp_path):
    torch.save(tiny_timm(classes=0).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatchError, match="num_classes=0"):
        opened(tmp_path / "w.pth")
    assert opened(tmp_path / "w.pth", num_classes=0).outputs == "embedding"


def test_file_of_another_architecture(tiny, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatchError, match=r"missing.*Nothing was loaded"):
        opened(tmp_path / "w.pth")


# -- folders and repositories in timm's format -------------------------------------------------------------------


def test_folder(timm_saved, timm_model):
    for name in (str(timm_saved), f"local-dir:{timm_saved}"):
        built = timm.build(Request(name))
        assert same_weights(built.model, timm_model)
        assert built.labels == ("a", "b", "c")
        assert built.source == "folder tiny-timm"
        assert built.preprocessing.size == (32, 32)
        assert built.warnings == ()


def test_repository(cache, timm_saved, timm_model):
    put(cache, "org/tiny-timm", timm_saved)
    put(cache, "org/tiny-timm", timm_saved, commit="b" * 40, revision="v2")
    for name, commit in (("org/tiny-timm", COMMIT), ("org/tiny-timm@v2", "b" * 40)):
        built = timm.build(Request(f"hf-hub:{name}"))
        assert same_weights(built.model, timm_model)
        assert built.source == f"org/tiny-timm@{commit}"


def test_repository_through_a_hub(hub, timm_saved, timm_model):
    hub.folder = timm_saved
    assert same_weights(timm.build(Request("hf-hub:org/tiny")).model, timm_model)


def test_repository_without_weights(cache, timm_saved, copied):
    folder = copied(timm_saved)
    (folder / "model.safetensors").unlink()
    put(cache, "org/tiny-timm", folder)
    with pytest.raises(HubError, match=r"none of model.safetensors"):
        timm.build(Request("hf-hub:org/tiny-timm"))
    with pytest.raises(WeightsError, match=r"none of model.safetensors"):
        timm.build(Request(str(folder)))
    assert timm.build(Request(str(folder), "random")).source == "random initialisation"


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match=r"has no config.json"):
        timm.build(Request(f"local-dir:{tmp_path / 'absent'}"))


def test_folder_with_other_classes(timm_saved, timm_model):
    """timm itself drops the head without a word here."""
    built = timm.build(Request(str(timm_saved), num_classes=5))
    assert built.warnings == ("num_classes=5 is not what the published weights have: the head is new and random.",)
    assert built.labels is None
    assert same_weights(built.model.blocks, timm_model.blocks)
    assert built.model.head.out_features == 5


def test_folder_with_another_image_size(timm_saved, timm_model):
    built = timm.build(Request(str(timm_saved), image_size=(64, 64)))
    assert built.preprocessing.size == (64, 64)
    assert "another image size" in built.warnings[0]


def test_folder_whose_configuration_disagrees_with_its_weights(timm_saved, copied):
    folder = copied(timm_saved)
    config = json.loads((folder / "config.json").read_text())
    config["model_args"]["num_classes"] = 4
    config["num_classes"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsMismatchError, match=r"head of 3 classes"):
        timm.build(Request(str(folder)))


def test_folder_with_a_local_file(timm_saved, tmp_path):
    other = tiny_timm(seed=9)
    torch.save(other.state_dict(), tmp_path / "mine.pth")
    built = timm.build(Request(str(timm_saved), str(tmp_path / "mine.pth")))
    assert same_weights(built.model, other)
    assert built.source == "file mine.pth"


def test_folder_without_mean_is_guessed(timm_saved, copied):
    folder = copied(timm_saved)
    config = json.loads((folder / "config.json").read_text())
    del config["pretrained_cfg"]["mean"]
    (folder / "config.json").write_text(json.dumps(config))
    assert timm.build(Request(str(folder))).preprocessing.guessed == ("mean",)


# -- what a model says of itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "descriptions", "expected"),
    [
        (["a", "b", "c"], None, ("a", "b", "c")),
        ({"0": "a", "1": "b", "2": "c"}, None, ("a", "b", "c")),
        (
            ["n01", "n02", "n03"],
            {"n01": "tench", "n02": "goldfish", "n03": "shark"},
            ("tench", "goldfish", "shark"),
        ),
        ({"0": "a", "2": "c", "5": "d"}, None, None),
        (["a", "b"], None, None),
        (None, None, None),
    ],
)
def test_labels(timm_model, names, descriptions, expected):
    config = {
        **timm_model.pretrained_cfg,
        "num_classes": 3,
        "label_names": names,
        "label_descriptions": descriptions,
    }
    assert timm._labels(timm_model, config, 3) == expected


@pytest.mark.parametrize(
    ("classes", "first"), [(1000, "tench, Tinca tinca"), (21843, "organism, being"), (11821, "benthos")]
)
def test_published_labels(classes, first):
    """Of the data sets that timm publishes for, the number of classes tells which."""
    model = torch.nn.Module()
    model.num_classes = classes
    labels = timm._labels(model, {"num_classes": classes}, classes)
    assert labels[0] == first
    assert len(labels) == classes


@pytest.mark.parametrize(
    ("name", "classes", "outputs"),
    [
        ("vit_base_patch16_clip_224.openai", 512, "embedding"),
        ("vit_huge_patch14_clip_224.laion2b", 1024, "embedding"),
        ("vit_base_patch16_clip_224.openai_ft_in1k", 1000, "classes"),
        ("vit_base_patch16_224.augreg_in21k", 21843, "classes"),
        ("vit_small_patch14_dinov2.lvd142m", 0, "embedding"),
    ],
)
def test_outputs(name, classes, outputs):
    with torch.device("meta"):
        model = library.create_model(name)
    assert model.num_classes == classes
    assert timm.describe(model).outputs == outputs


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "vit_base_patch16_224.augreg_in21k", "beit_base_patch16_224"]
)
def test_preprocessing_is_the_librarys(name):
    """Against timm's own evaluation transform, on a photograph of the model's size."""
    from timm.data import create_transform, resolve_data_config

    with torch.device("meta"):
        model = library.create_model(name)
    found = timm.describe(model).preprocessing
    photo = np.random.default_rng(0).integers(0, 256, (*found.size, 3), dtype=np.uint8)
    config = resolve_data_config({}, model=model)
    expected = create_transform(**{**config, "crop_pct": 1.0})(Image.fromarray(photo))
    torch.testing.assert_close(found.normalise(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)[0], expected)
    assert found.crop_share == config["crop_pct"]
    assert found.interpolation == config["interpolation"]


def test_module_without_a_configuration_is_guessed():
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(img_size=(32, 48), patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=2)
    built = timm.describe(model)
    assert built.preprocessing.size == (32, 48)
    assert built.preprocessing.guessed == ("mean", "std")
    assert built.source == "the caller's own model"
