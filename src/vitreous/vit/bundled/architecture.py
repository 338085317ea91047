"""The architecture of the bundled models: a plain timm ViT for 96-pixel pictures on a grid of 12 x 12 tokens."""

from typing import Any

from torch import Tensor, nn

SIDE = 96
PATCH = 8
WIDTH = 192
DEPTH = 6
HEADS = 3
CLASSES = ("capsule", "cone", "cross", "cube", "cylinder", "pyramid", "sphere", "star", "torus", "tube")


class ConvStem(nn.Module):
    """Patches by convolutions instead of one linear layer: small data sets teach it edges far sooner.

    Each token still belongs to one patch of 8 x 8 pixels, and sees 27 x 27 pixels around it. The arguments are those
    that timm's `VisionTransformer` gives to its `embed_layer`.
    """

    def __init__(
        self, img_size: int = SIDE, patch_size: int = PATCH, in_chans: int = 3, embed_dim: int = WIDTH, **_: Any
    ) -> None:
        super().__init__()
        self.img_size = (img_size, img_size)
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        fine, middle, coarse = embed_dim // 6, embed_dim // 3, 2 * embed_dim // 3
        self.layers = nn.Sequential(
            *_convolution(in_chans, fine, stride=2),
            *_convolution(fine, fine),
            *_convolution(fine, middle, stride=2),
            *_convolution(middle, middle),
            *_convolution(middle, coarse, stride=2),
            nn.Conv2d(coarse, embed_dim, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Turn "b 3 96 96" into tokens "b 144 192", row by row."""
        tokens: Tensor = self.layers(images).flatten(2).transpose(1, 2)
        return tokens


def _convolution(before: int, after: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.GELU(),
    )


def build_scenes_vit() -> nn.Module:
    """Build the model of `bundled:scenes`, untrained."""
    from timm.models.vision_transformer import VisionTransformer  # noqa: PLC0415  (timm loads slowly)

    model: nn.Module = VisionTransformer(
        img_size=SIDE,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        num_classes=len(CLASSES),
        embed_layer=ConvStem,
    )
    return model
