"""Localisation metrics worked out by hand on four patches, and against slow loops."""

import math

import numpy as np
import pytest
import torch

from metrics.place_cases import FOUR, case_of, give, known, square, value
from oracles.planted import open_planted
from vitreous.core.errors import InputError
from vitreous.metrics._case import Truth
from vitreous.metrics._metric import METRICS

MAP = [4.0, 3.0, 1.0, 0.0]
LEFT = known(mask=[1, 0, 1, 0])
TOP = known(mask=[1, 1, 0, 0])
MASKED = [
    *("otsu_pixel_accuracy", "otsu_f1", "otsu_jaccard", "segmentation_pixel_accuracy", "segmentation_miou"),
    *("segmentation_average_precision", "pixel_average_precision", "relevance_mass_accuracy"),
    *("relevance_rank_accuracy", "pxap"),
]


def all_images(name):
    return {"confidence": 0.0} if name.startswith("otsu") else {}


def test_pixel_average_precision_by_hand():
    # in, out, in, out: recall 1/2 at precision 1/1, the other half at 2/3
    assert value("pixel_average_precision", MAP, LEFT) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    # the first three tie: two of three are right
    assert value("pixel_average_precision", [2.0, 2.0, 2.0, 0.0], LEFT) == pytest.approx(2 / 3)
    assert value("pixel_average_precision", [7.0, 7.0, 7.0, 7.0], LEFT) == pytest.approx(1 / 2)
    # without the place of 3, both of the object come first
    assert value("pixel_average_precision", MAP, known([1, 0, 1, 0], void=[0, 1, 0, 0])) == 1
    assert math.isnan(value("pixel_average_precision", MAP, known([0, 0, 0, 0])))


def test_relevance_rank_accuracy_by_hand():
    assert value("relevance_rank_accuracy", MAP, LEFT) == 1 / 2
    # 4 is inside; for the second place one inside and one outside tie
    assert value("relevance_rank_accuracy", [4.0, 1.0, 1.0, 0.0], LEFT) == (1 + 1 / 2) / 2
    assert value("relevance_rank_accuracy", [1.0, 1.0, 1.0, 1.0], known([1, 0, 0, 0])) == 1 / 4
    assert value("relevance_rank_accuracy", MAP, known([0, 0, 1, 0], void=[1, 1, 0, 0])) == 1
    assert math.isnan(value("relevance_rank_accuracy", MAP, known([0, 0, 0, 0])))


def test_relevance_mass_accuracy_by_hand():
    assert value("relevance_mass_accuracy", MAP, LEFT) == (4 + 1) / 8
    assert value("relevance_mass_accuracy", [4.0, 3.0, -1.0, -9.0], LEFT) == pytest.approx(4 / 7)
    assert value("relevance_mass_accuracy", MAP, known([1, 0, 1, 0], void=[0, 1, 0, 0])) == 1
    assert math.isnan(value("relevance_mass_accuracy", [-4.0, -3.0, -1.0, 0.0], LEFT))
    assert math.isnan(value("relevance_mass_accuracy", MAP, known([0, 0, 0, 0])))


def test_what_is_above_the_mean_is_counted_and_pooled():
    # the mean is 2: marked are 4 and 3, of which 4 is in LEFT, and both in TOP
    counts = give("segmentation_miou", MAP, LEFT, TOP)
    assert counts.tolist() == [[1, 1, 1, 1], [2, 0, 0, 2]]
    assert torch.equal(counts, give("segmentation_pixel_accuracy", MAP, LEFT, TOP))
    assert value("segmentation_pixel_accuracy", MAP, LEFT) == 2 / 4
    assert value("segmentation_pixel_accuracy", MAP, LEFT, TOP) == (2 + 4) / 8
    assert value("segmentation_miou", MAP, LEFT) == pytest.approx((1 / 3 + 1 / 3) / 2)
    # pooled 3 / (3 + 1 + 1) for either class; the mean of the images' values would be 2/3
    assert value("segmentation_miou", MAP, LEFT, TOP) == pytest.approx(3 / 5)
    # object everywhere but marked on 4 and 3: 2/4 and, of the background that is only marked, 0/2
    assert value("segmentation_miou", MAP, known([1, 1, 1, 1])) == pytest.approx((2 / 4 + 0) / 2)
    # everything that counts is object, and the one place above the mean of 4 and 3 is marked
    assert give("segmentation_miou", MAP, known([1, 1, 0, 0], void=[0, 0, 1, 1])).tolist() == [[1, 0, 1, 0]]


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    # nothing is marked on a constant map and nothing is object: background 4/4, object 0/0
    assert value("segmentation_miou", [1.0, 1.0, 1.0, 1.0], known([0, 0, 0, 0])) == 1
    assert value("segmentation_miou", [1.0, 1.0, 1.0, 1.0], LEFT) == pytest.approx((0 / 2 + 2 / 4) / 2)


def test_segmentation_average_precision_by_hand():
    # R = 1, 3/4, 1/4, 0 is right about the 1st and 3rd; 1 - R = 0, 1/4, 3/4, 1 about the 2nd and 4th.
    # at 1: 2 right of 2; at 3/4: 2 of 4; at 1/4: 4 of 6; recall 2/4 at precision 1, 2/4 at 4/6
    assert value("segmentation_average_precision", MAP, LEFT) == pytest.approx(1 / 2 * 1 + 1 / 2 * 4 / 6)
    assert value("segmentation_average_precision", [5.0] * 4, known([1, 0, 0, 0])) == pytest.approx(1 / 2)
    # without an object only the background is to be found: 1 - R = 0, 1/4, 3/4, 1 are right, R = 1, 3/4, 1/4, 0 wrong
    expected = (1 / 2 + 2 / 4 + 3 / 6 + 4 / 8) / 4
    assert value("segmentation_average_precision", MAP, known([0, 0, 0, 0])) == pytest.approx(expected)


def test_otsu_by_hand():
    # 10 | 4 0 0 parts better than 10 4 | 0 0: 1 * 3 * (10 - 4/3)^2 = 225 against 2 * 2 * (7 - 0)^2 = 196.
    # So 10 alone is marked, where the mean, 3.5, would mark 4 as well
    values = [10.0, 4.0, 0.0, 0.0]
    assert value("otsu_pixel_accuracy", values, TOP, confidence=0.0) == 3 / 4
    assert value("otsu_f1", values, TOP, confidence=0.0) == pytest.approx(2 / (2 + 0 + 1))
    assert value("otsu_jaccard", values, TOP, confidence=0.0) == 1 / 2
    # a pixel that is void moves the threshold: 10 | 4 4 becomes 4 4 | 10 without a single 0
    assert value("otsu_jaccard", values, known([1, 1, 0, 0], void=[0, 1, 0, 0]), confidence=0.0) == 1
    # tiny maps are sorted as large ones
    tiny = [value * 1e-30 for value in values]
    assert value("otsu_jaccard", tiny, TOP, confidence=0.0) == 1 / 2


def test_otsu_of_a_constant_map_marks_nothing():
    same = [0.3, 0.3, 0.3, 0.3]
    assert value("otsu_pixel_accuracy", same, known([1, 0, 0, 0]), confidence=0.0) == 3 / 4
    assert value("otsu_f1", same, TOP, confidence=0.0) == 0
    assert value("otsu_jaccard", same, TOP, confidence=0.0) == 0


@pytest.mark.parametrize("name", ["otsu_f1", "otsu_jaccard"])
def test_otsu_overlap_with_nothing_is_undefined(name):
    assert math.isnan(value(name, MAP, known([0, 0, 0, 0]), confidence=0.0))


@pytest.mark.parametrize("name", ["otsu_pixel_accuracy", "otsu_f1", "otsu_jaccard"])
def test_otsu_leaves_out_images_of_which_the_model_is_not_sure(name):
    with case_of([square(MAP)] * 2, [TOP, TOP]) as case:
        probability = case.trace.logits.double().softmax(1).amax(1)
        low, high = probability.sort().values.tolist()
        assert low < high
        found = METRICS[name].function(case, confidence=(low + high) / 2)
        assert METRICS[name].function(case, confidence=low).isnan().tolist() == [False, False]
        assert METRICS[name].defaults == {"confidence": 0.85}
    assert found.isnan().tolist() == (probability < (low + high) / 2).tolist()
    for wrong in (-0.1, 85.0):
        with pytest.raises(InputError, match="is no probability"):
            give(name, MAP, TOP, confidence=wrong)


def test_pxap_by_hand():
    # with four levels all four values lie apart: as the average precision of the one image
    assert value("pxap", MAP, LEFT, levels=4) == pytest.approx(5 / 6)
    # with two, 1/4 and 0 fall together: 1 right of 1, 1 of 2, 2 of 4
    assert value("pxap", MAP, LEFT, levels=2) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 4)
    assert give("pxap", MAP, LEFT, levels=2).tolist() == [[1, 0, 1, 1, 1, 0]]
    # pooled with an image whose object is the last place: 1 right of 2, 1 of 4, 2 of 6, 3 of 8
    pooled = (1 / 2 + 2 / 6 + 3 / 8) / 3
    assert value("pxap", MAP, LEFT, known([0, 0, 0, 1]), levels=4) == pytest.approx(pooled)
    # the place of 3 is to be ignored
    assert value("pxap", MAP, known([1, 0, 1, 0], void=[0, 1, 0, 0]), levels=4) == 1
    assert value("pxap", [2.0, 2.0, 2.0, 2.0], LEFT) == 1 / 2
    assert math.isnan(value("pxap", MAP, known([0, 0, 0, 0])))


def test_max_box_acc_by_hand():
    # above 0: all but the last, box of 4; above 1/4 and 1/2: the upper row; above 3/4: the first pixel
    upper, first = known(boxes=[(0.0, 0.0, 2.0, 1.0)]), known(boxes=[(0.0, 0.0, 1.0, 1.0)])
    # against the upper row: 2/4, 1, 1, 1/2
    assert give("max_box_acc", MAP, upper, levels=4).tolist() == [[1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0]]
    # against the first pixel: 1/4, 1/2, 1/2, 1
    assert give("max_box_acc", MAP, first, levels=4).tolist() == [[0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1]]
    # together both are right at one threshold for 0.3 and 0.5, but only one at a time for 0.7
    assert value("max_box_acc", MAP, upper, levels=4) == 1
    assert value("max_box_acc", MAP, upper, first, levels=4) == pytest.approx((1 + 1 + 1 / 2) / 3)
    # against the lower row: 2/4, 0, 0, 0. Each overlap has a threshold of its own, the first for 0.3 and 0.5, where both
    # images are right, the second for 0.7; one threshold for all overlaps would give (1 + 1 + 0) / 3
    lower = known(boxes=[(0.0, 1.0, 2.0, 2.0)])
    assert value("max_box_acc", MAP, upper, lower, levels=4) == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_max_box_acc_takes_any_region_and_any_box():
    whole, right = (0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 2.0, 2.0)
    # pixels that touch at a corner are one region
    assert value("max_box_acc", [1.0, 0.0, 0.0, 1.0], known(boxes=[whole]), levels=1) == 1
    assert value("max_box_acc", [1.0, 0.0, 0.0, 1.0], known(boxes=[right]), levels=1) == pytest.approx(2 / 3)
    assert value("max_box_acc", [1.0, 0.0, 0.0, 1.0], known(boxes=[right, whole]), levels=1) == 1
    # a void pixel parts them no less than a 0 does: only the first pixel is left, half of nothing but 1/4 of the whole
    void = known(boxes=[whole], void=[0, 0, 0, 1])
    assert value("max_box_acc", [1.0, 0.0, 0.0, 1.0], void, levels=1) == 0
    # a constant map draws its box round everything
    assert value("max_box_acc", [0.3, 0.3, 0.3, 0.3], known(boxes=[whole])) == 1
    # two regions, of which the smaller one fits: columns 0 and 2 of a wide image
    wide = open_planted(grid=(2, 3), patch=1)
    two = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    with case_of([two], [Truth(boxes=((2.0, 0.0, 3.0, 1.0),))], wide) as case:
        assert METRICS["max_box_acc"].function(case, levels=1).tolist() == [[1, 1, 1]]


def test_pointing_at_boxes_by_hand():
    left, first, last = (0.0, 0.0, 1.0, 2.0), (0.0, 0.0, 1.0, 1.0), (1.0, 1.0, 2.0, 2.0)
    assert value("pointing_game_boxes", MAP, known(boxes=[left])) == 1
    assert value("pointing_game_boxes", MAP, known(boxes=[last])) == 0
    assert value("pointing_game_boxes", MAP, known(boxes=[last, first])) == 1
    assert value("pointing_game_boxes", [0.1] * 4, known(boxes=[left])) == 2 / 4
    # two maxima, of which one is in the box; the box of a third of a pixel holds no centre: there is no place to point at
    assert value("pointing_game_boxes", [4.0, 4.0, 1.0, 0.0], known(boxes=[left])) == 1 / 2
    assert np.isnan(value("pointing_game_boxes", MAP, known(boxes=[(0.0, 0.0, 0.3, 0.3)])))
    # the place of 4 is void: 3 is the maximum
    assert value("pointing_game_boxes", MAP, known(boxes=[left], void=[1, 0, 0, 0])) == 0
    # a void place as high as the maximum is none
    assert value("pointing_game_boxes", [4.0, 3.0, 3.0, 0.0], known(boxes=[left], void=[1, 1, 0, 0])) == 1
    # the first place is sqrt(2) away from the last
    assert value("pointing_game_boxes", MAP, known(boxes=[last]), tolerance=1.4) == 0
    assert value("pointing_game_boxes", MAP, known(boxes=[last]), tolerance=1.5) == 1
    assert math.isnan(value("pointing_game_boxes", MAP, known(boxes=[left], void=[1, 1, 1, 1])))
    assert math.isnan(value("pointing_game_boxes", MAP, known()))


def test_pointing_at_masks_by_hand():
    assert value("pointing_game", MAP, LEFT, known([0, 0, 1, 1])) == 1 / 2
    assert value("pointing_game", [0.1] * 4, known([1, 0, 0, 0])) == 1 / 4
    assert value("pointing_game", MAP, known([0, 0, 0, 1]), tolerance=1.4) == 0
    assert value("pointing_game", MAP, known([0, 0, 0, 1]), tolerance=1.5) == 1


@pytest.mark.parametrize("name", ["pointing_game", "pointing_game_boxes"])
def test_the_tolerance_is_no_less_than_nothing(name):
    with pytest.raises(InputError, match="is negative"):
        give(name, MAP, LEFT, tolerance=-1.0)


@pytest.mark.parametrize("name", ["pxap", "max_box_acc"])
def test_levels_have_to_be_some(name):
    with pytest.raises(InputError, match="are no thresholds"):
        give(name, MAP, LEFT, levels=0)


@pytest.mark.parametrize("name", MASKED)
def test_nothing_is_said_of_images_that_are_all_void(name):
    nothing = known(mask=[0, 0, 0, 0], void=[1, 1, 1, 1])
    assert bool(give(name, MAP, nothing, **all_images(name)).isnan().all())
    assert bool(give("max_box_acc", MAP, known(void=[1] * 4, boxes=[(0.0, 0.0, 1.0, 1.0)])).isnan().all())


@pytest.mark.parametrize("name", MASKED)
def test_what_lies_on_void_does_not_matter(name):
    truth = known(mask=[1, 0, 0, 0], void=[0, 0, 1, 0])
    parameters = all_images(name)
    found = [give(name, [4.0, 3.0, void, 0.0], truth, **parameters) for void in (1.0, 1e6, -1e6)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


# Against slow loops, on maps that are interpolated.

WIDE = open_planted(grid=(3, 4), patch=5)
HEIGHT, WIDTH = WIDE.preprocessing.size


def some_case(seed, ties):
    """Two random maps, masks and void areas."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 4, generator=generator)
    maps = maps.round() if ties else maps
    mask = torch.rand(2, HEIGHT, WIDTH, generator=generator) < 0.3
    void = torch.rand(2, HEIGHT, WIDTH, generator=generator) < 0.1
    boxes = [((2.0, 1.5, 9.0, 11.0), (10.0, 3.0, 19.0, 8.5)), ((4.0, 4.0, 16.0, 12.0),)]
    return maps, [Truth(mask=m & ~v, void=v, boxes=b) for m, v, b in zip(mask, void, boxes, strict=True)]


def slow_pixels(grid, patch):
    """Straight lines between the centres of patches."""
    grid = grid.double().numpy()
    rows, columns = grid.shape
    result = np.zeros((rows * patch, columns * patch))
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            down = min(max((y + 0.5) / patch - 0.5, 0), rows - 1)
            across = min(max((x + 0.5) / patch - 0.5, 0), columns - 1)
            top, left = int(down), int(across)
            below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = grid[top, left] * (1 - across + left) + grid[top, right] * (across - left)
            lower = grid[below, left] * (1 - across + left) + grid[below, right] * (across - left)
            result[y, x] = upper * (1 - down + top) + lower * (down - top)
    return result


def slow_judged(grid, truth):
    """Pairs of relevance, rounded to what can be told apart, and inside, of all pixels that count."""
    pixels = slow_pixels(grid, 5)
    return [
        (round(pixels[y, x], 12), bool(truth.mask[y, x]))
        for y in range(HEIGHT)
        for x in range(WIDTH)
        if not truth.void[y, x]
    ]


def slow_average_precision(pairs):
    total, area, before = sum(inside for _, inside in pairs), 0.0, 0
    for threshold in sorted({number for number, _ in pairs}, reverse=True):
        marked = [inside for number, inside in pairs if number >= threshold]
        area += (sum(marked) - before) / total * (sum(marked) / len(marked))
        before = sum(marked)
    return area


def slow_scaled(pairs):
    low, high = min(pairs)[0], max(pairs)[0]
    return [((number - low) / (high - low), inside) for number, inside in pairs]


def slow_counts(pairs, threshold):
    return [
        sum((number > threshold) == marked and inside == object_ for number, inside in pairs)
        for marked, object_ in ((True, True), (True, False), (False, True), (False, False))
    ]


def slow_otsu(pairs):
    """The middle of that one of 256 bins after which cutting parts the values with the largest variance between."""
    numbers = np.array([number for number, _ in pairs])
    low, high = numbers.min(), numbers.max()
    bins = np.minimum(((numbers - low) / (high - low) * 256).astype(int), 255)
    best, where = -1.0, 0
    for cut in range(255):
        left, right = bins[bins <= cut], bins[bins > cut]
        if len(left) and len(right):
            between = len(left) * len(right) * (left.mean() - right.mean()) ** 2
            if between > best * (1 + 1e-12):
                best, where = between, cut
    return low + (where + 0.5) / 256 * (high - low)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_slow_loops(seed, ties):
    maps, truths = some_case(seed, ties)
    with case_of(maps, truths, WIDE) as case:
        # rounding differs between two ways to interpolate: equal values have to stay equal
        object.__setattr__(case, "per_pixel", case.per_pixel.round(decimals=12))
        found = {name: METRICS[name].function(case, **all_images(name)) for name in MASKED}
    pooled = {name: METRICS[name].value(found[name].numpy()) for name in MASKED}
    judged = [slow_judged(grid, truth) for grid, truth in zip(maps, truths, strict=True)]
    for image, pairs in enumerate(judged):
        size = sum(inside for _, inside in pairs)
        assert found["pixel_average_precision"][image].item() == pytest.approx(slow_average_precision(pairs), abs=1e-9)
        mass = sum(max(number, 0) for number, inside in pairs if inside) / sum(max(number, 0) for number, _ in pairs)
        assert found["relevance_mass_accuracy"][image].item() == pytest.approx(mass, abs=1e-9)
        orders = [np.random.default_rng(order).permutation(len(pairs)) for order in range(200)]
        tops = [sorted(order, key=lambda place: -pairs[place][0])[:size] for order in orders]
        shares = [np.mean([pairs[place][1] for place in top]) for top in tops]
        close = 4 * np.std(shares) / math.sqrt(len(shares)) + 1e-9
        assert found["relevance_rank_accuracy"][image].item() == pytest.approx(np.mean(shares), abs=close)
        mean = sum(number for number, _ in pairs) / len(pairs)
        assert found["segmentation_miou"][image].tolist() == slow_counts(pairs, mean)
        scaled = slow_scaled(pairs)
        both = [(1 - number, not inside) for number, inside in scaled] + scaled
        both = [(round(number, 12), inside) for number, inside in both]
        assert found["segmentation_average_precision"][image].item() == pytest.approx(
            slow_average_precision(both), abs=1e-9
        )
        right, wrong, missed, rest = slow_counts(pairs, slow_otsu(pairs))
        assert found["otsu_pixel_accuracy"][image].item() == pytest.approx((right + rest) / len(pairs), abs=1e-9)
        assert found["otsu_f1"][image].item() == pytest.approx(2 * right / (2 * right + wrong + missed), abs=1e-9)
        assert found["otsu_jaccard"][image].item() == pytest.approx(right / (right + wrong + missed), abs=1e-9)
    level = [(math.floor(round(number * 100, 9)), inside) for pairs in judged for number, inside in slow_scaled(pairs)]
    assert pooled["pxap"] == pytest.approx(slow_average_precision(level), abs=1e-9)


def slow_regions(marked):
    """Boxes of regions of marked pixels that touch by sides or corners."""
    left, boxes = set(zip(*np.nonzero(marked), strict=True)), []
    while left:
        open_, region = [left.pop()], []
        while open_:
            y, x = open_.pop()
            region.append((y, x))
            near = {(y + down, x + across) for down in (-1, 0, 1) for across in (-1, 0, 1)} & left
            left -= near
            open_ += near
        ys, xs = zip(*region, strict=True)
        boxes.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return boxes


def slow_overlap(one, other):
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def test_max_box_acc_against_slow_loops():
    maps, truths = some_case(2, ties=False)
    levels = 7
    with case_of(maps, truths, WIDE) as case:
        found = METRICS["max_box_acc"].function(case, levels=levels)
    expected = np.zeros((2, 3, levels))
    for image, truth in enumerate(truths):
        pixels = slow_pixels(maps[image], 5)
        counts = ~truth.void.numpy()
        low, high = pixels[counts].min(), pixels[counts].max()
        for step in range(levels):
            boxes = slow_regions(((pixels - low) / (high - low) > step / levels) & counts)
            best = max(slow_overlap(box, true) for box in boxes for true in truth.boxes)
            expected[image, :, step] = [best >= overlap for overlap in (0.3, 0.5, 0.7)]
    assert found.numpy().tolist() == expected.reshape(2, -1).tolist()
    assert 0 < expected.mean() < 1
    best = np.mean([expected[:, overlap].mean(0).max() for overlap in range(3)])
    assert METRICS["max_box_acc"].value(found.numpy()) == pytest.approx(best)


def test_the_four_patches_are_four_pixels():
    with case_of([square(MAP)], [LEFT]) as case:
        assert case.per_pixel[0].flatten().tolist() == MAP
    assert FOUR.preprocessing.size == (2, 2)


def test_a_constant_map_is_constant_between_patches_of_any_size():
    """The weights of an interpolation over 14 pixels are no binary fractions."""
    vit = open_planted(grid=(9, 9), patch=14)
    values = torch.rand(40, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(126, 126, dtype=torch.bool)
    mask[:40, :60] = True
    with case_of([torch.full((9, 9), value) for value in values.tolist()], [Truth(mask=mask)] * 40, vit) as case:
        assert (case.per_pixel.amax((1, 2)) == case.per_pixel.amin((1, 2))).all()
        share = float(mask.double().mean())
        for name in ("pointing_game", "relevance_rank_accuracy", "pixel_average_precision"):
            assert METRICS[name].function(case).tolist() == pytest.approx([share] * 40), name


def test_rounding_between_patches_moves_no_value_by_more_than_twelve_digits():
    vit = open_planted(grid=(3, 4), patch=14)
    maps = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with case_of(list(maps), [Truth()] * 2, vit) as case:
        exact = torch.nn.functional.interpolate(maps[:, None], size=(42, 56), mode="bilinear")[:, 0]
        assert (case.per_pixel - exact).abs().max() <= 1e-12 * maps.abs().max()
