"""Specialisation: which head carries which factor, found by linear probes on what each head hands on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from vitreous.analysis._probe import Task, held_out, information, scores, task_of
from vitreous.core.errors import InputError
from vitreous.core.factor import Factor


@dataclass(frozen=True, eq=False)
class Probed:
    """What linear probes find in some sets of features, "…" of them: a number for each and each of k factors.

    score                how well held-out images are predicted, 0 for chance and 1 for perfectly: R squared for numbers
                         and angles (can be negative), balanced accuracy from chance to 1 for categories
    low, high            its interval of 95 %, by bootstrap over held-out predictions. It holds for these probes: that
                         other training images would give other probes is not in it
    control              mean score of the same probes when values are shuffled over images
    ceiling              score that 5 % of them exceed
    p                    share of shuffles that score at least as much, this order counted as one; for this one probe
    information          mutual information of the held-out prediction and the factor in bits
    information_control  mean of it when values are shuffled; what is more than that was found
    """

    score: Float64[Tensor, "*sets k"]
    low: Float64[Tensor, "*sets k"]
    high: Float64[Tensor, "*sets k"]
    control: Float64[Tensor, "*sets k"]
    ceiling: Float64[Tensor, "*sets k"]
    p: Float64[Tensor, "*sets k"]
    information: Float64[Tensor, "*sets k"]
    information_control: Float64[Tensor, "*sets k"]

    @property
    def selectivity(self) -> Float64[Tensor, "*sets k"]:
        """Give the score minus that of the control."""
        return self.score - self.control


@dataclass(frozen=True, eq=False)
class Margin:
    """By how much the best head of each of k factors is ahead of the next best.

    difference  of their scores; 0 for a model with a single head
    low, high   its interval of 95 %, by bootstrap over the same held-out images for both. Where it holds 0, that one
                head carries the factor better than all others is not shown
    """

    difference: Float64[Tensor, " k"]
    low: Float64[Tensor, " k"]
    high: Float64[Tensor, " k"]


@dataclass(frozen=True, eq=False)
class Specialisation:
    """Which head carries which factor: the chart is `heads.score`, "l h k".

    factors    their names, and their `kinds`, in the order of the last axis
    heads      of each head, "l h k"
    together   of all heads of a block together, "l k"
    corrected  p of each head and factor, corrected for all of them, "l h k"
    margin     of the best head over the next, for each factor
    others     of other features, "g k" each: the stream, pixels
    """

    factors: tuple[str, ...]
    kinds: tuple[str, ...]
    heads: Probed
    together: Probed
    corrected: Float64[Tensor, "l h k"]
    margin: Margin
    others: Mapping[str, Probed]
    images: int
    folds: int
    shuffles: int
    seed: int

    def best(self, factor: str) -> tuple[int, int]:
        """Give block (counted from the first that was captured) and head with the highest score for a factor."""
        if factor not in self.factors:
            raise InputError(f"There is no factor {factor!r}.", f"Choose one of {', '.join(self.factors)}.")
        column = self.heads.score[..., self.factors.index(factor)]
        block, head = divmod(int(column.argmax()), column.shape[1])
        return block, head


def specialisation(
    features: Float[Tensor, "n l h e"],
    factors: Mapping[str, Factor],
    others: Mapping[str, Tensor] | None = None,
    folds: int = 5,
    shuffles: int = 99,
    bins: int = 5,
    draws: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Specialisation:
    """Predict every factor from the output of every head by a linear probe, on images that the probe was not fitted to.

    features  of each head, as `collect_features` gives them. Images must be different: two versions of one picture in
              different folds would let a probe recognise the picture
    factors   what is known of the same images
    others    other features to compare with, "n g f" for g sets: the stream entering each block, or pixels. What a head
              tells no better than mean colour does, it need not have worked out
    folds     of the cross-validation, the same for all
    shuffles  of the control: all factors move together to other images, the same for all heads
    bins      into which numbers and angles are cut for mutual information
    draws     of the bootstrap
    progress  is told how many of how many sets of features are done

    Probes are ridge regressions (Hoerl & Kennard 1970). For categories they predict 0 or 1 for each, and that one wins
    which is expected the most times more often than in training. Features are standardised and penalties chosen within
    training folds. The shuffled control is that of Hewitt & Liang 2019 (arXiv:1909.03368) in purpose: `selectivity` is
    what a probe finds beyond it. It differs in that a value shuffled over images cannot be learned for held-out ones,
    so that it measures chance and overfitting, and not the power to memorise.

    `corrected` controls the chance of a single false find among all heads and factors (Westfall & Young 1993, maxT):
    each score is standardised by its own shuffles, and compared with the largest of all heads and factors in each
    shuffle. R squared and balanced accuracy are spread in other ways when shuffled, so that the two are corrected apart
    and p is doubled where both occur. Unlike Benjamini-Hochberg this knows that heads resemble one another, and is not
    limited by 1 / shuffles times the number of tests. `p` is there for whoever prefers that.

    Mutual information of a held-out prediction and the factor is a lower bound of what the head tells about it, up to
    the error of the estimate (Miller-Madow); compare it with its control.

    What can be read from a head need not be used by the model: that needs an intervention such as `head_ablation`. What
    is not linear is not found. The highest of many scores is a little too high, and the best head may be one of many:
    `margin` tells. Factors that depend on one another are carried together.

    Raises InputError for factors of other images, with one value only, or with a category rarer than there are folds.
    """
    images, blocks, heads, _ = features.shape
    if not 2 <= folds <= images // 2 or shuffles < 1 or bins < 2 or draws < 1:
        raise InputError(
            f"folds={folds}, shuffles={shuffles}, bins={bins} and draws={draws} with {images} images.",
            "Use at least two folds of two images or more, two bins, one shuffle and one draw.",
        )
    tasks = [_task(factor, images, folds, bins) for factor in factors.values()]
    if not tasks:
        raise InputError("There are no factors.", "Give at least one.")
    probing = _Probing(tasks, images, folds, shuffles, draws, seed)
    groups = {
        "heads": features.flatten(1, 2),
        "together": features.flatten(2),
        **{f"others {name}": sets for name, sets in (others or {}).items()},
    }
    total, done = sum(sets.shape[1] for sets in groups.values()), 0
    found: dict[str, list[dict[str, Tensor]]] = {}
    for name, sets in groups.items():
        _check_sets(name, sets, images)
        found[name] = []
        for one in sets.double().unbind(1):
            found[name].append(probing.probe(one))
            done += 1
            if progress is not None:
                progress(done, total)
    shuffled = torch.stack([one["all"] for one in found["heads"]])
    return Specialisation(
        tuple(factors), tuple(task.factor.kind for task in tasks),
        _probed(found["heads"], (blocks, heads)), _probed(found["together"], (blocks,)),
        _corrected(shuffled, tasks).reshape(blocks, heads, -1),
        _margin(torch.stack([one["score"] for one in found["heads"]]), [one["draws"] for one in found["heads"]]),
        {name: _probed(found[f"others {name}"], (sets.shape[1],)) for name, sets in (others or {}).items()},
        images, folds, shuffles, seed,
    )  # fmt: skip


def corrected_p(shuffled: Float64[Tensor, "t k s"]) -> Float64[Tensor, "t k"]:
    """Correct for t times k tests that were shuffled together; the first of the s scores is the unshuffled one.

    Single-step maxT: the share of orders, the true one included, whose largest standardised score reaches this one.
    """
    spread = shuffled.std(-1, correction=0, keepdim=True)
    standard = (shuffled - shuffled.mean(-1, keepdim=True)) / torch.where(spread > 0, spread, torch.inf)
    largest = standard.amax((0, 1))
    # Scores that are equal but for rounding count as reached: never a smaller p by accident.
    return (largest >= standard[..., :1] - 1e-9).double().mean(-1)


def _corrected(shuffled: Float64[Tensor, "t k s"], tasks: list[Task]) -> Float64[Tensor, "t k"]:
    """Correct tests of numbers and angles, and those of categories, apart (Bonferroni between the two)."""
    categories = torch.tensor([task.categories for task in tasks])
    kinds = [kind for kind in (categories, ~categories) if bool(kind.any())]
    found = torch.ones_like(shuffled[..., 0])
    for kind in kinds:
        found[:, kind] = (len(kinds) * corrected_p(shuffled[:, kind])).clamp(max=1)
    return found


class _Probing:
    """Everything that is the same for all sets of features: folds, shuffles and bootstrap draws."""

    def __init__(self, tasks: list[Task], images: int, folds: int, shuffles: int, draws: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tasks = tasks
        self.folds = torch.arange(images)[torch.randperm(images, generator=generator)] % folds
        orders = [torch.randperm(images, generator=generator) for _ in range(shuffles)]
        self.orders: Int64[Tensor, "n s"] = torch.stack([torch.arange(images), *orders], 1)
        drawn = torch.randint(images, (draws, images), generator=generator)
        self.weights = torch.zeros(draws, images, dtype=torch.float64)
        self.weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        targets = [task.columns[self.orders].flatten(1) for task in tasks]  # "n s*k", shuffle by shuffle
        self.targets = torch.cat(targets, 1)
        self.widths = [target.shape[1] for target in targets]
        counts = torch.tensor([task.columns.shape[1] for task in tasks]).repeat_interleave(1 + shuffles)
        self.owner = torch.arange(len(counts)).repeat_interleave(counts)
        self.relative = torch.tensor([task.categories for task in tasks]).repeat_interleave(torch.tensor(self.widths))

    def probe(self, features: Float64[Tensor, "n f"]) -> dict[str, Tensor]:
        """Probe one set of features for all factors: "k" each, "all" scores, "k s", and those of "draws", "k w"."""
        predictions = held_out(features, self.targets, self.owner, self.folds, self.relative)
        judged = [
            self._judge(task, found)
            for task, found in zip(self.tasks, torch.split(predictions, self.widths, 1), strict=True)
        ]
        return {name: torch.stack([one[name] for one in judged]) for name in judged[0]}

    def _judge(self, task: Task, flat: Float64[Tensor, "n sk"]) -> dict[str, Tensor]:
        predicted = flat.reshape(*self.orders.shape, -1)
        whole = torch.ones(1, len(flat), dtype=torch.float64)
        found = scores(task, predicted, self.orders, whole)[0]
        drawn = scores(task, predicted[:, :1], self.orders[:, :1], self.weights)[:, 0]
        bits = information(task, predicted, self.orders)
        return {
            "score": found[0],
            "low": drawn.nanquantile(0.025),
            "high": drawn.nanquantile(0.975),
            "control": found[1:].mean(),
            "ceiling": found[1:].quantile(0.95),
            "p": (found >= found[0] - 1e-9).double().mean(),
            "information": bits[0],
            "information_control": bits[1:].mean(),
            "all": found,
            "draws": drawn,
        }


def _probed(found: list[dict[str, Tensor]], shape: tuple[int, ...]) -> Probed:
    names = [each.name for each in fields(Probed)]
    return Probed(**{name: torch.stack([one[name] for one in found]).reshape(*shape, -1) for name in names})


def _margin(score: Float64[Tensor, "t k"], draws: list[Float64[Tensor, "k w"]]) -> Margin:
    """Compare the best of t heads with the next, draw by draw."""
    order = score.argsort(dim=0, descending=True, stable=True)
    best, second = order[0].tolist(), order[min(1, len(order) - 1)].tolist()
    ahead = torch.stack([draws[a][k] - draws[b][k] for k, (a, b) in enumerate(zip(best, second, strict=True))])
    factors = range(score.shape[1])
    return Margin(
        score[best, factors] - score[second, factors], ahead.nanquantile(0.025, 1), ahead.nanquantile(0.975, 1)
    )


def _task(factor: Factor, images: int, folds: int, bins: int) -> Task:
    """Prepare a factor, or say why it cannot be looked for."""
    if len(factor) != images:
        raise InputError(f"The factor {factor.name!r} has {len(factor)} values for {images} images.", "Give one each.")
    task = task_of(factor, bins)
    rarest = int(task.bins.bincount().min()) if task.categories else folds
    if bool((task.columns == task.columns[0]).all()):
        raise InputError(f"The factor {factor.name!r} has one value only.", "Leave it out.")
    if rarest < folds:
        raise InputError(
            f"A category of the factor {factor.name!r} has {rarest} images for {folds} folds.",
            "Leave out these images, or join categories.",
        )
    return task


def _check_sets(name: str, sets: Tensor, images: int) -> None:
    if sets.dim() != 3 or len(sets) != images or not bool(torch.isfinite(sets).all()):
        raise InputError(
            f"The features ({name}) have shape {tuple(sets.shape)} for {images} images, or are not finite.",
            'Give "n l h e", and "n g f" for others, with the same n and without NaN.',
        )
