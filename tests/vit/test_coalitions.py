"""Coalitions: fills, soft masks, targets of their own images, and what is counted."""

import pytest
import torch

import vitreous as vt
from contracts.families import FAMILIES, WIDE, random_images, scramble, timm_vit
from oracles import slow, slow_perturbation
from vitreous.vit import edits
from vitreous.vit.coalitions import blended_scores, coalition_scores, filling, patches_to_pixels, scores_of

FILLS = ["drop", "mean", "blur", "black"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TARGETS = [2, vt.Contrast(4, 1), 5]
SCORES = [lambda logits: logits[2], lambda logits: logits[4] - logits[1], lambda logits: logits[5]]


@pytest.fixture(scope="module")
def exact():
    """A float64 model, its oracle, three images, and their normalised pixels."""
    model = scramble(timm_vit()).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=WIDE, mean=MEAN, std=STD))
    images = random_images(vit, 3)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return vit, slow.SlowViT.of(model), images, (images - mean) / std


def some_sets(images, count, patches=12, seed=0):
    return torch.rand(images, count, patches, generator=torch.Generator().manual_seed(seed)) < 0.5


@pytest.mark.parametrize("fill", FILLS)
def test_each_image_is_scored_by_its_own_target_through_its_own_sets(exact, fill):
    vit, oracle, images, pixels = exact
    keep = some_sets(3, 4)
    keep[:, 0], keep[:, 1] = True, False
    with vit.trace(images, TARGETS) as trace:
        found = coalition_scores(trace, keep, fill)
        assert trace.forwards == 5
        assert (found[:, 0] - trace.score).abs().max() < 1e-9
    for image, score in enumerate(SCORES):
        for number in range(4):
            kept = set(keep[image, number].nonzero()[:, 0].tolist())
            expected = score(slow_perturbation.seen(oracle, pixels[image], kept, fill))
            assert abs(float(found[image, number] - expected)) < 1e-9


@pytest.mark.parametrize("fill", FILLS[1:])
def test_soft_masks_blend_image_and_filling(exact, fill):
    vit, oracle, images, pixels = exact
    masks = torch.rand(3, 2, *WIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with vit.trace(images, TARGETS) as trace:
        found = blended_scores(trace, masks, fill)
        assert trace.forwards == 3
    for image, score in enumerate(SCORES):
        for number in range(2):
            expected = score(slow_perturbation.through(oracle, pixels[image], masks[image, number], fill))
            assert abs(float(found[image, number] - expected)) < 1e-9


def test_changed_images_are_scored_by_the_target_of_the_image_they_came_from(exact):
    vit, _, images, _ = exact
    owner = torch.tensor([2, 0, 0, 1, 2])
    changed = random_images(vit, 5, seed=4)
    with vit.trace(images, TARGETS) as trace:
        found = scores_of(trace, changed, owner)
        assert trace.forwards == 3
    logits = vit.logits(changed)
    expected = torch.stack([SCORES[image](logits[row]) for row, image in enumerate(owner.tolist())])
    assert (found - expected).abs().max() < 1e-9


def test_changed_images_outside_the_range_of_images_are_refused(exact):
    vit, _, images, _ = exact
    with vit.trace(images, TARGETS) as trace, pytest.raises(vt.VitreousError, match="VX-E120"):
        scores_of(trace, images + 1, torch.arange(3))


@pytest.mark.parametrize("fill", FILLS[1:])
def test_fillings_are_what_they_are_called(exact, fill):
    vit, _, images, pixels = exact
    with vit.trace(images, TARGETS) as trace:
        found = filling(trace, fill)
        assert filling(trace, fill) is found
    for image in range(3):
        assert (found[image] - slow_perturbation.filling(pixels[image], fill)).abs().max() < 1e-9


def test_blurring_keeps_an_even_image_and_leaves_nothing_fine():
    vit = FAMILIES["timm"].open()
    even = torch.full((1, 3, *WIDE), 0.3)
    checks = (torch.arange(WIDE[0])[:, None] + torch.arange(WIDE[1])) % 2
    fine = checks.float().expand(1, 3, -1, -1)
    with vit.trace(torch.cat([even, fine]), 0) as trace:
        blurred = filling(trace, "blur")
        assert torch.allclose(blurred[0], trace.inputs[0], atol=1e-6)
        assert blurred[1].std() < 0.01 * trace.inputs[1].std()


def test_pixel_masks_cover_each_pixel_once(exact):
    vit, _, images, _ = exact
    with vit.trace(images, TARGETS) as trace:
        each = patches_to_pixels(trace, torch.eye(12, dtype=torch.bool))
    assert torch.equal(each.sum(0), torch.ones(WIDE, dtype=torch.float64))
    assert torch.equal(each.flatten(1).sum(1), torch.full((12,), 64.0, dtype=torch.float64))
    assert each[5, 8:16, 8:16].all()  # second row, second column


def test_memory_is_bounded_and_the_cut_does_not_matter(exact, monkeypatch):
    vit, _, images, _ = exact
    keep, batches = some_sets(3, 9), []
    expected = {}
    with vit.trace(images, TARGETS) as trace:
        for fill in FILLS:
            expected[fill] = coalition_scores(trace, keep, fill)
        monkeypatch.setattr(edits, "MOST_TOKENS", 4 * vit.tokens)
        handle = vit.model.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
        for fill in FILLS:
            assert (coalition_scores(trace, keep, fill) - expected[fill]).abs().max() < 1e-9
        handle.remove()
    assert max(batches) <= 4
    assert sum(batches) >= 4 * 26


def test_soft_masks_cannot_be_dropped(exact):
    vit, _, images, _ = exact
    with vit.trace(images, TARGETS) as trace:
        with pytest.raises(vt.VitreousError, match=r"VX-E120.*fill='drop'"):
            blended_scores(trace, torch.ones(3, 1, *WIDE), "drop")
        with pytest.raises(vt.VitreousError, match=r"VX-E120.*gives no pixels"):
            filling(trace, "drop")


def test_embeddings_are_scored_along_their_direction():
    vit = FAMILIES["timm"].open()
    images, keep = random_images(vit, 2), some_sets(2, 3)
    keep[:, 0] = True
    with vit.trace(images, "embedding") as trace:
        for fill in FILLS:
            found = coalition_scores(trace, keep, fill)
            assert torch.allclose(found[:, 0], trace.score, atol=1e-5)


def test_a_trace_of_raw_inputs_is_filled_from_those(exact):
    """Integrated paths and the like trace inputs that are no images: the filling is theirs, not the image's."""
    vit, _, images, _ = exact
    inputs = 0.3 * vit.prepare(images)
    keep = some_sets(3, 2)
    with vit.trace(images, TARGETS) as trace, trace.again(inputs=inputs) as other:
        assert torch.allclose(filling(other, "mean")[:, :, 0, 0], inputs.mean((2, 3)))
        keep[:, 0] = True
        assert torch.allclose(coalition_scores(other, keep, "drop")[:, 0], other.score)


@pytest.mark.parametrize(("family", "said"), [("timm", "removed from the sequence"), ("beit", "saves no time")])
def test_the_record_tells_how_patches_were_dropped(family, said):
    vit = FAMILIES[family].open()
    (dropped,) = vt.explain(vit, random_images(vit, 1), "occlusion")
    (filled,) = vt.explain(vit, random_images(vit, 1), "occlusion", fill="mean")
    assert [said in note for note in dropped.provenance.notes] == [True]
    assert filled.provenance.notes == ()


def test_pixels_beyond_the_last_whole_patch_are_kept_and_patches_keep_their_places():
    """An input of 3 rows and 5 columns more than whole patches of 8."""
    size = (WIDE[0] + 3, WIDE[1] + 5)
    vit = vt.open_vit(scramble(timm_vit(size)), preprocessing=vt.Preprocessing(size=size))
    rows, columns = vit.grid
    assert vit.grid == (WIDE[0] // 8, WIDE[1] // 8)
    with vit.trace(random_images(vit, 1), 0) as trace:
        masks = patches_to_pixels(trace, ~torch.eye(rows * columns, dtype=torch.bool))
    for patch, mask in enumerate(masks):
        row, column = divmod(patch, columns)
        expected = torch.ones(size)
        expected[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
        assert torch.equal(mask, expected)
