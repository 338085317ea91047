"""The planted ViT: one block with weights set by hand, so that the truth of every explanation is known exactly.

Output 0 reads the brightest patch alone, output 1 the darkest alone, output 2 reads nothing. Nothing is trained.

A token has eight channels. The patch convolution writes the patch's mean brightness b and a flag "I am a patch";
class and register tokens carry a flag of their own. Head 0 scores a key by sharpness * (b - 1/2), head 1 by the
negative of it; prefix tokens get a score so low that no float sees them. What head 0 attends to is copied as b, what
head 1 attends to as 1 - b. With a gap between the brightest patch and the next, the softmax is one-hot to the last
bit of a float, and so

    output 0 = GAIN * brightest        output 1 = GAIN * (1 - darkest)        output 2 = IDLE
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vitreous as vt

BRIGHTEST, DARKEST, NOTHING = 0, 1, 2
GAIN, IDLE = 10.0, 5.0
LIGHT, DARK = 0.9, 0.1
MIDDLE = (0.3, 0.7)
"""Brightness of the other patches: 0.2 away from the extremes, so that exp(-sharpness * 0.2) is nothing."""

WIDTH, HEADS = 8, 2
_BRIGHTNESS, _IS_PATCH, _IS_PREFIX, _OUT_BRIGHT, _OUT_DARK = range(5)


class PlantedAttention(nn.Module):
    """Two heads, written out or by PyTorch's fused operator."""

    def __init__(self, sharpness: float, attention: Literal["softmax", "sdpa"]) -> None:
        super().__init__()
        self.attention = attention
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH, bias=False)
        with torch.no_grad():
            for weight in (self.qkv.weight, self.proj.weight):
                weight.zero_()
            query, key, value = self.qkv.weight.view(3, HEADS, WIDTH // HEADS, WIDTH)
            query[:, 0, [_IS_PATCH, _IS_PREFIX]] = 1.0
            for head, sign in enumerate((1.0, -1.0)):
                key[head, 0, _BRIGHTNESS] = sign * sharpness
                key[head, 0, _IS_PATCH] = -sign * sharpness / 2
                key[head, 0, _IS_PREFIX] = -2 * sharpness
            value[0, 1, _BRIGHTNESS] = 1.0
            value[1, 1, _IS_PATCH], value[1, 1, _BRIGHTNESS] = 1.0, -1.0
            self.proj.weight[_OUT_BRIGHT, 1] = 1.0
            self.proj.weight[_OUT_DARK, WIDTH // HEADS + 1] = 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        images, count, _ = tokens.shape
        query, key, value = self.qkv(tokens).view(images, count, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        if self.attention == "sdpa":
            output = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        else:
            output = torch.softmax(query @ key.transpose(-2, -1), dim=-1) @ value
        return self.proj(output.transpose(1, 2).reshape(images, count, WIDTH))


class PlantedBlock(nn.Module):
    """The skip connection and the attention; norms and MLP would only blur the truth."""

    def __init__(self, sharpness: float, attention: Literal["softmax", "sdpa"]) -> None:
        super().__init__()
        self.attn = PlantedAttention(sharpness, attention)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.attn(tokens)


class PlantedViT(nn.Module):
    """See above. With `prefix` tokens the head reads the first of them, without any the mean of the patch tokens."""

    def __init__(
        self,
        grid: tuple[int, int] = (3, 4),
        patch: int = 4,
        prefix: int = 1,
        attention: Literal["softmax", "sdpa"] = "sdpa",
        sharpness: float = 200.0,
    ) -> None:
        super().__init__()
        self.size = (grid[0] * patch, grid[1] * patch)
        self.grid = grid
        self.patch = patch
        self.prefix = nn.Parameter(torch.zeros(1, prefix, WIDTH))
        self.embed = nn.Conv2d(3, WIDTH, patch, patch)
        self.blocks = nn.ModuleList([PlantedBlock(sharpness, attention)])
        self.head = nn.Linear(WIDTH, 3)
        with torch.no_grad():
            self.prefix[..., _IS_PREFIX] = 1.0
            for parameter in (*self.embed.parameters(), *self.head.parameters()):
                parameter.zero_()
            self.embed.weight[_BRIGHTNESS] = 1 / (3 * patch * patch)
            self.embed.bias[_IS_PATCH] = 1.0
            self.head.weight[BRIGHTEST, _OUT_BRIGHT] = GAIN
            self.head.weight[DARKEST, _OUT_DARK] = GAIN
            self.head.bias[NOTHING] = IDLE

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        read = tokens[:, 0] if self.prefix.shape[1] else tokens.mean(1)
        return self.head(read)


def open_planted(
    grid: tuple[int, int] = (3, 4),
    patch: int = 4,
    prefix: int = 1,
    attention: Literal["softmax", "sdpa"] = "sdpa",
    sharpness: float = 200.0,
) -> vt.Vit:
    """Open a planted ViT whose inputs are the images themselves."""
    model = PlantedViT(grid, patch, prefix, attention, sharpness).eval()
    plain = vt.Preprocessing(size=model.size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return vt.open_vit(model, preprocessing=plain, labels=["brightest", "darkest", "nothing"])


def planted_images(vit: vt.Vit, extremes: list[tuple[int, int]], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Make one image for each (brightest, darkest) pair of patch numbers; the other patches lie in between.

    Gives images (b, 3, H, W) of evenly coloured patches, and the brightness of each patch (b, patches).
    """
    rows, columns = vit.grid
    generator = torch.Generator().manual_seed(seed)
    low, high = MIDDLE
    brightness = low + (high - low) * torch.rand(len(extremes), rows * columns, generator=generator)
    for image, (light, dark) in enumerate(extremes):
        brightness[image, light], brightness[image, dark] = LIGHT, DARK
    coarse = brightness.view(-1, 1, rows, columns).expand(-1, 3, -1, -1)
    images = coarse.repeat_interleave(vit.patch[0], 2).repeat_interleave(vit.patch[1], 3)
    return images.contiguous(), brightness
