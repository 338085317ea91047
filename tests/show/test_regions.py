"""Regions of maps whose regions are known."""

import numpy as np
import pytest

from vitreous.core.errors import InputError, UnknownNameError
from vitreous.show.regions import find_regions


def two_blobs():
    values = np.zeros((6, 8))
    values[1:3, 1:3] = 4.0
    values[4, 5:8] = 2.0
    return values


def test_two_blobs_have_their_boxes_shares_and_order(make):
    found = find_regions(make(two_blobs()), threshold="mean", interpolation="nearest")
    first, second = found
    assert len(found) == 2
    assert first.box == (4, 4, 12, 12)
    assert second.box == (20, 16, 32, 20)
    assert first.mass_share == pytest.approx(16 / 22)
    assert second.mass_share == pytest.approx(6 / 22)
    assert first.area_share == pytest.approx(4 / 48)
    assert second.area_share == pytest.approx(3 / 48)
    assert (first.peak, second.peak) == (4.0, 2.0)
    assert first.peak_at == (4, 4)
    assert first.centre == pytest.approx((8, 8))
    assert second.centre == pytest.approx((26, 18))
    assert found.mask.sum() == (4 + 3) * 16
    assert found.mask[4:12, 4:12].all()
    assert not found.mask.flags.writeable


def test_boxes_on_a_cropped_photograph(make):
    # 24 x 32 input from a 48 x 100 photograph: scale 2, the window is 64 wide and starts at 18.
    found = find_regions(make(two_blobs(), size=(48, 100), fit="crop"), threshold="mean", interpolation="nearest")
    assert [region.box for region in found] == [(18 + 8, 8, 18 + 24, 24), (18 + 40, 32, 18 + 64, 40)]
    assert found.regions[0].area_share == pytest.approx(4 / 48)  # of what the model saw, not of the photograph
    assert "what the model saw" in found.describe()[0]


def test_boxes_on_a_padded_photograph(make):
    # A 24 x 48 photograph in a 24 x 32 input: scale 1.5, 16 rows of photograph below 4 rows of padding.
    found = find_regions(make(two_blobs(), size=(24, 48), fit="pad"), threshold="mean", interpolation="nearest")
    assert [region.box for region in found] == [(6, 0, 18, 12), (30, 18, 48, 24)]
    assert found.off_photo == 0


def test_relevance_on_padding_is_said(make):
    values = np.zeros((6, 8))
    values[0, 0], values[3, 3] = 3.0, 1.0
    found = find_regions(make(values, size=(24, 48), fit="pad"))
    assert found.off_photo == pytest.approx(0.75)
    assert "75 % of all relevance lies on padding, outside the photograph." in found.describe()


def test_otsu_by_hand(make):
    # {0,1,1,2 | 8,9,9,10}: means 1 and 9, variance between the groups 1/2 * 1/2 * 8^2 = 16. The neighbouring
    # splits {0,1,1 | 2,8,9,9,10} (means 2/3, 7.6) and {0,1,1,2,8 | 9,9,10} (means 2.4, 28/3) reach only
    # 3/8 * 5/8 * 6.93^2 = 11.3. So the threshold lies between 2 and 8: halfway at 5.
    found = find_regions(make([[0, 1, 1, 2], [8, 9, 9, 10]]))
    assert found.threshold == 5.0
    assert found.rule == "Otsu's threshold of the patches"


def test_otsu_equals_an_exhaustive_search(make):
    rng = np.random.default_rng(5)
    for _ in range(20):
        values = np.abs(np.concatenate([rng.normal(1, 0.2, 40), rng.normal(3, 0.5, 24)])).astype(np.float32)
        ordered = np.sort(values.astype(np.float64))
        # Variance between the groups, up to a constant factor, with the i smallest values in the lower one.
        splits = [i * (64 - i) * (ordered[:i].mean() - ordered[i:].mean()) ** 2 for i in range(1, 64)]
        best = int(np.argmax(splits)) + 1
        threshold = find_regions(make(values.reshape(8, 8))).threshold
        assert threshold == pytest.approx((ordered[best - 1] + ordered[best]) / 2)


def test_isolated_patch_keeps_its_size_under_interpolation(make):
    values = np.zeros((5, 5))
    values[2, 2] = 1.0
    (region,) = find_regions(make(values, patch=(20, 20)))
    left, top, right, bottom = region.box
    assert 18 <= right - left <= 22  # half height lies at the patch border
    assert 18 <= bottom - top <= 22
    assert region.centre == pytest.approx((50, 50))


def test_quantile_and_mean_thresholds(make):
    values = np.arange(16, dtype=np.float64).reshape(4, 4)
    assert find_regions(make(values), threshold=0.8).threshold == pytest.approx(12.0)
    assert find_regions(make(values), threshold="mean").threshold == pytest.approx(7.5)
    top = find_regions(make(values), threshold=0.8, interpolation="nearest")
    assert top.mask.sum() == 3 * 16
    assert top.rule == "the 0.8 quantile of the patches"


def test_only_positive_evidence_of_a_signed_map_counts(make):
    values = two_blobs()
    values[4, 5:8] = -50.0
    found = find_regions(make(values, signed=True, method="saw"), interpolation="nearest")
    (region,) = found
    assert region.mass_share == pytest.approx(1.0)
    assert found.threshold == pytest.approx(2.0)
    assert found.describe() == ("100 % of the evidence for the target in a region of 8 % of the picture, left.",)
    free = find_regions(make(values, signed=True, method="eigencam"), interpolation="nearest")
    assert free.describe() == ("100 % of the positive relevance in a region of 8 % of the picture, left.",)


def test_equal_regions_are_ordered_from_top_to_bottom_and_left_to_right(make):
    values = np.zeros((5, 9))
    values[3, 1] = values[1, 5] = values[1, 1] = values[3, 5] = 1.0
    boxes = [region.box for region in find_regions(make(values))]
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    assert len(boxes) == 4


def test_regions_that_touch_at_a_corner_are_one(make):
    values = np.zeros((4, 4))
    values[0, 0] = values[1, 1] = 1.0
    assert len(find_regions(make(values), interpolation="nearest")) == 1


def test_small_regions_are_left_out_of_list_and_mask(make):
    values = np.zeros((4, 6))
    values[0, 0], values[3, 5] = 99.5, 0.5
    heatmap = make(values)
    found = find_regions(heatmap, threshold=0.5, interpolation="nearest")
    assert len(found) == 1
    assert found.mask.sum() == 16
    assert len(find_regions(heatmap, threshold=0.5, interpolation="nearest", least_share=0.001)) == 2


def test_pixel_map_is_judged_by_its_patch_sums(make):
    pixels = np.zeros((16, 16))
    pixels[4:8, 8:12] = 1.0
    pixels[0, 0] = 3.0  # the largest single pixel
    found = find_regions(make(pixels, grid=(4, 4)), threshold="mean", interpolation="nearest")
    assert [region.box for region in found] == [(8, 4, 12, 8), (0, 0, 4, 4)]
    assert found.rule == "the mean of the patch sums"
    assert found.threshold == pytest.approx(19 / 16)


@pytest.mark.parametrize("threshold", ["otsu", "mean", 0.0, 0.9])
@pytest.mark.parametrize("value", [0.0, 0.7, -0.7])
def test_constant_map_has_no_regions(make, value, threshold):
    found = find_regions(make(np.full((3, 4), value), signed=value < 0), threshold=threshold)
    assert found.uninformative
    assert len(found) == 0
    assert not found.mask.any()
    assert found.describe() == ("The map is constant: it does not say where the model looked.",)


@pytest.mark.parametrize("threshold", ["otsu", "mean", 0.5])
def test_map_without_positive_values_has_no_regions(make, threshold):
    found = find_regions(make([[-1.0, 0.0], [-3.0, -2.0]], signed=True, method="saw"), threshold=threshold)
    assert not found.uninformative
    assert list(found) == []
    assert found.describe() == ("No region of the photograph has evidence for the target above the threshold.",)


def test_relevance_only_on_padding_gives_no_regions(make):
    values = np.zeros((6, 8))
    values[0, 0] = 3.0
    found = find_regions(make(values, size=(12, 48), fit="pad"), interpolation="nearest")
    assert list(found) == []
    assert found.off_photo == 1.0


def test_sentences_count_what_is_not_listed(make):
    values = np.zeros((5, 9))
    values[1, 1], values[1, 4], values[1, 7], values[3, 1], values[3, 7] = 8, 6, 4, 1, 1
    found = find_regions(make(values), threshold=0.5, interpolation="nearest")
    assert found.describe(most=2, numbered=True) == (
        "1: 40 % of the relevance in a region of 2 % of the picture, upper left.",
        "2: 30 % of the relevance in a region of 2 % of the picture, upper centre.",
        "30 % in 3 more regions.",
    )


def test_whereabouts(make):
    for row, down in ((0, "upper"), (1, ""), (2, "lower")):
        for column, across in ((0, "left"), (1, "centre"), (2, "right")):
            values = np.zeros((3, 3))
            values[row, column] = 1.0
            sentence = find_regions(make(values)).describe()[0]
            assert sentence.endswith(f", {f'{down} {across}'.strip()}.")


def test_arguments_that_make_no_sense_are_refused(make):
    heatmap = make([[0.0, 1.0]])
    with pytest.raises(UnknownNameError, match="'otsu'"):
        find_regions(heatmap, threshold="otzu")
    for threshold in (1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="no quantile"):
            find_regions(heatmap, threshold=threshold)
    with pytest.raises(InputError, match="least_share"):
        find_regions(heatmap, least_share=2.0)


def test_regions_of_real_maps_hold_more_relevance_than_area(golden):
    for key in ("agcam/catdog/243", "genatt/el2/340", "raw_attention_last/koala/any"):
        found = find_regions(golden(key, False, "attention"))
        assert len(found) >= 1
        assert sum(region.mass_share for region in found) > 2 * sum(region.area_share for region in found)
        pixels = golden(key, False, "attention").pixels()
        share = pixels[found.mask].sum(dtype=np.float64) / pixels.sum(dtype=np.float64)
        assert sum(region.mass_share for region in found) == pytest.approx(share)
