"""Context: dropping the planted patch is the drop, dropping others is none, and draws are what they are said to be."""

import math

import pytest
import torch
from scipy import stats

import vitreous as vt
from contracts.families import FAMILIES, random_images
from oracles.planted import GAIN, LIGHT, open_planted, planted_images
from oracles.planted_case import of_patch
from vitreous.analysis.context import dependence, own_patches
from vitreous.core.errors import InputError
from vitreous.vit.coalitions import coalition_scores

EVERY = pytest.mark.parametrize("family", FAMILIES)


def objects_of(vit, *patches):
    return torch.stack([of_patch(vit, patch) for patch in patches])


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_dropping_the_planted_patch_is_the_drop_and_others_are_none(prefix):
    vit = open_planted(prefix=prefix, sharpness=5000.0)  # the second brightest is read alone as well
    images, brightness = planted_images(vit, [(5, 0), (2, 7)])
    objects = [objects_of(vit, 5, 0, 3), objects_of(vit, 9, 2)]
    with vit.trace(images, "brightest") as trace:
        found = dependence(trace, objects, draws=8)
        assert trace.forwards == 1 + math.ceil(5 * 9 / 2)
    second = brightness.sort(1).values[:, -2]
    for image, number, drop in [(0, 0, GAIN * (LIGHT - second[0])), (1, 1, GAIN * (LIGHT - second[1]))]:
        each = found[image][number]
        assert each.drop == pytest.approx(float(drop), abs=1e-4)
        assert each.p == pytest.approx(2 / (each.draws + 1))
        assert each.excess == pytest.approx(each.drop, abs=1e-4)
    for each in (*found[0][1:], found[1][0]):
        assert each.drop == pytest.approx(0, abs=1e-4)
        assert each.patches == 1
    for each in found[0]:  # the background holds neither of the extremes
        assert (each.control, each.low, each.high) == pytest.approx((0, 0, 0), abs=1e-4)
        assert each.draws == 8
    assert found[0][1].p == 1  # the darkest patch, and all draws, leave the score as it is


def test_what_is_planted_in_the_background_is_in_the_control():
    """The brightest patch is one of nine of the background: a draw of one patch has it once in nine."""
    vit = open_planted()
    images, brightness = planted_images(vit, [(5, 0)])
    with vit.trace(images, "brightest") as trace:
        (found,) = dependence(trace, [objects_of(vit, 1, 2, 3)], draws=9)
    top = brightness[0].sort().values
    for each in found:
        assert each.draws == 9  # all there are
        assert each.control == pytest.approx(GAIN * float(top[-1] - top[-2]) / 9, abs=1e-4)
        assert each.drop == pytest.approx(0, abs=1e-4)
        assert each.high > 0.5 * GAIN * float(top[-1] - top[-2])


@EVERY
def test_drops_are_those_of_single_coalitions_on_every_family(family):
    vit = FAMILIES[family].open()
    high, wide = vit.patch
    masks = torch.zeros(3, *vit.preprocessing.size, dtype=torch.bool)
    masks[0, : 2 * high, :wide] = True  # patch 0 and the one below
    masks[1, :high, wide : 2 * wide + wide // 4] = True  # patch 1 and a quarter of patch 2
    masks[2, : high // 8, 2 * wide :] = True  # an eighth of patch 2, too little
    columns = vit.grid[1]
    mine = [{0, columns}, {1, 2}, set()]
    with vit.trace(random_images(vit, 2), [0, vt.Contrast(1, 2)]) as trace:
        found = dependence(trace, [masks[:2], masks], draws=4)
        keep = torch.ones(2, 3, vit.grid[0] * columns, dtype=torch.bool)
        for number, patches in enumerate(mine):
            keep[:, number, sorted(patches)] = False
        expected = trace.score.detach()[:, None] - coalition_scores(trace, keep)
        again = dependence(trace, [masks[:2], masks], draws=4)
    assert again == found or any(math.isnan(each.drop) for each in again[1])
    for image in range(2):
        for number in range(2):
            assert found[image][number].drop == pytest.approx(float(expected[image, number]), abs=1e-4)
            assert found[image][number].patches == len(mine[number])
    empty = found[1][2]
    assert (empty.patches, empty.draws) == (0, 0)
    assert all(math.isnan(value) for value in (empty.drop, empty.control, empty.p))
    assert max(abs(each.drop) for each in found[0]) > 1e-3


def test_controls_are_the_quantiles_of_the_draws():
    """With two background patches there are two sets of one, which can be told by hand."""
    vit = open_planted(grid=(2, 3))
    images, _ = planted_images(vit, [(4, 0)])
    objects = torch.stack([of_patch(vit, 0) | of_patch(vit, 1) | of_patch(vit, 2), of_patch(vit, 3)])
    with vit.trace(images, "brightest") as trace:
        keep = ~torch.eye(6, dtype=torch.bool)[None, [4, 5]]
        drops = (trace.score.detach()[:, None] - coalition_scores(trace, keep))[0]
        three, one = dependence(trace, [objects], draws=50)[0]
    assert one.draws == 2
    low, high = torch.quantile(drops, torch.tensor([0.025, 0.975])).tolist()
    assert (one.control, one.low, one.high) == pytest.approx((float(drops.mean()), low, high), abs=1e-5)
    assert three.draws == 0  # two patches are no three
    assert math.isnan(three.control)
    assert math.isnan(three.p)
    assert three.drop == pytest.approx(0, abs=1e-4)


def test_moved_controls_are_the_shape_at_all_places_of_the_background():
    """A pair of patches side by side fits at two other places that are all background, in a grid of 3 x 4."""
    vit = FAMILIES["timm"].open()
    objects = torch.stack([of_patch(vit, 0) | of_patch(vit, 1), of_patch(vit, 3), of_patch(vit, 5) | of_patch(vit, 10)])
    places = [(6, 7), (8, 9)]
    keep = torch.ones(1, len(places), 12, dtype=torch.bool)
    for row, place in enumerate(places):
        keep[0, row, list(place)] = False
    with vit.trace(random_images(vit, 1), 0) as trace:
        drops = (trace.score.detach()[:, None] - coalition_scores(trace, keep))[0]
        pair, single, diagonal = dependence(trace, [objects], control="moved")[0]
        few = dependence(trace, [objects], draws=1, control="moved")[0][0]
    assert pair.draws == 2
    assert pair.control == pytest.approx(float(drops.mean()), abs=1e-5)
    assert single.draws == 7  # all patches of the background
    assert diagonal.draws == 3  # 2 and 7, 4 and 9, 6 and 11
    assert few.draws == 1
    assert min(abs(few.control - float(drop)) for drop in drops) < 1e-5


def test_images_do_not_depend_on_their_batch():
    vit = FAMILIES["timm"].open()
    images, masks = random_images(vit, 3), [objects_of(vit, 0, 5), objects_of(vit, 1), objects_of(vit, 7, 8, 2)]
    with vit.trace(images, [0, 1, 2]) as trace:
        together = dependence(trace, masks, draws=6)
    for image in range(3):
        with vit.trace(images[image : image + 1], image) as trace:
            (alone,) = dependence(trace, [masks[image]], draws=6)
        for one, other in zip(together[image], alone, strict=True):
            assert vars(one) == pytest.approx(vars(other), abs=1e-4)
    with vit.trace(images[:1], 0, seed=1) as trace:
        (reseeded,) = dependence(trace, masks[:1], draws=6)
    assert reseeded[0].control != pytest.approx(together[0][0].control, abs=1e-6)
    assert reseeded[0].drop == pytest.approx(together[0][0].drop, abs=1e-4)


def test_an_object_like_the_background_is_singled_out_as_rarely_as_promised():
    """Objects are single patches of images of noise: the rank of their drop among the draws is any."""
    vit = FAMILIES["timm mean"].open()
    wrong = count = 0
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        chosen = [torch.randperm(12, generator=generator)[:1].tolist() for _ in range(12)]
        with vit.trace(random_images(vit, 12, seed), 0) as trace:
            found = dependence(trace, [objects_of(vit, *each) for each in chosen], draws=11)
        wrong += sum(each.p <= 0.2 for image in found for each in image)
        count += 12
    limits = stats.binom(count, 2 / 12).ppf([0.001, 0.999])  # eleven draws: the rank is the first or the last of twelve
    assert limits[0] <= wrong <= limits[1]


@pytest.mark.parametrize("fill", ["mean", "black", "blur", "grey"])
def test_fills_take_the_place_of_what_cannot_be_dropped(fill):
    vit = FAMILIES["timm"].open()
    masks = objects_of(vit, 3, 4)
    with vit.trace(random_images(vit, 1), 0) as trace:
        (found,) = dependence(trace, [masks], draws=2, fill=fill)
        keep = torch.ones(1, 2, 12, dtype=torch.bool)
        keep[0, 0, 3] = keep[0, 1, 4] = False
        expected = trace.score.detach()[:, None] - coalition_scores(trace, keep, fill)
    assert [each.drop for each in found] == pytest.approx(expected[0].tolist(), abs=1e-5)


def test_patches_of_objects_are_not_shared_and_background_is_touched_by_none():
    vit = FAMILIES["timm"].open()
    high, wide = vit.patch
    masks = torch.zeros(2, *vit.preprocessing.size, dtype=torch.bool)
    masks[0, :high, : wide + wide // 2] = True
    masks[1, :high, wide + wide // 4 : 2 * wide] = True
    masks[1, -1, -1] = True
    with vit.trace(random_images(vit, 1), 0) as trace:
        mine, background = own_patches(trace, masks)
        none, everything = own_patches(trace, masks[:0])
        halves, _ = own_patches(trace, masks, least=0.8)
    assert [each.nonzero()[:, 0].tolist() for each in mine] == [[0], [1]]
    assert (~background).nonzero()[:, 0].tolist() == [0, 1, 11]
    assert (none.shape, everything.all().item()) == ((0, 12), True)
    assert [each.nonzero()[:, 0].tolist() for each in halves] == [[0], []]


@pytest.mark.parametrize("control", ["scattered", "moved"])
def test_controls_are_never_drawn_from_padding(control):
    """Of 3 x 4 patches the last row is padding, half of patch 6, and of patch 7 one pixel more than half."""
    vit = FAMILIES["timm"].open()
    high, wide = vit.patch
    shown = torch.ones(2, *vit.preprocessing.size, dtype=torch.bool)
    shown[0, 2 * high :] = False
    shown[0, high + high // 2 :, 2 * wide :] = False
    shown[0, high, 3 * wide] = False
    objects = [objects_of(vit, 0), objects_of(vit, 0)]
    with vit.trace(random_images(vit, 2), 0) as trace:
        padded, full = dependence(trace, objects, control=control, shown=shown)
        _, same = dependence(trace, objects, control=control)
        _, background = own_patches(trace, objects[0], shown=shown[0])
        keep = ~torch.eye(12, dtype=torch.bool)[1:7].expand(2, -1, -1)
        drops = (trace.score.detach()[:, None] - coalition_scores(trace, keep))[0]
        with pytest.raises(InputError, match="shown has shape"):
            dependence(trace, objects, shown=shown[:1])
    assert background.nonzero()[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert padded[0].draws == 6
    assert padded[0].control == pytest.approx(float(drops.mean()), abs=1e-5)
    assert full[0].draws == 11
    assert vars(full[0]) == pytest.approx(vars(same[0]), abs=1e-6)


def test_images_without_objects_give_nothing():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 2), 0) as trace:
        none = torch.zeros(0, *vit.preprocessing.size, dtype=torch.bool)
        assert dependence(trace, [none, none]) == [[], []]
        assert [len(each) for each in dependence(trace, [none, objects_of(vit, 1)], draws=2)] == [0, 1]
        for wrong in ({"draws": 0}, {"least": 0.0}, {"least": 1.5}):
            with pytest.raises(InputError, match="draws="):
                dependence(trace, [none, none], **wrong)
        with pytest.raises(InputError, match="about 1 images"):
            dependence(trace, [none])
