"""Measuring a bundled model: accuracy on held-out scenes and under stress, and whether the truth can be read off it.

    vitreous worlds render --count 2000 --seed 4 --finer 2 --out held-out
    python -m vitreous.worlds.measure bundled:scenes held-out --card src/vitreous/vit/bundled/scenes.md

The held-out scenes have a seed of their own, which neither training nor the choice of its recipe has seen; scenes under
stress and without their things are rendered on the way, so that the extra "scenes" is needed.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from scipy.stats import binomtest

from vitreous._version import __version__
from vitreous.vit.families.bundled import FOLDER
from vitreous.vit.open import open_vit
from vitreous.worlds.rendered.load import SceneSample, scenes
from vitreous.worlds.rendered.render import render
from vitreous.worlds.rendered.scene import Tag
from vitreous.worlds.rendered.shapes import CLASSES
from vitreous.worlds.rendered.stress import AXES, LEVELS, stress
from vitreous.worlds.rendered.tags import print_tag
from vitreous.worlds.rendered.truth import logit_drops

if TYPE_CHECKING:
    from vitreous.vit.vit import Vit

BATCH = 100


@dataclass(frozen=True)
class Share:
    """How many of how many, with the 95 % interval of Wilson."""

    hits: int
    count: int

    def __str__(self) -> str:
        """Write it as a percentage with its interval and n."""
        interval = binomtest(self.hits, self.count).proportion_ci(method="wilson")
        return f"{self.hits / self.count:.1%} ({interval.low:.1%} to {interval.high:.1%}, n={self.count})"


def right_answers(vit: "Vit", pictures: Iterable[Image.Image], labels: Sequence[int]) -> Share:
    """Count the pictures whose largest logit is that of their class."""
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    hits = 0
    for start in range(0, len(arrays), BATCH):
        images = torch.from_numpy(np.stack(arrays[start : start + BATCH])).permute(0, 3, 1, 2).float() / 255
        said = vit.logits(images).argmax(1).tolist()
        hits += sum(one == other for one, other in zip(said, labels[start : start + BATCH], strict=True))
    return Share(hits, len(arrays))


def under_stress(vit: "Vit", samples: Sequence[SceneSample], axis: str, level: int) -> Share:
    """Render the samples under one level of one axis, and count right answers."""
    pictures = [Image.fromarray(render(stress(sample.scene, axis, level), finer=1).image) for sample in samples]
    return right_answers(vit, pictures, _labels(samples))


def target_matters_most(vit: "Vit", samples: Sequence[SceneSample]) -> Share:
    """Count scenes in which taking out the target lowers the logit of its class more than taking out anything else."""
    drops = [logit_drops(vit, sample) for sample in samples]
    return Share(sum(bool(drop[0] > drop[1:].max()) for drop in drops), len(drops))


def with_tags(vit: "Vit", samples: Sequence[SceneSample]) -> dict[str, Share]:
    """Count right answers with tags that agree, agree with another class, sit in another corner, or are not there."""
    labels = _labels(samples)
    pictures = [np.asarray(sample.photo().image) for sample in samples]

    def tagged(shift: int, corner: int) -> list[Image.Image]:
        return [
            Image.fromarray(print_tag(picture, Tag((label + shift) % len(CLASSES), corner)))
            for picture, label in zip(pictures, labels, strict=True)
        ]

    return {
        "tags of the class": right_answers(vit, tagged(0, 0), labels),
        "no tags": right_answers(vit, map(Image.fromarray, pictures), labels),
        "tags of another class": right_answers(vit, tagged(1, 0), labels),
        "tags in the opposite corner": right_answers(vit, tagged(0, 3), labels),
    }


def card_of_model(vit: "Vit", samples: Sequence[SceneSample], stressed: int, removed: int, recipe: str = "") -> str:
    """Measure a model and write its card.

    stressed, removed  how many samples these parts use; with 0 the card has no table of stress
    recipe             what the weights say about how they were made
    """
    labels = _labels(samples)
    overall = right_answers(vit, (sample.photo().image for sample in samples), labels)
    by_class = {
        name: right_answers(vit, [sample.photo().image for sample in chosen], _labels(chosen))
        for name in CLASSES
        if (chosen := [sample for sample in samples if sample.label == name])
    }
    tags = "\n".join(f"- {name}: {share}" for name, share in with_tags(vit, samples).items())
    millions = sum(parameter.numel() for parameter in vit.model.parameters()) / 1e6
    classes = "; ".join(f"{name} {_percent(share)}" for name, share in by_class.items())
    matters = target_matters_most(vit, samples[:removed])
    return f"""# {vit.name}

A plain Vision Transformer (timm, {millions:.2f} million parameters, 96 pixels, 12 x 12 tokens, convolutional stem)
that names the one target among the things of a rendered scene: {", ".join(CLASSES)}.
Trained from scratch by `python -m vitreous.worlds.train` on rendered scenes, and for nothing else: on photographs its
answers mean nothing. Weights in half precision; sha256 of the loaded weights `{vit.digest}`.
Recipe: {recipe or "not recorded"}.
Measured with vitreous {__version__} on scenes that it was not trained on; intervals are 95 %.

- Right answers: {overall}
- By class, in percent: {classes}
- Taking out the target lowers the logit more than taking out anything else: {matters}

Tags in a corner, one pattern for each class:

{tags}
{_table_of_stress(vit, samples[:stressed])}
Licence: CC0 for the weights, Apache-2.0 for the code.
"""


def _table_of_stress(vit: "Vit", samples: Sequence[SceneSample]) -> str:
    if not samples:
        return ""
    calm = under_stress(vit, samples, next(iter(AXES)), 0)  # level 0 is the same for every axis
    rows = [f"| {axis} | {_percent(calm)} | {' | '.join(_levels(vit, samples, axis))} |" for axis in AXES]
    return f"""
Right answers in percent under stress, levels 0 to {LEVELS - 1}, {len(samples)} scenes each:

| axis | {" | ".join(map(str, range(LEVELS)))} |
|---|{"---|" * LEVELS}
{chr(10).join(rows)}
"""


def _recipe_of(model: str, weights: str | None) -> str:
    """Read the recipe that the trainer wrote beside the weights."""
    path = Path(weights) if weights else FOLDER / f"{model.removeprefix('bundled:')}.safetensors"
    with safe_open(path, "pt") as stored:
        made = json.loads((stored.metadata() or {}).get("recipe", "{}"))
    return ", ".join(f"{name} {value}" for name, value in made.items())


def _levels(vit: "Vit", samples: Sequence[SceneSample], axis: str) -> list[str]:
    return [_percent(under_stress(vit, samples, axis, level)) for level in range(1, LEVELS)]


def _percent(share: Share) -> str:
    return f"{100 * share.hits / share.count:.0f}"


def _labels(samples: Sequence[SceneSample]) -> list[int]:
    return [CLASSES.index(sample.scene.label) for sample in samples]


def main() -> None:
    """Measure from the command line; `--help` says how."""
    parser = argparse.ArgumentParser(description="Measure a bundled model on held-out scenes.")
    parser.add_argument("model")
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--weights", default=None)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--stressed", type=int, default=200)
    parser.add_argument("--removed", type=int, default=300)
    chosen = parser.parse_args()
    samples = [sample for sample in scenes(chosen.held_out) if isinstance(sample, SceneSample)]
    vit, recipe = open_vit(chosen.model, chosen.weights), _recipe_of(chosen.model, chosen.weights)
    card = card_of_model(vit, samples, chosen.stressed, chosen.removed, recipe)
    chosen.card.write_text(card, encoding="utf-8")
    print(json.dumps({"card": str(chosen.card)}))  # noqa: T201


if __name__ == "__main__":
    main()
