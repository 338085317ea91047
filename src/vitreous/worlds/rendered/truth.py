"""Truth: what each thing of a rendered scene really does for a prediction, by taking it out and rendering again.

Nothing is masked, blurred or filled in: the picture without the thing is as real as the one with it. The change of the
logit is therefore the whole causal effect of the thing, its shadow and its reflections included.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32
from scipy.stats import spearmanr

from vitreous.core.heatmap import Heatmap
from vitreous.worlds.rendered.load import SceneSample

if TYPE_CHECKING:
    from vitreous.vit.vit import Vit


def logit_drops(vit: "Vit", sample: SceneSample, target: int | None = None) -> Float32[np.ndarray, "things"]:
    """Give for each thing by how much the logit falls when it is taken out; negative where the logit rises.

    target  index of the class whose logit is asked; None for the class of the scene
    """
    pictures = [sample.photo().image, *(removal.image for removal in sample.removals())]
    stacked = np.stack([np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in pictures]) / 255
    images = torch.from_numpy(stacked).permute(0, 3, 1, 2)
    logits = vit.logits(images)[:, sample.index if target is None else target].detach().cpu().numpy()
    return np.asarray(logits[0] - logits[1:], dtype=np.float32)


def relevance_of_things(heatmap: Heatmap, sample: SceneSample) -> Float32[np.ndarray, "things"]:
    """Add up the relevance on each thing: that of every pixel times the share of the pixel which the thing covers.

    The value of a patch counts for each of its pixels, so that a finer map of the same values gives the same sum.
    """
    density = _density(heatmap)
    return np.array([(density * sample.coverage(thing)).sum() for thing in range(len(sample.things))], dtype=np.float32)


def mass_inside_target(heatmap: Heatmap, sample: SceneSample) -> float:
    """Give the share of the positive relevance that lies on the target; NaN if there is none anywhere."""
    density = np.maximum(_density(heatmap), 0.0)
    return float((density * sample.coverage(0)).sum() / density.sum()) if density.sum() > 0 else float("nan")


def rank_agreement(heatmap: Heatmap, sample: SceneSample, drops: Float32[np.ndarray, "things"]) -> float:
    """Give Spearman's correlation over the things of one scene: relevance on a thing against what taking it out does.

    NaN if the map gives all things the same.
    """
    found = relevance_of_things(heatmap, sample)
    if np.ptp(found) == 0 or np.ptp(drops) == 0:
        return float("nan")
    return float(spearmanr(found, drops).statistic)


def _density(heatmap: Heatmap) -> np.ndarray:
    return np.asarray(np.nan_to_num(heatmap.pixels("nearest")))
