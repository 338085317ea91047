"""Which head carries which factor of the rendered scenes, and which heads answer to changed photographs."""

import torch
from measure import SEED, Found, Places, given, inputs_of, parts_of
from torch import Tensor

import vitreous as vt
from vitreous.analysis import (
    Specialisation,
    collect_features,
    head_responses,
    object_shares,
    photo_changes,
    specialisation,
)
from vitreous.worlds.rendered.factors import factor_table
from vitreous.worlds.rendered.load import SceneSample
from vitreous.worlds.sample import Sample

SHUFFLES = 99


def factors(places: Places, model: str, where: str) -> Found:
    """Probe every head for every factor, at the model's reading or at the patches of the target."""
    vit, samples = places.model(model), places.scenes()
    if places.quick:  # every shape has to occur in every fold
        samples = list(vt.worlds.scenes(places.held_out))[:100]
    images = inputs_of(vit, samples, "squash")  # nothing may be cropped away: positions are shares of the picture
    shares = None if where == "reading" else object_shares(vit, targets(vit, samples))
    features = collect_features(vit, parts_of(images), "reading" if shares is None else shares)
    pixels = {
        "picture": torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)[:, None],
        "mean colour": images.mean((2, 3))[:, None],
    }
    folds, shuffles = (2, 9) if places.quick else (5, SHUFFLES)
    found = specialisation(features.heads, factor_table(samples), pixels, folds, shuffles, seed=SEED)
    return {"model": model, "where": where, "n": found.images, "folds": found.folds, "shuffles": found.shuffles,
            "names": list(found.factors), "kinds": list(found.kinds),
            "score": found.heads.score.tolist(), "corrected": found.corrected.tolist(),
            "factors": {name: of_factor(found, name) for name in found.factors}}  # fmt: skip


def targets(vit: vt.Vit, samples: list[Sample]) -> Tensor:
    """Give how much of each pixel of the model's input the target covers."""
    covered = [torch.from_numpy(sample.coverage(0)).float() for sample in samples if isinstance(sample, SceneSample)]
    size = vit.preprocessing.size
    mode = "area" if size[0] < covered[0].shape[0] else "nearest"
    return torch.nn.functional.interpolate(torch.stack(covered)[:, None], size=size, mode=mode)[:, 0]


def of_factor(found: Specialisation, name: str) -> Found:
    """Tell the best head of one factor, what it is held against, and by how much it is ahead."""
    place, (block, head) = found.factors.index(name), found.best(name)
    at = (block, head, place)
    heads, margin = found.heads, found.margin
    others = {
        group: given(probed.score[0, place], probed.low[0, place], probed.high[0, place], found.images)
        for group, probed in found.others.items()
    }
    return {
        "head": [block, head],
        "score": given(float(heads.score[at]), float(heads.low[at]), float(heads.high[at]), found.images),
        "control": float(heads.control[at]),
        "ceiling": float(heads.ceiling[at]),
        "corrected": float(found.corrected[at]),
        "heads_found": int((found.corrected[..., place] < 0.05).sum()),
        "heads": int(found.corrected[..., place].numel()),
        "margin": given(margin.difference[place], margin.low[place], margin.high[place], found.images),
        "others": others,
    }


def changes(places: Places, data: str, count: int) -> Found:
    """Measure how heads of DeiT-tiny answer to photographs without colour, and with all hues turned."""
    vit = places.deit()
    images = inputs_of(vit, places.photographs(data, count))
    changed = photo_changes(images)
    wanted = {name: changed[name] for name in ("grey", "hue")}
    responses = head_responses(vit, images, wanted, seed=SEED)
    found: Found = {"data": data, "n": len(images)}
    for name, answer in responses.items():
        order = answer.excess.flatten().argsort(descending=True).tolist()
        heads: list[Found] = []
        for place in order:
            at = divmod(place, answer.excess.shape[1])
            heads.append({
                "head": list(at),
                "excess": given(float(answer.excess[at]), float(answer.low[at]), float(answer.high[at]), len(images)),
                "corrected": float(answer.corrected[at]),
                "response": float(answer.response[:, at[0], at[1]].mean()),
                "control": float(answer.control[:, at[0], at[1]].mean()),
            })  # fmt: skip
        found[name] = {
            "heads": heads,
            "above": sum(each["corrected"] < 0.05 and each["excess"]["value"] > 0 for each in heads),
            "below": sum(each["corrected"] < 0.05 and each["excess"]["value"] < 0 for each in heads),
            "size": float(answer.size.mean()),
            "noise": float(answer.noise.mean()),
        }
    return found
