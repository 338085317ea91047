"""open_clip: tags, hub repositories and folders of tiny image-text models, opened without a network."""

import json
import logging

import open_clip as library
import pytest
import torch
from open_clip import pretrained as table
from safetensors.torch import save_file

from vitreous.core.errors import HubError, InputError, UnknownNameError, UnsafeWeightsError, WeightsError
from vitreous.vit.families import Request, open_clip

from .conftest import COMMIT, put, same_weights

SHAPE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Teach the library two tiny models, `tiny` and `tiny-quickgelu`, with two tags; give a model with weights."""
    from open_clip import factory

    folder = tmp_path / "configs"
    folder.mkdir()
    for name, more in (("vitreous-tiny", {}), ("vitreous-tiny-quickgelu", {"quick_gelu": True})):
        (folder / f"{name}.json").write_text(json.dumps({**SHAPE, **more}))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    library.add_model_config(folder)
    tags = {
        "first": {"hf_hub": "org/tiny-clip/", "mean": MEAN, "std": STD, "interpolation": "bilinear"},
        "second": {
            "hf_hub": "org/other/weights.bin",
            "mean": (0.5,) * 3,
            "std": (0.5,) * 3,
            "quick_gelu": True,
        },
    }
    monkeypatch.setitem(table._PRETRAINED, "vitreous-tiny", tags)
    torch.manual_seed(2)
    return library.create_model("vitreous-tiny", load_weights=False).eval()


@pytest.fixture
def files(known, tmp_path):
    folder = tmp_path / "tiny-clip"
    folder.mkdir()
    save_file(known.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_default_tag(cache, known, files, capfd):
    put(cache, "org/tiny-clip", files)
    built = open_clip.build(Request("vitreous-tiny"))
    assert same_weights(built.model, known.visual)
    assert not built.model.training
    assert built.source == f"org/tiny-clip@{COMMIT} (tag first)"
    assert (built.outputs, built.labels, built.warnings) == ("embedding", None, ())
    assert built.preprocessing.mean == MEAN
    assert built.preprocessing.std == STD
    assert built.preprocessing.size == (32, 32)
    assert built.preprocessing.interpolation == "bilinear"
    assert built.preprocessing.guessed == ()
    assert capfd.readouterr() == ("", "")


def test_logging_of_the_process_is_left_alone(cache, known, files):
    """The library's bare logging.warning would set up the root logger for the whole process."""
    put(cache, "org/tiny-clip", files)
    before = list(logging.getLogger().handlers)
    open_clip.build(Request("vitreous-tiny"))
    assert logging.getLogger().handlers == before


def test_tag_trained_with_another_activation(cache, known, tmp_path):
    """The library only warns, and computes something that was not trained."""
    folder = tmp_path / "second"
    folder.mkdir()
    torch.save(known.state_dict(), folder / "weights.bin")
    put(cache, "org/other", folder)
    built = open_clip.build(Request("vitreous-tiny/second"))
    assert built.preprocessing.mean == (0.5, 0.5, 0.5)
    assert built.warnings == ("Tag 'second' was trained with QuickGELU, which was switched on.",)
    expected = library.create_model("vitreous-tiny-quickgelu", load_weights=False).eval()
    expected.load_state_dict(known.state_dict())
    inputs = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(built.model(inputs), expected.visual(inputs))
        assert not torch.allclose(built.model(inputs), known.visual(inputs))


def test_local_file_of_a_model_whose_tags_differ(known, files):
    built = open_clip.build(Request("vitreous-tiny", str(files / "open_clip_model.safetensors")))
    assert same_weights(built.model, known.visual)
    assert built.source == "file open_clip_model.safetensors"
    assert built.preprocessing.guessed == ("mean", "std")
    assert built.warnings == (
        "Some tags of vitreous-tiny were trained with QuickGELU, which is off: name yours as vitreous-tiny/TAG.",
    )
    named = open_clip.build(Request("vitreous-tiny/second", str(files / "open_clip_model.safetensors")))
    assert named.preprocessing.guessed == ()
    assert named.preprocessing.mean == (0.5, 0.5, 0.5)


def test_another_image_size(cache, known, files):
    put(cache, "org/tiny-clip", files)
    built = open_clip.build(Request("vitreous-tiny", image_size=(64, 64)))
    assert built.preprocessing.size == (64, 64)
    assert "resampled by the library: visual.positional_embedding from (17, 16) to (65, 16)" in built.warnings[0]
    assert torch.equal(built.model.positional_embedding[0], known.visual.positional_embedding[0])


def test_random_needs_no_network(known):
    assert open_clip.build(Request("vitreous-tiny", "random")).source == "random initialisation"


def test_names(known):
    with pytest.raises(UnknownNameError, match="Did you mean 'ViT-B-32'"):
        open_clip.build(Request("ViT-B-23"))
    with pytest.raises(UnknownNameError, match=r"no tag 'frist'.*Did you mean 'first'.*first, second"):
        open_clip.build(Request("vitreous-tiny/frist"))
    with pytest.raises(InputError, match="have no classes"):
        open_clip.build(Request("vitreous-tiny", "random", num_classes=3))


# -- folders and repositories ------------------------------------------------------------------------------------


@pytest.fixture
def folder(files):
    stated = {"model_cfg": SHAPE, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (files / "open_clip_config.json").write_text(json.dumps(stated))
    return files


def test_folder(known, folder):
    for name in (str(folder), f"local-dir:{folder}"):
        built = open_clip.build(Request(name))
        assert same_weights(built.model, known.visual)
        assert built.source == "folder tiny-clip"
        assert built.preprocessing.mean == MEAN


def test_repository(cache, known, folder):
    put(cache, "org/tiny-clip", folder, revision="v3")
    built = open_clip.build(Request("hf-hub:org/tiny-clip@v3"))
    assert same_weights(built.model, known.visual)
    assert built.source == f"org/tiny-clip@{COMMIT}"


def test_repository_through_a_hub(hub, known, folder):
    hub.folder = folder
    assert same_weights(open_clip.build(Request("hf-hub:org/tiny")).model, known.visual)


def test_folder_without_weights(folder):
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"none of open_clip_model.safetensors"):
        open_clip.build(Request(str(folder)))
    assert open_clip.build(Request(str(folder), "random")).source == "random initialisation"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_cfg": None}, "lacks an object model_cfg"),
        ({"model_cfg": [1]}, "lacks an object model_cfg"),
        ({"model_cfg": {}}, "cannot be built"),
        ({"model_cfg": {**SHAPE, "vision_cfg": {"layers": 10**9}}}, "layers=1000000000"),
        ({"model_cfg": {**SHAPE, "embed_dim": "wide"}}, "cannot be built"),
        ({"preprocess_cfg": {"mean": "grey"}}, "expected three numbers"),
        ({"preprocess_cfg": [1]}, "lacks an object"),
        ({"attn_implementation": "attacker/kernel"}, "load code of its choice"),
    ],
    ids=str,
)
def test_wrong_configurations(folder, change, told):
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(WeightsError, match=told):
        open_clip.build(Request(str(folder)))


def test_hostile_text_tower(cache, folder, tmp_path):
    """A text tower out of transformers brings a configuration of its own from another repository."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text(json.dumps({"attn_implementation": "attacker/kernel"}))
    put(cache, "org/text", tmp_path / "text")
    path = folder / "open_clip_config.json"
    stated = json.loads(path.read_text())
    stated["model_cfg"]["text_cfg"] = {"hf_model_name": "org/text"}
    path.write_text(json.dumps(stated))
    with pytest.raises(UnsafeWeightsError, match="load code of its choice"):
        open_clip.build(Request(str(folder)))
    stated["model_cfg"]["text_cfg"] = {"hf_model_name": "org/absent"}
    path.write_text(json.dumps(stated))
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        open_clip.build(Request(str(folder)))


@pytest.mark.parametrize(
    ("name", "mean"),
    [("ViT-B-32", (0.48145466, 0.4578275, 0.40821073)), ("ViT-B-16-SigLIP", (0.5, 0.5, 0.5))],
)
def test_the_real_table(name, mean):
    """The library's own attribute is CLIP's mean for SigLIP too, as long as it did not load the weights itself."""
    tower = torch.nn.Module()
    tower.image_size, tower.image_mean, tower.image_std = 224, (0.1, 0.1, 0.1), (0.1, 0.1, 0.1)
    entries = open_clip._entries(library, Request(name, "mine.pth"), "")
    found = open_clip._preprocessing(tower, entries)
    assert found.mean == pytest.approx(mean)
    assert found.guessed == ()
