"""The same model in another state: other number types, compiled, wrapped, frozen, and whatever surrounds the caller's code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import timm.models.eva
import torch
import transformers
from torch import Tensor, nn
from watched import METHODS, images_of, maps, plain_logits, preprocessing, relative, require_same_maps

import vitreous as vt
from contracts.families import CLASSES, PATCH, WIDE, scramble, timm_vit
from oracles import handwritten as hand
from vitreous.core.errors import MethodNotApplicableError, UnsupportedModelError

IMAGES = images_of(WIDE)


def model_of(seed: int = 0, **options: object) -> nn.Module:
    return scramble(timm_vit(**options), seed)


def opened(model: nn.Module, **options: object) -> vt.Vit:
    return vt.open_vit(model, preprocessing=preprocessing(WIDE), **options)


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    """Maps of the untouched model."""
    return maps(opened(model_of()), IMAGES)


# -- number types --------------------------------------------------------------------------------------------------------


def _eager_transformer() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=WIDE,
        patch_size=PATCH, num_labels=CLASSES, attn_implementation="eager",
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


HALF_MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "fused": (timm_vit, WIDE),
    "eager": (_eager_transformer, WIDE),
    "multihead": (lambda: hand.HandwrittenViT(hand.HOLDERS["multihead"]()), hand.SIZE),
    "einsum": (lambda: hand.HandwrittenViT(hand.Blocks(lambda: hand.Block(hand.Attention(hand.by_einsum)), 2)), hand.SIZE),
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-2), (torch.float16, 1e-2)])
@pytest.mark.parametrize("name", HALF_MODELS)
def test_half_precision(name, dtype, tolerance):
    """Logits are the half model's own. Attention is the float32 model's within its rounding: probabilities are at most 1."""
    build, size = HALF_MODELS[name]
    images = images_of(size)
    whole = vt.open_vit(scramble(build()), preprocessing=preprocessing(size))
    half = vt.open_vit(scramble(build()).to(dtype), preprocessing=preprocessing(size))
    own = plain_logits(half.model, half.prepare(images)).float()
    with whole.trace(images, target=0) as exact, half.trace(images, target=0) as trace:
        assert trace.logits.dtype == torch.float32
        assert relative(trace.logits, own) <= tolerance
        for found, reference in zip(trace.attention, exact.attention, strict=True):
            assert relative(found.float(), reference) <= tolerance
        assert all(bool(torch.isfinite(gradient).all()) for gradient in trace.attention_grad)
    found = maps(half, images)
    assert all(map_.dtype == torch.float32 and bool(torch.isfinite(map_).all()) for map_ in found.values())


def test_double_precision(expected):
    require_same_maps(maps(opened(model_of().double()), IMAGES), expected, 1e-4)


# -- compiled and wrapped -------------------------------------------------------------------------------------------------


def _compiled_in_place() -> nn.Module:
    model = model_of()
    model.compile(backend="eager")
    return model


def _compiled_block() -> nn.Module:
    model = model_of()
    model.blocks[0] = torch.compile(model.blocks[0], backend="eager")
    return model


def _compiled_attention_in_place() -> nn.Module:
    model = model_of()
    model.blocks[1].attn.compile(backend="eager")
    plain_logits(model, torch.zeros(1, 3, *WIDE))  # compiled before it is opened
    return model


class _CallsCompiledFunction(nn.Module):
    """A compiled function, of which no module tells."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = model_of()
        self.run = torch.compile(self.inner.forward_features, backend="eager")

    def forward(self, images: Tensor) -> Tensor:
        return self.inner.forward_head(self.run(images))


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "torch.compile": lambda: torch.compile(model_of(), backend="eager"),
    "model.compile": _compiled_in_place,
    "compiled block": _compiled_block,
    "compiled attention": _compiled_attention_in_place,
    "compiled inside": lambda: nn.Sequential(torch.compile(model_of(), backend="eager")),
    "compiled function": _CallsCompiledFunction,
    "DataParallel": lambda: nn.DataParallel(model_of()),
    "Sequential": lambda: nn.Sequential(nn.Identity(), model_of(), nn.Identity()),
    "frozen": lambda: model_of().requires_grad_(False),
    "patch embedding frozen": lambda: _freeze(model_of()),
    "channels last": lambda: model_of().to(memory_format=torch.channels_last),
    "training without chance": lambda: model_of().train(),
    "registers its own hooks": lambda: _with_hooks(model_of()),
    "patch dropout, at rest": lambda: model_of(patch_drop_rate=0.5),
}


def _freeze(model: nn.Module) -> nn.Module:
    model.patch_embed.requires_grad_(False)
    return model


def _with_hooks(model: nn.Module) -> nn.Module:
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
        module.register_forward_pre_hook(lambda *_: None)
    for block in model.blocks:
        block.mlp.register_full_backward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_models_give_the_same_maps(name, expected):
    torch._dynamo.reset()
    require_same_maps(maps(opened(WRAPPED[name]()), IMAGES), expected, 1e-5)


def test_compiler_setting_is_the_callers_own_again():
    """A compiled model is watched uncompiled, and compiled again afterwards, also where an error ended the pass."""
    runs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., object]:
        runs.append(1)
        return graph.forward

    torch._dynamo.reset()
    model = model_of()
    model.compile(backend=backend)
    vit = opened(model)
    maps(vit, IMAGES)
    assert not runs
    with pytest.raises(UnsupportedModelError):
        opened(model, call=lambda _model, _images: 1 / 0)
    plain_logits(model, torch.zeros(1, 3, *WIDE))
    assert runs


# -- what surrounds the call ----------------------------------------------------------------------------------------------


@contextmanager
def _all_of_it() -> Iterator[None]:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.save_on_cpu():
        yield


SURROUNDINGS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "save_on_cpu": torch.autograd.graph.save_on_cpu,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True, check_nan=True),
    "all of it": _all_of_it,
}


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")  # what the caller asked for, not of ours
def test_surroundings_do_not_change_the_maps(name, expected):
    """Opened and explained within them. The record says float32, and so it is, whatever autocast would do."""
    with SURROUNDINGS[name]():
        found = maps(opened(model_of()), IMAGES)
    require_same_maps(found, expected, 1e-6)


@pytest.mark.parametrize("name", ["no_grad", "inference_mode", "autocast"])
def test_surroundings_of_an_open_trace(name):
    """The trace is opened within and asked outside, and the other way round."""
    vit = opened(model_of())
    with vit.trace(IMAGES, target=1) as trace:
        expected = [gradient.clone() for gradient in trace.attention_grad]
    with SURROUNDINGS[name]():
        inside = vit.trace(IMAGES, target=1)
    with inside:
        for found, gradient in zip(inside.attention_grad, expected, strict=True):
            assert torch.equal(found, gradient)
    with vit.trace(IMAGES, target=1) as outside, SURROUNDINGS[name]():
        for found, gradient in zip(outside.attention_grad, expected, strict=True):
            assert relative(found, gradient) <= 1e-6
        assert relative(outside.scores(0).softmax(-1), outside.attention[0]) <= 1e-6


@pytest.mark.parametrize("rope", [False, True])
def test_built_in_inference_mode(rope, expected):
    """Its parameters and buffers are tensors that autograd may not save."""

    def build() -> nn.Module:
        if not rope:
            return model_of()
        return scramble(timm.models.eva.Eva(WIDE, PATCH, embed_dim=24, depth=2, num_heads=3, num_classes=CLASSES))

    with torch.inference_mode():
        model = build()
    assert next(model.parameters()).is_inference()
    reference = expected if not rope else maps(opened(build()), IMAGES)
    require_same_maps(maps(opened(model), IMAGES), reference, 1e-6)


class _Within(nn.Module):
    """Runs a model within a context of its own."""

    def __init__(self, model: nn.Module, context: Callable[[], object]) -> None:
        super().__init__()
        self.inner = model
        self.context = context

    def forward(self, images: Tensor) -> Tensor:
        with self.context():
            return self.inner(images)


@pytest.mark.parametrize("token", ["first", "none"])
def test_autocast_of_the_model_itself(token):
    """Its numbers are those of bfloat16, and attention agrees with float32 within them."""
    holder = hand.HOLDERS["multihead"]
    for blocks in (holder, lambda: hand.Blocks(lambda: hand.Block(hand.Attention(hand.by_sdpa)), 2)):
        whole = vt.open_vit(scramble(hand.HandwrittenViT(blocks(), token)), preprocessing=preprocessing(hand.SIZE))
        model = _Within(scramble(hand.HandwrittenViT(blocks(), token)), lambda: torch.autocast("cpu", torch.bfloat16))
        vit = vt.open_vit(model, preprocessing=preprocessing(hand.SIZE))
        images = images_of(hand.SIZE)
        with whole.trace(images, target=0) as exact, vit.trace(images, target=0) as trace:
            assert relative(trace.logits, plain_logits(model, vit.prepare(images)).float()) <= 5e-2
            for found, reference in zip(trace.attention, exact.attention, strict=True):
                assert relative(found.float(), reference) <= 5e-2
            assert all(float(gradient.abs().max()) > 0 for gradient in trace.attention_grad)


class _Probe(nn.Module):
    """A linear probe on a frozen backbone, as it is trained: the backbone runs without a graph."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.backbone = model_of()
        self.head = nn.Linear(CLASSES, 3)
        self.frozen = frozen

    def forward(self, images: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            features = self.backbone(images)
        return self.head(features)


def test_linear_probe_on_a_frozen_backbone():
    """torch.no_grad() in a forward saves memory in training; it is no part of what the model computes."""
    free, frozen = (opened(scramble(_Probe(frozen))) for frozen in (False, True))
    require_same_maps(maps(frozen, IMAGES), maps(free, IMAGES), 1e-6)


def test_no_grad_around_the_whole_forward(expected):
    require_same_maps(maps(opened(_Within(model_of(), torch.no_grad)), IMAGES), expected, 1e-6)


def test_inference_mode_inside_the_forward_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"torch.inference_mode\(\) inside its forward.*use torch.no_grad"):
        opened(_Within(model_of(), torch.inference_mode))


class _Cut(nn.Module):
    """Lets no gradient through to the pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.detach()


def test_pixels_that_no_gradient_reaches(expected):
    """The attention methods work; a blank saliency map would be a lie."""
    vit = opened(nn.Sequential(_Cut(), model_of()))
    others = tuple(name for name in METHODS if name != "saliency")
    require_same_maps(maps(vit, IMAGES, others), {name: expected[name] for name in others}, 1e-6)
    with pytest.raises(MethodNotApplicableError, match="No gradient reaches the pixels"):
        vt.explain(vit, IMAGES, "saliency", target=0)
