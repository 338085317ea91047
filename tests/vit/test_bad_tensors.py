"""Inputs that a model cannot use: one error that says what was wrong, what was expected and what to do.

Items 14 to 21 of the robustness list, and the questions that a model cannot be asked. A CPU image for a model on CUDA (19)
is moved to the model; here that is seen for number types and layouts. Blank maps (20) belong to `show`.
"""

import functools

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from watched import images_of, maps, preprocessing, require_same_maps

import vitreous as vt
from contracts.families import WIDE, scramble, timm_vit
from vitreous.core.errors import InputError, NonFiniteError, TargetError, VitreousError
from vitreous.core.target import resolve_target

LABELS = ["cat, tabby", "dog", "crane", "crane", "emu", "frog", "gnu"]


@functools.cache
def vit_of() -> vt.Vit:
    return vt.open_vit(scramble(timm_vit()), preprocessing=preprocessing(WIDE), labels=LABELS)


def one_error(kind: type[VitreousError], code: str, images: object, *parts: str, **options: object) -> None:
    """Explaining raises exactly this kind of error, its text holds all parts, and nothing runs on for the others."""
    with pytest.raises(VitreousError) as caught:
        vt.explain(vit_of(), images, "rollout", **options)
    assert type(caught.value) is kind
    assert caught.value.code == code
    text = str(caught.value)
    assert text.startswith(f"{code}: ")
    assert all(part in text for part in parts), text


GOOD = images_of(WIDE, 2)


def changed(place: tuple[int, ...], value: float) -> Tensor:
    images = GOOD.clone()
    images[place] = value
    return images


NEGATIVE = (GOOD - 0.5) / 0.25
BAD_IMAGES = {
    "NaN": (changed((1, 2, 3, 4), float("nan")), ("NaN or infinity", "Mend the image")),
    "infinity": (changed((0, 0, 0, 0), float("inf")), ("NaN or infinity",)),
    "0 to 255": (GOOD * 255, ("expected [0, 1]", "Divide by 255")),
    "bytes": ((GOOD * 255).byte(), ("torch.uint8", "Divide by 255")),
    "integers": ((GOOD * 255).int(), ("torch.int32", "Divide by 255")),
    "truth values": (GOOD > 0.5, ("torch.bool",)),
    "normalised already": (NEGATIVE, ("expected [0, 1]", "normalised already")),
    "one channel": (GOOD[:, :1], ("(2, 1, 24, 32)", "(b, 3, H, W)")),
    "four channels": (GOOD[:, [0, 1, 2, 0]], ("(2, 4, 24, 32)",)),
    "channels last": (GOOD.permute(0, 2, 3, 1), ("(2, 24, 32, 3)",)),
    "no batch": (GOOD[0], ("(3, 24, 32)", "(b, 3, H, W)")),
    "five axes": (GOOD[None], ("(1, 2, 3, 24, 32)",)),
    "empty batch": (GOOD[:0], ("empty",)),
    "no pixels": (GOOD[..., :0], ("(24, 0)",)),
    "another size": (GOOD[..., :24], ("(24, 24)", "(24, 32)")),
    "turned": (GOOD.transpose(2, 3), ("(32, 24)", "(24, 32)")),
    "complex": (GOOD.to(torch.complex64), ("torch.complex64",)),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images(name):
    images, parts = BAD_IMAGES[name]
    one_error(InputError, "VX-E120", images, *parts)


BAD_TARGETS = {
    "too large": (7, ("target=7", "0 to 6")),
    "negative": (-1, ("target=-1", "0 to 6")),
    "truth value": (True, ("bool", "class index")),
    "unknown name": ("dgo", ("'dgo'", "'dog'")),
    "ambiguous name": ("crane", ("2 classes", "crane (2), crane (3)")),
    "contrast with an unknown": (vt.Contrast("dog", 9), ("target=9",)),
    "one of a list": ([0, 9], ("target=9",)),
    "mixed": (["embedding", 1], ("mixes",)),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_targets(name):
    target, parts = BAD_TARGETS[name]
    one_error(TargetError, "VX-E400", GOOD, *parts, target=target)


@pytest.mark.parametrize("target", [[0], [0, 1, 2], []])
def test_targets_of_the_wrong_length(target):
    with pytest.raises((InputError, TargetError), match=f"list of {len(target)} for 2 images"):
        vt.explain(vit_of(), GOOD, "rollout", target=target)


def test_a_name_for_a_model_without_names():
    vit = vt.open_vit(scramble(timm_vit()), preprocessing=preprocessing(WIDE))
    with pytest.raises(TargetError, match=r"no class names.*labels="):
        vt.explain(vit, GOOD, "rollout", target="dog")


def test_the_largest_number_of_an_embedding_is_no_class():
    model = scramble(timm_vit())
    model.reset_classifier(0)
    vit = vt.open_vit(model, preprocessing=preprocessing(WIDE))
    assert not vit.has_classes
    with pytest.raises(TargetError, match="embedding of 24 numbers"):
        vt.explain(vit, GOOD, "generic_attention")
    found = vt.explain(vit, GOOD, "generic_attention", target="embedding")
    assert all(map_.relevance.max() > 0 for map_ in found)


class _Spoilt(nn.Module):
    """A model whose output is not finite for bright images."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.inner = scramble(timm_vit())
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mean((1, 2, 3)) > 1
        return torch.where(bright[:, None], self.value, self.inner(images))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite(value):
    """Item 15: the image at fault is named, and the others are explained if that is asked for."""
    vit = vt.open_vit(_Spoilt(value), preprocessing=preprocessing(WIDE))
    images = torch.cat([GOOD * 0.5, torch.ones(1, 3, *WIDE), GOOD[:1] * 0.5])
    with pytest.raises(NonFiniteError, match=r"VX-E204.*NaN or infinity for image 2 of the batch \(1 in all\)"):
        vit.trace(images)
    with pytest.raises(NonFiniteError, match="run the model in float32"):
        vit.logits(images)
    each = list(vt.explain_each(vit, images, ["rollout"]))
    assert [isinstance(result, NonFiniteError) for result in each] == [False, False, True, False]


def test_weights_that_are_not_finite():
    model = scramble(timm_vit())
    with torch.no_grad():
        model.blocks[1].mlp.fc1.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"VX-E204.*random images.*Check the weights"):
        vt.open_vit(model, preprocessing=preprocessing(WIDE))


@pytest.mark.parametrize("count", [1, 6, 8])
def test_labels_of_the_wrong_length(count):
    with pytest.raises(InputError, match=f"labels has {count} names, and the model has 7 outputs"):
        vt.open_vit(scramble(timm_vit()), preprocessing=preprocessing(WIDE), labels=["a"] * count)


GOOD_IMAGES = {
    "float64": GOOD.double(),
    "not contiguous": GOOD.flip(0).transpose(2, 3).contiguous().transpose(2, 3).flip(0),
    "channels last in memory": GOOD.contiguous(memory_format=torch.channels_last),
    "expanded": GOOD[:1].expand(2, -1, -1, -1),
    "asks for a gradient": GOOD.clone().requires_grad_(),
    "no leaf": GOOD.clone().requires_grad_() * 1,
    "a parameter": nn.Parameter(GOOD.clone()),
    "inference tensor": None,
    "a hair outside": GOOD.clone().index_put_((torch.tensor(0),) * 4, torch.tensor(1 + 1e-4)),
}


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_tensors_that_are_fine(name):
    images = GOOD_IMAGES[name]
    if images is None:
        with torch.inference_mode():
            images = GOOD.clone()
    found = maps(vit_of(), images, target=(0, 1))
    values = images.detach().float().clone(memory_format=torch.contiguous_format)
    require_same_maps(found, maps(vit_of(), values, target=(0, 1)), 1e-6)
    assert images.grad is None if images.is_leaf else True


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-2), (torch.bfloat16, 0.2)])
def test_images_of_half_precision(dtype, tolerance):
    """They carry 11 and 8 bits of each pixel; computed is in the model's own type."""
    found = maps(vit_of(), GOOD.to(dtype), ("rollout",), target=(0, 1))
    require_same_maps(found, maps(vit_of(), GOOD.to(dtype).float(), ("rollout",), target=(0, 1)), 1e-6)
    require_same_maps(found, maps(vit_of(), GOOD, ("rollout",), target=(0, 1)), tolerance)


def test_ties_take_the_first():
    """Item 21: where logits are equal, the prediction is the first of them."""
    logits = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 0.0, 1.0]])
    assert resolve_target(None, logits).plus.tolist() == [1, 0, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 3, 24, 32, 33]), max_size=6),
    st.sampled_from([torch.float32, torch.float64, torch.uint8, torch.int64]),
)
@example([2, 3, *WIDE], torch.float64)
def test_any_shape_gives_one_error_or_a_map(shape, dtype):
    images = torch.zeros((), dtype=dtype).expand(shape)  # however large, it takes no memory
    right = len(shape) == 4 and shape[0] > 0 and shape[1:] == [3, *WIDE] and dtype.is_floating_point
    try:
        found = vt.explain(vit_of(), images, "rollout", target=0)
    except InputError:
        assert not right
    else:
        assert right
        assert len(found) == shape[0]
