"""Small models of every family, with random weights that make attention and gradients far from degenerate."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import timm.models.beit
import timm.models.deit
import timm.models.eva
import timm.models.vision_transformer
import torch
import torchvision
import transformers
from torch import Tensor, nn

import vitreous as vt
from oracles import handwritten as hand

CLASSES = 7
WIDE, SQUARE = (24, 32), (24, 24)
"""Sizes in pixels (height, width), with patches of 8: grids of 3 x 4 and 3 x 3."""

PATCH = 8


@torch.no_grad()
def scramble(model: nn.Module, seed: int = 0, strength: float = 1.5) -> nn.Module:
    """Give every parameter a new value, drawn by its name, so that nothing is zero, one or symmetrical.

    Matrices get a standard deviation of strength / sqrt(inputs): scores of attention then spread by about
    strength ** 2, which makes a softmax neither flat nor one-hot.
    """
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.dim() == 1:  # norms and layer scales start as a constant, biases at zero or at random
            start = float(parameter[0]) if bool((parameter == parameter[0]).all()) else 0.0
            value = (0.0 if start <= 0 else max(start, 0.5)) + 0.1 * noise
        elif parameter.dim() == 2 or "proj" in name or "conv" in name:
            value = noise * strength / parameter[0].numel() ** 0.5
        else:  # class and register tokens, position embeddings, pooling queries
            value = noise
        parameter.copy_(value)
    return model.eval()


class HandwrittenAttention(nn.Module):
    """Attention as people write it: three projections, matmul, softmax, matmul."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        images, count, width = tokens.shape

        def split(rows: Tensor) -> Tensor:
            return rows.view(images, count, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = split(self.query(tokens)), split(self.key(tokens)), split(self.value(tokens))
        weights = torch.softmax(query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(images, count, width))


class HandwrittenBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.behind = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = HandwrittenAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.broken = False

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.before(tokens))
        if self.broken:
            raise ArithmeticError("broken in the middle of a block")
        return tokens + self.mlp(self.behind(tokens))


class HandwrittenViT(nn.Module):
    """A model that no library wrote. `broken` in one of its blocks makes it fail in the middle of a pass."""

    def __init__(self, size: tuple[int, int] = WIDE, width: int = 24, depth: int = 2, heads: int = 3) -> None:
        super().__init__()
        count = size[0] // PATCH * (size[1] // PATCH)
        self.embed = nn.Conv2d(3, width, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, count + 1, width))
        self.layers = nn.Sequential(*[HandwrittenBlock(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(width, CLASSES)
        self.register_buffer("calls", torch.zeros(()))  # a buffer, so that buffers are looked at too

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1) + self.positions
        return self.classifier(self.dropout(self.norm(self.layers(tokens)[:, 0])))


def timm_vit(size: tuple[int, int] = WIDE, depth: int = 2, **options: object) -> nn.Module:
    """A timm VisionTransformer."""
    return timm.models.vision_transformer.VisionTransformer(
        size, PATCH, embed_dim=24, depth=depth, num_heads=3, mlp_ratio=2, num_classes=CLASSES, **options
    )


def _distilled() -> nn.Module:
    return timm.models.deit.VisionTransformerDistilled(
        img_size=WIDE, patch_size=PATCH, embed_dim=24, depth=2, num_heads=3, num_classes=CLASSES
    )


def _eva() -> nn.Module:
    return timm.models.eva.Eva(
        WIDE, PATCH, embed_dim=24, depth=2, num_heads=3, num_classes=CLASSES, global_pool="token", num_reg_tokens=4,
        swiglu_mlp=True, use_rot_pos_emb=True, use_abs_pos_emb=False, qkv_fused=False,
    )  # fmt: skip


def _rope_without_class_token() -> nn.Module:
    return timm.models.eva.Eva(
        WIDE, PATCH, embed_dim=24, depth=2, num_heads=3, num_classes=CLASSES, class_token=False, use_rot_pos_emb=True
    )


def _beit() -> nn.Module:
    return timm.models.beit.Beit(
        WIDE, PATCH, embed_dim=24, depth=2, num_heads=3, num_classes=CLASSES, init_values=0.1,
        use_abs_pos_emb=False, use_rel_pos_bias=True,
    )  # fmt: skip


def _huggingface(implementation: str) -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=WIDE,
        patch_size=PATCH, num_labels=CLASSES, attn_implementation=implementation,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def _dinov2_with_registers() -> nn.Module:
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=SQUARE[0],
        patch_size=PATCH, num_labels=CLASSES, num_register_tokens=4,
    )  # fmt: skip
    return transformers.Dinov2WithRegistersForImageClassification(config)


def _torchvision() -> nn.Module:
    return torchvision.models.VisionTransformer(
        SQUARE[0], PATCH, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48, num_classes=CLASSES
    )


class ClassTokenBehind(hand.HandwrittenViT):
    """Registers before the patches, if any, and the class token behind them."""

    def __init__(self, registers: int) -> None:
        super().__init__(hand.HOLDERS["list"](), "last")
        self.registers = nn.Parameter(torch.zeros(1, registers, hand.WIDTH))

    def tokenise(self, images: Tensor) -> Tensor:
        return torch.cat([self.registers.expand(len(images), -1, -1), super().tokenise(images)], 1)


@dataclass(frozen=True)
class Family:
    """How to build one model, and what must be found in it."""

    build: Callable[[], nn.Module]
    prefix: int
    readout: str
    kind: str
    size: tuple[int, int] = WIDE
    patch: int = PATCH

    @property
    def grid(self) -> tuple[int, int]:
        return self.size[0] // self.patch, self.size[1] // self.patch

    def open(self, seed: int = 0) -> vt.Vit:
        """Build the model, give it random weights, and open it."""
        torch.manual_seed(0)  # some libraries draw at random while they build
        preprocessing = vt.Preprocessing(size=self.size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        return vt.open_vit(scramble(self.build(), seed), preprocessing=preprocessing)


FAMILIES: dict[str, Family] = {
    "timm": Family(timm_vit, 1, "token", "sdpa"),
    "timm distilled": Family(_distilled, 2, "token", "sdpa"),
    "timm registers": Family(lambda: timm_vit(reg_tokens=4, init_values=0.1), 5, "token", "sdpa"),
    "timm mean": Family(lambda: timm_vit(class_token=False, global_pool="avg"), 0, "mean", "sdpa"),
    "timm class token, mean": Family(lambda: timm_vit(global_pool="avg"), 1, "mean", "sdpa"),
    "timm map": Family(lambda: timm_vit(class_token=False, global_pool="map"), 0, "attention", "sdpa"),
    "timm registers, map": Family(
        lambda: timm_vit(class_token=False, global_pool="map", reg_tokens=4), 4, "attention", "sdpa"
    ),
    "eva rope registers": Family(_eva, 5, "token", "sdpa"),
    "rope mean": Family(_rope_without_class_token, 0, "mean", "sdpa"),
    "beit": Family(_beit, 1, "mean", "sdpa"),
    "transformers eager": Family(lambda: _huggingface("eager"), 1, "token", "handwritten"),
    "transformers sdpa": Family(lambda: _huggingface("sdpa"), 1, "token", "sdpa"),
    "dinov2 registers": Family(_dinov2_with_registers, 5, "token and mean", "sdpa", SQUARE),
    "torchvision": Family(_torchvision, 1, "token", "multihead", SQUARE),
    "handwritten": Family(HandwrittenViT, 1, "token", "handwritten"),
}

BEHIND: dict[str, Family] = {
    "class token behind": Family(lambda: ClassTokenBehind(0), 0, "token", "handwritten", hand.SIZE, hand.PATCH),
    "registers before, class token behind": Family(
        lambda: ClassTokenBehind(2), 2, "token", "handwritten", hand.SIZE, hand.PATCH
    ),
}
"""Models with a token behind the patches, for what tells tokens that are no patches from patches."""

EITHER_SIDE = {**FAMILIES, **BEHIND}


def random_images(vit: vt.Vit, count: int, seed: int = 0) -> Tensor:
    """Different images of the model's size, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, *vit.preprocessing.size, generator=generator)
