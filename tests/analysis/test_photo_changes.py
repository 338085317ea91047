"""Changes of photographs: what they keep and take, their controls, and how heads answer to them."""

import colorsys
import math

import numpy as np
import pytest
import torch

from contracts.families import FAMILIES, random_images
from vitreous.analysis._changes import (
    background_swapped,
    equal_noise,
    flattened,
    grey,
    hue_turned,
    mirrored,
    silhouette,
    size_of,
)
from vitreous.analysis.head_features import head_features
from vitreous.analysis.photo_changes import _corrected, _interval, head_responses, photo_changes
from vitreous.core.errors import InputError

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


def pictures(count=3, high=24, wide=32, seed=0):
    return torch.rand(count, 3, high, wide, generator=torch.Generator().manual_seed(seed))


def boxes(count=3, high=24, wide=32):
    objects = torch.zeros(count, high, wide, dtype=torch.bool)
    for place in range(count):
        objects[place, 4 + place : 12, 5 : 12 + 2 * place] = True
    return objects


def generators(count, seed=0):
    return [torch.Generator().manual_seed(seed + place) for place in range(count)]


def test_colour_changes_keep_the_luma():
    images = pictures()
    luma = (images * LUMA).sum(1)
    for changed in (grey(images), hue_turned(images), hue_turned(images, 77.0)):
        assert torch.allclose((changed * LUMA).sum(1), luma, atol=1e-6)
        assert changed.min() >= 0
        assert changed.max() <= 1
    assert torch.equal(grey(images)[:, 0], grey(images)[:, 2])
    assert torch.allclose(grey(grey(images)), grey(images), atol=1e-6)


def test_hues_turn_to_the_opposite_and_back():
    images = 0.4 + 0.2 * pictures()  # so dull that nothing has to be cut
    turned = hue_turned(images)
    luma = (images * LUMA).sum(1, keepdim=True)
    assert torch.allclose(turned - luma, luma - images, atol=1e-5)  # half a turn: the colour with its sign changed
    assert torch.allclose(hue_turned(hue_turned(images, 100.0), 260.0), images, atol=1e-5)
    assert torch.allclose(hue_turned(images, 0.0), images, atol=1e-6)
    red = torch.tensor([0.6, 0.4, 0.4])[None, :, None, None]
    seen = [colorsys.rgb_to_hsv(*hue_turned(red, angle).flatten().tolist())[0] for angle in (0.0, 120.0, 240.0)]
    assert len({round(hue * 3) % 3 for hue in seen}) == 3  # red, green and blue in some order
    strong = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None]
    expected = 0.299 + (torch.tensor([0.299, 0.299, 0.299]) - torch.tensor([1.0, 0, 0])) * (0.299 / 0.701)
    assert torch.allclose(hue_turned(strong).flatten(), expected, atol=1e-5)


def test_objects_are_filled_and_moved_pixel_by_pixel():
    images, objects = pictures(), boxes()
    flat, black, pasted = flattened(images, objects), silhouette(images, objects), background_swapped(images, objects)
    for place in range(3):
        inside, after = objects[place].numpy(), (place + 1) % 3
        other, theirs = images[after].numpy(), objects[after].numpy()
        mean = images[place].numpy()[:, inside].mean(1)
        empty = other[:, ~theirs].mean(1)
        for row, column in np.ndindex(inside.shape):
            here, pixel = inside[row, column], images[place, :, row, column]
            assert flat[place, :, row, column].numpy() == pytest.approx(mean if here else pixel.numpy(), abs=1e-6)
            assert torch.equal(black[place, :, row, column], torch.zeros(3) if here else pixel)
            behind = empty if theirs[row, column] else other[:, row, column]
            assert pasted[place, :, row, column].numpy() == pytest.approx(pixel.numpy() if here else behind, abs=1e-6)
    assert torch.equal(mirrored(images)[..., 0], images[..., -1])


@pytest.mark.parametrize("name", ["grey", "hue", "flat", "silhouette", "background", "mirrored"])
def test_noise_is_as_large_grey_and_at_the_same_pixels(name):
    images, objects = 0.1 + 0.4 * pictures(), boxes()
    before = images.clone()
    changed = photo_changes(images, objects)[name]
    noisy = equal_noise(images, changed, generators(3))
    assert torch.equal(images, before)
    assert size_of(images, noisy).tolist() == pytest.approx(size_of(images, changed).tolist(), rel=1e-3)
    same = (changed - images).abs().amax(1) <= 1 / 512
    assert torch.equal(noisy.movedim(1, -1)[same], images.movedim(1, -1)[same])
    free = (noisy > 1e-6) & (noisy < 1 - 1e-6)
    added = torch.where(free.all(1, keepdim=True), noisy - images, 0)
    assert (added - added.mean(1, keepdim=True)).abs().max() < 1e-5
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert not torch.equal(noisy[0] - images[0], equal_noise(images, changed, generators(3, 9))[0] - images[0])
    alone = equal_noise(images[1:2], changed[1:2], [torch.Generator().manual_seed(1)])
    assert torch.allclose(alone, noisy[1:2], atol=1e-5)


def test_noise_is_as_coarse_as_the_change():
    images = torch.full((2, 3, 32, 32), 0.5)
    across = torch.arange(32) * 2 * torch.pi / 32
    changed = images.clone()
    changed[0] += 0.1 * (2 * across).cos() + 0.01
    changed[1] += 0.1 * (9 * across)[:, None].sin() + 0.01
    added = equal_noise(images, changed, generators(2))[:, 0] - 0.5
    power = torch.fft.rfft2(added).abs().square()
    assert power[0, 0, 2] / power[0].sum() > 0.8
    assert power[1, [9, 23], 0].sum() / power[1].sum() > 0.8


def test_no_change_has_no_noise_and_no_response():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 3)
    assert torch.equal(equal_noise(images, images.clone(), generators(3)), images)
    found = head_responses(vit, images, {"none": images.clone()}, draws=20)["none"]
    assert not found.response.any()
    assert not found.control.any()
    assert (found.corrected == 1).all()


@pytest.mark.parametrize("family", ["timm", "dinov2 registers", "rope mean", "handwritten"])
def test_responses_are_those_of_single_photographs(family):
    vit = FAMILIES[family].open()
    images = random_images(vit, 4)
    changes = photo_changes(images)
    found = head_responses(vit, images, changes, batch=3, draws=50)
    outputs = {}
    for name, batch in {"plain": images, **changes}.items():
        rows = []
        for image in batch:
            with vit.trace(image[None], 0) as trace:
                rows.append(head_features(trace)[0].double().numpy())
        outputs[name] = np.stack(rows)
    plain = outputs["plain"]
    for name, responses in found.items():
        assert responses.size.tolist() == pytest.approx(size_of(images, changes[name]).tolist())
        for block, head in np.ndindex(plain.shape[1:3]):
            own = plain[:, block, head]
            spread = np.sqrt(np.mean([np.sum((row - own.mean(0)) ** 2) for row in own]))
            for image in range(4):
                moved = np.linalg.norm(outputs[name][image, block, head] - own[image]) / spread
                assert responses.response[image, block, head].item() == pytest.approx(moved, rel=1e-3, abs=1e-4)
        assert torch.allclose(responses.excess, (responses.response - responses.control).double().mean(0))
        assert responses.low.isnan().all()  # of so few there is no interval
        assert responses.high.isnan().all()


def test_a_model_without_colour_does_not_answer_to_hue():
    family = FAMILIES["timm"]
    vit = family.open()
    with torch.no_grad():  # every filter sees the luma, for pictures normalised alike in all channels
        weight = vit.model.patch_embed.proj.weight
        weight.copy_(weight.mean(1, keepdim=True) * LUMA)
    images = random_images(vit, 12)
    found = head_responses(vit, images, photo_changes(images), draws=200)
    assert found["hue"].response.max() < 1e-3
    assert found["grey"].response.max() < 1e-3
    assert found["mirrored"].response.min() > 0.01
    for name in ("hue", "grey"):
        assert (found[name].low <= found[name].excess).all()
        assert (found[name].excess <= found[name].high).all()
        assert (found[name].high < 0).all()
        assert (found[name].corrected < 0.05).all()


def test_p_is_fair_when_change_and_control_are_alike():
    rng = np.random.default_rng(0)
    none = [_corrected(torch.from_numpy(rng.normal(size=(20, 2, 3))), 99, seed).min().item() for seed in range(60)]
    assert np.mean(np.array(none) <= 0.05) < 0.14
    assert np.mean(np.array(none) <= 0.5) == pytest.approx(0.5, abs=0.2)
    some = torch.from_numpy(rng.normal(size=(20, 2, 3)))
    some[:, 1, 2] += 2
    found = _corrected(some, 99, 0)
    assert found[1, 2].item() == pytest.approx(0.01)
    assert (found.flatten()[:5] > 0.05).all()
    t = np.abs(some.numpy().mean(0) / some.numpy().std(0, ddof=0))
    assert np.argsort(t.ravel()).tolist()[-1] == 5


def test_heads_that_never_vary_are_unknown_and_the_others_are_not():
    rng = np.random.default_rng(1)
    excess = torch.from_numpy(rng.normal(size=(20, 2, 3)))
    excess[:, 1, 2] += 2
    without = _corrected(excess.flatten(1)[:, 1:, None], 99, 0).flatten()  # as if the first head were not there
    excess[:, 0, 0] = math.nan
    found = _corrected(excess, 99, 0).flatten()
    assert found[0].isnan()
    assert found[1:].tolist() == without.tolist()
    assert found[5].item() == pytest.approx(0.01)
    low, high = _interval(excess, 99, 0)
    assert low.isnan().flatten().tolist() == high.isnan().flatten().tolist() == [True] + [False] * 5
    assert _corrected(torch.full((20, 2, 3), math.nan, dtype=torch.float64), 99, 0).isnan().all()


def test_a_head_of_one_output_is_told_from_rounding():
    """The values of head 1 in block 0 are its bias, whatever the photograph: it has no spread to measure with."""
    vit = FAMILIES["timm"].open()
    attention = vit.model.blocks[0].attn
    with torch.no_grad():
        width = attention.head_dim
        rows = slice(2 * attention.num_heads * width + width, 2 * attention.num_heads * width + 2 * width)
        attention.qkv.weight[rows] = 0
        attention.qkv.bias[rows] = 0.1
    images = random_images(vit, 3)
    found = head_responses(vit, images, {"mirrored": mirrored(images)}, draws=50)["mirrored"]
    flat = torch.zeros_like(found.excess, dtype=torch.bool)
    flat[0, 1] = True
    for name in ("response", "control"):
        assert torch.equal(getattr(found, name).isnan(), flat.expand(3, -1, -1)), name
    for name in ("excess", "corrected"):
        assert torch.equal(getattr(found, name).isnan(), flat), name
    assert (found.corrected[~flat] >= 1 / 51).all()


@pytest.mark.parametrize("count", [2, 3])
def test_equal_photographs_have_no_units(count):
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 1).expand(count, -1, -1, -1).clone()
    found = head_responses(vit, images, {"mirrored": mirrored(images)}, draws=20)["mirrored"]
    for name in ("response", "control", "excess", "low", "high", "corrected"):
        assert getattr(found, name).isnan().all(), name


def test_few_photographs_have_no_interval():
    rng = np.random.default_rng(2)
    for count, known in [(2, False), (9, False), (10, True)]:
        low, high = _interval(torch.from_numpy(rng.normal(size=(count, 2, 3))), 99, 0)
        assert (low.shape, high.shape) == ((2, 3), (2, 3))
        for each in (low, high):
            assert each.isfinite().all() if known else each.isnan().all(), count


def test_what_cannot_be_changed_is_refused():
    vit = FAMILIES["timm"].open()
    images, objects = pictures(), boxes()
    objects[1] = False
    with pytest.raises(InputError, match="covers nothing"):
        photo_changes(images, objects)
    with pytest.raises(InputError, match="no other background"):
        photo_changes(images[:1], boxes()[:1])
    with pytest.raises(InputError, match="one photograph"):
        head_responses(vit, images[:1], {})
    with pytest.raises(InputError, match="'half' has shape"):
        head_responses(vit, images, {"half": images[:2]})
    assert set(photo_changes(images)) == {"grey", "hue", "mirrored"}
