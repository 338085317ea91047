"""Offsets and roles of heads: by hand on made-up attention, against loops on every family, and rules at their edges."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import timm
import torch

import vitreous as vt
from contracts.families import BEHIND, EITHER_SIDE, FAMILIES, random_images
from oracles.planted import open_planted, planted_images
from vitreous.analysis.head_offsets import at_offset, favourite, head_offsets
from vitreous.analysis.head_roles import RoleThresholds, head_roles, role_measures, roles_of
from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.vit.trace import Trace

EVERY = pytest.mark.parametrize("family", EITHER_SIDE)


@pytest.fixture(scope="module")
def vit():
    """A grid of 4 x 5 patches behind a class token."""
    return open_planted(grid=(4, 5))


def measure(monkeypatch, vit, function, *heads, **given):
    """Ask about made-up attention: heads of one block, "n n" for one image or "b n n"."""
    made = torch.stack([each if each.dim() == 3 else each[None] for each in heads], 1).float()
    with vit.trace(random_images(vit, len(made)), 0) as trace, monkeypatch.context() as patched:
        patched.setattr(Trace, "attention", property(lambda _: (made,)))
        return function(trace, **given)


def stepping(vit, down, right, share=1.0):
    """Give `share` of each patch's attention to the patch at an offset, and the rest, or all, to the class token."""
    rows, columns = vit.grid
    tokens = vit.prefix + rows * columns
    attention = torch.zeros(tokens, tokens)
    attention[:, 0] = 1
    for row, column in itertools.product(range(rows), range(columns)):
        if 0 <= row + down < rows and 0 <= column + right < columns:
            query = vit.prefix + row * columns + column
            attention[query, query + down * columns + right] = share
            attention[query, 0] = 1 - share
    return attention


def even(vit):
    tokens = vit.prefix + vit.grid[0] * vit.grid[1]
    return torch.full((tokens, tokens), 1 / tokens)


def onto(vit, token):
    attention = torch.zeros_like(even(vit))
    attention[:, token] = 1
    return attention


# --- offsets


def test_a_head_that_steps_is_found_at_its_offset_alone(monkeypatch, vit):
    for down, right in itertools.product(range(-2, 3), repeat=2):
        found = measure(monkeypatch, vit, head_offsets, stepping(vit, down, right, 0.75))
        expected = torch.zeros(5, 5)
        expected[down + 2, right + 2] = 0.75
        assert torch.equal(found.mass[0, 0, 0], expected)
        if (down, right) != (0, 0):
            assert found.offset[0, 0, 0].tolist() == [down, right]
            assert found.offset_mass.item() == 0.75
        having = (4 - abs(down)) * (5 - abs(right))  # patches that have one there
        assert found.near.item() == pytest.approx(0.75 * having / 20 * (max(abs(down), abs(right)) <= 1))


def test_hits_count_the_most_attended_patch(monkeypatch, vit):
    attention = 0.4 * stepping(vit, 0, 1) + 0.6 * stepping(vit, 1, 0)
    found = measure(monkeypatch, vit, head_offsets, attention)
    # 16 patches have one to the right; 12 of them also have one below, which they attend to more.
    assert found.hits[0, 0, 0, 2, 3].item() == pytest.approx(4 / 16)
    assert found.hits[0, 0, 0, 3, 2].item() == pytest.approx(1)
    assert found.mass[0, 0, 0, 2, 3].item() == pytest.approx(0.4)
    # Ties are shared: of four patches in an even row each is a quarter of a hit.
    tied = measure(monkeypatch, open_planted(grid=(1, 4)), head_offsets, even(open_planted(grid=(1, 4))), radius=1)
    assert tied.hits[0, 0, 0, 1].tolist() == [0.25] * 3
    assert tied.hits[0, 0, 0, 0].isnan().all()  # nothing lies above


def test_the_favourite_is_never_the_query_itself():
    mass = torch.zeros(2, 3, 3)
    mass[:, 1, 1] = 0.9
    mass[0, 0, 2], mass[1, 2, 1] = 0.1, 0.2
    mass[:, 0, 0] = torch.nan
    assert favourite(mass).tolist() == [[-1, 1], [1, 0]]
    assert at_offset(mass, favourite(mass)).tolist() == pytest.approx([0.1, 0.2])


@EVERY
def test_offsets_are_those_of_loops_on_every_family(family):
    vit = EITHER_SIDE[family].open()
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        found = head_offsets(trace)
        attention = torch.stack(trace.attention, 1).double().detach().numpy()
    (rows, columns), prefix = vit.grid, vit.prefix
    places = list(itertools.product(range(rows), range(columns)))
    for index in np.ndindex(attention.shape[:3]):
        between = attention[index][prefix : prefix + len(places), prefix : prefix + len(places)]
        mass = {}
        hits = {}
        near = 0.0
        for query, (row, column) in enumerate(places):
            best = int(np.argmax(between[query]))
            for key, (other_row, other_column) in enumerate(places):
                offset = (other_row - row, other_column - column)
                mass.setdefault(offset, []).append(between[query, key])
                hits.setdefault(offset, []).append(float(key == best))
                if max(map(abs, offset)) <= 1:
                    near += between[query, key] / len(places)
        for down, right in itertools.product(range(-2, 3), repeat=2):
            for values, counted in ((found.mass, mass), (found.hits, hits)):
                value = values[index][down + 2, right + 2].item()
                expected = np.mean(counted[down, right]) if (down, right) in counted else math.nan
                assert value == pytest.approx(expected, abs=1e-5, nan_ok=True)
        assert found.near[index].item() == pytest.approx(near, abs=1e-5)
        others = {offset: np.mean(values) for offset, values in mass.items() if 0 < max(map(abs, offset)) <= 2}
        assert found.offset_mass[index].item() == pytest.approx(max(others.values()), abs=1e-5)
        assert others[tuple(found.offset[index].tolist())] == pytest.approx(max(others.values()), abs=1e-6)


@pytest.mark.parametrize("radius", [0, 5])
def test_a_radius_without_neighbours_is_refused(vit, radius):
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError, match="Give 1 to 4"):
        head_offsets(trace, radius)


# --- roles


def names(found):
    return [[[role.name for role in roles] for roles in block] for block in found.heads]


def test_each_role_by_hand(monkeypatch, vit):
    corner = onto(vit, vit.prefix)  # farther from most patches than evenly spread attention
    heads = (even(vit), stepping(vit, -1, 0), onto(vit, 0), corner, stepping(vit, 0, 0), stepping(vit, 0, 4, 0.3))
    found = measure(monkeypatch, vit, head_roles, *heads)
    assert names(found) == [
        [
            ["global"],
            ["local", "positional"],
            ["class-token reader"],
            ["sink"],
            ["local", "self"],
            ["global", "class-token reader"],  # far along its row where there is a patch, but not within reach
        ]
    ]
    assert found.values["global"][0, 0].item() == pytest.approx(1)
    assert found.values["global"][0, 3] > 1
    step = found.heads[0][1][1]
    assert (step.value, step.threshold, step.stability, step.offset) == (1, 0.2, 1, (-1, 0))
    assert found.counts() == {
        "local": 2, "global": 2, "positional": 1, "class-token reader": 2, "sink": 1, "self": 1, "mixed": 0,
    }  # fmt: skip


def test_evenly_spread_attention_has_distance_one_whatever_the_size(monkeypatch):
    for grid, patch in (((4, 5), 4), ((2, 9), 8), ((7, 7), 2)):
        vit = open_planted(grid=grid, patch=patch)
        found = measure(monkeypatch, vit, role_measures, even(vit))
        assert found.distance.item() == pytest.approx(1)


def test_a_role_begins_at_its_threshold(monkeypatch, vit):
    head = stepping(vit, 1, -1, 0.5)
    found = measure(monkeypatch, vit, head_roles, head, thresholds=RoleThresholds(offset=0.5, prefix=0.9))
    assert "positional" in names(found)[0][0]
    found = measure(monkeypatch, vit, head_roles, head, thresholds=RoleThresholds(offset=0.51, prefix=0.9))
    assert "positional" not in names(found)[0][0]


def test_a_head_of_no_role_is_mixed(monkeypatch, vit):
    rows, columns = vit.grid
    head = even(vit).clone()
    for row, column in itertools.product(range(rows), range(columns)):  # the nine patches around, and a little of all
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            if 0 <= row + down < rows and 0 <= column + right < columns:
                head[1 + row * columns + column, 1 + (row + down) * columns + column + right] += 0.05
    head = head / head.sum(-1, keepdim=True)
    found = measure(monkeypatch, vit, head_roles, head)
    assert found.heads == (((),),)
    assert found.counts()["mixed"] == 1


def test_stability_is_the_share_of_images_in_which_the_head_alone_has_the_role(monkeypatch, vit):
    right = stepping(vit, 0, 1)
    both = 0.6 * stepping(vit, 0, -1) + 0.4 * right
    found = measure(monkeypatch, vit, head_roles, torch.stack([right, right, both, onto(vit, 0)]))
    roles = {role.name: role for role in found.heads[0][0]}
    assert roles["positional"].offset == (0, 1)
    assert roles["positional"].value == pytest.approx((1 + 1 + 0.4) / 4)
    assert roles["positional"].stability == 2 / 4  # in the third image the offset is another, if not by much
    assert roles["local"].stability == 3 / 4  # in the fourth there is no distance
    assert found.stability["class-token reader"].item() == 1 / 4
    assert found.images == 4


def test_batches_together_are_one_batch():
    vit = FAMILIES["timm registers"].open()
    images = random_images(vit, 5)
    with vit.trace(images, 0) as trace:
        whole = head_roles(trace)
    parts = []
    for some in images.split(2):
        with vit.trace(some, 0) as trace:
            parts.append(role_measures(trace))
    found = roles_of(parts)
    assert names(found) == names(whole)
    for name, values in whole.values.items():
        assert torch.allclose(values, found.values[name], atol=1e-6)
        assert torch.equal(whole.stability[name], found.stability[name])
    with pytest.raises(InputError, match="measures is empty"):
        roles_of([])


def test_the_heads_of_the_planted_model():
    vit = open_planted()
    images, _ = planted_images(vit, [(0, 11), (5, 2)])
    with vit.trace(images, 0) as trace:
        found = head_roles(trace)
    # Both heads look at one patch from everywhere: the brightest, and the darkest.
    assert [[role.name for role in roles if role.name == "sink"] for roles in found.heads[0]] == [["sink"], ["sink"]]
    assert found.values["sink"].flatten().tolist() == pytest.approx([1, 1])


@EVERY
def test_roles_follow_from_the_numbers_on_every_family(family):
    vit = EITHER_SIDE[family].open()
    with vit.trace(random_images(vit, 3), [0, 1, 2]) as trace:
        found, measured = head_roles(trace), role_measures(trace)
        attention = torch.stack(trace.attention, 1).double().detach()
    patches = slice(vit.prefix, vit.prefix + vit.grid[0] * vit.grid[1])
    received = attention[:, :, :, patches].mean(3)
    beside = received[..., : vit.prefix].sum(-1) + received[..., patches.stop :].sum(-1)
    assert torch.allclose(found.values["class-token reader"].double(), beside.mean(0))
    most = received.max(-1)
    sinks = (most.values * (most.indices >= vit.prefix) * (most.indices < patches.stop)).mean(0)
    assert torch.allclose(found.values["sink"].double(), sinks, atol=1e-6)
    limits = dataclasses.asdict(RoleThresholds())
    keys = {"positional": "offset", "class-token reader": "prefix", "sink": "sink", "self": "itself"}
    for block, head in np.ndindex(found.values["local"].shape):
        having = {role.name for role in found.heads[block][head]}
        for name, key in keys.items():
            assert (name in having) == (found.values[name][block, head].item() >= limits[key])
        assert ("local" in having) == (found.values["local"][block, head].item() <= limits["local"])
        far = found.values["global"][block, head].item() >= limits["far"]
        assert ("global" in having) == (far and "sink" not in having)
    assert measured.distance.shape == (3, *found.values["local"].shape)


@pytest.mark.parametrize("family", BEHIND)
def test_a_class_token_behind_the_patches_is_read_and_is_no_sink(monkeypatch, family):
    vit = BEHIND[family].open()
    attention = torch.zeros(vit.tokens, vit.tokens)
    attention[:, -1] = 1
    found = measure(monkeypatch, vit, head_roles, attention)
    assert names(found) == [[["class-token reader"]]]
    assert found.values["sink"].item() == 0


def test_thresholds_that_tell_nothing_are_refused():
    with pytest.raises(InputError, match=r"local=0.9 is not below far=0.9"):
        RoleThresholds(local=0.9)
    with pytest.raises(InputError, match=r"sink=0\.0"):
        RoleThresholds(sink=0.0)


def test_a_later_block_is_named_as_such():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 1), 0, capture=vt.Capture(first=1)) as trace:
        found = head_roles(trace)
    assert found.first == 1
    assert len(found.heads) == 1


def test_a_model_without_plain_attention_is_refused():
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, embed_dim=24, depths=(1, 1), num_heads=(1, 2), window_size=4
    ).eval()
    plain = vt.Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    vit = vt.open_vit(model, preprocessing=plain, require_attention=False)
    with vit.trace(random_images(vit, 1), 0) as trace:
        for function in (head_roles, head_offsets):
            with pytest.raises(MethodNotApplicableError, match="no plain attention"):
                function(trace)


def test_a_single_patch_has_the_roles_that_need_no_second_one(monkeypatch):
    vit = open_planted(grid=(1, 1))
    found = measure(monkeypatch, vit, head_roles, onto(vit, 0), torch.eye(2), even(vit))
    assert names(found) == [[["class-token reader"], ["sink", "self"], ["class-token reader", "self"]]]
    for name in ("local", "global", "positional"):
        assert found.values[name].isnan().all()
        assert not found.stability[name].any()
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError, match="no neighbours"):
        head_offsets(trace)
