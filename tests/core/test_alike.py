"""Agreement of distributions and orders: by hand, against scipy, and against loops."""

import itertools
import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import rankdata, spearmanr

from vitreous.core.alike import centred_ranks, jensen_shannon, kendall_w, spearman, unit_ranks


def drawn(*shape, seed=0, zeros=0.0):
    """Give distributions over the last axis, some items of which are 0."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.rand(*shape, generator=generator, dtype=torch.float64)
    made = made * (torch.rand(*shape, generator=generator) >= zeros)
    made[..., 0] += 0.1
    return made / made.sum(-1, keepdim=True)


def tied(*shape, seed=0):
    """Give whole numbers from 0 to 4, so that many are equal."""
    return torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(seed)).double()


# --- Jensen-Shannon


def test_divergence_by_hand():
    half = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    first = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    # The mean is (3/4, 1/4, 0). Half of log2(1 / (3/4)), and half of 1/2 log2(2/3) + 1/2 log2(2).
    expected = 0.5 * math.log2(4 / 3) + 0.5 * (0.5 * math.log2(2 / 3) + 0.5)
    assert jensen_shannon(half, first).item() == pytest.approx(expected, abs=1e-15)
    assert jensen_shannon(first, first).item() == 0
    assert jensen_shannon(first, first.roll(1)).item() == 1


@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_divergence_is_that_of_scipy(zeros):
    one, other = drawn(40, 9, zeros=zeros), drawn(40, 9, seed=1, zeros=zeros)
    expected = [jensenshannon(*pair, base=2) ** 2 for pair in zip(one.numpy(), other.numpy(), strict=True)]
    assert jensen_shannon(one, other).tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(jensen_shannon(one, other), jensen_shannon(other, one))


def test_divergence_broadcasts_over_all_pairs():
    given = drawn(2, 4, 7)
    every = jensen_shannon(given.unsqueeze(-2), given.unsqueeze(-3))
    assert every.shape == (2, 4, 4)
    for image, one, other in itertools.product(range(2), range(4), range(4)):
        assert every[image, one, other] == jensen_shannon(given[image, one], given[image, other])


def test_divergence_of_almost_equal_distributions_keeps_its_digits():
    # For p = (1/2 + e, 1/2 - e) and q = (1/2 - e, 1/2 + e) the series is 2 e² / ln 2, up to e⁴.
    for size, kind in ((1e-3, torch.float32), (1e-6, torch.float64)):
        one = torch.tensor([0.5 + size, 0.5 - size], dtype=kind)
        found = jensen_shannon(one, one.flip(0)).item()
        assert found == pytest.approx(2 * size**2 / math.log(2), rel=1e-3)


def test_divergence_of_numbers_too_small_to_be_halved():
    least = 2.0**-149  # the smallest float32; 5 of them halved are 2
    one, other = torch.tensor([1.0, 5 * least, 0.0]), torch.tensor([1.0, 0.0, 3 * least])
    assert jensen_shannon(one, other).item() < 1e-40  # and is a number
    assert jensen_shannon(one, other.flip(0)).item() == 1


def test_divergence_from_what_is_no_number_is_none():
    one = torch.tensor([[0.5, 0.5], [math.nan, math.nan]])
    found = jensen_shannon(one, torch.tensor([0.0, 1.0]))
    assert not found[0].isnan()
    assert found[1].isnan()


# --- ranks


def test_ranks_are_those_of_scipy():
    values = tied(6, 11)
    expected = torch.from_numpy(rankdata(values.numpy(), axis=-1))
    assert torch.equal(centred_ranks(values), expected - expected.mean(-1, keepdim=True))
    assert torch.equal(centred_ranks(values[:, ::2]), centred_ranks(values[:, ::2].clone()))
    assert centred_ranks(torch.tensor([math.inf, -0.0, 0.0, -math.inf])).tolist() == [1.5, 0.0, 0.0, -1.5]
    assert centred_ranks(torch.tensor([1.0, math.nan])).isnan().all()


def test_correlation_is_that_of_scipy():
    one, other = tied(30, 8), tied(30, 8, seed=1)
    expected = [spearmanr(*pair).statistic for pair in zip(one.numpy(), other.numpy(), strict=True)]
    assert spearman(one, other).tolist() == pytest.approx(expected, abs=1e-12)
    products = unit_ranks(one) @ unit_ranks(other).T
    assert products.diagonal().tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.allclose(spearman(one[:, None], other), products, atol=1e-12)
    assert spearman(one, one.exp()).tolist() == [1.0] * 30
    assert spearman(one.half(), other.half()).dtype == torch.float32


def test_correlation_of_a_constant_is_none():
    found = spearman(torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]]), torch.tensor([1.0, 3.0, 2.0]))
    assert found[0].isnan()
    assert found[1].item() == pytest.approx(0.5)
    assert spearman(torch.ones(1), torch.ones(1)).isnan()


# --- Kendall's W


def textbook(values):
    """Give 12 S / (m² (n³ - n) - m T) with sums of ranks and groups of ties."""
    raters, items = values.shape
    ranks = [rankdata(row) for row in values.tolist()]
    sums = [sum(row[item] for row in ranks) for item in range(items)]
    spread = sum((total - raters * (items + 1) / 2) ** 2 for total in sums)
    groups = [[row.count(value) for value in set(row)] for row in values.tolist()]
    ties = sum(size**3 - size for row in groups for size in row)
    return 12 * spread / (raters**2 * (items**3 - items) - raters * ties)


def test_concordance_is_that_of_the_textbook():
    for values in (tied(5, 4, 9), drawn(5, 6, 12), tied(5, 2, 3)):
        assert kendall_w(values).tolist() == pytest.approx([textbook(each) for each in values], abs=1e-12)


def test_concordance_by_hand():
    # Ranks (1, 2, 3), (1, 3, 2), (1, 2, 3): sums 3, 7, 8, mean 6, S = 9 + 1 + 4 = 14, W = 12 * 14 / (9 * 24).
    given = torch.tensor([[0.1, 0.2, 0.7], [0.1, 0.6, 0.3], [0.0, 0.1, 0.9]])
    assert kendall_w(given).item() == pytest.approx(168 / 216)
    assert kendall_w(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])).item() == 0


def test_concordance_is_the_mean_correlation_of_two_raters():
    values = drawn(5, 10)
    pairs = itertools.combinations(values, 2)
    mean = sum(spearman(*pair).item() for pair in pairs) / 10
    assert (5 * kendall_w(values).item() - 1) / 4 == pytest.approx(mean, abs=1e-12)


def test_raters_who_say_nothing():
    assert kendall_w(torch.ones(3, 4)).isnan()
    assert kendall_w(drawn(1, 4)).isnan()
    order = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert kendall_w(torch.stack([order, order, torch.ones(4)])).item() == pytest.approx(2 / 3)  # |2 r|² / (3 · 2 |r|²)
