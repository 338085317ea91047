"""Priors: files that are refused, places brought to maps without rounding, and what is judged."""

import json
import math
import os

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from vitreous.analysis import prior_agreement
from vitreous.analysis.prior_agreement import cells_of, judge, judge_many, shares_of, unseen
from vitreous.analysis.priors import BOUNDS, Priors, Where, priors_schema, read_priors
from vitreous.core.errors import DataError, InputError
from vitreous.core.frame import frame_photo
from vitreous.core.images import read_photo

FITS = pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
PHOTO, INPUT, PATCH, GRID = (50, 81), (24, 33), (8, 8), (3, 4)  # one column of pixels is of no patch

FILE = """
version: 1
priors:
  - name: the animal
    class: beagle
    where: {regions: [beagle]}
    expect: most
    reason: A breed is told by the animal.
  - name: not the border
    class: "*"
    where: {zone: border, width: 0.2}
    expect: none
    severity: warning
"""


def written(tmp_path, text, name="priors.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def one(where, expect="most", **more):
    return Priors.model_validate(
        {"priors": [{"name": "p", "class": "*", "where": where, "expect": expect, "reason": "why", **more}]}
    )


def some_frame(fit, photo=PHOTO):
    return frame_photo(photo, INPUT, PATCH, GRID, fit, 0.8)


# --- files


def test_a_file_is_read_with_its_defaults(tmp_path):
    priors = read_priors(written(tmp_path, FILE))
    animal, border = priors.priors
    assert (animal.bounds, animal.severity, animal.reason) == ((0.5, 1.0), "error", "A breed is told by the animal.")
    assert (border.bounds, border.severity, border.where.width) == ((0.0, 0.1), "warning", 0.2)
    assert [prior.name for prior in priors.of("Beagle")] == ["the animal", "not the border"]
    assert [prior.name for prior in priors.of("tabby, tabby cat")] == ["not the border"]
    as_json = json.dumps({"priors": [{"name": "a", "class": "x", "where": {"zone": "centre"}, "expect": "some"}]})
    assert read_priors(written(tmp_path, as_json, "p.json")).priors[0].bounds == BOUNDS["some"]


def test_synonyms_of_a_class_are_matched_whole():
    priors = Priors.model_validate(
        {"priors": [{"name": "a", "class": "tabby cat", "where": {"zone": "centre"}, "expect": "some"}]}
    )
    assert priors.of("tabby, Tabby Cat")
    assert priors.of(" TABBY CAT")
    assert not priors.of("tabby")
    assert not priors.of("tabby cats")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("severity", "severty"), r"line 13, priors.1.severty: there is no such field. Did you mean 'severity'?"),
        (("zone:", "zon:"), r"line 11.*priors.1.where.zon: there is no such field. Did you mean 'zone'?"),
        (("    class: beagle", "    clas: beagle"), r"line 5, priors.0.clas: there is no such field. Did you mean 'class'?"),
        (("version: 1", "versio: 1"), r"line 2, versio: there is no such field. Did you mean 'version'?"),
        (("version: 1", "version: 2"), r"line 2, version: Input should be 1"),
        (("border, width: 0.2", "edge"), r"line 11, priors.1.where.zone: Input should be 'centre', 'border'"),
        (("expect: most", "expect: mostly"), r"line 7, priors.0.expect: Input should be 'most', 'some' or 'none'"),
        (("expect: most", "expect: most\n    expect: none"), r"line 8: 'expect' is given twice"),
        (("width: 0.2", "width: 0.5"), r"line 11, priors.1.where: a border of half"),
        (("width: 0.2", "width: 20"), r"line 11, priors.1.where.width: Input should be less than 1"),
        (("zone: border", "zone: upper half"), r"only the zones centre and border have a width"),
        (("zone: border", "zone: border, regions: [a]"), r"give one of mask, boxes, regions and zone, not regions and zone"),
        (("regions: [beagle]", ""), r"give one of mask, boxes, regions and zone, not none"),
        (("regions: [beagle]", "boxes: [[0.5, 0, 0.5, 1]]"), r"is inside out"),
        (("regions: [beagle]", "boxes: [[10, 20, 30, 40]]"), r"boxes.0.0: Input should be less than or equal to 1"),
        (("regions: [beagle]", "boxes: [[0, 0, 1]]"), r"at least 4 items"),
        (("regions: [beagle]", "mask: ../a.png"), r"leads out of the folder"),
        (("regions: [beagle]", "mask: /a.png"), r"leads out of the folder"),
        (("regions: [beagle]", "mask: c:/a.png"), r"leads out of the folder"),
        (("regions: [beagle]", "mask: none.png"), r"line 6: there is no mask 'none.png'"),
        (("expect: most", "expect: most\n    at_most: 0.4"), r"no share is at least 0.5 and at most 0.4"),
        (("expect: most", "expect: most\n    at_least: 0\n    at_most: 0.05"), r"expect: most with at most 0.05 is not most; use some or none"),
        (("expect: most", "expect: most\n    at_least: 0.4\n    at_most: 0.49"), r"expect: most with at most 0.49"),
        (("expect: none", "expect: none\n    at_most: 0.95"), r"expect: none with at most 0.95 is not none; use some or most"),
        (("expect: none", "expect: none\n    at_most: 0.51"), r"expect: none with at most 0.51"),
        (("expect: none", "expect: none\n    at_least: 0.05"), r"expect: none has no at_least"),
        (("expect: most", "expect: most\n    at_least: 1.5"), r"at_least: Input should be less than or equal to 1"),
        (('name: not the border\n    class: "*"', "name: the animal\n    class: Beagle"), r"two priors about 'beagle' have the name"),
        (("expect: most", "expect: &a most\n    severity: *a"), r"alias"),
    ],
)  # fmt: skip
def test_faults_are_told_with_file_and_line(tmp_path, change, told):
    assert change[0] in FILE
    path = written(tmp_path, FILE.replace(*change))
    with pytest.raises(InputError, match=told) as caught:
        read_priors(path)
    assert "priors.yaml" in caught.value.cause


@pytest.mark.parametrize(
    ("expect", "given", "bounds"),
    [
        ("most", {"at_most": 0.5}, (0.5, 0.5)),
        ("most", {"at_least": 0.3, "at_most": 0.8}, (0.3, 0.8)),
        ("none", {"at_most": 0.5}, (0, 0.5)),
        ("none", {"at_least": 0.0, "at_most": 0.0}, (0, 0)),
        ("some", {"at_least": 0.02, "at_most": 0.08}, (0.02, 0.08)),
    ],
)
def test_bounds_that_keep_to_their_word_are_taken(expect, given, bounds):
    assert one({"zone": "centre"}, expect, **given).priors[0].bounds == bounds


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"The file of priors .* does not exist"):
        read_priors(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="no YAML"):
        read_priors(written(tmp_path, "a: [1"))
    with pytest.raises(InputError, match="holds no fields"):
        read_priors(written(tmp_path, "- 1"))
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: \xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        read_priors(path)


def test_the_schema_says_what_is_refused():
    schema = priors_schema()
    assert schema["additionalProperties"] is False
    for name in ("Prior", "Where"):
        assert schema["$defs"][name]["additionalProperties"] is False
    assert set(schema["$defs"]["Prior"]["required"]) == {"name", "class", "where", "expect"}
    assert schema["$defs"]["Where"]["properties"]["outside"]["type"] == "boolean"


# --- geometry


def sampled_share(frame, inside, shape, fine=40):
    """Find by many points the share of each cell that lies in a place: `inside(x, y)`, on the photograph."""
    high, wide = frame.patch if shape == frame.grid else (1, 1)
    steps = (np.arange(fine) + 0.5) / fine
    found = np.zeros(shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            points = [frame.to_photo((column + x) * wide, (row + y) * high) for x in steps for y in steps]
            on = [0 <= x < frame.photo_size[1] and 0 <= y < frame.photo_size[0] and inside(x, y) for x, y in points]
            found[row, column] = np.mean(on)
    return found


def border(x, y, width=0.2):
    return not (width * 81 <= x < 81 - width * 81 and width * 50 <= y < 50 - width * 50)


@FITS
@pytest.mark.parametrize(
    ("where", "inside"),
    [
        ({"zone": "centre"}, lambda x, y: 0.25 * 81 <= x < 0.75 * 81 and 12.5 <= y < 37.5),
        ({"zone": "centre", "width": 0.2}, lambda x, y: 0.4 * 81 <= x < 0.6 * 81 and 20 <= y < 30),
        ({"zone": "border", "width": 0.2}, border),
        ({"zone": "border", "width": 0.2, "outside": True}, lambda x, y: not border(x, y)),
        ({"zone": "upper half"}, lambda _, y: y < 25),
        ({"zone": "lower half"}, lambda _, y: y >= 25),
        ({"zone": "left half"}, lambda x, _: x < 40.5),
        ({"zone": "right half"}, lambda x, _: x >= 40.5),
        (
            {"boxes": [[0, 0, 0.5, 0.5], [0.3, 0.2, 0.9, 0.7]]},  # they overlap, and count once
            lambda x, y: (x < 40.5 and y < 25) or (24.3 <= x < 72.9 and 10 <= y < 35),
        ),
    ],
)
def test_places_are_those_of_many_points(fit, where, inside):
    frame = some_frame(fit)
    place = cells_of(Where.model_validate(where), PHOTO)
    assert np.abs(shares_of(place, frame, GRID) - sampled_share(frame, inside, GRID)).max() < 0.03
    left, top, right, bottom = frame.seen
    points = [((x + 0.5) / 4, (y + 0.5) / 4) for x in range(4 * 81) for y in range(4 * 50)]
    meant = [(left <= x < right and top <= y < bottom) for x, y in points if inside(x, y)]
    assert unseen(place, frame) == pytest.approx(1 - np.mean(meant), abs=0.02)


@FITS
def test_pixels_of_masks_are_laid_over_the_photograph(fit, tmp_path):
    generator = np.random.default_rng(0)
    mask = generator.random((7, 5)) < 0.4
    Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "m.png")
    text = 'priors: [{name: m, class: "*", where: {mask: m.png}, expect: some}]'
    (prior,) = read_priors(written(tmp_path, text)).priors
    frame = some_frame(fit)
    found = shares_of(cells_of(prior.where, PHOTO), frame, GRID)
    expected = sampled_share(frame, lambda x, y: mask[int(y / 50 * 7), int(x / 81 * 5)], GRID)
    assert np.abs(found - expected).max() < 0.03
    region = generator.random(PHOTO) < 0.3
    place = cells_of(Where.model_validate({"regions": ["*"]}), PHOTO, [("a", region)])
    expected = sampled_share(frame, lambda x, y: region[int(y), int(x)], GRID)
    assert np.abs(shares_of(place, frame, GRID) - expected).max() < 0.03


@FITS
def test_a_place_and_its_complement_are_the_photograph(fit):
    frame = some_frame(fit)
    for shape in (GRID, INPUT):
        whole = shares_of(cells_of(Where(boxes=[[0.0, 0.0, 1.0, 1.0]]), PHOTO), frame, shape)
        for zone in ("centre", "border", "left half"):
            parts = [shares_of(cells_of(Where(zone=zone, outside=out), PHOTO), frame, shape) for out in (False, True)]
            assert np.allclose(sum(parts), whole, atol=1e-12)
        if fit == "pad":
            assert whole.min() < 0.9  # padding is no part of the photograph
            assert whole.sum() * frame.patch[0] * frame.patch[1] < shape[0] * shape[1] * 64
        else:
            assert np.allclose(whole, 1)


def test_squashed_zones_are_exact():
    """Four patches across, and the centre is the middle half: the inner columns, of which rows are cut."""
    frame = frame_photo((30, 70), (24, 32), PATCH, GRID, "squash")
    found = shares_of(cells_of(Where(zone="centre"), (30, 70)), frame, GRID)
    assert np.allclose(found, np.outer([0.25, 1, 0.25], [0, 1, 1, 0]))


# --- judging


def test_shares_are_worked_out_by_hand():
    """Half of the relevance is on one patch of the centre; negative relevance is left out."""
    frame = frame_photo((30, 70), (24, 32), PATCH, GRID, "squash")
    relevance = np.array([[0, 0, 0, 3], [0, 4, -9, 0], [0, 1, 0, -1]], dtype=np.float32)
    (found,) = judge(relevance, frame, one({"zone": "centre"}), "any")
    assert found.share == pytest.approx((4 + 0.25) / 8)
    assert found.area == pytest.approx(3 / 12)
    assert found.outside == pytest.approx(0)
    assert (found.status, found.reason, found.low, found.high, found.note) == ("met", "why", 0.5, 1.0, "")
    assert not found.even_meets
    (found,) = judge(relevance, frame, one({"zone": "centre"}, at_least=0.6), "any")
    assert found.status == "violated"
    (found,) = judge(relevance, frame, one({"zone": "border", "width": 0.25}, "none"), "any")
    assert found.share == pytest.approx(1 - 4.25 / 8)
    assert found.status == "violated"
    (found,) = judge(relevance, frame, one({"zone": "centre"}, "some", at_most=0.6), "any")
    assert found.status == "met"
    assert found.even_meets
    exact = np.array([[0, 0, 0, 2], [0, 2, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    assert judge(exact, frame, one({"zone": "centre"}), "any")[0].status == "met"  # at the bound itself


@FITS
def test_pixel_maps_and_patch_maps_of_the_same_relevance_agree(fit):
    frame = some_frame(fit)
    generator = np.random.default_rng(0)
    coarse = generator.normal(size=GRID)
    fine = np.zeros(INPUT)
    fine[:, :32] = coarse.repeat(8, 0).repeat(8, 1)
    for where in ({"zone": "centre"}, {"zone": "border"}, {"boxes": [[0.1, 0.2, 0.45, 0.95]]}):
        (one_map,), (other,) = (judge(relevance, frame, one(where), "any") for relevance in (coarse, fine))
        assert one_map.share == pytest.approx(other.share)


def test_a_crop_says_how_much_of_a_place_was_not_seen():
    """The middle 40 of 80 columns are shown."""
    frame = frame_photo((40, 80), (32, 32), PATCH, (4, 4), "crop")
    even = np.ones((4, 4))
    (left,) = judge(even, frame, one({"zone": "left half"}), "any")
    assert (left.outside, left.area, left.share) == pytest.approx((0.5, 0.5, 0.5))
    assert "shown 50% of the place" in left.note
    gone = {"boxes": [[0, 0, 0.25, 1]]}
    for expect, status in [("most", "unknown"), ("some", "unknown"), ("none", "unknown")]:
        (found,) = judge(even, frame, one(gone, expect), "any")
        assert (found.status, found.outside, found.area) == (status, 1.0, 0.0)
        assert found.note == "the model was shown nothing of the place"


def test_what_was_cropped_away_lowers_no_rate_of_violations():
    """Of three photographs two are shown without their left edge; in the third, relevance lies there."""
    priors = one({"boxes": [[0, 0, 0.25, 1]]}, "none")
    cropped, whole = (frame_photo((40, 80), (32, 32), PATCH, (4, 4), fit) for fit in ("crop", "squash"))
    (found,) = judge_many([judge(np.ones((4, 4)), frame, priors, "any") for frame in (cropped, cropped, whole)])
    assert (found.images, found.violated, found.unknown, found.rate) == (1, 1, 2, 1.0)
    assert found.share == pytest.approx(0.25)


def test_a_place_that_ends_where_the_crop_begins_is_not_seen():
    """Its edges and the crop's are worked out in different ways, and differ by rounding."""
    for width in range(41, 200, 7):
        frame = frame_photo((40, width), (32, 32), PATCH, (4, 4), "crop")
        left, _, right, _ = frame.seen
        for box in ([0.0, 0.0, left / width, 1.0], [right / width, 0.0, 1.0, 1.0]):
            for expect in ("most", "none"):
                (found,) = judge(np.ones((4, 4)), frame, one({"boxes": [box]}, expect), "any")
                assert found.status == "unknown", (box, found)


def test_regions_are_found_by_name_and_together():
    frame = frame_photo((24, 32), (24, 32), PATCH, GRID, "squash")
    masks = np.zeros((3, 24, 32), dtype=bool)
    masks[0, :8, :8] = masks[1, 8:16, :8] = masks[2, 16:, 16:] = True
    regions = [("ear", masks[0]), ("Ear", masks[1]), (None, masks[2])]
    relevance = np.ones(GRID)
    found = {
        name: judge(relevance, frame, one({"regions": names}), "any", regions)[0]
        for name, names in {"ear": ["EAR "], "all": ["*"], "none": ["tail", "paw"]}.items()
    }
    assert found["ear"].share == pytest.approx(2 / 12)
    assert found["all"].share == pytest.approx(4 / 12)
    assert found["none"].status == "unknown"
    assert found["none"].note == "the image has no region called 'tail', 'paw'"
    empty = judge(relevance, frame, one({"regions": ["ear"]}), "any", [("ear", masks[0] & False)])[0]
    assert (empty.status, empty.note) == ("unknown", "the place is empty")


def test_maps_that_say_nothing_are_unknown_and_wrong_ones_refused():
    frame = frame_photo((24, 32), (24, 32), PATCH, GRID, "squash")
    (found,) = judge(-np.ones(GRID), frame, one({"zone": "centre"}), "cat")
    assert (found.status, found.note) == ("unknown", "nothing in the map speaks for 'cat'")
    for relevance, regions, told in [
        (np.ones((2, 2)), [], "relevance has shape"),
        (np.full(GRID, np.nan), [], "NaN"),
        (np.ones(GRID), [("a", np.ones((3, 3), dtype=bool))], "region 'a' has shape"),
    ]:
        with pytest.raises(InputError, match=told):
            judge(relevance, frame, one({"zone": "centre"}), "cat", regions)


def test_a_mask_that_is_no_image_is_told(tmp_path):
    written(tmp_path, "no image", "m.png")
    path = written(tmp_path, 'priors: [{name: m, class: "*", where: {mask: m.png}, expect: some}]')
    with pytest.raises(InputError, match="The mask of a prior cannot be used"):
        judge(np.ones(GRID), some_frame("crop"), read_priors(path), "any")


def test_a_mask_that_changes_is_read_again(tmp_path):
    """Not even size and time of the file tell the two apart."""
    frame, relevance = frame_photo((24, 32), (24, 32), PATCH, GRID, "squash"), np.zeros(GRID)
    relevance[:, :2] = 1
    path = written(tmp_path, 'priors: [{name: m, class: "*", where: {mask: m.bmp}, expect: most}]')
    left = np.repeat(np.arange(32)[None] < 16, 24, 0)
    for mask, share in [(left, 1.0), (~left, 0.0), (left, 1.0)]:
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "m.bmp")
        os.utime(tmp_path / "m.bmp", ns=(10**18, 10**18))
        (found,) = judge(relevance, frame, read_priors(path), "any")
        assert found.share == pytest.approx(share)


def test_a_mask_is_decoded_once_for_many_maps(tmp_path, monkeypatch):
    Image.fromarray(np.full((24, 32), 255, dtype=np.uint8)).save(tmp_path / "once.png")
    path = written(tmp_path, 'priors: [{name: m, class: "*", where: {mask: once.png}, expect: most}]')
    decoded = []
    monkeypatch.setattr(prior_agreement, "read_photo", lambda *given: decoded.append(given) or read_photo(*given))
    for _ in range(3):
        judge(np.ones(GRID), some_frame("squash"), read_priors(path), "any")
    assert len(decoded) == 1


def test_violations_are_counted_with_exact_intervals():
    frame = frame_photo((24, 32), (24, 32), PATCH, GRID, "squash")
    priors = Priors.model_validate(
        {
            "priors": [
                {"name": "left", "class": "*", "where": {"zone": "left half"}, "expect": "most"},
                {"name": "right", "class": "cat", "where": {"zone": "right half"}, "expect": "most", "at_least": 0.2},
                {"name": "tail", "class": "*", "where": {"regions": ["tail"]}, "expect": "some"},
            ]
        }
    )
    maps = [np.where(np.arange(4) < 2, left, 1.0) * np.ones(GRID) for left in (0.1, 0.2, 3.0, 5.0, 9.0)]
    labels = ["dog", "dog", "cat", "cat", "cat"]
    found = judge_many([judge(each, frame, priors, label) for each, label in zip(maps, labels, strict=True)])
    assert [(each.prior, each.images, each.violated, each.unknown) for each in found] == [
        ("right", 3, 2, 0), ("left", 5, 2, 0), ("tail", 0, 0, 5),
    ]  # fmt: skip
    left = found[1]
    assert left.rate == pytest.approx(0.4)
    low, high = stats.beta(2, 4).ppf(0.025), stats.beta(3, 3).ppf(0.975)  # Clopper & Pearson, written as quantiles
    assert (left.low, left.high) == pytest.approx((low, high))
    assert left.share == pytest.approx(np.mean([a / (a + 1) for a in (0.1, 0.2, 3, 5, 9)]))
    assert (left.area, left.even_rate) == pytest.approx((0.5, 0))
    assert math.isnan(found[2].rate)
    assert judge_many([]) == []
