"""RFEM, query attention, and the parameters that methods of attention share, against slow oracles and known answers."""

import itertools

import pytest
import torch

import vitreous as vt
from contracts.families import random_images, scramble, timm_vit
from methods.conftest import OUTLYING
from methods.test_against_oracles import SCORES, TARGETS
from oracles import slow_attention
from oracles.compare import assert_same, case_name, trace_map
from vitreous.core.errors import InputError
from vitreous.methods._attention import bridge
from vitreous.methods._method import METHODS
from vitreous.vit.passes import Capture

CASES = [
    ("rfem", {}),
    ("rfem", {"k": 0.0}),
    ("rfem", {"k": 1.0, "head": 1}),
    ("rfem", {"first": 1, "last": -2}),
    ("rfem", {"statistics": "row"}),
    ("rfem", {"statistics": "row", "k": 1.0, "first": 1}),
    ("rfem_class", {}),
    ("rfem_class", {"k": 1.0, "head": -1}),
    ("rfem_class", {"k": 0.0, "first": 1, "last": 1}),
    ("rfem_class", {"statistics": "row", "k": -0.5}),
    ("query_attention", {}),
    ("query_attention", {"block": 0, "head": 2, "direction": "is read by"}),
    ("query_attention", {"row": 2, "column": 1}),
    ("query_attention", {"row": 0, "column": 3, "direction": "is read by"}),
    ("query_attention", {"prefix_token": 0}),
    ("query_attention", {"prefix_token": 0, "block": 1, "direction": "is read by"}),
]
MASKED = [
    (name, {"outliers": outliers, **parameters})
    for name, parameters in [
        ("raw_attention", {}),
        ("mean_attention", {}),
        ("rollout", {"first": 1}),
        ("rfem", {"statistics": "row"}),
        ("rfem_class", {"k": 0.0}),
        ("query_attention", {"row": 1, "column": 1}),
        ("query_attention", {"direction": "is read by"}),
    ]
    for outliers in ("keep", "mask")
]
CASES += MASKED


def assert_equals_oracle(model, case):
    vit, oracle, images, pixels = model
    name, parameters = case
    if "prefix_token" in parameters and not vit.prefix:
        with pytest.raises(vt.VitreousError, match=r"prefix_token=0 .*The model has none"):
            trace_map(vit, images, TARGETS, name, **parameters)
        return
    found = trace_map(vit, images, TARGETS, name, **parameters)
    for image, score in enumerate(SCORES):
        expected = getattr(slow_attention, name)(oracle, pixels[image], score, **parameters).detach()
        assert_same(found[image], expected)


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_method_equals_its_oracle(opened, case):
    assert_equals_oracle(opened, case)


@pytest.mark.parametrize("case", MASKED, ids=case_name)
def test_method_equals_its_oracle_where_tokens_are_outlying(with_outliers, case):
    assert_equals_oracle(with_outliers, case)


# --- outlying patches


def test_masking_changes_the_outlying_patches_alone(with_outliers):
    vit, _, images, _ = with_outliers
    for name, given in (("raw_attention", {}), ("rollout", {}), ("query_attention", {"row": 0, "column": 0})):
        kept, masked = (trace_map(vit, images, 0, name, outliers=how, **given) for how in ("keep", "mask"))
        assert {tuple(place) for place in (kept != masked).any(0).nonzero().tolist()} == set(OUTLYING)


def test_what_enters_the_first_block_is_not_outlying(with_outliers):
    vit, _, images, _ = with_outliers
    kept, masked = (trace_map(vit, images, 0, "raw_attention", block=0, outliers=how) for how in ("keep", "mask"))
    assert torch.equal(kept, masked)


def test_a_masked_map_does_not_depend_on_what_else_the_trace_kept(with_outliers):
    vit, _, images, _ = with_outliers
    for name, given in (("raw_attention", {"block": 1}), ("rollout", {"first": 1}), ("mean_attention", {"first": 2})):
        method = METHODS[name]
        parameters = method.complete({**given, "outliers": "mask"})
        least = method.capture(vit, parameters)
        assert least.first == given.get("first", given.get("block"))
        with vit.trace(images, 0) as all_of_it, vit.trace(images, 0, capture=least) as little:
            assert_same(method.function(little, **parameters), method.function(all_of_it, **parameters))


def test_a_bridge_by_hand():
    relevance = torch.tensor([[[1.0, 9.0, 3.0], [8.0, 7.0, 2.0], [4.0, 6.0, 5.0]]])
    outlying = torch.zeros(1, 3, 3, dtype=torch.bool)
    outlying[0, 0, 1] = outlying[0, 1, 0] = outlying[0, 1, 1] = True
    # (0, 1) has 1, 3 and 2 beside it; (1, 0) has 1, 4 and 6; the middle has 1, 3, 2, 4, 6 and 5.
    expected = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 3.5, 2.0], [4.0, 6.0, 5.0]]])
    assert torch.equal(bridge(relevance, outlying), expected)


def test_a_bridge_over_a_corner_without_sound_neighbours_takes_the_median_of_all():
    relevance = torch.arange(6.0).reshape(1, 1, 6)
    outlying = torch.tensor([[[True, True, False, False, False, False]]])
    assert bridge(relevance, outlying).flatten().tolist() == [3.5, 2.0, 2.0, 3.0, 4.0, 5.0]
    assert torch.equal(bridge(relevance, torch.ones_like(outlying)), relevance)


# --- heads and blocks


def test_the_heads_of_raw_attention_average_to_it(opened):
    vit, _, images, _ = opened
    each = [trace_map(vit, images, 0, "raw_attention", head=head) for head in range(3)]
    assert_same(sum(each) / 3, trace_map(vit, images, 0, "raw_attention"))
    assert (each[0] - each[1]).abs().max() > 0.01


def test_the_heads_of_rfem_add_up_to_it(opened):
    vit, _, images, _ = opened
    for name in ("rfem", "rfem_class"):
        each = [trace_map(vit, images, 0, name, head=head) for head in range(3)]
        assert_same(sum(each), trace_map(vit, images, 0, name))


def test_a_range_of_one_block_is_that_block(opened):
    vit, _, images, _ = opened
    one = trace_map(vit, images, 0, "mean_attention", first=1, last=1)
    assert torch.equal(one, trace_map(vit, images, 0, "raw_attention", block=1))
    assert_same(trace_map(vit, images, 0, "rollout", first=1, last=1, residual=0.0), one)


def test_a_method_says_which_blocks_it_reads(opened):
    vit = opened[0]
    for name, given, expected in (
        ("raw_attention", {"block": -2}, range(1, 2)),
        ("rollout", {"first": 1}, range(1, 3)),
        ("rollout", {"last": 1}, range(2)),
        ("agcam", {}, range(3)),
    ):
        method = METHODS[name]
        assert method.blocks(vit, method.complete(given)) == expected
        assert method.capture(vit, method.complete(given)).first == expected.start


def test_explain_with_a_later_first_block_runs_from_there_and_gives_the_same_map(opened):
    vit, _, images, _ = opened
    (alone,) = vt.explain(vit, images[:1], "rollout", first=1)
    maps = vt.compare(vit, images[:1], {"rollout": {"first": 1}, "generic_attention": {}})
    assert_same(torch.tensor(alone.relevance), torch.tensor(maps[0]["rollout"].relevance), 1e-6)


# --- the filter


def test_a_filter_that_lets_all_pass_gives_the_same_to_each_patch(opened):
    vit, _, images, _ = opened
    for name in ("rfem", "rfem_class"):
        for statistics in ("matrix", "row"):
            found = trace_map(vit, images, 0, name, k=-100.0, statistics=statistics).flatten(1)
            assert_same(found, found[:, :1].expand_as(found))
            assert not trace_map(vit, images, 0, name, k=100.0, statistics=statistics).any()


def test_a_larger_k_leaves_less(opened):
    vit, _, images, _ = opened
    maps = [trace_map(vit, images, 0, "rfem", k=k) for k in (0.0, 0.25, 0.5, 1.0)]
    for more, less in itertools.pairwise(maps):
        assert (less <= more).all()
    assert maps[-1].sum() < maps[0].sum()


# --- query attention


def test_by_default_the_query_is_what_the_prediction_reads(opened):
    vit, _, images, _ = opened
    for given in ({}, {"block": 0, "head": 1}):
        query, raw = (trace_map(vit, images, 0, name, **given) for name in ("query_attention", "raw_attention"))
        assert torch.equal(query, raw)


def test_who_attends_to_whom_read_from_both_sides(opened):
    vit, _, images, _ = opened
    rows, columns = vit.grid
    there = torch.stack(
        [
            trace_map(vit, images, 0, "query_attention", row=row, column=column).flatten(1)
            for row in range(rows)
            for column in range(columns)
        ],
        1,
    )
    for patch in range(rows * columns):
        row, column = divmod(patch, columns)
        back = trace_map(vit, images, 0, "query_attention", row=row, column=column, direction="is read by")
        assert torch.equal(back.flatten(1), there[:, :, patch])


# --- refusals


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("raw_attention", {"head": 3}, "head=3 is outside"),
        ("mean_attention", {"head": -4}, "head=-4 is outside"),
        ("mean_attention", {"first": 3}, "first=3 is outside"),
        ("rollout", {"first": 2, "last": 1}, "first=2 comes after last=1"),
        ("rollout", {"last": 5}, "last=5 is outside"),
        ("rollout", {"outliers": "drop"}, "outliers='drop'"),
        ("rfem", {"k": float("nan")}, "k=nan"),
        ("rfem_class", {"k": float("inf")}, "k=inf"),
        ("rfem", {"statistics": "column"}, "statistics='column'"),
        ("query_attention", {"row": 1}, "row=1 and column=None"),
        ("query_attention", {"row": 3, "column": 0}, "row=3 is outside"),
        ("query_attention", {"row": 0, "column": -1}, "column=-1 is outside"),
        ("query_attention", {"row": 0, "column": 0, "prefix_token": 0}, "Both a patch"),
        ("query_attention", {"prefix_token": 1}, "prefix_token=1 is outside"),
        ("query_attention", {"direction": "sees"}, "direction='sees'"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name, parameters, words):
    vit = vt.open_vit(scramble(timm_vit(depth=3)).double())
    images = random_images(vit, 1)
    with pytest.raises(vt.VitreousError, match=words):
        vt.explain(vit, images, name, **parameters)
    if any(isinstance(value, str) for value in parameters.values()):
        return  # called by hand, the run-time type check of the tests is faster to refuse it
    with vit.trace(images) as trace, pytest.raises(vt.VitreousError, match=words):
        METHODS[name].function(trace, **parameters)


def test_a_block_that_was_not_captured_is_named():
    vit = vt.open_vit(scramble(timm_vit(depth=3)).double())
    with vit.trace(random_images(vit, 1), capture=Capture(first=2)) as trace:
        with pytest.raises(InputError, match="first=0 was not captured"):
            METHODS["rollout"].function(trace)
        with pytest.raises(InputError, match="block=1 was not captured"):
            METHODS["query_attention"].function(trace, block=1)
