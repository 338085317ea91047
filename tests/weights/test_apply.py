"""Matching tensors to a model: all of them or none, and every adaptation told."""

import re

import pytest
import torch
from torch import nn

from vitreous.core.digest import weights_digest
from vitreous.core.errors import WeightsError, WeightsMismatchError
from vitreous.vit.weights import apply_weights

from .conftest import same_weights


def network(classes: int = 3, seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    body = nn.ModuleDict(
        {"norm": nn.LayerNorm(width), "fc1": nn.Linear(width, width), "head": nn.Linear(width, classes)}
    )
    body.register_buffer("steps", torch.tensor(7))
    return body


def weights(**options) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network(seed=1, **options).state_dict().items()}


def refused(
    model: nn.Module,
    tensors: dict[str, torch.Tensor],
    kind: type[Exception] = WeightsMismatchError,
    **options,
):
    """Apply, expect the refusal, and check that not a bit of the model changed."""
    before = weights_digest(model)
    with pytest.raises(kind) as caught:
        apply_weights(model, tensors, "w.pth", **options)
    assert weights_digest(model) == before
    return str(caught.value)


def test_everything_fits():
    model = network()
    assert apply_weights(model, weights(), "w.pth") == ()
    assert same_weights(model, network(seed=1))


def test_missing_and_unexpected_names():
    tensors = weights()
    del tensors["fc1.weight"]
    tensors["fc9.weight"] = torch.zeros(1)
    told = refused(network(), tensors)
    assert "1 missing (fc1.weight)" in told
    assert "1 unexpected (fc9.weight)" in told
    assert "Nothing was loaded" in told


def test_the_first_ten_are_printed():
    tensors = weights() | {f"extra{index:02d}": torch.zeros(1) for index in range(12)}
    told = refused(network(), tensors)
    assert "12 unexpected" in told
    assert re.findall(r"extra\d\d", told) == [f"extra{index:02d}" for index in range(10)]
    assert "extra09, …" in told


def test_shapes_are_told():
    told = refused(network(), weights(width=5))
    assert "fc1.weight: (5, 5) instead of (4, 4)" in told


def test_other_class_count_is_explained_and_the_advice_works():
    told = refused(network(classes=3), weights(classes=7))
    assert "head of 7 classes" in told
    assert "built with 3" in told
    advice = int(re.search(r"num_classes=(\d+)", told).group(1))
    assert apply_weights(network(classes=advice), weights(classes=7), "w.pth") == ()


def test_wider_layer_is_not_taken_for_a_head():
    tensors = weights()
    tensors["norm.weight"] = torch.ones(9)
    assert "num_classes" not in refused(network(), tensors)


def test_headless_weights_and_weights_with_a_head_too_many():
    tensors = weights()
    del tensors["head.weight"], tensors["head.bias"]
    assert "num_classes=0" in refused(network(), tensors)
    headless = network()
    del headless["head"]
    assert "num_classes set to its classes" in refused(headless, weights())


@pytest.mark.parametrize(
    "wrapping", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "module.model.", "backbone."]
)
def test_prefix_of_a_wrapper_is_removed(wrapping):
    model = network()
    assert apply_weights(model, {wrapping + name: tensor for name, tensor in weights().items()}, "w.pth") == ()
    assert same_weights(model, network(seed=1))


def test_tensors_beside_the_model_are_left_out_and_told():
    tensors = {f"net.vit.{name}": tensor for name, tensor in weights().items()}
    tensors |= {"loss.weight": torch.ones(2), "net.other": torch.ones(2)}
    model = network()
    notes = apply_weights(model, tensors, "w.ckpt")
    assert same_weights(model, network(seed=1))
    assert len(notes) == 1
    assert "2 tensors outside 'net.vit.' were left out (loss.weight, net.other)" in notes[0]


def test_two_models_in_one_file():
    tensors = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in weights().items()}
    assert "'student.' and 'teacher.'" in refused(network(), tensors)


def test_prefix_and_other_class_count():
    told = refused(network(classes=3), {f"module.{name}": tensor for name, tensor in weights(classes=7).items()})
    assert "num_classes=7" in told


@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_is_cast_and_told(given):
    expected = network(seed=1).to(given).float()
    tensors = {name: tensor.to(given) if tensor.is_floating_point() else tensor for name, tensor in weights().items()}
    model = network()
    notes = apply_weights(model, tensors, "w.pth")
    assert same_weights(model, expected)
    assert notes == (f"w.pth holds {str(given).split('.')[1]} numbers; they were cast to the model's float32.",)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_numbers_of_another_kind(kind):
    tensors = weights()
    tensors["fc1.weight"] = tensors["fc1.weight"].to(kind)
    told = refused(network(), tensors)
    assert "'fc1.weight' holds" in told
    assert "float32" in told
    assert "quantised" in told


def test_floats_for_a_whole_number():
    tensors = weights()
    tensors["steps"] = torch.tensor(7.0)
    assert "'steps' holds float32, and the model wants int64" in refused(network(), tensors)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(value):
    tensors = weights()
    tensors["norm.bias"][2] = value
    told = refused(network(), tensors, WeightsError)
    assert "'norm.bias' holds NaN or infinity (1 of 4 numbers)" in told


def test_a_mask_may_be_infinite():
    model = nn.Module()
    model.register_buffer("attn_mask", torch.zeros(2))
    apply_weights(model, {"attn_mask": torch.tensor([0.0, -float("inf")])}, "w.pth")
    assert model.attn_mask.tolist() == [0.0, -float("inf")]


def test_fresh_modules_keep_their_numbers():
    model = network(classes=5)
    head = model["head"].weight.clone()
    apply_weights(model, weights(classes=3), "w.pth", fresh=("head.",))
    assert torch.equal(model["head"].weight, head)
    assert torch.equal(model["fc1"].weight, network(seed=1)["fc1"].weight)


def test_conversion_is_used_only_where_it_helps_and_is_told():
    def convert(tensors, model):
        return {name.replace("old_", ""): tensor for name, tensor in tensors.items()}

    def never(tensors, model):
        raise AssertionError("the tensors fit as they are")

    def wrong(tensors, model):
        raise KeyError("pos_embed")

    model = network()
    assert apply_weights(model, weights(), "w.pth", convert=never) == ()
    old = {f"old_{name}": tensor for name, tensor in weights().items()}
    notes = apply_weights(model, old, "w.pth", convert=convert)
    assert same_weights(model, network(seed=1))
    assert len(notes) == 1
    assert "converted from another format by the library (7 names changed)" in notes[0]
    assert "7 missing" in refused(network(), old, convert=wrong)
