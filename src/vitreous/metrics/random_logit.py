"""Random logit: how alike the maps of the target and of another class are. The model's outputs tell them apart."""

import torch

from vitreous.core.shapes import PerImage
from vitreous.metrics._agreement import Similarity, agreement, check_similarity
from vitreous.metrics._case import Case
from vitreous.metrics._metric import metric
from vitreous.metrics._rerun import class_target, has_class, maps_elsewhere, patches_of


@metric(
    category="sanity",
    better="lower",
    unit="rank correlation, or structural similarity",
    cost="the method once more",
    paper="arXiv:1912.09818",
    reruns=True,
    random=True,
    classes=True,
)
def random_logit(case: Case, similarity: Similarity = "spearman") -> PerImage:
    """Compare the map of the target with the method's map of another class, drawn at random for each image.

    From -1 to 1, lower is better: 1 says that the method gives all classes the same map. Sixt, Granz & Landgraf 2020.
    Where two classes share their evidence, as two breeds of dog do, alike maps are right; so no map has to
    reach 0, and the value is for comparing methods on the same images.

    similarity  "spearman" or "ssim", on patches, with their signs; see `vitreous.metrics._agreement.agreement`

    The other class is drawn uniformly from all outputs but the target, by the image's own seed: the same for every
    method. NaN for a target that is no single class, a model of one output, and a map that is constant; a map of the
    other class that is constant counts as 0. Deviation: the paper uses SSIM alone, on pixels.

    Raises InputError for SSIM on a grid of fewer than 3 x 3 patches.
    """
    trace = case.trace
    check_similarity(similarity, trace.vit.grid)
    outputs, judged = trace.logits.shape[1], has_class(case)
    if outputs == 1 or not bool(judged.any()):
        return torch.full((len(case.images),), torch.nan, dtype=torch.float64)
    drawn = torch.cat([torch.randint(outputs - 1, (1,), generator=one) for one in case.generators("random_logit")])
    target = trace.target.plus.cpu()
    others = maps_elsewhere(case, target=class_target(case, drawn + (drawn >= target)))
    found = agreement(case.per_patch, patches_of(case, others), similarity, trace.vit.grid)
    return torch.where(judged, found, torch.nan)
