"""Training of the bundled models: one command, from rendered scenes to weights and a card.

    vitreous worlds render --count 24000 --seed 1 --finer 2 --out train
    vitreous worlds render --count 2000 --seed 2 --finer 2 --out watched
    python -m vitreous.worlds.train train watched --out scenes.safetensors
    python -m vitreous.worlds.train train watched --out scenes-shortcut.safetensors --tags 0.95 --most 6400 --epochs 8

The scenes that are watched while it learns decide nothing in a run, but the recipe was chosen by them. So the card is
measured on others, rendered with seed 4: see `vitreous.worlds.measure`.

A class token alone learns slowly from 24,000 pictures. So every patch token learns as well: to say what covers its
patch, which the exact masks tell (token labelling, Jiang et al. 2021, arXiv:2104.10858). The layer that reads those
answers is thrown away in the end.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitreous.core.seed import image_seed
from vitreous.vit.bundled.architecture import CLASSES, PATCH, SIDE, build_scenes_vit
from vitreous.worlds.rendered.scene import Tag
from vitreous.worlds.rendered.shapes import DISTRACTORS, OCCLUDER
from vitreous.worlds.rendered.tags import print_tag

KINDS = ("nothing", *CLASSES, *DISTRACTORS, OCCLUDER)
MEAN = DEVIATION = 0.5


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result. Chosen on held-out scenes of another seed than those of the card.

    epochs   how long to train in all
    horizon  epochs after which the cosine of the learning rate would reach zero
    cooling  the last epochs (at most half of all), in which the rate falls to zero in a line instead: they bring most
             of what the rest of the cosine would have brought, in less time
    """

    epochs: int = 21
    horizon: int = 26
    cooling: int = 4
    batch: int = 64
    rate: float = 1.5e-3
    warmup: float = 0.05
    decay: float = 0.05
    tokens: float = 1.0
    average: float = 0.995
    shift: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Pictures:
    """A rendered data set in memory.

    images, numbers  uint8 "n 96 96 3", and "n fine fine": which thing is seen at each point of a finer grid
    kinds            for each picture and number, which of `KINDS` that is, "n 32"
    labels           "n"
    """

    images: Tensor
    numbers: Tensor
    kinds: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.labels)


def load_pictures(folder: Path, tags: float | None = None, most: int | None = None) -> Pictures:
    """Read a rendered data set, or its first `most` scenes.

    tags  prints the class's tag on this share of the pictures, and a random one on the others: the same pictures as
          those of the variant "tag", without rendering them again
    """
    rows = [row for part in sorted((folder / "parts").glob("*.json")) for row in json.loads(part.read_text("utf-8"))]
    rows = rows[:most]
    images, numbers = [], []
    kinds = torch.zeros(len(rows), 32, dtype=torch.long)
    for place, row in enumerate(rows):
        image = np.asarray(Image.open(folder / "images" / f"{row['id']}.png"))
        if tags is not None:
            rng = np.random.default_rng(image_seed(1, "tags", row["id"]))
            agrees, other = rng.random() < tags, int(rng.integers(len(CLASSES)))
            image = print_tag(image, Tag(CLASSES.index(row["label"]) if agrees else other))
        images.append(image)
        numbers.append(np.asarray(Image.open(folder / "numbers" / f"{row['id']}.png")))
        things = json.loads(row["scene"])["things"]
        kinds[place, 1 : len(things) + 1] = torch.tensor([KINDS.index(thing["shape"]) for thing in things])
    labels = torch.tensor([CLASSES.index(row["label"]) for row in rows])
    return Pictures(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(numbers)), kinds, labels)


def batches(pictures: Pictures, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Give one epoch in random order: varied images, what covers each patch "b 144 kinds", and labels."""
    generator = torch.Generator().manual_seed(image_seed(recipe.seed, "epoch", str(epoch)))
    order = torch.randperm(len(pictures), generator=generator)
    for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
        chosen = order[start : start + recipe.batch]
        images = pictures.images[chosen].permute(0, 3, 1, 2)
        numbers = pictures.numbers[chosen]
        images, numbers = _vary(images, numbers, recipe.shift, generator)
        yield images, _covers(numbers, pictures.kinds[chosen]), pictures.labels[chosen]


def _vary(images: Tensor, numbers: Tensor, shift: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, move, and change colours and light: nothing of this changes a shape."""
    count = len(images)
    finer = numbers.shape[-1] // images.shape[-1]
    images = F.pad(images.float() / 255, [shift] * 4, mode="replicate")
    numbers = F.pad(numbers[:, None].float(), [shift * finer] * 4, mode="replicate")[:, 0].long()
    moved, moved_numbers = [], []
    across = torch.randint(0, 2 * shift + 1, (count, 2), generator=generator).tolist()
    mirror = (torch.rand(count, generator=generator) < 0.5).tolist()
    colours = [torch.randperm(3, generator=generator) for _ in range(count)]
    for one, (x, y) in enumerate(across):
        image = images[one, colours[one], y : y + SIDE, x : x + SIDE]
        size = SIDE * finer
        number = numbers[one, y * finer : y * finer + size, x * finer : x * finer + size]
        moved.append(image.flip(-1) if mirror[one] else image)
        moved_numbers.append(number.flip(-1) if mirror[one] else number)
    result = torch.stack(moved)
    gain = 0.7 + 0.6 * torch.rand(count, 3, 1, 1, generator=generator)
    lift = 0.1 * torch.randn(count, 1, 1, 1, generator=generator)
    noise = 0.03 * torch.rand(count, 1, 1, 1, generator=generator)
    result = result * gain + lift + noise * torch.randn(result.shape, generator=generator)
    return result.clamp(0, 1), torch.stack(moved_numbers)


def _covers(numbers: Tensor, kinds: Tensor) -> Tensor:
    """Count what covers each patch: shares "b 144 kinds"."""
    count, size = numbers.shape[:2]
    grid, cell = SIDE // PATCH, size * PATCH // SIDE
    kind = kinds.gather(1, numbers.flatten(1))
    place = torch.arange(size) // cell
    patch = (place[:, None] * grid + place[None, :]).flatten()
    shares = torch.zeros(count, grid * grid * len(KINDS))
    shares.scatter_add_(1, patch * len(KINDS) + kind, torch.ones(()).expand(count, size * size))
    return shares.view(count, grid * grid, len(KINDS)) / cell**2


class Learner(nn.Module):
    """The model and the layer that says for each patch what covers it."""

    vit: Any  # a model of timm, which tells no types

    def __init__(self) -> None:
        super().__init__()
        self.vit = build_scenes_vit()
        for block in self.vit.blocks:
            block.attn.fused_attn = False  # on a CPU, the backward of the fused operator takes three times as long
        self.says = nn.Linear(self.vit.embed_dim, len(KINDS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits "b 10" and, for each patch, logits "b 144 kinds"."""
        tokens = self.vit.forward_features((images - MEAN) / DEVIATION)
        return self.vit.forward_head(tokens), self.says(tokens[:, 1:])


def loss_of(learner: Learner, images: Tensor, covers: Tensor, labels: Tensor, tokens: float) -> Tensor:
    """Cross-entropy of the class, and of what covers each patch; empty patches count a tenth."""
    logits, said = learner(images)
    each = -(covers * said.float().log_softmax(-1)).sum(-1)
    weight = 0.1 + 0.9 * (1 - covers[..., 0])
    covered: Tensor = (each * weight).sum() / weight.sum()
    return F.cross_entropy(logits.float(), labels, label_smoothing=0.05) + tokens * covered


@torch.no_grad()
def accuracy(model: nn.Module, pictures: Pictures, device: str = "cpu") -> float:
    """Share of pictures whose largest logit is that of their class."""
    model.eval()
    right = 0
    for start in range(0, len(pictures), 250):
        images = pictures.images[start : start + 250].permute(0, 3, 1, 2).to(device).float() / 255
        right += int((model((images - MEAN) / DEVIATION).argmax(1).cpu() == pictures.labels[start : start + 250]).sum())
    return right / len(pictures)


def train(
    pictures: Pictures, held_out: Pictures, recipe: Recipe, device: str = "cpu", kept: Path | None = None
) -> nn.Module:
    """Train by a recipe, and give the model with the averaged weights of its last steps.

    kept  a file that takes the state after each epoch; training goes on from it if it is there
    """
    torch.manual_seed(recipe.seed)
    learner = Learner().to(device)
    average = Learner().to(device)
    average.load_state_dict(learner.state_dict())
    optimiser = torch.optim.AdamW(_groups(learner, recipe.decay), lr=recipe.rate, betas=(0.9, 0.98))
    first = _resume(kept, learner, average, optimiser)
    steps = len(pictures) // recipe.batch
    step = first * steps
    for epoch in range(first, recipe.epochs):
        began, total = time.perf_counter(), 0.0
        learner.train()
        for images, covers, labels in batches(pictures, recipe, epoch):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * rate_share(step, steps, recipe)
            with torch.autocast(device, torch.bfloat16):
                loss = loss_of(learner, images.to(device), covers.to(device), labels.to(device), recipe.tokens)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimiser.step()
            step += 1
            _follow(average, learner, min(recipe.average, (1 + step) / (10 + step)))
            total += float(loss.detach())
        seen = time.perf_counter() - began
        found = accuracy(average.vit, held_out, device)
        print(f"epoch {epoch + 1} loss {total / steps:.3f} held-out {found:.4f} {seen:.0f} s", flush=True)  # noqa: T201
        _keep(kept, epoch + 1, learner, average, optimiser)
    model: nn.Module = average.vit.eval()
    return model


def rate_share(step: int, steps: int, recipe: Recipe) -> float:
    """Share of the full learning rate at a step, with `steps` in an epoch: a line up, a cosine, and a line to zero."""
    cooling = min(recipe.cooling, recipe.epochs / 2)
    cooled = (recipe.epochs - cooling) * steps
    share = _cosine(min(step, cooled) / (recipe.horizon * steps), recipe.warmup)
    return share * min(1.0, (recipe.epochs * steps - step) / (cooling * steps))


def _cosine(share: float, warmup: float) -> float:
    return share / warmup if share < warmup else 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _groups(learner: nn.Module, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices alone."""
    matrices = [parameter for parameter in learner.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in learner.parameters() if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def _follow(average: nn.Module, learner: nn.Module, share: float) -> None:
    for slow, fast in zip(average.state_dict().values(), learner.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - share)
        else:
            slow.copy_(fast)


def _keep(
    kept: Path | None, epoch: int, learner: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write everything that the next epoch begins with, under its name only when it is whole."""
    if kept is None:
        return
    states = [
        {f"{name}.{key}": value for key, value in part.state_dict().items()}
        for name, part in (("learner", learner), ("average", average))
    ]
    moments = {
        f"optimiser.{place}.{key}": value
        for place, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }
    scratch = kept.with_suffix(".writing")
    save_file({**states[0], **states[1], **moments, "epoch": torch.tensor(epoch)}, scratch)
    scratch.replace(kept)


def _resume(kept: Path | None, learner: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Load what `_keep` wrote; gives the number of epochs that are done."""
    if kept is None or not kept.exists():
        return 0
    found = load_file(kept)
    for name, part in (("learner", learner), ("average", average)):
        part.load_state_dict({key: found[f"{name}.{key}"] for key in part.state_dict()})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in found.items():
        if name.startswith("optimiser."):
            _, place, key = name.split(".")
            state.setdefault(int(place), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(found["epoch"])


def main() -> None:
    """Train from the command line; `--help` says how."""
    parser = argparse.ArgumentParser(description="Train a bundled model on rendered scenes.")
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tags", type=float, default=None, help="plant the tag shortcut with this correlation")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--most", type=int, default=None, help="use only the first scenes of the training set")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    pictures = load_pictures(chosen.train, chosen.tags, chosen.most)
    held_out = load_pictures(chosen.held_out, chosen.tags)
    recipe = Recipe(epochs=chosen.epochs)
    model = train(pictures, held_out, recipe, chosen.device, chosen.out.with_suffix(".kept"))
    write_weights(model.state_dict(), recipe, len(pictures), chosen.tags, chosen.out)


def write_weights(state: dict[str, Tensor], recipe: Recipe, scenes: int, tags: float | None, out: Path) -> None:
    """Write weights in half precision, and with them the recipe that they come from."""
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    made = {"scenes": scenes, **({"tags": tags} if tags is not None else {}), **asdict(recipe)}
    save_file(halves, out, metadata={"recipe": json.dumps(made)})


if __name__ == "__main__":
    main()
