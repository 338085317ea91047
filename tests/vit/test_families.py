"""Every family of models opens, and what is read off it equals what its own library, or a loop over its weights, says."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import pytest
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn
from watched import (
    attention_eager,
    attention_unfused,
    attention_weights,
    images_of,
    normalised,
    plain_logits,
    preprocessing,
    relative,
    streams,
)

import vitreous as vt
from contracts.families import scramble
from oracles import handwritten as hand

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
OUTPUTS = 6


@dataclass(frozen=True)
class Family:
    """How to build a model, and all that must be found in it."""

    build: Callable[[], nn.Module]
    size: tuple[int, int]
    patch: int
    prefix: int
    readout: str
    heads: int
    kind: str
    oracle: Callable[[Any, Tensor], list[Tensor]]
    suffix: int = 0
    outputs: int = OUTPUTS
    has_classes: bool = True

    @property
    def grid(self) -> tuple[int, int]:
        return self.size[0] // self.patch, self.size[1] // self.patch


def _timm(name: str, size: tuple[int, int], prefix: int, readout: str, heads: int, **more: Any) -> Family:
    """A published timm architecture, two blocks deep and on small images; `keep_head` leaves its own outputs."""
    patch = int(name.partition("_patch")[2].partition("_")[0])
    options = {} if more.pop("keep_head", False) else {"num_classes": OUTPUTS}
    return Family(
        lambda: timm.create_model(name, depth=2, img_size=size, **options),
        size, patch, prefix, readout, heads, "sdpa", attention_unfused, **more,
    )  # fmt: skip


_TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 32, "patch_size": 8,
}  # fmt: skip


def _transformers(name: str, config: str, implementation: str, prefix: int, readout: str, **more: Any) -> Family:
    settings = more.pop("settings", {})

    def build() -> nn.Module:
        made = getattr(transformers, config)(**_TINY, **settings)
        made.num_labels = OUTPUTS
        made._attn_implementation = implementation
        return getattr(transformers, name)(made)

    kind = "handwritten" if implementation == "eager" else "sdpa"
    return Family(build, (32, 32), 8, prefix, readout, 4, kind, attention_eager, **more)


def _huggingface(implementation: str) -> dict[str, Family]:
    family = functools.partial(_transformers, implementation=implementation)
    tower = {"has_classes": False, "outputs": 32}
    return {
        f"transformers {name}, {implementation}": made
        for name, made in {
            "ViT": family("ViTForImageClassification", "ViTConfig", prefix=1, readout="token"),
            "DeiT": family("DeiTForImageClassification", "DeiTConfig", prefix=2, readout="token"),
            "DeiT, teacher": family("DeiTForImageClassificationWithTeacher", "DeiTConfig", prefix=2, readout="token"),
            "DINOv2": family("Dinov2ForImageClassification", "Dinov2Config", prefix=1, readout="token and mean"),
            "DINOv2, registers": family(
                "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", prefix=5, readout="token and mean"
            ),
            "BEiT": family(
                "BeitForImageClassification", "BeitConfig", prefix=1, readout="mean",
                settings={"use_relative_position_bias": True, "layer_scale_init_value": 0.5},
            ),
            "CLIP": family(
                "CLIPVisionModelWithProjection", "CLIPVisionConfig", prefix=1, readout="token",
                settings={"projection_dim": 24}, has_classes=False, outputs=24,
            ),
            "CLIP, not projected": family("CLIPVisionModel", "CLIPVisionConfig", prefix=1, readout="token", **tower),
            "SigLIP": family("SiglipVisionModel", "SiglipVisionConfig", prefix=0, readout="attention", **tower),
        }.items()
    }  # fmt: skip


def _torchvision() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=OUTPUTS)


def _open_clip() -> nn.Module:
    config = open_clip.get_model_config("ViT-B-32")
    vision = {**config["vision_cfg"], "layers": 2, "image_size": 96}
    text = {"context_length": 4, "vocab_size": 8, "width": 32, "heads": 2, "layers": 1}
    return open_clip.model.CLIP(config["embed_dim"], vision, text).visual


def _handwritten(blocks: Callable[[], nn.Module], kind: str = "handwritten", token: str = "first") -> Family:
    readout = {"none": "mean", "everything": "mean", "both": "token and mean"}.get(token, "token")
    prefix = {"last": 0, "none": 0, "two": 2, "registers": 4}.get(token, 1)
    return Family(
        lambda: hand.HandwrittenViT(blocks(), token), hand.SIZE, hand.PATCH, prefix, readout, hand.HEADS, kind,
        hand.attention_of, suffix=int(token == "last"), outputs=hand.CLASSES,
    )  # fmt: skip


def _spelled(core: hand.Core) -> Callable[[], nn.Module]:
    return lambda: hand.Blocks(lambda: hand.Block(hand.Attention(core)), 2)


def _kind(holder: str) -> str:
    if "multihead" in holder or "encoder" in holder:
        return "multihead"
    return "sdpa" if holder == "one block" else "handwritten"


FAMILIES: dict[str, Family] = {
    "vit_tiny": _timm("vit_tiny_patch16_224", (96, 96), 1, "token", 3),
    "vit_tiny, not square": _timm("vit_tiny_patch16_224", (160, 224), 1, "token", 3),
    "vit_small": _timm("vit_small_patch16_224", (96, 96), 1, "token", 6),
    "vit_base": _timm("vit_base_patch16_224", (64, 96), 1, "token", 12),
    "deit distilled": _timm("deit_tiny_distilled_patch16_224", (96, 64), 2, "token", 3),
    "deit3": _timm("deit3_small_patch16_224", (96, 64), 1, "token", 6),
    "dinov2, registers": _timm("vit_small_patch14_reg4_dinov2", (98, 70), 5, "token", 6),
    "dinov3": _timm("vit_small_patch16_dinov3", (96, 64), 5, "mean", 6),
    "eva02": _timm("eva02_tiny_patch14_224", (70, 56), 1, "mean", 3),
    "beit": _timm("beit_base_patch16_224", (64, 48), 1, "mean", 12),
    "clip": _timm("vit_base_patch16_clip_224", (64, 48), 1, "token", 12),
    "siglip": _timm("vit_base_patch16_siglip_224", (64, 48), 0, "attention", 12),
    "siglip, no head": _timm(
        "vit_base_patch16_siglip_224", (64, 48), 0, "attention", 12, keep_head=True, outputs=768, has_classes=False
    ),
    "rope": _timm("vit_base_patch16_rope_224", (64, 48), 1, "token", 12),
    "dinov2, no head": _timm(
        "vit_small_patch14_reg4_dinov2", (56, 70), 5, "token", 6, keep_head=True, outputs=384, has_classes=False
    ),
    **_huggingface("sdpa"),
    **_huggingface("eager"),
    "torchvision": Family(_torchvision, (32, 32), 8, 1, "token", 4, "multihead", attention_weights),
    "open_clip": Family(
        _open_clip, (96, 96), 32, 1, "token", 12, "multihead", attention_weights, outputs=512, has_classes=False
    ),
    **{f"spelled {name}": _handwritten(_spelled(core), "sdpa" if "sdpa" in name else "handwritten")
       for name, core in hand.SPELLINGS.items()},
    **{f"held {name}": _handwritten(blocks, _kind(name)) for name, blocks in hand.HOLDERS.items()},
    **{f"read {token}": _handwritten(hand.HOLDERS["list"], token=token)
       for token in ("last", "two", "registers", "none", "everything", "both")},
    "read last, pairs": _handwritten(hand.HOLDERS["pairs"], token="last"),
    "read both, tokens first": _handwritten(hand.HOLDERS["encoder layers, tokens first"], "multihead", "both"),
}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """An opened model with what it says by itself."""

    family: Family
    vit: vt.Vit
    model: nn.Module
    images: Tensor
    inputs: Tensor
    logits: Tensor


@functools.cache
def opened(name: str, dtype: torch.dtype = torch.float32) -> Opened:
    family = FAMILIES[name]
    torch.manual_seed(0)
    model = scramble(family.build()).to(dtype)
    vit = vt.open_vit(model, preprocessing=preprocessing(family.size))
    images = images_of(family.size)
    inputs = normalised(vit, images)
    return Opened(family, vit, model, images, inputs, plain_logits(model, inputs))


each_family = pytest.mark.parametrize("name", FAMILIES)


@each_family
def test_what_is_found_is_what_is_there(name):
    made = opened(name)
    found = made.vit
    family = made.family
    assert (found.prefix, found.suffix) == (family.prefix, family.suffix)
    assert found.grid == family.grid
    assert found.patch == (family.patch, family.patch)
    assert found.heads == family.heads
    assert found.outputs == family.outputs == made.logits.shape[1]
    assert found.attention_kind == family.kind
    assert found.readout.kind == family.readout
    assert found.has_classes == family.has_classes


@each_family
def test_logits_are_the_models_own(name):
    made = opened(name)
    with made.vit.trace(made.images, target=0) as trace:
        assert relative(trace.logits, made.logits) <= TOLERANCE[torch.float32]
    assert relative(made.vit.logits(made.images), made.logits) <= TOLERANCE[torch.float32]


@each_family
def test_attention_is_the_librarys_own(name):
    made = opened(name)
    expected = made.family.oracle(made.model, made.inputs)
    with made.vit.trace(made.images, target=0) as trace:
        assert len(trace.attention) == len(expected) == len(made.vit.blocks)
        for block, (found, library) in enumerate(zip(trace.attention, expected, strict=True)):
            assert found.shape == (3, made.vit.heads, made.vit.tokens, made.vit.tokens)
            assert relative(found, library) <= TOLERANCE[torch.float32]
            assert relative(found.sum(-1), torch.ones(found.shape[:-1])) <= 1e-6
            assert relative(trace.scores(block).softmax(-1), found) <= 1e-6
            assert relative(trace.scores(block, slice(1, 3)), trace.scores(block)[:, :, 1:3]) <= 1e-6


@each_family
def test_gradient_reaches_every_block(name):
    made = opened(name)
    with made.vit.trace(made.images, target=[0, 1, 2]) as trace:
        for gradient in (*trace.attention_grad, trace.input_grad):
            assert bool(torch.isfinite(gradient).all())
            assert bool((gradient.flatten(1).abs().amax(1) > 0).all())


def _blocks_are_called(name: str) -> bool:
    return "pairs" not in name  # where blocks are bare lists, no hook can see what passes between them


each_called = pytest.mark.parametrize("name", [name for name in FAMILIES if _blocks_are_called(name)])


@each_called
def test_tokens_are_what_hooks_see(name):
    made = opened(name)
    expected = streams(made.vit.blocks, lambda: made.model(made.inputs))
    with made.vit.trace(made.images, target=0) as trace:
        assert len(trace.tokens) == len(made.vit.blocks) + 1
        for found, hook in zip(trace.tokens, expected, strict=True):
            rows = hook if hook.shape[0] == 3 else hook.transpose(0, 1)
            assert found.shape == (3, made.vit.tokens, made.vit.width)
            assert relative(found, rows) <= TOLERANCE[torch.float32]


@each_called
def test_readout_names_the_tokens_that_the_head_reads(name):
    """Noise on one of the last tokens changes the logits if and only if the readout names that token."""
    made = opened(name)
    alone = made.inputs[:1]
    expected = plain_logits(made.model, alone)
    generator = torch.Generator().manual_seed(5)
    read = []
    for token in range(made.vit.tokens):

        def disturb(_module: nn.Module, _args: Any, output: Any, token: int = token) -> Any:
            stream = (output[0] if isinstance(output, tuple) else output).clone()
            rows = stream if stream.shape[0] == 1 else stream.transpose(0, 1)
            rows[:, token] += torch.randn(made.vit.width, generator=generator)
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        handle = made.vit.blocks[-1].register_forward_hook(disturb)
        read.append(float((plain_logits(made.model, alone) - expected).abs().max()) > 1e-7)
        handle.remove()
    weights = made.vit.readout.weights
    assert read == (weights > 0).tolist()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)


@each_family
def test_patches_lie_on_the_grid_as_in_the_image(name):
    """One changed patch of the image changes the token that `to_grid` puts at that place, more than any other."""
    made = opened(name)
    rows, columns = made.vit.grid
    places = [(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1), (rows // 2, columns // 2)]
    images = made.images[:1].repeat(1 + len(places), 1, 1, 1)
    for image, (row, column) in enumerate(places, start=1):
        high, wide = made.vit.patch
        patch = images[image, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        patch.copy_(1 - patch)
    with made.vit.trace(images, target=0) as trace:
        changed = trace.to_grid((trace.tokens[0] - trace.tokens[0][:1]).norm(dim=-1))
    for image, place in enumerate(places, start=1):
        assert divmod(int(changed[image].argmax()), columns) == place


SLOPES = ("vit_tiny", "beit", "siglip", "torchvision", "open_clip", "transformers DINOv2, registers, eager", "held pairs",
          "held encoder layers, tokens first", "spelled bmm", "spelled einsum_tokens_first", "read last")  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_attention_gradient_is_the_slope_of_the_logit(name):
    """Changing one probability through `edit` changes the logit as `attention_grad` says, in float64."""
    made = opened(name, torch.float64)
    step, image, target = 1e-5, 1, 2
    generator = torch.Generator().manual_seed(3)
    with made.vit.trace(made.images, target=target) as trace:
        gradients = [gradient[image] for gradient in trace.attention_grad]
    for block, gradient in enumerate(gradients):
        steepest = int(gradient.abs().argmax())
        anywhere = torch.randint(gradient.numel(), (2,), generator=generator).tolist()
        for place in (steepest, *anywhere):
            at = (image, *(int(index) for index in torch.unravel_index(torch.tensor(place), gradient.shape)))

            def score(change: float, block: int = block, at: tuple[int, ...] = at) -> float:
                def edit(number: int, probabilities: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
                    if number == block:
                        probabilities = probabilities.clone()
                        probabilities[at] += change
                    return probabilities, values

                return float(made.vit.logits(made.images, edit=edit)[image, target])

            slope = (score(step) - score(-step)) / (2 * step)
            assert slope == pytest.approx(float(gradient[at[1:]]), rel=1e-5, abs=1e-7 * float(gradient.abs().max()))


def test_a_name_opens_what_the_library_builds():
    """The exact name, all twelve blocks, at 224 pixels."""
    torch.manual_seed(0)
    vit = vt.open_vit("timm:vit_tiny_patch16_224", weights="random")
    assert (vit.name, vit.source) == ("timm:vit_tiny_patch16_224", "random initialisation")
    assert (vit.grid, vit.patch, vit.prefix, vit.heads, len(vit.blocks)) == ((14, 14), (16, 16), 1, 3, 12)
    assert vit.outputs == len(vit.labels) == 1000
    images = images_of((224, 224), 2)
    inputs = (images - 0.5) / 0.5  # what the library's configuration says of this model
    with vit.trace(images) as trace:
        assert relative(trace.logits, plain_logits(vit.model, inputs)) <= 1e-5
        for found, library in zip(trace.attention, attention_unfused(vit.model, inputs), strict=True):
            assert relative(found, library) <= 1e-5


def test_the_published_model_of_torchvision():
    """vit_b_16 itself, on small images. Its head begins as zeros and needs weights before anything can be explained."""
    torch.manual_seed(0)
    model = torchvision.models.get_model("vit_b_16", image_size=48).eval()
    nn.init.normal_(model.heads.head.weight, std=0.1)
    vit = vt.open_vit(model, preprocessing=preprocessing((48, 48)))
    assert (vit.grid, vit.patch, vit.prefix, vit.heads, len(vit.blocks)) == ((3, 3), (16, 16), 1, 12, 12)
    images = images_of((48, 48), 2)
    with vit.trace(images, target=0) as trace:
        assert relative(trace.logits, plain_logits(model, normalised(vit, images))) <= 1e-5
        for found, library in zip(trace.attention, attention_weights(model, normalised(vit, images)), strict=True):
            assert relative(found, library) <= 1e-5


def test_image_size_by_name():
    """Not square, and not what the weights were published for."""
    vit = vt.open_vit("timm:deit_tiny_distilled_patch16_224", weights="random", image_size=(64, 96), num_classes=4)
    assert (vit.grid, vit.prefix, vit.outputs, vit.labels) == ((4, 6), 2, 4, None)
