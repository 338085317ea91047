"""The consensus of methods, against loops over numbers and what must hold for any of its parts."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

import vitreous as vt
from contracts.families import random_images, scramble, timm_vit
from oracles.compare import assert_same, case_name, trace_map
from vitreous.methods.consensus import concordance

DEFAULT = ("saw", "attnlrp", "libragrad")
CASES = [
    ("consensus", {}),
    ("consensus", {"show": "agreement"}),
    ("consensus", {"parts": ("gradcam", "input_x_gradient")}),
    ("consensus", {"parts": ("rollout", "saliency", "occlusion", "attcat"), "show": "agreement"}),
]


def by_hand(maps, show):
    """Both maps of one image, one patch after the other, from the parts' numbers in lists."""
    scaled = []
    for numbers in maps:
        if max(numbers) == min(numbers):  # a ReLU may leave nothing
            scaled.append([0.0] * len(numbers))
            continue
        middle = sorted(numbers)[(len(numbers) - 1) // 2]
        average = sum(abs(number) for number in numbers) / len(numbers)
        scaled.append([(number - middle) / average for number in numbers])
    found = []
    for patch in zip(*scaled, strict=True):
        total = sum(abs(number) for number in patch)
        found.append(sum(patch) / len(patch) if show == "relevance" else abs(sum(patch)) / total if total else 0.0)
    return found


def in_patches(vit, relevance):
    """The numbers of each patch of one image, added up where they are pixels."""
    if relevance.shape == vit.grid:
        return relevance.flatten().tolist()
    high, wide = vit.patch
    return [
        float(relevance[row * high : (row + 1) * high, column * wide : (column + 1) * wide].sum())
        for row in range(vit.grid[0])
        for column in range(vit.grid[1])
    ]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_consensus_is_the_mean_of_comparable_parts(opened, case):
    vit, _, images, _ = opened
    given = {"parts": DEFAULT, "show": "relevance"} | case[1]
    found = trace_map(vit, images, 2, "consensus", **given)
    maps = [trace_map(vit, images, 2, name) for name in given["parts"]]
    for image in range(len(images)):
        expected = by_hand([in_patches(vit, part[image]) for part in maps], given["show"])
        assert_same(found[image].flatten(), torch.tensor(expected, dtype=torch.float64))


@pytest.fixture(scope="module")
def small():
    return vt.open_vit(scramble(timm_vit()).double())


def test_agreement_lies_between_none_and_all(small):
    found = trace_map(small, random_images(small, 3), 1, "consensus", show="agreement")
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.max() - found.min() > 0.1


def test_two_opposite_parts_agree_nowhere_and_say_nothing_together(small, monkeypatch):
    from dataclasses import replace

    from vitreous.methods._method import METHODS

    saw = METHODS["saw"].function
    opposite = replace(METHODS["saw"], name="opposite", function=lambda trace, weights="equal": -saw(trace, weights))
    monkeypatch.setitem(METHODS._entries, "opposite", opposite)
    for show in ("relevance", "agreement"):
        found = trace_map(small, random_images(small, 3), 1, "consensus", parts=("saw", "opposite"), show=show)
        # of an even number of patches the median is the lower of the two in the middle, and the upper with the other sign
        assert found.flatten(1).std(1).max() < (1e-12 if show == "relevance" else 0.5)


def test_kendalls_w_of_textbook_ranks():
    """Three judges who agree, and three of whom two are opposite: W = 12 S / (m^2 (n^3 - n))."""
    same = torch.arange(6.0).expand(3, 1, 6)
    assert concordance(same) == [pytest.approx(1.0)]
    mixed = torch.stack([torch.arange(6.0), torch.arange(6.0).flip(0), torch.arange(6.0)])[:, None]
    assert concordance(mixed) == [pytest.approx(1 / 9)]
    ties = torch.tensor([[1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 2.0, 3.0]])[:, None]
    ranks = rankdata(ties[:, 0].numpy(), axis=1)
    spread = ((ranks.sum(0) - ranks.sum(0).mean()) ** 2).sum()
    assert concordance(ties) == [pytest.approx(12 * spread / (4 * 60 - 2 * (6 + 6)))]
    assert concordance(torch.zeros(2, 1, 4)) == [0.0]


def test_the_record_says_how_far_the_parts_agree(small):
    (heatmap,) = vt.explain(small, random_images(small, 1), "consensus", 1)
    (note,) = [note for note in heatmap.provenance.notes if note.startswith("Kendall's W of saw, attnlrp, libragrad")]
    assert 0 <= float(note.split(": ")[1].rstrip(".")) <= 1
    assert np.isfinite(heatmap.relevance).all()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("saw",), "two or more"),
        (("saw", "saw"), "different"),
        (("saw", "random"), "'random'"),
        (("saw", "consensus"), "'consensus'"),
    ],
)
def test_parts_that_cannot_agree_are_refused(small, parts, words):
    with pytest.raises(vt.VitreousError, match=words):
        vt.explain(small, random_images(small, 1), "consensus", 1, parts=parts)


def test_an_unknown_part_is_named(small):
    with pytest.raises(vt.VitreousError, match="swa"):
        vt.explain(small, random_images(small, 1), "consensus", 1, parts=("saw", "swa"))
