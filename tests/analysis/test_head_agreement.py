"""Agreement between heads and blocks: by hand on made-up attention, and against loops and scipy on every family."""

import itertools
import math

import numpy as np
import pytest
import timm
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import rankdata, spearmanr

import vitreous as vt
from contracts.families import FAMILIES, random_images
from oracles.planted import open_planted, planted_images
from vitreous.analysis.head_agreement import head_agreement, outlying_heads, patch_attention
from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.vit.trace import Trace

EVERY = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def vit():
    """A grid of 4 x 5 patches behind a class token, which is read."""
    return open_planted(grid=(4, 5))


def agree(monkeypatch, vit, *blocks, **given):
    """Compare made-up heads: for each block what the class token attends to, "h p" for one image or "b h p"."""
    made = []
    for given_heads in blocks:
        heads = given_heads if given_heads.dim() == 3 else given_heads[None]
        rows = torch.zeros(*heads.shape[:2], 21, 21)
        rows[:, :, 0, 0] = 0.5  # what the class token keeps for itself plays no part
        rows[:, :, 0, 1:] = heads / heads.sum(-1, keepdim=True) / 2
        rows[:, :, 1:, 7] = 1.0  # nor does what the patches attend to
        made.append(rows)
    with vit.trace(random_images(vit, len(made[0])), 0) as trace, monkeypatch.context() as patched:
        patched.setattr(Trace, "attention", property(lambda _: tuple(made)))
        return head_agreement(trace, **given)


def on(*patches):
    weights = torch.zeros(20)
    weights[list(patches)] = 1
    return weights


# --- by hand


def test_heads_by_hand(monkeypatch, vit):
    found = agree(monkeypatch, vit, torch.stack([on(0, 1), on(0, 1), on(1, 2), on(18, 19)]))
    # (1/2, 1/2, 0) and (0, 1/2, 1/2) have one of two patches in common: half of the mass is told apart.
    expected = [[0, 0, 0.5, 1], [0, 0, 0.5, 1], [0.5, 0.5, 0, 1], [1, 1, 1, 0]]
    assert found.divergence[0, 0].tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
    assert found.isolation[0, 0].tolist() == pytest.approx([0.5, 0.5, 2 / 3, 1])
    # Two patches of 20 stand out in each. Of indicators the correlation of ranks is Pearson's: for pairs that share s
    # patches, (20 s - 4) / 36.
    correlations = [[1, 1, 16 / 36, -4 / 36], [1, 1, 16 / 36, -4 / 36], [16 / 36, 16 / 36, 1, -4 / 36]]
    assert found.correlation[0, 0, :3].tolist() == [pytest.approx(row, abs=1e-6) for row in correlations]
    assert found.top == 2
    assert found.converging.flatten()[[0, 1, 2, 3, 18]].tolist() == pytest.approx([0.5, 0.75, 0.25, 0, 0.25])
    assert found.agreed.item() == pytest.approx(0.75)
    # Three heads or four of four, each with two patches of twenty: 4 · 0.1³ · 0.9 + 0.1⁴, at any of twenty patches.
    assert found.chance.item() == pytest.approx(20 * (4 * 0.001 * 0.9 + 0.0001))


def test_heads_that_all_do_the_same(monkeypatch, vit):
    heads = torch.arange(1.0, 21.0).expand(3, -1)
    found = agree(monkeypatch, vit, heads, heads)
    assert found.divergence.abs().max() < 1e-6
    assert found.block_divergence.abs().max() < 1e-6
    assert torch.allclose(found.correlation, torch.ones(1, 2, 3, 3))
    assert found.concordance.flatten().tolist() == pytest.approx([1, 1])
    assert found.overall.item() == pytest.approx(1)
    assert found.agreed.item() == 1
    assert found.chance.item() == pytest.approx(20 * 0.1**6)
    assert found.outlying() == [()]


def test_evenly_spread_heads_converge_nowhere(monkeypatch, vit):
    found = agree(monkeypatch, vit, torch.ones(2, 20))
    assert found.converging.flatten().tolist() == pytest.approx([0.1] * 20)
    assert found.correlation.isnan().all()
    assert found.concordance.isnan().all()
    assert found.chance.item() == 1  # the bound is twenty times the chance that one of two heads is at a patch


def test_patches_that_tie_for_the_last_places_share_them(monkeypatch, vit):
    found = agree(monkeypatch, vit, torch.stack([on(3) + on(3, 4, 5, 6)]), top=0.15)
    assert found.top == 3
    assert found.converging.flatten()[:8].tolist() == pytest.approx([0, 0, 0, 1, 2 / 3, 2 / 3, 2 / 3, 0])


def test_blocks_are_the_mean_of_their_heads(monkeypatch, vit):
    one, other = torch.stack([on(0), on(1), on(2), on(3)]), torch.stack([on(2), on(3), on(2), on(3)])
    found = agree(monkeypatch, vit, one, other)
    quarter, half = np.array([0.25, 0.25, 0.25, 0.25]), np.array([0, 0, 0.5, 0.5])
    assert found.block_divergence[0, 0, 1].item() == pytest.approx(jensenshannon(quarter, half, base=2) ** 2, abs=1e-6)
    assert found.block_correlation[0, 0, 1].item() == pytest.approx(
        spearmanr([*quarter, *[0] * 16], [*half, *[0] * 16]).statistic, abs=1e-6
    )


def test_a_head_that_attends_to_no_patch(monkeypatch, vit):
    with vit.trace(random_images(vit, 1), 0) as trace, monkeypatch.context() as patched:
        made = torch.zeros(1, 3, 21, 21)
        made[0, 0, :, 1], made[0, 1, :, 1], made[0, 2, :, 0] = 1, 1, 1
        patched.setattr(Trace, "attention", property(lambda _: (made,)))
        found = head_agreement(trace)
    assert found.divergence[0, 0, 0, 1] == 0
    assert found.divergence[0, 0, :, 2].isnan().all()
    assert found.isolation[0, 0, :2].tolist() == [0, 0]
    assert found.isolation[0, 0, 2].isnan()
    assert found.concordance.isnan().all()
    assert found.converging[0, 0, 0].item() == pytest.approx(2 / 3)
    assert found.block_divergence.item() == 0
    assert found.outlying() == [()]


# --- outlying heads


def test_the_odd_head_is_named():
    isolation = torch.tensor([[0.10, 0.12, 0.11, 0.13], [0.50, 0.52, 0.53, 0.51], [0.10, 0.11, 0.12, 0.40]])
    # Less the lower median of its block: -.01 .01 0 .02, -.01 .01 .02 0, -.01 0 .01 .29. Without the zeros, in order:
    # -.01 -.01 -.01 .01 .01 .01 .02 .02 .29, median .01, deviations .02 .02 .02 0 0 0 .01 .01 .28, median .01.
    (found,) = outlying_heads(isolation, first=4)
    assert (found.block, found.head) == (6, 3)
    assert found.excess == pytest.approx(0.29)
    assert found.limit == pytest.approx(0.01 + 3 * 1.4826 * 0.01)
    assert outlying_heads(isolation, times=30.0) == ()


def test_those_farthest_off_come_first():
    isolation = torch.tensor(
        [[0.1, 0.11, 0.12, 0.13, 0.9], [0.1, 0.11, 0.12, 0.14, 0.95], [0.1, 0.11, 0.12, 0.13, 0.1]]
    )
    found = outlying_heads(isolation)
    assert [(each.block, each.head) for each in found] == [(1, 4), (0, 4)]


def test_of_two_heads_or_one_none_is_outlying():
    assert outlying_heads(torch.tensor([[0.1, 0.1], [0.1, 0.1], [0.9, 0.9]])) == ()
    assert outlying_heads(torch.full((3, 1), torch.nan)) == ()


def test_a_model_of_one_head(monkeypatch, vit):
    found = agree(monkeypatch, vit, on(1, 2)[None], on(2, 3)[None])
    assert found.isolation.isnan().all()
    assert found.concordance.isnan().all()
    assert not found.overall.isnan().any()  # two heads in all
    assert found.block_divergence[0, 0, 1].item() == pytest.approx(0.5)
    assert found.converging.flatten()[2].item() == 1


# --- on models


def test_the_planted_heads_look_at_the_brightest_and_the_darkest_patch():
    vit = open_planted()
    images, _ = planted_images(vit, [(0, 11), (5, 2)])
    with vit.trace(images, 0) as trace:
        found, looks = head_agreement(trace, top=1 / 12), patch_attention(trace)
    assert looks[:, 0].argmax(-1).tolist() == [[0, 11], [5, 2]]
    assert found.divergence[:, 0, 0, 1].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert found.top == 1
    for image, places in enumerate([(0, 11), (5, 2)]):
        assert found.converging[image].flatten().nonzero().flatten().tolist() == sorted(places)
    assert found.agreed.tolist() == [0.5, 0.5]


@EVERY
def test_agreement_is_that_of_loops_on_every_family(family):
    vit = FAMILIES[family].open()
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        found = head_agreement(trace, top=0.25)
        attention = torch.stack(trace.attention, 1).double().detach().numpy()
        shares = trace.reading.double().detach().numpy()
    places = vit.grid[0] * vit.grid[1]
    images, blocks, heads = attention.shape[:3]
    top = math.floor(0.25 * places + 0.5)
    assert (found.top, found.first) == (top, 0)
    for image in range(images):
        looks = np.zeros((blocks, heads, places))
        for block, head in itertools.product(range(blocks), range(heads)):
            for token, share in enumerate(shares[image]):
                looks[block, head] += share * attention[image, block, head, token, vit.prefix : vit.prefix + places]
            looks[block, head] /= looks[block, head].sum()
        for block, one, other in itertools.product(range(blocks), range(heads), range(heads)):
            pair = looks[block, one], looks[block, other]
            divergence = jensenshannon(*pair, base=2) ** 2
            assert found.divergence[image, block, one, other].item() == pytest.approx(divergence, abs=1e-5)
            assert found.correlation[image, block, one, other].item() == pytest.approx(
                spearmanr(*pair).statistic, abs=1e-5
            )
        for block, head in itertools.product(range(blocks), range(heads)):
            others = [
                jensenshannon(looks[block, head], looks[block, one], base=2) ** 2 for one in range(heads) if one != head
            ]
            assert found.isolation[image, block, head].item() == pytest.approx(np.mean(others), abs=1e-5)
        for chosen, value in (
            *zip(looks, found.concordance[image], strict=True),
            (looks.reshape(-1, places), found.overall[image]),
        ):
            sums = sum(rankdata(each) for each in chosen)
            spread = ((sums - sums.mean()) ** 2).sum()
            expected = 12 * spread / (len(chosen) ** 2 * (places**3 - places))
            assert value.item() == pytest.approx(expected, abs=1e-5)
        for one, other in itertools.product(range(blocks), repeat=2):
            pair = looks[one].mean(0), looks[other].mean(0)
            assert found.block_divergence[image, one, other].item() == pytest.approx(
                jensenshannon(*pair, base=2) ** 2, abs=1e-5
            )
            assert found.block_correlation[image, one, other].item() == pytest.approx(
                spearmanr(*pair).statistic, abs=1e-5
            )
        votes = np.zeros(places)
        for each in looks.reshape(-1, places):
            votes[np.argsort(-each)[:top]] += 1
        assert found.converging[image].flatten().tolist() == pytest.approx(votes / (blocks * heads), abs=1e-6)
        most = int(votes.max())
        assert found.agreed[image].item() == pytest.approx(most / (blocks * heads))
        total = blocks * heads
        tail = sum(
            math.comb(total, k) * (top / places) ** k * (1 - top / places) ** (total - k)
            for k in range(most, total + 1)
        )
        assert found.chance[image].item() == pytest.approx(min(1, places * tail), rel=1e-4)


def test_the_bound_on_chance_holds_for_heads_that_draw_at_random(monkeypatch, vit):
    one, other = torch.rand(2, 300, 6, 20, generator=torch.Generator().manual_seed(0))
    found = agree(monkeypatch, vit, one, other)
    for level in {chance for chance in found.chance.tolist() if chance < 1}:
        observed = (found.chance <= level).double().mean().item()
        assert observed <= level + 3 * math.sqrt(level / 300)
        assert observed > level / 4  # the sum over patches counts few images twice
    assert found.chance.min() < 0.5


def test_images_of_a_batch_are_judged_alone():
    vit = FAMILIES["dinov2 registers"].open()
    images = random_images(vit, 3)
    with vit.trace(images, 0) as trace:
        whole = head_agreement(trace)
    with vit.trace(images[1:2], 0) as trace:
        alone = head_agreement(trace)
    for name in ("divergence", "correlation", "isolation", "converging", "chance", "overall", "block_divergence"):
        assert torch.allclose(getattr(whole, name)[1:2], getattr(alone, name), atol=1e-5), name


def test_blocks_before_the_capture_are_left_out():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 1), 0, capture=vt.Capture(first=1)) as trace:
        found = head_agreement(trace)
    assert found.first == 1
    assert found.divergence.shape[:2] == (1, 1)


@pytest.mark.parametrize("top", [0.0, 1.0, -0.1])
def test_a_share_out_of_range_is_refused(vit, top):
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError, match="is no share"):
        head_agreement(trace, top=top)


def test_a_model_without_plain_attention_is_refused():
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, embed_dim=24, depths=(1, 1), num_heads=(1, 2), window_size=4
    ).eval()
    plain = vt.Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    vit = vt.open_vit(model, preprocessing=plain, require_attention=False)
    with vit.trace(random_images(vit, 1), 0) as trace:
        for function in (head_agreement, patch_attention):
            with pytest.raises(MethodNotApplicableError, match="no plain attention"):
                function(trace)
