"""Agreement: how well numbers about places predict a human map of the same places. All take (prediction, human)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from vitreous.metrics._agreement import spearman
from vitreous.metrics._human import Measure, check_share, fixated
from vitreous.metrics._judged import Numbers, is_constant

EPSILON = float(np.finfo(np.float64).eps)
"""2.2e-16, as in the MIT/Tübingen benchmark: keeps KL finite where the prediction has no density."""


def pearson(prediction: Numbers, human: Numbers) -> float:
    """Linear correlation; NaN if either is constant."""
    if is_constant(prediction) or is_constant(human):
        return float("nan")
    left, right = standard(prediction), standard(human)
    return float(np.clip((left * right).mean(), -1, 1))


def nss(share: float) -> Measure:
    """Mean of the standardised prediction over the fixated share of places; NaN if it or the human map is constant."""
    check_share(share)

    def of(prediction: Numbers, human: Numbers) -> float:
        where = fixated(human, share)
        return float("nan") if is_constant(prediction) or not where.any() else float(standard(prediction)[where].mean())

    return of


def auc_judd(share: float) -> Measure:
    """How often a fixated place is predicted higher than another, ties half; NaN if there are only ones or others."""
    check_share(share)

    def of(prediction: Numbers, human: Numbers) -> float:
        where = fixated(human, share)
        hits, others = int(where.sum()), int((~where).sum())
        if not hits or not others:
            return float("nan")
        return float((rankdata(prediction)[where].sum() - hits * (hits + 1) / 2) / (hits * others))

    return of


def kl(prediction: Numbers, human: Numbers) -> float:
    """Sum of h log(e + h / (p + e)) over the two densities."""
    expected, true = density(prediction), density(human)
    return float(np.sum(true * np.log(EPSILON + true / (expected + EPSILON))))


def sim(prediction: Numbers, human: Numbers) -> float:
    """Sum of the smaller of the two densities."""
    return float(np.minimum(density(prediction), density(human)).sum())


def standard(values: Numbers) -> Numbers:
    """Shift and scale to mean 0 and standard deviation 1, of all places and not of a sample of them."""
    return np.asarray((values - values.mean()) / values.std())


def density(values: Numbers) -> Float[np.ndarray, " m"]:
    """Make values sum to 1. If some are negative, the lowest becomes 0 first; if all are 0 then, all become alike."""
    raised = values - min(values.min(), 0.0)
    total = raised.sum()
    return raised / total if total > 0 else np.full_like(raised, 1 / len(raised))


MEASURES: dict[str, Callable[[float], Measure]] = {
    "spearman": lambda _: spearman,
    "pearson": lambda _: pearson,
    "nss": nss,
    "auc_judd": auc_judd,
    "kl": lambda _: kl,
    "sim": lambda _: sim,
}
"""All of them by name, given the share of places that counts as fixated."""
