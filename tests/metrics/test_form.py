"""Form of maps against numbers worked out by hand, SciPy, plain loops and the regions that pictures show."""

import math

import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from scripted import open_case

import vitreous as vt
from vitreous.core.frame import frame_tensor
from vitreous.core.heatmap import Heatmap
from vitreous.core.provenance import Provenance
from vitreous.metrics._case import Case, Truth
from vitreous.metrics.entropy import entropy
from vitreous.metrics.gini import gini
from vitreous.metrics.region_area import region_area
from vitreous.metrics.region_count import region_count
from vitreous.show.regions import find_regions

NAN = float("nan")


def test_gini_by_hand():
    # 1, 2, 3, 4: (-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / (4 * 10) = 10 / 40. All in one patch: 3 / 4. Signs do not matter.
    with open_case([[3, -1, 4, 2], [0, 0, -7, 0], [2, 2, 2, 2], [0, 0, 0, 0]]) as case:
        assert gini(case).tolist() == pytest.approx([0.25, 0.75, 0.0, NAN], abs=1e-12, nan_ok=True)


def test_gini_is_half_the_mean_difference_relative_to_the_mean():
    maps = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with open_case(maps, grid=(3, 4)) as case:
        found = gini(case).tolist()
    for value, row in zip(found, maps.abs().numpy(), strict=True):
        differences = sum(abs(a - b) for a in row for b in row) / len(row) ** 2
        assert value == pytest.approx(differences / (2 * row.mean()), abs=1e-9)


def test_entropy_by_hand():
    # Shares 1/4, 1/4, 1/2, 0: 1/4 ln 4 + 1/4 ln 4 + 1/2 ln 2 = 3/2 ln 2, of ln 4 = 2 ln 2 the share 3/4.
    maps = [[1, -1, 2, 0], [0, 0, 5, 0], [3, 3, 3, 3], [0, 0, 0, 0]]
    with open_case(maps) as case:
        assert entropy(case).tolist() == pytest.approx([0.75, 0.0, 1.0, NAN], abs=1e-12, nan_ok=True)
        assert entropy(case, "nats").tolist() == pytest.approx(
            [1.5 * math.log(2), 0.0, math.log(4), NAN], abs=1e-12, nan_ok=True
        )


def test_entropy_is_scipys():
    maps = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with open_case(maps, grid=(3, 4)) as case:
        assert entropy(case, "nats").tolist() == pytest.approx(scipy_entropy(maps.abs().numpy(), axis=1), abs=1e-9)


def test_regions_by_hand_on_a_square():
    # Pixels of 2 x 2 patches of 4 lie at u, v in 0, 0, 1/8, 3/8, 5/8, 7/8, 1, 1 between the centres.
    # Two opposite corners of 1: (1-u)(1-v) + uv > 1/2 just where (u - 1/2)(v - 1/2) > 0: two quadrants that touch at
    # a corner, one region of half of the pixels. A single 4 and Otsu's threshold 2: (1-u)(1-v) > 1/2 for the 16 pixels
    # of its quadrant but the innermost, (5/8)^2 < 1/2.
    maps = [[1, 0, 0, 1], [4, 0, 0, -9], [2, 2, 2, 2], [-1, -2, -3, 0]]
    with open_case(maps) as case:
        assert region_count(case).tolist() == [1, 1, 0, 0]
        assert region_area(case).tolist()[0] == pytest.approx(32 / 64, abs=1e-12)
        assert region_area(case).tolist()[2:] == [0, 0]
    with open_case([[4, 0, 0, 0]]) as case:
        assert region_area(case).item() == pytest.approx(15 / 64, abs=1e-12)


def test_regions_by_hand_in_a_row_with_parameters_and_padding():
    # 4 patches in a row, 4 pixels each. 1, 0, 0, 1 and the mean 1/2: the outer patches just. Of 1, 0, 0, 0.2 the mean is
    # 0.3: 1 - u > 0.3 for u = 5/8 and not for 7/8, so 5 columns, and nothing on the right. With the last patch void the
    # mean of 1, 0, 0 is 1/3: again 5 columns of 12, and the one next to the void patch, where 3/8 of its value is seen.
    void = torch.zeros(4, 16, dtype=torch.bool)
    void[:, 12:] = True
    truth = (Truth(), Truth(), Truth(void=void), Truth(void=torch.ones_like(void)))
    with open_case([[1, 0, 0, 1], [1, 0, 0, 0.2], [1, 0, 0, 1], [1, 0, 0, 1]], truth=truth, grid=(1, 4)) as case:
        assert region_count(case, "mean").tolist() == [2, 1, 2, 0]
        assert region_area(case, "mean").tolist() == pytest.approx([0.5, 5 / 16, 6 / 12, NAN], abs=1e-12, nan_ok=True)
        # The left of 1, 0, 0, 0.2 holds about 5/6 of the relevance, the right about 1/6; of the quantile 0 nothing else.
        assert region_count(case, 0.0)[1] == 2
        assert region_count(case, 0.0, least_share=0.5)[1] == 1


@pytest.mark.parametrize("threshold", ["otsu", "mean", 0.7])
@pytest.mark.parametrize("pixels", [False, True])
def test_regions_are_those_that_pictures_show(threshold, pixels):
    generator = torch.Generator().manual_seed(2)
    with open_case(torch.zeros(6, 48), grid=(6, 8)) as case:
        size = (24, 32) if pixels else (6, 8)
        drawn = Case(case.trace, torch.randn(6, *size, generator=generator), case.explain, case.truth)
        counts, areas = region_count(drawn, threshold, 0.02), region_area(drawn, threshold, 0.02)
    for relevance, count, area in zip(drawn.relevance.numpy(), counts, areas, strict=True):
        frame = frame_tensor((24, 32), (4, 4), (6, 8))
        shown = find_regions(
            Heatmap(relevance, "share", True, frame, Provenance.model_construct(method="saw")),
            threshold=threshold,
            least_share=0.02,
        )
        assert count == len(shown)
        assert area.item() == pytest.approx(sum(region.area_share for region in shown), abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "parameters", "match"),
    [
        (region_count, {"threshold": "otzu"}, "Did you mean 'otsu'|otsu"),
        (region_count, {"threshold": 1.0}, "threshold=1.0"),
        (region_area, {"least_share": 2.0}, "least_share=2.0"),
    ],
)
def test_bad_parameters_are_refused(metric, parameters, match):
    with open_case([[1, 2, 3, 4]]) as case, pytest.raises(vt.VitreousError, match=match):
        metric(case, **parameters)
