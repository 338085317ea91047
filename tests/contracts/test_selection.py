"""What every method promises about the heads, the blocks and the outlying patches that its parameters choose."""

import functools
import re
from typing import Any

import pytest
import timm.models.vision_transformer
import torch
from torch import Tensor

import vitreous as vt
from contracts.cheap import CHEAP
from contracts.families import CLASSES, PATCH, WIDE, random_images, scramble
from contracts.test_methods import NAMES
from vitreous.core.errors import InputError
from vitreous.methods._method import METHODS

BLOCKS, HEADS = 3, 3
OUTLYING = (1, 2)
"""The patch whose token is made to stand out; its eight neighbours are sound."""

SHOWING = [name for name in NAMES if METHODS[name].shows_attention]
BY_HEAD = [name for name in NAMES if "head" in METHODS[name].defaults]
BY_RANGE = [name for name in NAMES if METHODS[name].block_range == ("first", "last")]


@functools.cache
def opened(heads: int = HEADS, outlying: bool = False) -> vt.Vit:
    """A model of three blocks in float64, with so many heads, that reads the mean: AttCAT needs what leaves patches."""
    model = timm.models.vision_transformer.VisionTransformer(
        WIDE, PATCH, embed_dim=24, depth=BLOCKS, num_heads=heads, mlp_ratio=2, num_classes=CLASSES, reg_tokens=1,
        global_pool="avg",
    )  # fmt: skip
    model = scramble(model).double()
    if outlying:
        with torch.no_grad():
            model.pos_embed[0, model.num_prefix_tokens + OUTLYING[0] * (WIDE[1] // PATCH) + OUTLYING[1]] *= 30
    return vt.open_vit(model)


def run(vit: vt.Vit, name: str, **parameters: Any) -> Tensor:
    method = METHODS[name]
    with vit.trace(random_images(vit, 2), 1) as trace:
        return method.function(trace, **method.complete(CHEAP.get(name, {}) | parameters)).detach()


def test_methods_that_show_attention_offer_the_same_choices():
    for name in SHOWING:
        defaults = METHODS[name].defaults
        assert defaults["head"] is None, name
        assert defaults["outliers"] == "keep", name
        assert ("block" in defaults) != ({"first", "last"} <= set(defaults)), name
        assert (METHODS[name].only_block == "block") != (METHODS[name].block_range == ("first", "last")), name
        assert not {"start", "stop", "end"} & set(defaults), name


@pytest.mark.parametrize("name", BY_HEAD)
def test_the_only_head_is_all_heads(name):
    vit = opened(heads=1)
    every = run(vit, name)
    assert torch.equal(run(vit, name, head=0), every)
    assert torch.equal(run(vit, name, head=-1), every)


@pytest.mark.parametrize("name", BY_HEAD)
def test_heads_are_counted_from_either_end_and_differ(name):
    vit = opened()
    each = [run(vit, name, head=head) for head in range(HEADS)]
    for head, found in enumerate(each):
        assert torch.equal(run(vit, name, head=head - HEADS), found)
    assert not torch.equal(each[0], each[1])


@pytest.mark.parametrize("name", BY_HEAD)
@pytest.mark.parametrize("head", [HEADS, -HEADS - 1])
def test_a_head_outside_the_model_is_refused(name, head):
    with pytest.raises(InputError, match=re.escape(f"head={head} is outside the model")):
        run(opened(), name, head=head)


@pytest.mark.parametrize("name", BY_RANGE)
def test_the_default_is_the_full_range_or_what_was_published(name):
    """A published first block that this model does not have gives way to the last block alone."""
    first = -1 if METHODS[name].defaults["first"] is None else 0
    assert torch.equal(run(opened(), name), run(opened(), name, first=first, last=BLOCKS - 1))
    assert METHODS[name].defaults["first"] in {0, None}
    assert METHODS[name].defaults["last"] == -1


@pytest.mark.parametrize("name", BY_RANGE)
def test_blocks_are_counted_from_either_end_and_differ(name):
    vit = opened()
    found = {(first, last): run(vit, name, first=first, last=last) for first, last in [(0, 2), (0, 1), (1, 2), (1, 1)]}
    for (first, last), relevance in found.items():
        assert torch.equal(run(vit, name, first=first - BLOCKS, last=last - BLOCKS), relevance)
        method = METHODS[name]
        assert method.blocks(vit, method.complete({"first": first, "last": last})) == range(first, last + 1)
    assert not torch.equal(found[0, 2], found[1, 2])
    assert not torch.equal(found[0, 1], found[1, 1])


@pytest.mark.parametrize("name", BY_RANGE)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"first": BLOCKS}, f"first={BLOCKS} is outside the model"),
        ({"first": -BLOCKS - 1}, f"first={-BLOCKS - 1} is outside the model"),
        ({"last": BLOCKS}, f"last={BLOCKS} is outside the model"),
        ({"last": -BLOCKS - 1}, f"last={-BLOCKS - 1} is outside the model"),
        ({"first": 2, "last": 1}, "first=2 comes after last=1"),
    ],
    ids=str,
)
def test_blocks_outside_the_model_are_refused(name, given, words):
    vit = opened()
    with pytest.raises(InputError, match=re.escape(words)):
        run(vit, name, **given)
    with pytest.raises(InputError, match=re.escape(words)):  # by the planner, before the model runs
        METHODS[name].capture(vit, METHODS[name].complete(given))


@pytest.mark.parametrize("name", BY_RANGE)
def test_a_pass_that_starts_at_the_first_block_gives_the_same_map(name):
    vit, method = opened(), METHODS[name]
    given = method.complete(CHEAP.get(name, {}) | {"first": 1})
    least = method.capture(vit, given)
    assert least.first == 1
    with vit.trace(random_images(vit, 2), 1, capture=least) as trace:
        found, expected = method.function(trace, **given).detach(), run(vit, name, first=1)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("name", SHOWING)
def test_masking_replaces_the_outlying_patch_alone_by_the_median_around_it(name):
    vit = opened(outlying=True)
    # One head and the first two blocks, whose second takes the outlying token in.
    given = {"head": 0, "block": 1} if METHODS[name].only_block else {"head": 0, "first": 0, "last": 1}
    relu = {"relu": False} if "relu" in METHODS[name].defaults else {}
    kept, masked = (run(vit, name, outliers=outliers, **given, **relu) for outliers in ("keep", "mask"))
    expected, (row, column) = kept.clone(), OUTLYING
    around = kept[:, row - 1 : row + 2, column - 1 : column + 2].flatten(1)[:, [0, 1, 2, 3, 5, 6, 7, 8]]
    expected[:, row, column] = around.quantile(0.5, dim=1)
    assert torch.equal(masked, expected)
    assert torch.equal(run(opened(), name, outliers="mask"), run(opened(), name))
