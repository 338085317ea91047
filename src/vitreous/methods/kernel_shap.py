"""KernelSHAP: each patch's fair share of the score, as Shapley values. Lundberg & Lee 2017."""

import math

import torch
from torch import Generator, Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PatchMap
from vitreous.methods._method import method
from vitreous.vit.coalitions import Fill, coalition_scores
from vitreous.vit.trace import Trace


@method(
    family="perturbation",
    paper="arXiv:1705.07874",
    class_specific=True,
    signed=True,
    unit="share of the score",
    cost="samples x 1F",
    gradient=False,
    random=True,
    repeats=True,
)
def kernel_shap(trace: Trace, samples: int = 2048, fill: Fill = "drop") -> PatchMap:
    """Share the score out among the patches: what each adds, averaged over all orders in which they may come.

    Shapley values are the solution of a weighted least-squares problem over sets of patches (theorem 2), solved here
    for a sample of them. They sum to the score of the image minus that of an image of which nothing is seen, exactly.
    Grids of which all sets fit into `samples` are solved exactly (3 x 3 with 510 samples), and nothing is drawn.

    samples  sets of patches that are scored. Each that is drawn comes with its complement, so at least two are needed
             for each patch; ten for each give a rough map, a hundred a good one
    fill     what is seen in place of the other patches, see `occlusion`

    Sets are drawn as often as the Shapley kernel weighs them, paired as by Covert & Lee 2021, instead of listed with
    their weights. The least squares are solved here rather than by captum, which scores one set after the other and
    draws from the global generator. Deviation: the kernel method of the paper has a penalty on the number of patches;
    there is none here, and nothing is set to zero. Raises InputError if the samples do not determine the values.
    """
    patches = trace.vit.grid[0] * trace.vit.grid[1]
    keep, weights = _sets(trace, patches, samples)
    nothing = torch.zeros(len(keep), 1, patches, dtype=torch.bool)
    scores = coalition_scores(trace, torch.cat([nothing, keep], 1), fill).detach().cpu().double()
    empty, full = scores[:, 0], trace.score.detach().cpu().double()
    gains, total = scores[:, 1:] - empty[:, None], full - empty
    values = [solve(keep[image], weights, gains[image], total[image]) for image in range(len(keep))]
    for image in range(len(keep)):
        trace.note(image, f"The score is {float(full[image]):.4g}, and {float(empty[image]):.4g} with no patch seen.")
    return torch.stack(values).to(trace.logits).reshape(-1, *trace.vit.grid)


def solve(keep: Tensor, weights: Tensor, gains: Tensor, total: Tensor) -> Tensor:
    """Find values "p" that sum to `total` and whose sums over the sets "m p" come closest to the sets' gains "m".

    Closest in the sum of squares, each times its set's weight "m". The last value is put in terms of the others, which
    leaves ordinary least squares. Raises InputError if several answers come equally close.
    """
    members = keep.double()
    last = members[:, -1:]
    root = weights.double().sqrt()[:, None]
    wanted = root * (gains[:, None] - last * total)
    solution = torch.linalg.lstsq(root * (members[:, :-1] - last), wanted, driver="gelsd")
    if int(solution.rank) < keep.shape[1] - 1:
        raise InputError(
            f"kernel_shap got {len(keep)} samples, too few for {keep.shape[1]} patches.",
            f"Give at least {10 * keep.shape[1]}.",
        )
    others = solution.solution[:, 0]
    return torch.cat([others, (total - others.sum())[None]])


def _sets(trace: Trace, patches: int, samples: int) -> tuple[Tensor, Tensor]:
    """Give the sets to be scored, "b m p", none of them empty or full, and the weight of each, "m".

    Where all sets fit they are listed, with the weight of the Shapley kernel: (p - 1) / (C(p, s) s (p - s)) for a set
    of s patches, of which p - 1 makes no difference. Else they are drawn with that frequency, and weigh the same.
    """
    if patches < 60 and 2**patches - 2 <= samples:
        numbers = torch.arange(1, 2**patches - 1)
        every = (numbers[:, None] >> torch.arange(patches)) & 1 == 1
        rarity = [math.comb(patches, size) * size * (patches - size) for size in every.sum(1).tolist()]
        return every.expand(len(trace.images), -1, -1), 1 / torch.tensor(rarity, dtype=torch.float64)
    if samples < 2 * patches:
        raise InputError(
            f"samples={samples} does not determine the values of {patches} patches.",
            f"Give at least {10 * patches}.",
        )
    drawn = [_draw(patches, samples // 2, generator) for generator in trace.generators("kernel_shap")]
    return torch.stack(drawn), torch.ones(2 * (samples // 2))


def _draw(patches: int, pairs: int, generator: Generator) -> Tensor:
    """Draw sets with the frequency of the Shapley kernel, each followed by its complement: "2 * pairs, p".

    First a size, with a probability of 1 / (s (p - s)) times a constant: C(p, s) sets share that. Then one of that
    size. What a set and its complement gain errs in opposite directions, so that much of the chance cancels.
    """
    sizes = torch.arange(1, patches)
    frequency = 1.0 / (sizes * (patches - sizes))
    size = 1 + torch.multinomial(frequency, pairs, replacement=True, generator=generator)
    place = torch.rand(pairs, patches, generator=generator).argsort(1).argsort(1)
    keep = place < size[:, None]
    return torch.stack([keep, ~keep], 1).flatten(0, 1)
