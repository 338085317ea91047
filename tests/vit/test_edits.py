"""Token dropping: the right way is found for each family, and it equals deleting tokens by hand."""

import pytest
import torch
from torch import nn

import vitreous as vt
from contracts.families import CLASSES, FAMILIES, PATCH, WIDE, HandwrittenViT, random_images, scramble, timm_vit
from contracts.snapshot import nothing_changes
from oracles import slow, slow_perturbation
from vitreous.vit import edits
from vitreous.vit.edits import drop_tokens, dropped_logits, rescored_logits, rows_per_pass, token_dropping

MASKED = {"eva rope registers", "rope mean", "beit"}
"""Families that hold positions inside their attention."""

COUNTS = [0, 1, 3, 8, 9]


def some_patches(vit, counts=COUNTS, seed=0):
    """One set of patches for each count."""
    place = torch.rand(len(counts), vit.grid[0] * vit.grid[1], generator=torch.Generator().manual_seed(seed))
    return place.argsort(1).argsort(1) < torch.tensor(counts)[:, None]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param, FAMILIES[request.param].open()


def test_the_right_way_is_found_and_its_difference_is_rounding(family):
    name, vit = family
    found = token_dropping(vit)
    assert found.kind == ("masked" if name in MASKED else "removed")
    assert found.difference < 1e-5
    assert bool(found.why) == (name in MASKED)
    assert ("saves no time" in found.describe()) == (name in MASKED)
    assert token_dropping(vit) is found


def test_dropping_nothing_changes_nothing(family):
    _, vit = family
    images = random_images(vit, 2)
    everything = torch.ones(2, vit.grid[0] * vit.grid[1], dtype=torch.bool)
    assert torch.allclose(drop_tokens(vit, images, everything), vit.logits(images), atol=1e-5)


def test_removing_equals_masking(family):
    """Also on images and sets that the check of the model itself did not try."""
    name, vit = family
    images, keep = random_images(vit, 5, seed=3), some_patches(vit, seed=3)
    inputs = vit.prepare(images)
    masked = torch.cat([edits._masked(vit, inputs[[row]], keep[[row]]) for row in range(5)])
    assert torch.allclose(drop_tokens(vit, images, keep), masked, atol=2e-5)
    if name not in MASKED:
        removed = torch.cat([edits._removed(vit, inputs[[row]], keep[[row]]) for row in range(1, 5)])
        assert torch.allclose(removed, masked[1:], atol=2e-5)


def test_a_dropped_patch_cannot_be_seen(family):
    """Whatever is painted over it, the logits are the same; over a kept one, they are not."""
    _, vit = family
    images, keep = random_images(vit, 4, seed=1), some_patches(vit, [1, 3, 8, 8], seed=1)
    changed = random_images(vit, 4, seed=2)
    high, wide = vit.patch
    pixels = keep.reshape(4, 1, *vit.grid).repeat_interleave(high, 2).repeat_interleave(wide, 3)
    before = drop_tokens(vit, images, keep)
    assert torch.allclose(drop_tokens(vit, torch.where(pixels, images, changed), keep), before, atol=1e-5)
    assert (drop_tokens(vit, torch.where(pixels, changed, images), keep) - before).abs().amax(1).min() > 1e-3


def test_of_nothing_all_images_look_alike(family):
    _, vit = family
    nothing = torch.zeros(3, vit.grid[0] * vit.grid[1], dtype=torch.bool)
    found = drop_tokens(vit, random_images(vit, 3), nothing)
    assert torch.equal(found, found[:1].expand(3, -1))
    assert torch.equal(found[:1], token_dropping(vit).nothing)


def test_sets_are_put_together_in_any_way_and_come_back_in_order(family, monkeypatch):
    _, vit = family
    images, keep = random_images(vit, 3), some_patches(vit, [5, 2, 0, 5, 9, 2, 5, 1])
    owner = torch.tensor([2, 0, 1, 1, 2, 2, 0, 0])
    together = dropped_logits(vit, vit.prepare(images), owner, keep)
    alone = torch.cat([drop_tokens(vit, images[owner[[row]]], keep[[row]]) for row in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)
    monkeypatch.setattr(edits, "MOST_TOKENS", 2 * vit.tokens)
    assert rows_per_pass(vit) == 2
    assert torch.allclose(dropped_logits(vit, vit.prepare(images), owner, keep), alone, atol=1e-5)


def test_dropping_leaves_the_model_as_it_was(family):
    name, _ = family
    vit = FAMILIES[name].open()
    with nothing_changes(vit.model):
        drop_tokens(vit, random_images(vit, 5), some_patches(vit))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_grad_mode_does_not_matter(family, mode):
    name, vit = family
    images, keep = random_images(vit, 5), some_patches(vit)
    with mode():
        fresh = FAMILIES[name].open()
        found = drop_tokens(fresh, images, keep)
    assert torch.allclose(found, drop_tokens(vit, images, keep), atol=1e-5)


# --- against an independent model whose sequence is shortened by hand

POOLINGS = {
    "class token": {},
    "registers": {"reg_tokens": 4},
    "mean": {"class_token": False, "global_pool": "avg"},
    "class token, mean": {"global_pool": "avg"},
    "pooling attention": {"class_token": False, "global_pool": "map"},
    "registers, pooling attention": {"class_token": False, "global_pool": "map", "reg_tokens": 4},
}


@pytest.mark.parametrize("options", POOLINGS.values(), ids=POOLINGS)
@pytest.mark.parametrize("way", ["as found", "masked"])
def test_dropping_equals_deleting_tokens_by_hand(options, way):
    model = scramble(timm_vit(depth=3, **options)).double()
    plain = vt.Preprocessing(size=WIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
    vit, oracle = vt.open_vit(model, preprocessing=plain), slow.SlowViT.of(model)
    images, keep = random_images(vit, 5), some_patches(vit)
    if way == "masked":
        inputs = vit.prepare(images)
        found = torch.cat([edits._masked(vit, inputs[[row]], keep[[row]]) for row in range(5)])
    else:
        found = drop_tokens(vit, images, keep)
    for row in range(5):
        kept = {patch for patch, seen in enumerate(keep[row].tolist()) if seen}
        expected = slow_perturbation.seen(oracle, (images[row] - 0.5) / 0.25, kept, "drop")
        assert (found[row] - expected).abs().max() < 1e-9


# --- models for which the obvious way is wrong


class CountingViT(HandwrittenViT):
    """Multiplies by the number of its tokens: removing some would change what the others do."""

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1) + self.positions
        tokens = self.layers(tokens)
        return self.classifier(self.norm(tokens[:, 0]) * tokens.shape[1] / 13)


class LeakingViT(HandwrittenViT):
    """Reads the pixels past its tokens, so that no patch can be hidden from it."""

    def forward(self, images):
        return super().forward(images) + images.mean((1, 2, 3))[:, None]


class MixingBlock(nn.Module):
    """A block in which neighbours meet outside the attention."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens):
        tokens = self.block(tokens)
        return tokens + 0.5 * tokens.roll(1, 1)


PLAIN = vt.Preprocessing(size=WIDE, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_a_model_that_counts_its_tokens_is_masked():
    vit = vt.open_vit(scramble(CountingViT()), preprocessing=PLAIN)
    found = token_dropping(vit)
    assert found.kind == "masked"
    assert "without them the logits differ by" in found.describe()
    images, keep = random_images(vit, 5), some_patches(vit)
    plain = vt.open_vit(scramble(HandwrittenViT()), preprocessing=PLAIN)
    assert token_dropping(plain).kind == "removed"
    assert torch.allclose(drop_tokens(vit, images, keep), drop_tokens(plain, images, keep), atol=1e-5)


def test_a_model_whose_tokens_meet_outside_attention_is_refused():
    model = HandwrittenViT()
    model.layers = nn.Sequential(*[MixingBlock(block) for block in model.layers])
    vit = vt.open_vit(scramble(model), preprocessing=PLAIN)
    for _ in range(2):  # a refusal is not remembered as anything else
        with pytest.raises(vt.VitreousError, match=r"VX-E206.*still change its logits.*fill='mean'"):
            drop_tokens(vit, random_images(vit, 1), some_patches(vit, [3]))
    with pytest.raises(vt.VitreousError, match="VX-E206"):
        vt.explain(vit, random_images(vit, 1), "occlusion")
    assert vt.explain(vit, random_images(vit, 1), "occlusion", fill="mean")


def test_a_keep_of_another_grid_is_refused():
    vit = FAMILIES["timm"].open()
    with pytest.raises(vt.VitreousError, match=r"VX-E120.*11 patches.*has 12"):
        drop_tokens(vit, random_images(vit, 1), torch.ones(1, 11, dtype=torch.bool))


def test_a_model_without_plain_attention_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Flatten(), nn.Linear(96, CLASSES))
    vit = vt.open_vit(model, preprocessing=PLAIN, require_attention=False)
    with pytest.raises(vt.VitreousError, match=r"VX-E206.*no plain attention"):
        token_dropping(vit)


def test_an_error_in_the_middle_of_a_dropped_pass_reaches_the_caller():
    vit = FAMILIES["handwritten"].open()
    token_dropping(vit)
    vit.blocks[1].broken = True
    with nothing_changes(vit.model), pytest.raises(ArithmeticError):
        drop_tokens(vit, random_images(vit, 5), some_patches(vit))


# --- changed scores


def test_scores_that_are_not_changed_change_nothing(family):
    _, vit = family
    images = random_images(vit, 2)
    same = rescored_logits(vit, vit.prepare(images), lambda scores: scores + 7.0)
    assert torch.allclose(same, vit.logits(images), atol=1e-5)


def test_hiding_by_scores_is_masking(family):
    _, vit = family
    if vit.readout.kind != "token":
        return
    inputs, keep = vit.prepare(random_images(vit, 5)), some_patches(vit)
    hidden = ~edits._kept_tokens(vit, keep)[:, None, None]
    found = rescored_logits(vit, inputs, lambda scores: scores.masked_fill(hidden, -torch.inf))
    assert torch.allclose(found, edits._masked(vit, inputs, keep), atol=1e-5)


def test_a_half_precision_model_drops_as_well():
    vit = vt.open_vit(scramble(timm_vit()).to(torch.bfloat16), preprocessing=PLAIN)
    full = FAMILIES["timm"].open()
    assert token_dropping(vit).kind == "removed"
    images, keep = random_images(vit, 5), some_patches(vit)
    found, expected = drop_tokens(vit, images, keep), drop_tokens(full, images, keep)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_patches_are_where_they_were():
    """Two kept patches exchanged in the image are not the same picture: positions travel with the tokens."""
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 1)
    swapped = images.clone()
    swapped[..., :PATCH, :PATCH], swapped[..., -PATCH:, -PATCH:] = (
        images[..., -PATCH:, -PATCH:],
        images[..., :PATCH, :PATCH],
    )
    keep = torch.zeros(1, 12, dtype=torch.bool)
    keep[0, [0, 11]] = True
    assert (drop_tokens(vit, swapped, keep) - drop_tokens(vit, images, keep)).abs().max() > 1e-2
