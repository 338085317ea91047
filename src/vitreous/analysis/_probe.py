"""Linear probes: ridge regression in closed form, cross-validated, for many factors and shuffles at once.

One singular value decomposition for each fold serves all penalties, factors and shuffles.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from vitreous.core.factor import Factor

PENALTIES = tuple(10.0**power for power in range(-4, 4))
"""Penalties that are tried, times the number of training images: from next to none to one that leaves the mean."""


@dataclass(frozen=True, eq=False)
class Task:
    """What probes have to predict for one factor, and how it is judged.

    columns  "n k": the number itself; cosine and sine of an angle; for categories, 1 for its own and 0 for the others
    bins     "n": in which of `many` groups each value falls, for mutual information. Categories are groups; numbers
             and angles are cut so that groups are equally large
    """

    factor: Factor
    columns: Float64[Tensor, "n k"]
    bins: Int64[Tensor, " n"]
    many: int

    @property
    def categories(self) -> bool:
        """Whether it is judged by its categories."""
        return self.factor.kind == "category"


def task_of(factor: Factor, bins: int) -> Task:
    """Prepare a factor. Categories that do not occur are left out."""
    values = torch.from_numpy(factor.values)
    if factor.kind == "category":
        present, codes = torch.unique(values, return_inverse=True)
        return Task(factor, torch.nn.functional.one_hot(codes).double(), codes, len(present))
    if factor.kind == "angle":
        columns = torch.stack([values.cos(), values.sin()], 1)
        return Task(factor, columns, _cut(_angle(columns)[:, None], bins)[:, 0], bins)
    return Task(factor, values[:, None], _cut(values[:, None], bins)[:, 0], bins)


def held_out(
    features: Float64[Tensor, "n f"],
    targets: Float64[Tensor, "n m"],
    owner: Int64[Tensor, " m"],
    folds: Int64[Tensor, " n"],
    relative: Bool[Tensor, " m"],
) -> Float64[Tensor, "n m"]:
    """Predict each target of every image by a ridge regression on the images of the other folds.

    Features are standardised and the penalty is chosen by the training images alone: the one with the least squared
    error when each of them is left out in turn, which has a closed form, added up over the targets of one owner. Of
    equally good ones the smallest.

    relative  targets of 0 and 1 that are given as by how many times more often than in training 1 is expected, minus 1.
              The largest of these is the category that the features speak for, whatever its frequency. Else, with
              nothing to go by, the most frequent one of training would win, which is rarer than by chance in the fold
              that was left out, and scores would be below chance
    """
    found = torch.empty_like(targets)
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        mean = targets[~test].mean(0)
        above = _fit(features[~test], targets[~test] - mean, features[test], owner)
        share = torch.where(mean > 0, above / mean, -torch.inf)
        found[test] = torch.where(relative, share, above + mean)
    return found


def _fit(known: Tensor, centred: Tensor, asked: Tensor, owner: Tensor) -> Tensor:
    """Fit answers whose mean is zero, and give those for what is asked."""
    middle, spread = known.mean(0), known.std(0, correction=0)
    spread[spread == 0] = 1
    left, singular, right = torch.linalg.svd((known - middle) / spread, full_matrices=False)
    along = left.T @ centred
    squares, count = singular.square(), len(known)
    shrinks, errors = [], []
    for penalty in PENALTIES:
        shrink = squares / (squares + penalty * count)
        leverage = 1 / count + left.square() @ shrink
        residual = torch.addmm(centred, left, shrink[:, None] * along, alpha=-1).square_()
        errors.append((1 - leverage).clamp(min=1e-12).pow(-2) @ residual)
        shrinks.append(shrink)
    by_owner = torch.zeros(len(PENALTIES), int(owner.max()) + 1, dtype=known.dtype)
    by_owner.index_add_(1, owner, torch.stack(errors))
    chosen = torch.stack(shrinks, 1)[:, by_owner.argmin(0)[owner]]
    safe = torch.where(singular > singular[0] * 1e-12, singular, torch.inf)
    weights: Tensor = right.T @ (chosen / safe[:, None] * along)
    return ((asked - middle) / spread) @ weights


def scores(
    task: Task, predicted: Float64[Tensor, "n s k"], order: Int64[Tensor, "n s"], weights: Float64[Tensor, "w n"]
) -> Float64[Tensor, "w s"]:
    """Judge predictions of s shuffles against the values that each was trained on, images counting as `weights` says.

    order    shuffle i was trained as if image j had the value of image order[j, i]

    Numbers and angles: R squared, 1 - sum of squared errors / sum of squares about the mean. Categories: the mean share
    of each that is recognised, (that - 1/k) / (1 - 1/k): 0 for guessing, 1 for all. NaN where weights leave a category
    without images, or one value alone.
    """
    if task.categories:
        truth = task.bins[order]
        right = (predicted.argmax(-1) == truth).double()
        shares = [
            (weights @ (right * (truth == code))) / (weights @ (truth == code).double()) for code in range(task.many)
        ]
        chance = 1 / task.many
        return (torch.stack(shares).mean(0) - chance) / (1 - chance)
    truth = task.columns[order]
    total = weights.sum(1)[:, None, None]

    def summed(values: Tensor) -> Tensor:
        return (weights @ values.flatten(1)).reshape(-1, *values.shape[1:])

    about = summed(truth.square()) - summed(truth).square() / total
    return 1 - summed((predicted - truth).square()).sum(-1) / about.sum(-1)


def information(task: Task, predicted: Float64[Tensor, "n s k"], order: Int64[Tensor, "n s"]) -> Float64[Tensor, " s"]:
    """Estimate the mutual information of prediction and value in bits, with the correction of Miller and Madow (1955).

    Both are cut into the task's groups, predictions of numbers and angles so that theirs are equally large as well.
    """
    truth, many, count = task.bins[order], task.many, len(predicted)
    if task.categories:
        guessed = predicted.argmax(-1)
    else:
        guessed = _cut(_angle(predicted) if task.factor.kind == "angle" else predicted[..., 0], many)
    cells = (torch.arange(truth.shape[1]) * many + truth) * many + guessed
    joint = torch.bincount(cells.flatten(), minlength=truth.shape[1] * many**2).reshape(-1, many, many).double() / count

    def entropy(shares: Tensor) -> Tensor:
        nats: Tensor = torch.special.entr(shares).sum(-1) + ((shares > 0).sum(-1) - 1) / (2 * count)
        return nats / math.log(2)

    return entropy(joint.sum(1)) + entropy(joint.sum(2)) - entropy(joint.flatten(1))


def _angle(columns: Tensor) -> Tensor:
    return torch.atan2(columns[..., 1], columns[..., 0])


def _cut(values: Float64[Tensor, "n s"], many: int) -> Int64[Tensor, "n s"]:
    """Cut each column into `many` equally large groups; equal values share one."""
    ranks = torch.searchsorted(values.T.contiguous().sort(1).values, values.T.contiguous()).T
    return ranks * many // len(values)
