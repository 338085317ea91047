"""transformers: folders and hub repositories, opened by the library's own loading code, without a network."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from vitreous.core.errors import HubError, InputError, UnsafeWeightsError, WeightsError, WeightsMismatchError
from vitreous.vit.families import Request, huggingface
from vitreous.vit.families.huggingface_preprocessing import read

from .conftest import COMMIT, put, same_weights, tiny_vit_config


def images(side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(5))


def saved(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


# -- folders ----------------------------------------------------------------------------------------------------


def test_folder(hf_saved, hf_model, capfd):
    built = huggingface.build(Request(str(hf_saved)))
    assert same_weights(built.model, hf_model)
    assert not built.model.training
    assert built.labels == ("cat", "dog", "hen")
    assert built.source == "folder tiny-vit"
    assert built.outputs == "classes"
    assert built.warnings == ()
    assert built.preprocessing.size == (32, 32)
    assert built.preprocessing.mean == (0.5, 0.5, 0.5)
    assert built.preprocessing.guessed == ()
    assert capfd.readouterr() == ("", ""), "no report, no progress bar"


def test_the_library_is_as_talkative_as_before(hf_saved):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    huggingface.build(Request(str(hf_saved)))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_folder_with_random_weights(hf_saved, hf_model):
    built = huggingface.build(Request(str(hf_saved), "random"))
    assert built.source == "random initialisation"
    assert not same_weights(built.model, hf_model)


def test_folder_in_shards(hf_saved, hf_model, copied):
    folder = copied(hf_saved)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    for part, name in enumerate(names):
        save_file(
            {key: tensor for place, (key, tensor) in enumerate(tensors.items()) if place % 2 == part},
            folder / name,
        )
    table = {key: names[place % 2] for place, key in enumerate(tensors)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": table}))
    assert same_weights(huggingface.build(Request(str(folder))).model, hf_model)
    (folder / names[1]).unlink()
    with pytest.raises(WeightsError, match=r"model-00002-of-00002.safetensors does not exist"):
        huggingface.build(Request(str(folder)))
    for wrong in ({"a": "../../elsewhere.safetensors"}, {"a": "weights.bin"}, {"a": 7}, {}, ["x"]):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(WeightsError, match="names no safetensors files beside it"):
            huggingface.build(Request(str(folder)))


def test_folder_without_safetensors(hf_saved, hf_model, copied):
    folder = copied(hf_saved)
    (folder / "model.safetensors").unlink()
    torch.save(hf_model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(UnsafeWeightsError, match="save_pretrained where you trust it"):
        huggingface.build(Request(str(folder)))


def test_half_precision_is_cast_and_told(hf_model, tmp_path):
    import copy

    folder = saved(copy.deepcopy(hf_model).half(), tmp_path / "half")
    built = huggingface.build(Request(str(folder)))
    assert {parameter.dtype for parameter in built.model.parameters()} == {torch.float32}
    assert built.warnings == ("folder half holds float16 numbers; they were cast to the model's float32.",)
    assert same_weights(built.model, copy.deepcopy(hf_model).half().float())


def test_nan_in_a_folder(hf_saved, copied):
    folder = copied(hf_saved)
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"][1] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"'classifier.bias' holds NaN or infinity \(1 of 3 numbers\)"):
        huggingface.build(Request(str(folder)))


def test_tensor_missing_in_a_folder(hf_saved, copied):
    """The library logs it, and goes on with random numbers."""
    folder = copied(hf_saved)
    tensors = load_file(folder / "model.safetensors")
    del tensors["vit.layernorm.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"1 missing \(vit.layernorm.weight\)"):
        huggingface.build(Request(str(folder)))


# -- local files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapping", ["", "module.", "model."])
@pytest.mark.parametrize("names", ["of save_pretrained", "of the module"])
def test_local_file(hf_saved, hf_model, tmp_path, names, wrapping):
    """The two differ in transformers 5: save_pretrained writes the names of version 4."""
    tensors = load_file(hf_saved / "model.safetensors") if names == "of save_pretrained" else hf_model.state_dict()
    torch.save({wrapping + name: tensor for name, tensor in tensors.items()}, tmp_path / "w.pth")
    built = huggingface.build(Request(str(hf_saved), str(tmp_path / "w.pth")))
    assert same_weights(built.model, hf_model)
    assert built.source == "file w.pth"


def test_local_file_with_other_classes_is_explained_and_the_advice_works(hf_saved, tmp_path):
    torch.manual_seed(1)
    other = transformers.ViTForImageClassification(tiny_vit_config(5)).eval()
    torch.save(other.state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsMismatchError, match=r"head of 5 classes.*built with 3.*num_classes=5"):
        huggingface.build(Request(str(hf_saved), str(tmp_path / "w.pth")))
    built = huggingface.build(Request(str(hf_saved), str(tmp_path / "w.pth"), num_classes=5))
    assert same_weights(built.model, other)
    assert built.labels is None, "the published names are not this head's"
    assert built.warnings == ()


def test_local_file_without_a_head(hf_saved, hf_model, tmp_path):
    body = {name: tensor for name, tensor in hf_model.state_dict().items() if "classifier" not in name}
    torch.save(body, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatchError, match=r"no head.*num_classes=0"):
        huggingface.build(Request(str(hf_saved), str(tmp_path / "w.pth")))
    built = huggingface.build(Request(str(hf_saved), str(tmp_path / "w.pth"), num_classes=0))
    assert built.outputs == "embedding"
    assert built.model(images()).logits.shape == (2, 16)


def test_quantised_numbers(hf_saved, copied):
    """The library would cast them, and their scales would be lost."""
    folder = copied(hf_saved)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("query.weight"))
    tensors[name] = (tensors[name] * 100).to(torch.int8)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"query.weight' holds int8.*float32"):
        huggingface.build(Request(str(folder)))


def test_leftover_of_older_versions(hf_saved, hf_model, tmp_path):
    tensors = {**load_file(hf_saved / "model.safetensors"), "vit.embeddings.position_ids": torch.arange(17)[None]}
    save_file(tensors, tmp_path / "w.safetensors")
    assert same_weights(huggingface.build(Request(str(hf_saved), str(tmp_path / "w.safetensors"))).model, hf_model)


def test_published_head_left_out(hf_saved, hf_model):
    built = huggingface.build(Request(str(hf_saved), num_classes=0))
    assert (built.outputs, built.labels, built.warnings) == ("embedding", None, ())
    assert same_weights(built.model.vit, hf_model.vit)


def test_new_head_is_told(hf_saved, hf_model):
    built = huggingface.build(Request(str(hf_saved), num_classes=4))
    assert built.warnings == ("num_classes=4 is not what the published weights have: the head is new and random.",)
    assert built.labels is None
    assert same_weights(built.model.vit, hf_model.vit)


# -- the hub, out of the cache ----------------------------------------------------------------------------------


def test_repository_in_the_cache(cache, hf_saved, hf_model):
    put(cache, "org/tiny-vit", hf_saved)
    built = huggingface.build(Request("org/tiny-vit"))
    assert same_weights(built.model, hf_model)
    assert built.source == f"org/tiny-vit@{COMMIT}"
    assert built.preprocessing.guessed == ()


def test_revision(cache, hf_saved, hf_model, tmp_path):
    put(
        cache,
        "org/tiny-vit",
        saved(transformers.ViTForImageClassification(tiny_vit_config(5)), tmp_path / "new"),
    )
    put(cache, "org/tiny-vit", hf_saved, commit="a" * 40, revision="v1")
    for revision in ("v1", "a" * 40):
        built = huggingface.build(Request(f"org/tiny-vit@{revision}"))
        assert built.source == f"org/tiny-vit@{'a' * 40}"
        assert same_weights(built.model, hf_model)


def test_repository_through_a_hub(hub, hf_saved, hf_model):
    """Over HTTP: the settings are fetched and judged first, the weights afterwards."""
    hub.folder = hf_saved
    built = huggingface.build(Request("org/tiny"))
    assert same_weights(built.model, hf_model)
    assert built.source == f"org/tiny@{COMMIT}"
    fetched = [asked.rpartition("/")[2] for asked in hub.asked if asked.startswith("GET") and "/resolve/" in asked]
    assert fetched == ["config.json", "preprocessor_config.json", "model.safetensors"]


def test_hostile_repository_is_left_before_its_weights_are_fetched(hub, hf_saved, copied):
    hub.folder = copied(hf_saved)
    config = json.loads((hub.folder / "config.json").read_text()) | {"attn_implementation": "attacker/kernel"}
    (hub.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsafeWeightsError):
        huggingface.build(Request("org/tiny"))
    assert not any("safetensors" in asked for asked in hub.asked)


def test_repository_whose_weights_were_never_finished(cache, hf_saved):
    snapshot = put(cache, "org/tiny-vit", hf_saved)
    (snapshot / "model.safetensors").resolve().unlink()
    with pytest.raises(HubError, match=r"none of model.safetensors.*incomplete"):
        huggingface.build(Request("org/tiny-vit"))


def test_repository_with_damaged_weights(cache, hf_saved):
    blob = (put(cache, "org/tiny-vit", hf_saved) / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"no valid safetensors file.*Delete it"):
        huggingface.build(Request("org/tiny-vit"))


def test_repository_without_a_config(cache, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("x")
    put(cache, "org/empty", tmp_path / "empty")
    with pytest.raises(HubError, match=r"none of config.json"):
        huggingface.build(Request("org/empty"))


def test_repository_with_pickles_alone(cache, hf_saved, copied):
    folder = copied(hf_saved)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    put(cache, "org/old", folder)
    with pytest.raises(HubError, match=r"none of model.safetensors"):
        huggingface.build(Request("org/old"))


# -- image-text models ------------------------------------------------------------------------------------------

TOWER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT = {**TOWER, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}


@pytest.mark.parametrize("name", ["CLIP", "Siglip"])
@pytest.mark.filterwarnings("ignore")
def test_vision_tower_of_an_image_text_model(name, tmp_path):
    config = getattr(transformers, f"{name}Config")(
        text_config=TEXT, vision_config={**TOWER, "image_size": 32, "patch_size": 8}
    )
    torch.manual_seed(0)
    whole = getattr(transformers, f"{name}Model")(config).eval()
    folder = saved(whole, tmp_path / "two-towers")
    built = huggingface.build(Request(str(folder)))
    assert built.outputs == "embedding"
    assert built.labels is None
    assert built.warnings == ()
    with torch.no_grad():
        expected = whole.get_image_features(pixel_values=images())
        found = built.model(images())
    expected = getattr(expected, "pooler_output", expected)
    torch.testing.assert_close(found.image_embeds if name == "CLIP" else found.pooler_output, expected)
    with pytest.raises(InputError, match="has no classes"):
        huggingface.build(Request(str(folder), num_classes=3))


# -- image size -------------------------------------------------------------------------------------------------


def test_other_image_size(hf_saved, hf_model):
    built = huggingface.build(Request(str(hf_saved), image_size=(48, 64)))
    assert built.preprocessing.size == (48, 64)
    assert "position embeddings are interpolated" in built.warnings[0]
    inputs = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = hf_model(inputs, interpolate_pos_encoding=True).logits
        torch.testing.assert_close(built.call(built.model, inputs).logits, expected)


# -- labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({0: "cat", 1: "dog"}, ("cat", "dog")),
        ({1: "dog", 0: "cat"}, ("cat", "dog")),
        ({0: "LABEL_0", 1: "LABEL_1"}, None),
        ({0: "LABEL_0", 1: "dog"}, ("LABEL_0", "dog")),
        ({0: "cat", 2: "dog"}, None),
    ],
)
def test_labels(names, expected):
    model = transformers.ViTForImageClassification(tiny_vit_config(2))
    model.config.id2label = names
    assert huggingface.describe(model).labels == expected


# -- preprocessing, against the library's own processors ---------------------------------------------------------


def photograph(high: int = 40, wide: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (high, wide, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [100, 110, 120], "image_std": [50, 60, 70]},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
    ],
    ids=str,
)
def test_normalisation_is_the_processors(options):
    processor = transformers.ViTImageProcessor(do_resize=False, **options)
    photo = photograph()
    expected = processor(Image.fromarray(photo), return_tensors="pt")["pixel_values"]
    found = read(processor.to_dict(), 40).normalise(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)


def edges(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


@pytest.mark.parametrize(
    ("processor", "size", "crop_share"),
    [
        ({"size": 224}, (224, 224), 1.0),
        ({"size": {"height": 192, "width": 160}}, (192, 160), 1.0),
        ({"size": [192, 160]}, (192, 160), 1.0),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": True}, (224, 224), 0.875),
        ({"size": {"shortest_edge": 256}, "crop_size": edges(224), "do_center_crop": True}, (224, 224), 0.875),
        ({"size": edges(256), "crop_size": edges(224), "do_center_crop": True}, (224, 224), 0.875),
        ({"size": edges(96), "crop_size": edges(48), "do_center_crop": False}, (96, 96), 1.0),
        ({"size": {"shortest_edge": 224}}, (224, 224), 1.0),
        ({"size": 224, "do_resize": False}, (64, 64), 1.0),
        ({}, (64, 64), 1.0),
    ],
    ids=str,
)  # fmt: skip
def test_sizes(processor, size, crop_share):
    found = read({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, **processor}, 64)
    assert found.size == size
    assert found.crop_share == pytest.approx(crop_share)
    assert found.guessed == ()


@pytest.mark.parametrize("name", ["ViT", "DeiT", "Beit", "CLIP", "Bit", "Siglip"])
def test_size_is_what_the_processors_give(name):
    processor = getattr(transformers, f"{name}ImageProcessor")()
    given = processor(Image.fromarray(photograph(300, 300)), return_tensors="pt")["pixel_values"]
    assert read(processor.to_dict(), 64).size == tuple(given.shape[2:])


@pytest.mark.parametrize(
    ("number", "name"), [(0, "nearest"), (1, "lanczos"), (2, "bilinear"), (3, "bicubic"), (5, "bicubic")]
)
def test_resampling(number, name):
    assert read({"resample": number}, 64).interpolation == name


def test_what_nobody_states_is_guessed():
    assert read({}, None).guessed == ("size", "mean", "std")
    assert read({"image_mean": [0.5] * 3}, 64).guessed == ("std",)
    assert read({"do_normalize": False}, 64).guessed == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_mean": "grey"},
        {"image_mean": [0.5]},
        {"image_mean": [0.5, 0.5, None]},
        {"image_std": [0, 1, 1]},
        {"image_std": [float("nan"), 1, 1]},
        {"size": "large"},
        {"size": {"longest_edge": 224}},
        {"size": -3},
        {"size": [1, 2, 3]},
        {"size": True},
        {"rescale_factor": 0},
        {"rescale_factor": "1/255"},
        {"crop_size": None, "do_center_crop": True},
    ],
    ids=str,
)
def test_wrong_settings_of_a_processor(wrong):
    with pytest.raises(WeightsError, match=r"preprocessor_config.json"):
        read(wrong, 64)


def test_processor_within_a_larger_one(hf_saved, copied):
    """Newer versions save the image processor within the settings of a processor of text and image."""
    folder = copied(hf_saved)
    settings = json.loads((folder / "preprocessor_config.json").read_text()) | {"image_mean": [0.1, 0.2, 0.3]}
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings, "processor_class": "X"}))
    assert huggingface.build(Request(str(folder))).preprocessing.mean == (0.1, 0.2, 0.3)


def test_no_processor_is_guessed_and_recorded(hf_saved, copied):
    folder = copied(hf_saved)
    (folder / "preprocessor_config.json").unlink()
    found = huggingface.build(Request(str(folder))).preprocessing
    assert found.size == (32, 32)
    assert found.guessed == ("mean", "std")
