"""Models that are no plain ViT, or are used in another way: one error that names the check and the fix, or the right answer.

Items 22 to 39 of the robustness list.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timm
import timm.models.vision_transformer as timm_models
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.utils.checkpoint import checkpoint
from watched import (
    attention_unfused,
    hooked,
    images_of,
    maps,
    normalised,
    plain_logits,
    preprocessing,
    relative,
    require_same_maps,
)

import vitreous as vt
from contracts.families import CLASSES, PATCH, WIDE, scramble
from oracles import handwritten as hand
from vitreous.core.errors import (
    InputError,
    MethodNotApplicableError,
    ModelModeError,
    ModelOutputError,
    TargetError,
    UnsupportedModelError,
    VitreousError,
)

SIZE = hand.SIZE
STILL = "open it with require_attention=False and use 'saliency'"


def opened(model: nn.Module, size: tuple[int, int] = WIDE, **options: Any) -> vt.Vit:
    return vt.open_vit(model, preprocessing=options.pop("preprocessing", preprocessing(size)), **options)


def refused(model: nn.Module, *parts: str, size: tuple[int, int] = WIDE, kind: type[VitreousError] = UnsupportedModelError,
            **options: Any) -> None:  # fmt: skip
    """Opening raises exactly this kind of error, and its text holds all parts."""
    with pytest.raises(VitreousError) as caught:
        opened(model, size, **options)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.startswith(f"{kind.code}: ")
    assert all(part in text for part in parts), text
    assert "\n" not in text


def watched_rightly(
    model: nn.Module, expected: list[Tensor] | None, size: tuple[int, int] = WIDE, **options: Any
) -> vt.Vit:
    """Open a model: logits are its own, and attention is what an independent source says."""
    vit = opened(model, size, **options)
    images = images_of(size)
    with vit.trace(images, target=0) as trace:
        if "call" not in options:
            assert relative(trace.logits, plain_logits(vit.model, normalised(vit, images))) <= 1e-5
        if expected is not None:
            assert len(trace.attention) == len(expected)
            for found, library in zip(trace.attention, expected, strict=True):
                assert relative(found, library.to(found)) <= 1e-5
        assert all(bool((gradient != 0).any()) for gradient in trace.attention_grad)
    return vit


def inputs_of(size: tuple[int, int] = WIDE) -> Tensor:
    """The images of `watched_rightly`, normalised."""
    wanted = preprocessing(size)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (wanted.mean, wanted.std))
    return (images_of(size) - mean) / std


# -- 22, 23, 34: no plain attention over one set of tokens -----------------------------------------------------------------

SQUARE = (64, 64)
OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str]] = {
    "ResNet": (lambda: timm.create_model("resnet10t", num_classes=4), SQUARE, "showed no attention call; it is convolutional"),
    "Swin": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=32, embed_dim=24, depths=(1, 1), num_heads=(1, 2), window_size=4, num_classes=4
        ),
        (32, 32), "attends within windows (12 windows of 16 tokens for 3 images)",
    ),
    "MaxViT": (
        lambda: timm.create_model("maxvit_rmlp_pico_rw_256", img_size=64, num_classes=4), SQUARE, "attends within windows",
    ),
    "Hiera": (
        lambda: timm.create_model("hiera_tiny_224", img_size=SQUARE, embed_dim=24, stages=(1, 1, 1, 1), num_classes=4),
        SQUARE, "'attention over all tokens' failed",
    ),
    "XCiT": (
        lambda: timm.create_model("xcit_nano_12_p16_224", img_size=64, depth=2, num_classes=4), SQUARE, "attention over channels",
    ),
    "CaiT": (lambda: timm.create_model("cait_xxs24_224", img_size=64, depth=2, num_classes=4), SQUARE, "talking heads"),
    "PiT": (lambda: timm.create_model("pit_ti_224", img_size=64, num_classes=4), SQUARE, "'one set of tokens' failed"),
    "ConViT": (
        lambda: timm.create_model("convit_tiny", img_size=64, depth=3, local_up_to_layer=2, num_classes=4),
        SQUARE, "'blocks.0' (Block) of ConVit showed no attention, beside others that did",
    ),
    "Twins": (
        lambda: timm.create_model("twins_pcpvt_small", img_size=64, depths=(1, 1, 1, 1), num_classes=4), SQUARE, "spatial reduction",
    ),
    "PVT": (lambda: timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1), num_classes=4), SQUARE, "spatial reduction"),
    "EfficientViT": (lambda: timm.create_model("efficientvit_b0", num_classes=4), SQUARE, "(linear, flex, custom kernel)"),
    "TNT": (lambda: timm.create_model("tnt_s_legacy_patch16_224", img_size=64, depth=2, num_classes=4), SQUARE, "within windows"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_no_plain_attention(name):
    build, size, reason = OTHERS[name]
    refused(scramble(build()), "VX-E201: Check '", reason, STILL, size=size)


@pytest.mark.parametrize("name", ["ResNet", "Swin", "MaxViT", "Hiera", "TNT", "PVT"])
def test_pixel_methods_still_apply(name):
    """Saliency is the model's own gradient at its input, here in float64; methods at patches say why they do not apply."""
    build, size, _ = OTHERS[name]
    model = scramble(build()).double()
    vit = opened(model, size, require_attention=False)
    assert vit.blocks == ()
    assert any("Only pixel methods apply" in warning for warning in vit.warnings)
    images = images_of(size, 2)
    found = maps(vit, images, ("saliency",), target=(0, 3))["saliency"]
    inputs = normalised(vit, images).requires_grad_()
    logits = model(inputs)
    (gradient,) = torch.autograd.grad(logits[0, 0] + logits[1, 3], inputs)
    require_same_maps({"saliency": found}, {"saliency": gradient.abs().amax(1)}, 1e-6)
    for method in ("rollout", "agcam", "generic_attention"):
        with pytest.raises(MethodNotApplicableError, match=r"VX-E206.*no plain attention.*'saliency'"):
            vt.explain(vit, images, method, target=0)
    assert set(vt.compare(vit, images, target=0)[0]) == {"input_x_gradient", "saliency"}


# -- 24, 35: spellings of attention ----------------------------------------------------------------------------------------


def spelled(core: hand.Core) -> nn.Module:
    return scramble(hand.HandwrittenViT(hand.Blocks(lambda: hand.Block(hand.Attention(core)), 2)))


def scores_of(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.transpose(-2, -1) * hand.HEAD**-0.5


MIX = torch.tensor([[0.9, 0.2], [0.3, 0.8]])


def mixed_after(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.einsum("bhij,hg->bgij", scores_of(query, key).softmax(-1), MIX) @ value


def differential(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (scores_of(query, key).softmax(-1) - 0.5 * scores_of(query.flip(-1), key).softmax(-1)) @ value


def gated_probabilities(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = scores_of(query, key).softmax(-1)
    weights *= 0.5
    return weights @ value


def overwritten(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = scores_of(query, key).softmax(-1)
    weights[..., 0] = 0
    return weights @ value


def linear(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.softmax(-1) @ (key.softmax(-2).transpose(-2, -1) @ value)


def sigmoid(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scores_of(query, key).sigmoid() @ value


def by_exponentials(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    powers = scores_of(query, key).exp()
    return (powers / powers.sum(-1, keepdim=True)) @ value


def over_channels(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = (query.transpose(-2, -1) @ key).softmax(-1)
    return (weights @ value.transpose(-2, -1)).transpose(-2, -1)


def heads_before_images(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    count = query.shape[0]
    query, key, value = (part.transpose(0, 1).flatten(0, 1) for part in (query, key, value))
    output = torch.bmm(torch.bmm(query, key.transpose(1, 2)).mul(hand.HEAD**-0.5).softmax(-1), value)
    return output.unflatten(0, (hand.HEADS, count)).transpose(0, 1)


def twice(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return by_two(query, key, value) + by_two(query.flip(-1), key, value)


def by_two(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


def flex(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(query, key, value)


def operator(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.ops.aten.scaled_dot_product_attention(query, key, value)


UNRECOGNISED: dict[str, tuple[hand.Core, str]] = {
    "heads mixed after the softmax": (mixed_after, "2 softmaxes over tokens and changes them"),
    "differential": (differential, "4 softmaxes over tokens and changes them"),
    "gated probabilities, in place": (gated_probabilities, "2 softmaxes over tokens and changes them"),
    "overwritten probabilities": (overwritten, "2 softmaxes over tokens and changes them"),
    "linear": (linear, "not recognised (linear, flex, custom kernel)"),
    "sigmoid": (sigmoid, "not recognised"),
    "exponentials": (by_exponentials, "not recognised"),
    "flex": (flex, "not recognised (linear, flex, custom kernel)"),
    "operator of another level": (operator, "not recognised"),
    "over channels": (over_channels, "attends over 8 positions, and its token stream has 13 tokens"),
    "heads before images": (heads_before_images, "'the attention of an image is its own' failed"),
    "two attentions in one": (twice, "'blocks.layers.0.attn' (Attention) of HandwrittenViT attends 2 times"),
}


@pytest.mark.parametrize("name", UNRECOGNISED)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # its own advice, not about us
def test_attention_that_is_not_recognised(name):
    core, reason = UNRECOGNISED[name]
    refused(spelled(core), "VX-E201: Check '", reason, size=SIZE)


def mixed_before(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.einsum("bhij,hg->bgij", scores_of(query, key), MIX.to(query)).softmax(-1) @ value


def gated_output(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value) * query.sigmoid()


def shared_keys(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scores_of(query, key[:, :1]).softmax(-1) @ value[:, :1]


def named_arguments(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(value=value, key=key, query=query, attn_mask=None, scale=None)


def masked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=torch.arange(13)[None] % 5 != 3)


def normalised_queries(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(F.normalize(query, dim=-1), F.normalize(key, dim=-1), value, scale=4.0)


RECOGNISED: dict[str, tuple[hand.Core, Callable[[Tensor, Tensor], Tensor]]] = {
    "heads mixed before the softmax": (
        mixed_before, lambda query, key: torch.einsum("bhij,hg->bgij", scores_of(query, key), MIX),
    ),
    "gated output": (gated_output, scores_of),
    "keys and values shared by all heads": (shared_keys, lambda query, key: scores_of(query, key[:, :1])),
    "arguments by name": (named_arguments, scores_of),
    "masked tokens": (
        masked, lambda query, key: scores_of(query, key).masked_fill(torch.arange(13) % 5 == 3, -torch.inf),
    ),
    "normalised queries and keys": (
        normalised_queries, lambda query, key: 4 * F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECOGNISED)
def test_attention_that_is_recognised(name):
    """The probabilities are the softmax of the scores that the definition gives for the module's own input."""
    core, scores = RECOGNISED[name]
    model = spelled(core)
    expected: list[Tensor] = []

    def note(module: nn.Module, given: Any, _output: Any) -> None:
        query, key, _ = module.qkv(given[0][0]).view(3, 13, 3, hand.HEADS, hand.HEAD).permute(2, 0, 3, 1, 4)
        expected.append(scores(query, key).softmax(-1))

    with torch.no_grad(), hooked([module for module in model.modules() if isinstance(module, hand.Attention)], note):
        model(inputs_of(SIZE))
    vit = watched_rightly(model, expected, SIZE)
    with vit.trace(images_of(SIZE)) as trace:
        assert trace.values[0].shape == (3, hand.HEADS, 13, hand.HEAD)


def timm_model(**options: Any) -> nn.Module:
    """A timm VisionTransformer of which every option may be chosen."""
    settings = {"embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2, "num_classes": CLASSES, **options}
    return scramble(timm_models.VisionTransformer(settings.pop("img_size", WIDE), PATCH, **settings))


VARIANTS: dict[str, dict[str, Any]] = {
    "qk-norm": {"qk_norm": True},
    "layer scale": {"init_values": 0.1},
    "norm behind": {"block_fn": timm_models.ResPostBlock, "init_values": 0.1},
    "attention and MLP side by side": {"block_fn": timm_models.ParallelScalingBlock},
    "patch dropout, at rest": {"patch_drop_rate": 0.5},
    "position of patches alone": {"no_embed_class": True, "reg_tokens": 3},
    "norm before": {"pre_norm": True},
    "mean of all": {"global_pool": "avgmax"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_timm_blocks(name):
    model = timm_model(**VARIANTS[name])
    watched_rightly(model, attention_unfused(model, inputs_of()))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"block_fn": timm_models.ParallelThingsBlock}, "makes 4 attention calls, and no list of modules makes exactly one in each"),
        ({"block_fn": timm_models.DiffParallelScalingBlock}, "'blocks.0' (DiffParallelScalingBlock) of VisionTransformer attends 2"),
        ({"attn_layer": "diff"}, "'blocks.0.attn' (DiffAttention) of VisionTransformer attends 2 times"),
    ],
)  # fmt: skip
def test_parallel_and_differential_blocks(options, reason):
    refused(timm_model(**options), "'one attention call per block' failed", reason, STILL)


def test_differential_attention_written_out():
    model = timm_model(attn_layer="diff")
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    refused(model, "2 softmaxes over tokens and changes them", "differential attention")


# -- 25, 26: outputs -------------------------------------------------------------------------------------------------------


class Returns(nn.Module):
    """A model that returns something made of its logits."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.inner = timm_model()
        self.make = make

    def forward(self, images: Tensor) -> object:
        return self.make(self.inner(images))


def segmentation(logits: Tensor) -> Tensor:
    return logits[:, :, None, None] * torch.linspace(0.5, 1.5, 6).view(1, 1, 2, 3)


AMBIGUOUS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "two heads": (lambda logits: (logits, logits + 1), "tuple, with 2 candidates"),
    "two of a dict": (lambda logits: {"coarse": logits, "fine": logits}, "coarse, fine, with 2 candidates"),
    "nothing": (lambda _logits: None, "NoneType, with 0 candidates"),
    "text": (lambda _logits: "cat", "str, with 0 candidates"),
    "nested": (lambda logits: ((logits,),), "tuple, with 0 candidates"),
    "array": (lambda logits: logits.detach().numpy(), "ndarray, with 0 candidates"),
    "one number": (lambda logits: logits.sum(), "torch.float32 of shape ()"),
    "one number for each image": (lambda logits: logits[:, 0], "torch.float32 of shape (3,)"),
    "segmentation": (segmentation, "torch.float32 of shape (3, 7, 2, 3)"),
    "segmentation in a dict": (lambda logits: {"out": segmentation(logits)}, "out, with 0 candidates"),
    "class numbers": (lambda logits: logits.argmax(1), "torch.int64 of shape (3,)"),
    "decisions": (lambda logits: logits > 0, "torch.bool of shape (3, 7)"),
    "complex": (lambda logits: logits.to(torch.complex64), "torch.complex64"),
    "one row for all": (lambda logits: logits.mean(0, keepdim=True), "1 rows of scores for 3 images"),
    "turned": (lambda logits: logits.T, "7 rows of scores for 3 images"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_outputs_that_are_no_scores(name):
    make, reason = AMBIGUOUS[name]
    refused(Returns(make), "VX-E203", reason, "Pass call=", kind=ModelOutputError)


CLEAR: dict[str, tuple[Callable[[Tensor], object], Callable[[Tensor], Tensor]]] = {
    "a tuple of one": (lambda logits: (logits,), lambda logits: logits),
    "a list of one": (lambda logits: [logits], lambda logits: logits),
    "logits and features": (lambda logits: (logits, segmentation(logits)), lambda logits: logits),
    "a dict with logits": (lambda logits: {"features": logits[:, :2], "logits": logits}, lambda logits: logits),
    "a dict of one": (lambda logits: {"out": logits}, lambda logits: logits),
    "an output object": (
        lambda logits: transformers.modeling_outputs.ImageClassifierOutput(logits=logits), lambda logits: logits,
    ),
    "one output": (lambda logits: logits[:, :1], lambda logits: logits[:, :1]),
    "multi-label": (lambda logits: logits.sigmoid(), lambda logits: logits.sigmoid()),
    "probabilities": (lambda logits: logits.softmax(1), lambda logits: logits.softmax(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAR)
def test_outputs_that_are_scores(name):
    make, expected = CLEAR[name]
    model = Returns(make)
    vit = opened(model)
    images = images_of(WIDE)
    wanted = expected(plain_logits(model.inner, normalised(vit, images)))
    with vit.trace(images, target=0) as trace:
        assert relative(trace.logits, wanted) <= 1e-5
        assert trace.vit.outputs == wanted.shape[1]
        assert all(bool((gradient != 0).any()) for gradient in trace.attention_grad)


def test_outputs_picked_by_call():
    """Two heads, and one pixel of a segmentation: what is asked is the caller's to say."""
    wanted = maps(opened(timm_model()), images_of(WIDE))
    two = opened(Returns(lambda logits: (logits, -logits)), call=lambda model, images: model(images)[0])
    require_same_maps(maps(two, images_of(WIDE)), wanted, 1e-6)
    pixel = opened(Returns(segmentation), call=lambda model, images: model(images)[:, :, 1, 1])
    factor = float(torch.linspace(0.5, 1.5, 6)[4])
    linear_methods = ("saliency", "generic_attention")
    found = maps(pixel, images_of(WIDE), linear_methods[:1])
    require_same_maps(found, {"saliency": wanted["saliency"] * factor}, 1e-5)


def test_two_heads_of_a_distilled_model():
    model = scramble(timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, depth=2, num_classes=CLASSES))
    model.set_distilled_training(True)
    model.train()
    refused(model, "with 2 candidates", size=(32, 32), kind=ModelOutputError)


def test_no_head():
    """num_classes=0 leaves the features, which are no classes; with labels they are taken for classes at the caller's word."""
    vit = opened(timm_model(num_classes=0))
    assert (vit.outputs, vit.has_classes) == (24, False)
    with pytest.raises(TargetError, match=r"VX-E400.*target='embedding'"):
        vt.explain(vit, images_of(WIDE), "rollout")
    assert vt.explain(vit, images_of(WIDE), "agcam", target="embedding")
    assert vt.explain(vit, images_of(WIDE), "agcam", target=3)
    assert opened(timm_model(num_classes=0), labels=[str(index) for index in range(24)]).has_classes


def test_no_head_and_no_pooling():
    refused(timm_model(num_classes=0, global_pool="", fc_norm=False), "shape (3, 13, 24)", kind=ModelOutputError)


def test_a_head_of_zeros():
    """torchvision's models begin so: nothing depends on the image, and there is nothing to explain."""
    model = timm_model()
    nn.init.zeros_(model.head.weight)
    refused(model, "Check 'readout' failed", "do not depend on the image at all", "Load trained weights")


def test_a_prediction_that_is_cut_off():
    refused(Returns(lambda logits: logits.detach()), "Check 'readout' failed", "detach()", "Pass call=")


# -- 28: training mode -----------------------------------------------------------------------------------------------------

RANDOM = {
    "dropout": ({"drop_rate": 0.5}, "'head_drop' (Dropout)"),
    "attention dropout": ({"attn_drop_rate": 0.5}, "'blocks.0.attn.attn_drop' (Dropout)"),
    "stochastic depth": ({"drop_path_rate": 0.5}, "'blocks.1.drop_path1' (DropPath)"),
    "patch dropout": ({"patch_drop_rate": 0.5}, "'patch_drop' (PatchDropout)"),
}


@pytest.mark.parametrize("name", RANDOM)
def test_training_mode_with_chance(name):
    options, module = RANDOM[name]
    model = timm_model(**options).train()
    refused(model, "VX-E202", "training mode", module, "model.eval()", kind=ModelModeError)
    vit = opened(model.eval())
    model.train()
    with pytest.raises(ModelModeError, match=r"Call model.eval\(\)"):
        vit.trace(images_of(WIDE))
    with pytest.raises(ModelModeError):
        vit.logits(images_of(WIDE))
    assert model.training


def test_training_mode_with_batch_norm():
    """It would mix the images of a batch, and change the model's running means."""
    refused(nn.Sequential(nn.BatchNorm2d(3), timm_model()).train(), "'0' (BatchNorm2d)", kind=ModelModeError)
    watched_rightly(nn.Sequential(nn.BatchNorm2d(3), timm_model()).eval(), None)


def test_training_mode_with_multihead_dropout():
    """nn.MultiheadAttention has no dropout module that could be seen."""
    model = scramble(hand.HandwrittenViT(hand.HOLDERS["multihead"]())).train()
    watched_rightly(model, hand.attention_of(model, inputs_of(SIZE)), SIZE)
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.3
    refused(model, "Attention runs with dropout 0.3", "model.eval()", size=SIZE, kind=ModelModeError)


class Chance(nn.Module):
    """Draws at random in a way that no module tells of."""

    def forward(self, images: Tensor) -> Tensor:
        return F.dropout(images, 0.5, training=self.training)


def test_chance_that_no_module_tells_of():
    model = nn.Sequential(Chance(), timm_model())
    watched_rightly(model.eval(), None)
    refused(model.train(), "Check 'tapped logits equal plain logits' failed", "Is the model random at evaluation")
    refused(model, "Check 'the same images give the same logits' failed", "random", require_attention=False)


class BatchStandard(nn.Module):
    """Standardises over the batch."""

    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean(0)


def test_images_that_influence_each_other():
    refused(
        nn.Sequential(BatchStandard(), timm_model()), "'images do not influence each other' failed", "over the batch"
    )


# -- 30, 31: quantised, scripted, exported, adapted --------------------------------------------------------------------------


quantised = pytest.mark.filterwarnings(  # PyTorch's advice against its own functions
    "ignore:.*torch.ao.quantization is deprecated", "ignore:torch.quantize_per_tensor.* are deprecated"
)


@quantised
@pytest.mark.parametrize("require_attention", [True, False])
def test_dynamically_quantised(require_attention):
    """Its activations get one scale for the whole batch: images influence each other, and that is said."""
    model = torch.ao.quantization.quantize_dynamic(timm_model(), {nn.Linear}, dtype=torch.qint8)
    refused(
        model,
        "'images do not influence each other' failed",
        "quantise over the batch",
        require_attention=require_attention,
    )


class StaticHead(nn.Module):
    """A linear layer in integers, with scales fixed beforehand."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = torch.ao.nn.quantized.Linear(features, CLASSES)
        weight = torch.linspace(-1, 1, CLASSES * features).reshape(CLASSES, features)
        self.inner.set_weight_bias(torch.quantize_per_tensor(weight, 0.01, 0, torch.qint8), torch.zeros(CLASSES))
        self.inner.scale = 0.05

    def forward(self, rows: Tensor) -> Tensor:
        return self.inner(torch.quantize_per_tensor(rows, 0.02, 128, torch.quint8)).dequantize()


@quantised
def test_statically_quantised():
    """Integers have no gradient: attention methods say so at opening, and so does saliency, instead of a wrong map."""
    model = timm_model()
    model.head = StaticHead(24)
    refused(model, "Check 'readout' failed", "a quantised or scripted head")
    vit = opened(model, require_attention=False)
    with pytest.raises(MethodNotApplicableError, match=r"VX-E206.*quantised"):
        vt.explain(vit, images_of(WIDE), "saliency", target=0)


@pytest.fixture
def no_jit_advice() -> Iterator[None]:
    """torch.jit advises against itself; here its results are what is tested."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.", category=FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        yield


@pytest.mark.usefixtures("no_jit_advice")
@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, torch.zeros(3, 3, *WIDE))])
def test_scripted(make):
    refused(make(timm_model()), "it is scripted", "open the Python model it was made from", STILL)
    refused(nn.Sequential(make(timm_model())), "it is scripted")


@pytest.mark.usefixtures("no_jit_advice")
@pytest.mark.parametrize("index", [0, 1])
def test_one_block_scripted(index):
    """The other block alone must not pass for the whole model."""
    model = timm_model()
    model.blocks[index] = torch.jit.script(model.blocks[index])
    refused(model, f"'blocks.{index}' (Block)", "showed no attention", "scripted or exported")


def test_exported():
    exported = torch.export.export(timm_model(), (torch.zeros(3, 3, *WIDE),)).module()
    refused(exported, "it is exported", "open the Python model it was made from")


@pytest.fixture
def one_process() -> Iterator[None]:
    """A group of processes with one member."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`")  # there is one process here
def test_distributed():
    """Replicated weights are all here; sharded ones are not, whichever of the two ways sharded them."""
    expected = maps(opened(timm_model()), images_of(WIDE))
    replicated = nn.parallel.DistributedDataParallel(timm_model())
    require_same_maps(maps(opened(replicated), images_of(WIDE)), expected, 1e-6)
    sharded = timm_model()
    for block in sharded.blocks:
        fully_shard(block)
    refused(sharded, "sharded over processes (FSDP)", "unsharded copy")
    refused(FullyShardedDataParallel(timm_model(), device_id=torch.device("cpu")), "sharded over processes (FSDP)")


def test_weights_without_numbers():
    refused(timm_model().to("meta"), "on the device 'meta'", "Load the weights")


class LowRank(nn.Module):
    """An adapter as PEFT wraps them around a linear layer."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, 2, bias=False)
        self.lora_B = nn.Linear(2, base.out_features, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        return self.base_layer(rows) + 0.7 * self.lora_B(self.lora_A(rows))

    def merged(self) -> nn.Linear:
        self.base_layer.weight.data += 0.7 * self.lora_B.weight.data @ self.lora_A.weight.data
        return self.base_layer


class Adapted(nn.Module):
    """The wrapper that holds the adapted model and passes everything on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)


def test_adapters():
    """The maps are those of the model into which the adapters are merged."""
    model = timm_model()
    for block in model.blocks:
        block.attn.qkv, block.mlp.fc1 = LowRank(block.attn.qkv), LowRank(block.mlp.fc1)
    model = scramble(model)
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    found = maps(opened(Adapted(model)), images_of(WIDE))
    for block in model.blocks:
        block.attn.qkv, block.mlp.fc1 = block.attn.qkv.merged(), block.mlp.fc1.merged()
    require_same_maps(found, maps(opened(model), images_of(WIDE)), 1e-5)


# -- gradient checkpointing --------------------------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    """A block that runs again in the backward."""

    def __init__(self, block: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.block = block
        self.reentrant = reentrant

    def forward(self, tokens: Tensor) -> Tensor:
        return checkpoint(self.block, tokens, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of checkpoint, in passes without a graph
def test_checkpointed_blocks(reentrant):
    model = timm_model()
    model.blocks = nn.Sequential(*[Checkpointed(block, reentrant) for block in model.blocks])
    refused(model, "torch.utils.checkpoint", "unwatched, in the backward", "Switch gradient checkpointing off")


def test_checkpointing_of_timm():
    model = timm_model()
    model.set_grad_checkpointing(True)
    refused(model, "Gradient checkpointing is on", "set_grad_checkpointing(False)")
    model.set_grad_checkpointing(False)
    watched_rightly(model, attention_unfused(model, inputs_of()))


def test_checkpointing_of_transformers():
    """It acts in training mode alone."""
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=WIDE, patch_size=PATCH,
        num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = scramble(transformers.ViTForImageClassification(config))
    for (
        module
    ) in model.modules():  # what activation_checkpointing_enable() of one version, or ..._enable() of another, sets
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    watched_rightly(model.eval(), None)
    refused(model.train(), "checkpoint")


# -- 32, 33: tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "grid"),
    [((30, 35), (3, 4)), ((31, 39), (3, 4)), ((24, 39), (3, 4)), ((39, 24), (4, 3)), ((17, 8), (2, 1))],
)
def test_sizes_that_patches_do_not_divide(size, grid):
    """The patch convolution leaves the rest out: patches stay 8 pixels wide."""
    model = timm_model(img_size=size)
    vit = watched_rightly(model, attention_unfused(model, inputs_of(size)), size)
    assert (vit.grid, vit.patch) == (grid, (8, 8))


@pytest.mark.parametrize("size", [(24, 32), (40, 24), (8, 64)])
def test_dynamic_sizes(size):
    model = timm_model(dynamic_img_size=True)
    vit = watched_rightly(model, attention_unfused(model, inputs_of(size)), size)
    assert vit.grid == (size[0] // 8, size[1] // 8)


def test_dynamic_size_with_padding():
    model = timm_model(dynamic_img_size=True, dynamic_img_pad=True)
    vit = watched_rightly(model, attention_unfused(model, inputs_of((30, 27))), (30, 27))
    assert (vit.grid, vit.patch) == ((4, 4), (8, 8))


def test_another_size_than_the_model_takes():
    refused(
        timm_model(),
        "does not run on images of (40, 24) pixels",
        "Input height (40)",
        "Preprocessing(size=",
        size=(40, 24),
    )


@pytest.mark.parametrize(("name", "prefix", "readout"), [("gap", 4, "mean"), ("map", 1, "attention")])
def test_naflexvit(name, prefix, readout):
    model = scramble(
        timm.create_model(f"naflexvit_base_patch16_{name}", depth=2, embed_dim=48, num_heads=3, num_classes=4)
    )
    vit = watched_rightly(model, attention_unfused(model, inputs_of((64, 96))), (64, 96))
    assert (vit.grid, vit.prefix, vit.readout.kind) == ((4, 6), prefix, readout)


class Reordered(hand.HandwrittenViT):
    """Patches in another order than row by row."""

    def tokenise(self, images: Tensor) -> Tensor:
        patches = self.order(self.embed(images))
        return torch.cat([self.extra.expand(len(images), -1, -1), patches], 1) + self.positions


class ByColumns(Reordered):
    order = staticmethod(lambda patches: patches.transpose(2, 3).flatten(2).transpose(1, 2))


class Backwards(Reordered):
    order = staticmethod(lambda patches: patches.flatten(2).flip(2).transpose(1, 2))


@pytest.mark.parametrize("kind", [ByColumns, Backwards])
def test_patches_in_another_order(kind):
    model = scramble(kind(hand.HOLDERS["list"]()))
    refused(model, "Check 'token layout' failed", "no grid read row by row", size=SIZE)


class Padded(hand.HandwrittenViT):
    """Two tokens of padding behind the patches, which nobody may attend to."""

    def __init__(self) -> None:
        super().__init__(hand.Blocks(lambda: hand.Block(hand.Attention(masked_padding)), 2))

    def tokenise(self, images: Tensor) -> Tensor:
        return F.pad(super().tokenise(images), (0, 0, 0, 2))


def masked_padding(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=torch.arange(query.shape[-2])[None] < 13)


def test_masked_tokens():
    vit = watched_rightly(scramble(Padded()), None, SIZE)
    assert (vit.prefix, vit.suffix, vit.grid) == (1, 2, hand.GRID)
    with vit.trace(images_of(SIZE)) as trace:
        assert all(float(attention[..., 13:].detach().abs().max()) == 0 for attention in trace.attention)
        assert trace.to_grid(trace.attention[0][:, 0, 0]).shape == (3, *hand.GRID)


class Merging(nn.Module):
    """A block behind which every second patch is merged into its neighbour, as ToMe does."""

    def __init__(self) -> None:
        super().__init__()
        self.block = hand.Block(hand.Attention(hand.by_sdpa))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.block(tokens)
        return torch.cat([tokens[:, :1], (tokens[:, 1::2] + tokens[:, 2::2]) / 2], 1)


def test_merged_tokens():
    model = scramble(hand.HandwrittenViT(nn.Sequential(Merging(), Merging())))
    refused(model, "'one set of tokens' failed", "[7, 13] tokens", "merging or pruning", STILL, size=SIZE)


class CountsItsImages(hand.HandwrittenViT):
    """Reads the number of its images at the start and relies on it at the end, as many people write it."""

    def forward(self, images: Tensor) -> Tensor:
        count = images.shape[0]
        tokens = self.norm(self.blocks(self.tokenise(images)))
        rows = tokens.view(count, 13, hand.WIDTH)[:, 1:].reshape(count, *hand.GRID, hand.WIDTH)
        return self.head(rows.mean((1, 2)))


def test_a_model_that_counts_its_images():
    model = scramble(CountsItsImages(hand.HOLDERS["list"]()))
    vit = watched_rightly(model, hand.attention_of(model, inputs_of(SIZE)), SIZE)
    assert vit.readout.kind == "mean"


class ReadsEarlier(hand.HandwrittenViT):
    """Reads tokens of an earlier block beside the last."""

    def forward(self, images: Tensor) -> Tensor:
        early = self.blocks.layers[0](self.tokenise(images))
        return self.head(self.norm(early + self.blocks.layers[1](early))[:, 0])


def test_a_prediction_that_reads_earlier_blocks():
    model = scramble(ReadsEarlier(hand.HOLDERS["list"]()))
    refused(
        model,
        "'readout of the last tokens equals the logits' failed",
        "anything but the last block's tokens",
        size=SIZE,
    )


def test_blocks_that_no_module_holds():
    model = scramble(hand.HandwrittenViT(hand.FunctionalBlocks(hand.by_sdpa, 2)))
    refused(model, "is there no module that holds a whole block?", size=SIZE)


# -- 36: shared modules ------------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    """One block that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.only = hand.Block(hand.Attention(hand.by_sdpa))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.only(self.only(tokens))


def _listed_twice() -> nn.Module:
    block = hand.Block(hand.Attention(hand.by_product))
    return nn.Sequential(block, block)


def _shared_attention() -> nn.Module:
    attention = hand.Attention(hand.by_sdpa)
    return nn.Sequential(hand.Block(attention), hand.Block(attention))


@pytest.mark.parametrize(
    ("blocks", "name"),
    [(Twice, "blocks.only.attn"), (_listed_twice, "blocks.0.attn"), (_shared_attention, "blocks.0.attn")],
)
def test_shared_modules(blocks, name):
    model = scramble(hand.HandwrittenViT(blocks()))
    refused(
        model, f"the module '{name}' (Attention)", "attends 2 times in one pass", "shared by several blocks", size=SIZE
    )


# -- 38, 39: calling and preprocessing ---------------------------------------------------------------------------------------


class Demanding(nn.Module):
    """A forward with arguments of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = timm_model()

    def forward(self, *, batch: dict[str, Tensor], temperature: float) -> dict[str, object]:
        return {"result": (self.inner(batch["pixels"]) / temperature, batch)}


def test_arguments_of_its_own():
    refused(Demanding(), "does not run on images of (24, 32) pixels: TypeError", "call=… for other arguments")
    vit = opened(Demanding(), call=lambda model, images: model(batch={"pixels": images}, temperature=2.0)["result"][0])
    with vit.trace(images_of(WIDE)) as trace:
        expected = plain_logits(vit.model.inner, normalised(vit, images_of(WIDE))) / 2
        assert relative(trace.logits, expected) <= 1e-5
        assert all(bool((gradient != 0).any()) for gradient in trace.attention_grad)


def test_a_model_of_images_and_texts():
    """The whole of CLIP wants text: its vision tower is what there is to open, or a call that supplies the text."""
    sides = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.CLIPConfig(
        text_config={**sides, "vocab_size": 20, "max_position_embeddings": 6, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        vision_config={**sides, "image_size": 32, "patch_size": 8}, projection_dim=16,
    )  # fmt: skip
    model = scramble(transformers.CLIPModel(config))
    refused(model, "does not run on images of (32, 32) pixels", "call=", size=(32, 32))
    texts = torch.tensor([[1, 5, 6, 2], [1, 7, 8, 2], [1, 9, 3, 2]])

    def call(model: nn.Module, images: Tensor) -> Tensor:
        return model(input_ids=texts, pixel_values=images).logits_per_image

    vit = opened(model.vision_model, (32, 32))
    assert vit.blocks[0] is model.vision_model.encoder.layers[0]
    with pytest.raises(UnsupportedModelError):
        opened(model, (32, 32), call=call)


def test_preprocessing_that_nobody_stated():
    """Opened with a guess that is told, in the Vit and in the record of every map."""
    model = scramble(hand.HandwrittenViT(hand.HOLDERS["list"]()))
    vit = vt.open_vit(model, image_size=SIZE)
    (warning,) = vit.warnings
    assert all(part in warning for part in ("guessed (size, mean, std)", "0.485", "0.229", "preprocessing="))
    (found,) = vt.explain(vit, images_of(SIZE, 1), "rollout")
    assert warning in found.provenance.warnings
    refused(model, "does not run on images of (224, 224) pixels", "Preprocessing(size=", preprocessing=None)


def test_preprocessing_that_makes_no_sense():
    for wrong in ({"std": (0.2, 0.0, 0.2)}, {"size": (0, 24)}, {"crop_share": 0.0}):
        with pytest.raises(InputError, match="VX-E120"):
            vt.Preprocessing(**wrong)


def test_a_module_with_weights_to_load():
    with pytest.raises(InputError, match="together with a module"):
        vt.open_vit(timm_model(), weights="random")


def test_a_model_that_was_changed_after_opening():
    model = timm_model()
    vit = opened(model)
    model.blocks = model.blocks[:1]
    with pytest.raises(UnsupportedModelError, match=r"expected once in each.*Open it again"):
        vit.trace(images_of(WIDE))
