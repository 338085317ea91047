"""Probes of heads: one planted carrier, nothing carried, and scikit-learn's own cross-validation."""

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control
from sklearn.linear_model import RidgeCV
from sklearn.metrics import balanced_accuracy_score, mutual_info_score, r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vitreous.analysis._probe import PENALTIES, held_out, information, scores, task_of
from vitreous.analysis.specialisation import corrected_p, specialisation
from vitreous.core.errors import InputError
from vitreous.core.factor import Factor, category

COUNT = 100


def number(name, values, kind="number"):
    return Factor(name, "made", kind, np.asarray(values, dtype=np.float64))


def made_factors(rng, count=COUNT):
    words = [("matte", "metal", "plastic")[code] for code in rng.permutation(np.arange(count) % 3)]
    return {
        "size": number("size", rng.normal(size=count)),
        "hue": number("hue", rng.uniform(0, 2 * np.pi, count), "angle"),
        "material": category("material", "made", words),
    }


def planted(rng, factors, count=COUNT):
    """Noise everywhere but in head 1.2, which carries the size, 0.1 the hue and 1.0 the material."""
    features = rng.normal(size=(count, 2, 3, 6))
    features[:, 1, 2, 3] = 5 * factors["size"].values + 0.5 * rng.normal(size=count) + 7
    angle = factors["hue"].values
    features[:, 0, 1, :2] = 3 * np.stack([np.cos(angle + 1), np.sin(angle + 1)], 1) + 0.3 * rng.normal(size=(count, 2))
    features[:, 1, 0, :3] += 4 * np.eye(3)[factors["material"].values]
    return torch.from_numpy(features).float()


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    factors = made_factors(rng)
    features = planted(rng, factors)
    others = {"stream": features.flatten(2), "noise": torch.from_numpy(rng.normal(size=(COUNT, 1, 4)))}
    return specialisation(features, factors, others)


def test_the_head_that_carries_a_factor_is_found_and_no_other(found):
    carriers = {"size": (1, 2), "hue": (0, 1), "material": (1, 0)}
    for place, name in enumerate(found.factors):
        assert found.best(name) == carriers[name]
        carrier = torch.zeros(2, 3, dtype=torch.bool)
        carrier[carriers[name]] = True
        assert (found.heads.score[..., place][carrier] > 0.85).all()
        assert found.heads.score[..., place][~carrier].abs().max() < 0.2
        assert ((found.corrected[..., place] < 0.05) == carrier).all()
        assert found.corrected[..., place][carrier].item() == pytest.approx(0.02)
        assert (found.heads.low[..., place][carrier] > 0.8).all()
        assert found.heads.control[..., place].abs().max() < 0.08
        block = carriers[name][0]
        assert found.together.score[block, place] > 0.7
        assert found.together.score[1 - block, place] < 0.2
    assert torch.equal(found.others["stream"].score, found.together.score)
    assert found.others["noise"].score.max() < 0.2
    assert torch.equal(found.heads.selectivity, found.heads.score - found.heads.control)
    assert found.kinds == ("number", "angle", "category")


def test_the_margin_is_that_of_the_best_head_over_the_next(found):
    highest = found.heads.score.flatten(0, 1).sort(0, descending=True).values
    assert torch.equal(found.margin.difference, highest[0] - highest[1])
    assert (found.margin.low > 0.5).all()
    assert (found.margin.low <= found.margin.difference).all()
    assert (found.margin.difference <= found.margin.high).all()


def test_two_heads_that_carry_the_same_have_no_margin():
    rng = np.random.default_rng(7)
    factors = {"size": number("size", rng.normal(size=50))}
    features = torch.from_numpy(rng.normal(size=(50, 2, 2, 3)))
    features[:, 0, 1] += torch.from_numpy(factors["size"].values)[:, None]
    copied = features.clone()
    copied[:, 1, 0] = features[:, 0, 1]
    one, two = (specialisation(each, factors, shuffles=9, draws=200) for each in (features, copied))
    assert one.corrected[0, 1].item() == pytest.approx(0.1)  # numbers alone: nothing to share the error with
    assert one.margin.low.item() > 0
    assert [two.margin.low.item(), two.margin.difference.item(), two.margin.high.item()] == [0, 0, 0]
    lone = specialisation(features[:, :1, 1:], factors, shuffles=1, draws=10)
    assert lone.margin.high.item() == 0
    near = features.clone()
    near[:, 1, 1] = features[:, 0, 1] + 0.3 * torch.from_numpy(rng.normal(size=(50, 3)))
    close = specialisation(near, factors, shuffles=1, draws=500).margin
    apart = specialisation(near, factors, shuffles=1, draws=500).heads
    assert close.high.item() - close.low.item() < (apart.high - apart.low).max().item()


def predict(features, task, folds):
    width = task.columns.shape[1]
    owner, relative = torch.zeros(width, dtype=torch.int64), torch.full((width,), task.categories)
    return held_out(features, task.columns, owner, folds, relative)


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    factors = made_factors(rng)
    features = planted(rng, factors)[:, 1, 0].double()
    features[:, 3] += torch.from_numpy(factors["size"].values)  # found in part
    features[:, 4] += 2 * torch.from_numpy(factors["hue"].values).cos()
    features = torch.cat([features, torch.full((COUNT, 1), 3.0, dtype=torch.float64)], 1)  # which says nothing
    folds = torch.from_numpy(rng.permutation(np.arange(COUNT) % 5))
    penalties = [penalty * COUNT * 4 / 5 for penalty in PENALTIES]
    whole, order = torch.ones(1, COUNT, dtype=torch.float64), torch.arange(COUNT)[:, None]
    for factor in factors.values():
        task = task_of(factor, 5)
        predicted = predict(features, task, folds)
        score = scores(task, predicted[:, None], order, whole).item()
        answers = task.columns.numpy()
        probe = make_pipeline(StandardScaler(), RidgeCV(penalties))
        expected = cross_val_predict(probe, features.numpy(), answers, cv=PredefinedSplit(folds.numpy()))
        expected = expected.reshape(COUNT, -1)
        if task.categories:
            shares = np.stack([answers[folds.numpy() != fold].mean(0) for fold in folds.tolist()])
            expected = expected / shares - 1
            right = balanced_accuracy_score(factor.values, expected.argmax(1), adjusted=True)
        else:
            right = r2_score(answers, expected, multioutput="variance_weighted")
        assert predicted.numpy() == pytest.approx(expected, abs=1e-9)
        assert score == pytest.approx(right)
        assert 0.1 < score <= 1


def test_many_factors_and_shuffles_at_once_are_each_alone():
    rng = np.random.default_rng(2)
    features, targets = torch.from_numpy(rng.normal(size=(40, 60))), torch.from_numpy(rng.normal(size=(40, 5)))
    targets[:, 3] = features[:, :50].sum(1)
    folds = torch.arange(40) % 4
    owner, plain = torch.tensor([0, 0, 1, 2, 3]), torch.zeros(5, dtype=torch.bool)
    together = held_out(features, targets, owner, folds, plain)
    for task in range(4):
        own = owner == task
        count = int(own.sum())
        alone = held_out(features, targets[:, own], torch.zeros(count, dtype=torch.int64), folds, plain[:count])
        assert torch.allclose(together[:, own], alone)


def test_a_prediction_does_not_depend_on_the_value_that_it_predicts():
    rng = np.random.default_rng(3)
    features, targets = torch.from_numpy(rng.normal(size=(30, 8))), torch.from_numpy(rng.normal(size=(30, 1)))
    folds, owner = torch.arange(30) % 3, torch.zeros(1, dtype=torch.int64)
    plain = torch.zeros(1, dtype=torch.bool)
    before = held_out(features, targets, owner, folds, plain)
    changed = targets.clone()
    changed[folds == 1] += 100
    assert torch.equal(held_out(features, changed, owner, folds, plain)[folds == 1], before[folds == 1])
    assert not torch.allclose(held_out(features, changed, owner, folds, plain)[folds == 0], before[folds == 0])


@pytest.mark.parametrize("kind", ["number", "angle", "category"])
def test_information_is_that_of_scikit_learn_with_the_correction(kind):
    rng = np.random.default_rng(4)
    count, many = 120, 4
    values = rng.uniform(-3, 3, count)
    if kind == "category":
        factor = category("c", "made", [f"c{code}" for code in rng.integers(0, many, count)])
        predicted = np.eye(many)[np.where(rng.random(count) < 0.6, factor.values, rng.integers(0, many, count))]
        bins = factor.values, predicted.argmax(1)
    else:
        factor = number("f", values, kind)
        guess = values + rng.normal(size=count)
        guess = np.where(guess > np.pi, np.pi, np.where(guess < -np.pi, -np.pi, guess)) if kind == "angle" else guess
        predicted = 2 * np.stack([np.cos(guess), np.sin(guess)], 1) if kind == "angle" else guess[:, None]
        bins = [np.searchsorted(np.sort(each), each) * many // count for each in (values, guess)]
        if kind == "angle":
            again = np.arctan2(predicted[:, 1], predicted[:, 0])
            bins[1] = np.searchsorted(np.sort(again), again) * many // count
    occupied = [len(set(each.tolist())) for each in bins]
    joint = len(set(zip(*(each.tolist() for each in bins), strict=True)))
    nats = mutual_info_score(*bins) - (joint - sum(occupied) + 1) / (2 * count)
    order = torch.arange(count)[:, None]
    bits = information(task_of(factor, many), torch.from_numpy(predicted).double()[:, None], order)
    assert bits.item() == pytest.approx(nats / np.log(2))
    assert bits.item() > 0.2


def test_information_of_a_perfect_prediction_is_the_entropy_of_the_groups():
    factor = number("f", np.arange(100.0))
    task = task_of(factor, 4)
    order = torch.arange(100)[:, None]
    bits = information(task, task.columns[:, None], order).item()
    assert bits == pytest.approx(2 + 3 / (200 * np.log(2)))


def test_intervals_are_those_of_a_bootstrap_by_hand():
    rng = np.random.default_rng(5)
    factors = made_factors(rng)
    for factor in factors.values():
        task = task_of(factor, 5)
        predicted = task.columns + 1.5 * torch.from_numpy(rng.normal(size=task.columns.shape))
        drawn = torch.from_numpy(rng.integers(0, COUNT, (20, COUNT)))
        weights = torch.stack([torch.bincount(row, minlength=COUNT) for row in drawn]).double()
        found = scores(task, predicted[:, None], torch.arange(COUNT)[:, None], weights)[:, 0]
        for row, score in zip(drawn.numpy(), found.tolist(), strict=True):
            if task.categories:
                expected = balanced_accuracy_score(factor.values[row], predicted.argmax(1).numpy()[row], adjusted=True)
            else:
                answers = task.columns.numpy()[row]
                expected = r2_score(answers, predicted.numpy()[row], multioutput="variance_weighted")
            assert score == pytest.approx(expected)


def test_where_nothing_is_carried_controls_are_at_chance_and_nothing_is_found():
    false = lone = fair = 0
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        features = torch.from_numpy(rng.normal(size=(60, 2, 2, 8)))
        found = specialisation(features, made_factors(rng, 60), seed=seed, draws=10, shuffles=39)
        false += int((found.corrected <= 0.05).any())
        fair += int((false_discovery_control(found.heads.p.numpy(), axis=None) <= 0.05).any())
        lone += int((found.heads.p <= 0.05).sum())
        assert found.heads.control.abs().max() < 0.1
        assert found.heads.information_control.abs().max() < 0.1
        assert found.heads.score.max() < 0.4
    assert false <= 2  # of 8, where 0.4 are expected
    assert fair <= 2
    assert 0 < lone <= 14  # of 96, where 4.8 are expected


def test_correction_counts_the_largest_of_all_tests():
    shuffled = torch.tensor([[[5.0, 1, 0, 2, 0]], [[1.0, 0, 9, 0, 1]]], dtype=torch.float64)
    found = corrected_p(shuffled)
    standard = (shuffled - shuffled.mean(-1, keepdim=True)) / shuffled.std(-1, correction=0, keepdim=True)
    for test in range(2):
        reached = [max(standard[0, 0, s], standard[1, 0, s]) >= standard[test, 0, 0] for s in range(5)]
        assert found[test, 0].item() == pytest.approx(sum(reached) / 5)
    assert found[:, 0].tolist() == pytest.approx([0.4, 1.0], abs=0.21)
    assert corrected_p(torch.zeros(1, 1, 4, dtype=torch.float64)).item() == 1


def test_the_same_seed_gives_the_same_and_progress_is_told():
    rng = np.random.default_rng(6)
    factors = made_factors(rng, 30)
    features, told = torch.from_numpy(rng.normal(size=(30, 1, 2, 4))), []

    def run(seed):
        return specialisation(
            features, factors, folds=3, shuffles=9, draws=20, seed=seed, progress=lambda *at: told.append(at)
        )

    one, again, other = run(0), run(0), run(1)
    assert torch.equal(one.heads.score, again.heads.score)
    assert torch.equal(one.heads.low, again.heads.low)
    assert not torch.equal(one.heads.score, other.heads.score)
    assert told[:3] == [(1, 3), (2, 3), (3, 3)]


def test_what_cannot_be_looked_for_is_refused():
    features = torch.randn(20, 1, 1, 3)
    fine = number("f", np.arange(20))
    for factors, why in (
        ({"f": number("f", np.zeros(20))}, "one value only"),
        ({"f": number("f", np.arange(19))}, "19 values for 20 images"),
        ({"c": category("c", "made", ["a"] * 18 + ["b"] * 2)}, "2 images for 5 folds"),
        ({}, "no factors"),
    ):
        with pytest.raises(InputError, match=why):
            specialisation(features, factors)
    with pytest.raises(InputError, match="folds=11"):
        specialisation(features, {"f": fine}, folds=11)
    with pytest.raises(InputError, match="not finite"):
        specialisation(features * torch.nan, {"f": fine})
    with pytest.raises(InputError, match=r"\(others raw\)"):
        specialisation(features, {"f": fine}, {"raw": torch.ones(19, 1, 2)})
    with pytest.raises(InputError, match="no factor 'g'"):
        specialisation(features, {"f": fine}, shuffles=1).best("g")
