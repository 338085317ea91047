"""CKA: against the formulas written out with whole Gram matrices, and what an alignment must not depend on."""

import numpy as np
import pytest
import torch

import vitreous as vt
from contracts.families import FAMILIES, SQUARE, random_images
from vitreous.analysis.cka import CkaSums, cka, features_of, linear_cka
from vitreous.core.errors import InputError

EVERY = pytest.mark.parametrize("family", FAMILIES)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def biased(first, second):
    """Kornblith et al., eq. 3, with explicit kernels and centring matrices."""
    count = len(first)
    centring = np.eye(count) - np.ones((count, count)) / count

    def hsic(one, other):
        return np.trace(one @ centring @ other @ centring) / (count - 1) ** 2

    one, other = first @ first.T, second @ second.T
    return hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))


def song(one, other):
    """Song et al. 2012, eq. 5: HSIC_1 of two kernels, their diagonals left out."""
    count = len(one)
    one, other = one - np.diag(np.diag(one)), other - np.diag(np.diag(other))
    ones = np.ones(count)
    middle = (ones @ one @ ones) * (ones @ other @ ones) / ((count - 1) * (count - 2))
    return (np.trace(one @ other) + middle - 2 / (count - 2) * ones @ one @ other @ ones) / (count * (count - 3))


def nguyen(batches):
    """Nguyen et al. 2021, eq. 2: means over batches, before the ratio. Batches of features (first, second)."""
    kernels = [(x @ x.T, y @ y.T) for x, y in batches]
    between, one, other = (np.mean([song(pair[a], pair[b]) for pair in kernels]) for a, b in ((0, 1), (0, 0), (1, 1)))
    return between / np.sqrt(one * other)


def test_both_estimators_are_those_of_the_papers():
    first, second = normal(9, 5), normal(9, 7, seed=1) + 3
    second[:, :5] += first
    x, y = first.numpy(), second.numpy()
    assert linear_cka(first, second, debiased=False) == pytest.approx(biased(x, y), rel=1e-10)
    assert linear_cka(first, second) == pytest.approx(nguyen([(x, y)]), rel=1e-10)
    cross = np.linalg.norm((y - y.mean(0)).T @ (x - x.mean(0))) ** 2  # the same without kernels
    sizes = [np.linalg.norm((z - z.mean(0)).T @ (z - z.mean(0))) for z in (x, y)]
    assert linear_cka(first, second, debiased=False) == pytest.approx(cross / np.prod(sizes), rel=1e-10)


@pytest.mark.parametrize("debiased", [True, False])
def test_rotation_scale_and_shift_do_not_matter_and_other_maps_do(debiased):
    features = normal(12, 6)
    rotation = torch.linalg.qr(normal(6, 6, seed=2)).Q
    for same in (features, -3 * features, features @ rotation, features + 5, torch.cat([features, features], 1)):
        assert linear_cka(features, same, debiased) == pytest.approx(1, rel=1e-10)
    stretched = features * torch.tensor([10.0, 1, 1, 1, 1, 1])
    assert linear_cka(features, stretched, debiased) < 0.9
    assert linear_cka(features, stretched, debiased) == pytest.approx(linear_cka(stretched, features, debiased))


def test_few_images_push_one_estimator_up_and_not_the_other():
    pairs = [(normal(8, 100, seed=seed), normal(8, 100, seed=1000 + seed)) for seed in range(200)]
    plain = np.mean([linear_cka(*pair, debiased=False) for pair in pairs])
    debiased = [linear_cka(*pair) for pair in pairs]
    assert plain > 0.85  # of independent features
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(200)
    assert min(debiased) < 0


def test_batches_add_up_as_the_paper_says():
    first, second = normal(40, 5), normal(40, 3, seed=1)
    second += first[:, :3]
    sums = CkaSums()
    parts = list(zip(first.split(8), second.split(8), strict=True))
    for one, other in parts:
        sums.add([one, 2 * one], [other])
    found = sums.result()
    assert (found.images, found.batches, found.similarity.shape) == (40, 5, (2, 1))
    expected = nguyen([(one.numpy(), other.numpy()) for one, other in parts])
    assert found.similarity.flatten().tolist() == pytest.approx([expected] * 2, rel=1e-6)
    whole = linear_cka(first, second)
    assert expected != pytest.approx(whole, abs=1e-4)  # an estimate of the same number, not the same estimate
    assert expected == pytest.approx(whole, abs=0.15)


def test_batches_count_by_their_images():
    parts = [(normal(8, 3), normal(8, 3, seed=1)), (normal(16, 3, seed=2), normal(16, 3, seed=3))]
    sums = CkaSums()
    for one, other in parts:
        sums.add([one], [other])
    kernels = [((x @ x.T).numpy(), (y @ y.T).numpy(), len(x)) for x, y in parts]
    between, one, other = (
        sum(each[2] * song(each[a], each[b]) for each in kernels) for a, b in ((0, 1), (0, 0), (1, 1))
    )
    assert sums.result().similarity.item() == pytest.approx(between / np.sqrt(one * other), rel=1e-5)


def test_the_division_into_batches_does_not_move_the_estimate():
    """In the mean over many draws, batches of 5 and 20 of different sizes agree with the population's own number."""
    mixing = normal(4, 4, seed=3)
    inside, across, beside = mixing.T @ mixing, mixing.T, torch.eye(4, dtype=torch.float64)  # covariances, x = z M, z
    truth = (across.square().sum() / (inside.norm() * beside.norm())).item()
    for sizes in ([5] * 400, [20] * 100, [4, 16] * 100):
        sums = CkaSums()
        drawn = normal(2000, 4, seed=len(sizes))
        for rows in drawn.split(sizes):
            sums.add([rows @ mixing], [rows])
        assert sums.result().similarity.item() == pytest.approx(truth, abs=0.03), sizes[:2]


def test_what_is_the_same_for_all_images_has_no_alignment():
    sums = CkaSums()
    constant = torch.full((6, 3), 0.1).float() * torch.tensor([1.0, 1e3, 1e-3])
    sums.add([constant, normal(6, 3).float()])
    found = sums.result().similarity
    assert found.isnan().tolist() == [[True, True], [True, False]]


def test_batches_that_cannot_be_used_are_refused():
    sums = CkaSums()
    with pytest.raises(InputError, match="no images"):
        sums.result()
    with pytest.raises(InputError, match="at least 4"):
        sums.add([normal(3, 2)])
    with pytest.raises(InputError, match="Pair them"):
        sums.add([normal(5, 2)], [normal(6, 2)])


@pytest.mark.parametrize("debiased", [True, False])
def test_two_matrices_are_checked_as_batches_are(debiased):
    for count in (0, 1, 2, 3):
        with pytest.raises(InputError, match=f"has {count} images"):
            linear_cka(normal(count, 5), normal(count, 2), debiased)
    with pytest.raises(InputError, match="5 images were given to one model, 6 to the other"):
        linear_cka(normal(5, 2), normal(6, 2), debiased)
    assert np.isfinite(linear_cka(normal(4, 5), normal(4, 2, seed=1), debiased))


def test_batches_are_checked_before_they_are_used():
    for first, second, told in [
        ([normal(0, 2)], None, "has 0 images"),
        ([normal(5, 2), normal(6, 2)], None, "Pair them"),
        ([normal(5, 2)], [normal(5, 2), normal(4, 2)], "Pair them"),
    ]:
        sums = CkaSums()
        with pytest.raises(InputError, match=told):
            sums.add(first, second)
        assert (sums.images, sums.batches) == (0, 0)


@EVERY
def test_blocks_of_every_family_against_their_tokens(family):
    vit = FAMILIES[family].open()
    batches = [random_images(vit, 6, seed) for seed in (0, 1)]
    (rows, columns), prefix = vit.grid, vit.prefix
    for features in ("reading", "patches", "tokens"):
        found = cka(vit, batches, features=features)
        taken = []
        for images in batches:
            with vit.trace(images, 0) as trace:
                reading = trace.reading.double().numpy()
                stream = [tokens.detach().double().numpy() for tokens in trace.tokens]
            taken.append(
                [
                    {
                        "reading": np.stack([w @ t for w, t in zip(reading, tokens, strict=True)]),
                        "patches": tokens[:, prefix : prefix + rows * columns].mean(1),
                        "tokens": tokens.reshape(len(tokens), -1),
                    }[features]
                    for tokens in stream
                ]
            )
        for one, other in np.ndindex(3, 3):
            with np.errstate(invalid="ignore", divide="ignore"):
                expected = nguyen([(batch[one], batch[other]) for batch in taken])
            here = found.similarity[one, other].item()
            constant = features == "reading" and vit.readout.kind == "token" and 0 in {one, other}
            assert np.isnan(here) if constant else here == pytest.approx(expected, abs=1e-4), (features, one, other)
        assert found.similarity.diagonal()[1:].tolist() == pytest.approx([1, 1])
        assert (found.images, found.batches) == (12, 2)


def test_two_models_are_compared_on_the_same_images_in_their_own_sizes():
    wide, square = FAMILIES["timm"].open(), FAMILIES["torchvision"].open()
    batches = [(random_images(wide, 8, seed), random_images(square, 8, seed)) for seed in (0, 1)]
    assert square.preprocessing.size == SQUARE != wide.preprocessing.size
    between = cka(wide, batches, square)
    swapped = cka(square, [(other, one) for one, other in batches], wide)
    assert torch.allclose(between.similarity, swapped.similarity.T, atol=1e-5, equal_nan=True)
    again = cka(wide, [images for images, _ in batches], FAMILIES["timm"].open())
    assert torch.allclose(again.similarity, cka(wide, batches).similarity, atol=1e-5, equal_nan=True)
    other = cka(wide, [images for images, _ in batches], FAMILIES["timm"].open(seed=1))
    assert other.similarity[1:, 1:].max() < 0.9


def test_features_follow_the_capture():
    vit = FAMILIES["timm mean"].open()
    with vit.trace(random_images(vit, 2), 0, capture=vt.Capture(first=1)) as trace:
        assert len(features_of(trace, "reading")) == 2
        assert torch.allclose(features_of(trace, "reading")[0], features_of(trace, "patches")[0], atol=1e-5)
