"""Configuration files of strangers: no code, no endless building, no allocation; each defect is a typed error."""

import json
import time

import pytest
import torch
from torch import nn

from vitreous.core.errors import (
    InputError,
    MemoryEstimateError,
    UnsafeWeightsError,
    VitreousError,
    WeightsError,
    WeightsMismatchError,
)
from vitreous.vit.families import Request, huggingface, timm
from vitreous.vit.families._config import read_config, sketch


@pytest.fixture
def change(copied):
    """Change a saved folder's config: change(folder, key=value, ...) -> a changed copy of the folder."""

    def changed(folder, file="config.json", **values):
        copy = copied(folder)
        content = json.loads((copy / file).read_text())
        content.update(values)
        (copy / file).write_text(json.dumps(content))
        return copy

    return changed


# -- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"not json", "not valid JSON"),
        (b'{"a": 1} trailing', "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[1, 2]", "holds a list, expected an object"),
        (b'"text"', "holds a str, expected an object"),
        (b"null", "holds a NoneType, expected an object"),
    ],
    ids=["empty", "cut", "text", "trailing", "deep", "bytes", "list", "str", "null"],
)
def test_malformed_json(tmp_path, content, told):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=told):
        read_config(tmp_path)


def test_no_config_at_all(tmp_path):
    with pytest.raises(WeightsError, match=r"has no config.json.*save_pretrained"):
        huggingface.build(Request(str(tmp_path)))


def test_giant_config(tmp_path, monkeypatch):
    from vitreous.vit.families import _config

    monkeypatch.setattr(_config, "MOST_BYTES", 10)
    (tmp_path / "config.json").write_text('{"a": "0123456789"}')
    with pytest.raises(WeightsError, match="has 19 bytes"):
        read_config(tmp_path)


HOSTILE = [
    {"_attn_implementation_internal": "attacker/kernel"},
    {"_attn_implementation_internal": "sdpa"},
    {"_attn_implementation": "attacker/kernel"},
    {"attn_implementation": "attacker/kernel"},
    {"attn_implementation": {"": "attacker/kernel"}},
    {"_experts_implementation_internal": "attacker/kernel"},
    {"vision_config": {"_attn_implementation_internal": "attacker/kernel"}},
    {"deep": [{"er": {"attn_implementation": "attacker/kernel"}}]},
    {"auto_map": {"AutoModel": "attacker/repository--modeling.Model"}},
    {"trust_remote_code": True},
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
@pytest.mark.parametrize("family", ["hf", "timm"])
def test_keys_that_run_code(change, hf_saved, timm_saved, hostile, family):
    """CVE-2026-4372 and its relatives: the value of such a key is fetched and imported as Python."""
    folder = change(hf_saved if family == "hf" else timm_saved, **hostile)
    build = huggingface.build if family == "hf" else timm.build
    with pytest.raises(UnsafeWeightsError, match="load code of its choice"):
        build(Request(str(folder)))


@pytest.mark.parametrize("harmless", [{"_attn_implementation_autoset": True}, {"attn_implementation": "sdpa"}])
def test_keys_of_older_versions_are_no_offence(change, hf_saved, harmless):
    huggingface.build(Request(str(change(hf_saved, **harmless))))


# -- sizes ------------------------------------------------------------------------------------------------------

ABSURD = [
    {"hidden_size": 10**9},
    {"hidden_size": 10**6, "num_attention_heads": 10},
    {"num_hidden_layers": 10**9},
    {"num_hidden_layers": 2000},
    {"intermediate_size": 10**18},
    {"image_size": 10**6, "patch_size": 1},
    {"num_labels": 10**9},
    {"num_channels": 10**6, "hidden_size": 10**6},
]


@pytest.mark.parametrize("absurd", ABSURD, ids=str)
def test_absurd_sizes_of_transformers(change, hf_saved, absurd):
    began = time.monotonic()
    with pytest.raises((WeightsError, MemoryEstimateError)):
        huggingface.build(Request(str(change(hf_saved, **absurd))))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("absurd", [{"embed_dim": 10**9}, {"embed_dim": 10**6}, {"depth": 10**9}, {"img_size": 10**6}])
def test_absurd_sizes_of_timm(change, timm_saved, absurd):
    saved = json.loads((timm_saved / "config.json").read_text())["model_args"]
    began = time.monotonic()
    with pytest.raises((WeightsError, MemoryEstimateError)):
        timm.build(Request(str(change(timm_saved, model_args={**saved, **absurd}))))
    assert time.monotonic() - began < 5


def test_absurd_image_size_of_a_known_model():
    with pytest.raises(VitreousError):
        timm.build(Request("vit_tiny_patch16_224", "random", image_size=(10**6, 10**6)))


def test_sketch_allocates_nothing_and_tells_the_size():
    with pytest.raises(MemoryEstimateError, match=r"weights of x need 3725\d\.\d GiB"):
        sketch(lambda: nn.Linear(10**5, 10**8, bias=False), "x")
    assert sketch(lambda: nn.Linear(3, 2), "x").weight.device == torch.device("meta")


# -- wrong types and names --------------------------------------------------------------------------------------

WRONG = [
    ({"architectures": None}, "architectures=None"),
    ({"architectures": []}, "expected a list with the name of a model class"),
    ({"architectures": "ViTForImageClassification"}, "expected a list"),
    ({"architectures": [7]}, "expected a list"),
    ({"architectures": ["NoSuchModel"]}, "'NoSuchModel': no model of transformers"),
    ({"architectures": ["AutoTokenizer"]}, "no model of transformers"),
    ({"architectures": ["pipeline"]}, "no model of transformers"),
    ({"architectures": ["__builtins__"]}, "no model of transformers"),
    ({"architectures": ["BertModel"]}, "cannot be built"),
    ({"model_type": "no-such-type"}, "cannot be built"),
    ({"model_type": 7}, "cannot be built"),
    ({"hidden_size": "sixteen"}, "cannot be built"),
    ({"hidden_size": [16]}, "cannot be built"),
    ({"hidden_size": -16}, "cannot be built"),
    ({"num_attention_heads": 0}, "cannot be built"),
    ({"num_attention_heads": 3}, "cannot be built|does not fit"),
    ({"patch_size": 0}, "cannot be built"),
    ({"hidden_act": "no_such_activation"}, "cannot be built"),
    ({"id2label": [1, 2]}, "cannot be built"),
    ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=str)
def test_wrong_values_of_transformers(change, hf_saved, wrong, told):
    with pytest.raises(WeightsError, match=told) as caught:
        huggingface.build(Request(str(change(hf_saved, **wrong))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"architecture": "vit_tiny_patch16_242"}, "Did you mean 'vit_tiny_patch16_224'"),
        ({"architecture": 7}, "names the architecture 7"),
        ({"architecture": None}, "names the architecture None"),
        ({"model_args": [1]}, "cannot be built"),
        ({"model_args": {"no_such_argument": 1}}, "cannot be built"),
        ({"model_args": {"pretrained": True}}, "cannot be built"),
        ({"model_args": {"embed_dim": "wide"}}, "cannot be built"),
        ({"pretrained_cfg": {"no_such_field": 1}}, "cannot be built"),
        ({"pretrained_cfg": {"mean": "grey"}}, "mean='grey', expected three numbers"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "is not positive"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "expected three numbers"),
    ],
    ids=str,
)
def test_wrong_values_of_timm(change, timm_saved, wrong, told):
    with pytest.raises(WeightsError, match=told):
        timm.build(Request(str(change(timm_saved, **wrong))))


def test_config_of_another_shape_than_its_weights(change, hf_saved, timm_saved):
    """The library would log it and go on with random numbers."""
    with pytest.raises(WeightsMismatchError, match="missing"):
        huggingface.build(Request(str(change(hf_saved, num_hidden_layers=3))))
    with pytest.raises(WeightsMismatchError, match="unexpected"):
        huggingface.build(Request(str(change(hf_saved, num_hidden_layers=1))))


@pytest.mark.parametrize(("key", "value"), [("num_classes", -1), ("image_size", (0, 32))])
def test_impossible_requests(key, value):
    with pytest.raises(InputError, match=key):
        Request("vit_tiny_patch16_224", **{key: value})
