"""Relations: by hand on made-up attention, loops on every family, and what the tests say where there is nothing."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats

from contracts.families import EITHER_SIDE, FAMILIES, random_images
from vitreous.analysis.object_binding import Binding, binding, binding_statistics
from vitreous.analysis.relation_statistics import relation_statistics
from vitreous.analysis.relations import Relations, box_masks, relate
from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.vit.trace import Trace

EVERY = pytest.mark.parametrize("family", EITHER_SIDE)


@pytest.fixture(scope="module")
def vit():
    return FAMILIES["timm"].open()


def made(monkeypatch, vit, attention, ask):
    """Give what `ask` finds in made-up attention "n n" of one block and one head."""
    with vit.trace(random_images(vit, 1), 0) as trace, monkeypatch.context() as patched:
        patched.setattr(Trace, "attention", property(lambda _: (attention.float()[None, None],)))
        return ask(trace)


def of_patches(vit, *objects):
    """Masks of objects that are whole patches, given by their numbers."""
    grid = torch.zeros(len(objects), vit.grid[0] * vit.grid[1], dtype=torch.bool)
    for number, patches in enumerate(objects):
        grid[number, list(patches)] = True
    (rows, columns), (high, wide) = vit.grid, vit.patch
    return grid.reshape(-1, rows, columns).repeat_interleave(high, 1).repeat_interleave(wide, 2)


def test_even_attention_gives_every_object_its_share(monkeypatch, vit):
    tokens, patches = vit.tokens, vit.grid[0] * vit.grid[1]
    masks = of_patches(vit, [0, 1, 2], [7])
    (found,) = made(monkeypatch, vit, torch.full((tokens, tokens), 1 / tokens), lambda trace: relate(trace, [masks]))
    assert found.shares.tolist() == pytest.approx([3 / patches, 1 / patches, 8 / patches])
    expected = torch.tensor([3, 1, 8]) / tokens
    assert torch.allclose(found.attention[0].float(), expected.expand(3, 3))
    assert torch.allclose(found.reading[0].float(), expected)
    assert found.lift.isnan().nonzero().tolist() == [[0, 1, 1]]  # a single patch has no other to attend to
    assert found.lift.nan_to_num().abs().max() < 1e-6
    assert found.reading_lift.abs().max() < 1e-6


def test_attention_made_by_hand(monkeypatch, vit):
    """Patches 0 and 1 give half to patch 5 and half to the class token; all else attends to itself."""
    attention = torch.eye(vit.tokens)
    for patch in (0, 1):
        attention[vit.prefix + patch] = 0
        attention[vit.prefix + patch, 0] = attention[vit.prefix + patch, vit.prefix + 5] = 0.5
    masks = of_patches(vit, [0, 1], [5], [1, 2])
    (found,) = made(monkeypatch, vit, attention, lambda trace: relate(trace, [masks]))
    rows = [[0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0.25, 0.5, 0], [0, 0, 0, 1]]
    assert found.attention[0].tolist() == rows
    patches = vit.grid[0] * vit.grid[1]
    assert found.lift[0, 0].tolist() == pytest.approx([-math.inf, math.log2(patches - 1), -math.inf, -math.inf])
    assert found.lift[0, 2, 1].item() == pytest.approx(math.log2(patches - 1))  # patch 2 attends to no other
    assert found.lift[0, 1].isnan().all()  # patch 5 neither
    assert found.reading[0].tolist() == [0, 0, 0, 0]  # the class token attends to itself
    high, wide = vit.patch
    assert found.centres.tolist() == [[wide, high / 2], [1.5 * wide, 1.5 * high], [2 * wide, high / 2]]
    assert found.distances[0, 2].item() == wide


def test_a_patch_is_shared_by_pixels(monkeypatch, vit):
    """An object covers a quarter of patch 0 and all of patch 1; the rest of patch 0 is background."""
    high, wide = vit.patch
    masks = box_masks(
        [(wide / 2, 0.0, 2.0 * wide, high / 2), (float(wide), 0.0, 2.0 * wide, float(high))], (high * 3, wide * 4)
    )
    masks = masks.any(0, keepdim=True)
    attention = torch.eye(vit.tokens)
    (found,) = made(monkeypatch, vit, attention, lambda trace: relate(trace, [masks]))
    assert found.shares.tolist() == pytest.approx([1.25 / 12, 10.75 / 12])
    expected = [(0.25 * 0.25 + 1) / 1.25, 0.25 * 0.75 / 1.25]
    assert found.attention[0, 0].tolist() == pytest.approx(expected)
    assert found.attention[0].sum(1).tolist() == pytest.approx([1, 1])


def test_boxes_hold_the_pixels_whose_centres_they_hold():
    boxes, size = [(0.5, 1.6, 3.5, 9.0), (-2.0, -1.0, 0.4, 1.0), (2.6, 0.0, 3.4, 1.0)], (4, 5)
    expected = [
        [[x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1 for column in range(5)] for row in range(4)]
        for x0, y0, x1, y1 in boxes
    ]
    found = box_masks(boxes, size)
    assert found.tolist() == expected
    assert found.flatten(1).any(1).tolist() == [True, False, False]
    assert box_masks([], size).shape == (0, 4, 5)


def some_masks(vit, count, seed):
    """Objects of any pixels, which overlap."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *vit.preprocessing.size, generator=generator) < 0.3


@EVERY
def test_relations_are_those_of_loops_on_every_family(family):
    vit = EITHER_SIDE[family].open()
    masks = [some_masks(vit, 2, 0), some_masks(vit, 3, 1)]
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        found = relate(trace, masks)
        attention = torch.stack(trace.attention, 1).double().detach().numpy()
        reading = trace.reading.double().detach().numpy()
    (rows, columns), prefix, (high, wide) = vit.grid, vit.prefix, vit.patch
    patches = rows * columns
    for image, relations in enumerate(found):
        objects = [*masks[image].numpy(), ~masks[image].any(0).numpy()]
        weights = [
            [
                objects[number][high * row : high * row + high, wide * column : wide * column + wide].mean()
                for row in range(rows)
                for column in range(columns)
            ]
            for number in range(len(objects))
        ]
        for block, head in np.ndindex(attention.shape[1:3]):
            given = attention[image, block, head]
            for i in range(len(objects)):
                for j in range(len(objects)):
                    mass = sum(
                        weights[i][p] * given[prefix + p, prefix + q] * weights[j][q]
                        for p in range(patches)
                        for q in range(patches)
                    ) / sum(weights[i])
                    assert relations.per_head[block, head, i, j].item() == pytest.approx(mass, rel=1e-6)
        heads = attention[image].mean(1)
        for block in range(len(heads)):
            for i in range(len(objects)):
                for j in range(len(objects)):
                    others = [(p, q) for p in range(patches) for q in range(patches) if p != q]
                    mass, even = (
                        sum(weights[i][p] * given[prefix + p, prefix + q] * weights[j][q] for p, q in others)
                        / sum(weights[i][p] * given[prefix + p, prefix + q] for p, q in others)
                        for given in (heads[block], np.ones_like(heads[block]))
                    )
                    assert relations.lift[block, i, j].item() == pytest.approx(math.log2(mass / even), abs=1e-6)
            read = (reading[image] @ heads[block])[prefix : prefix + patches]
            taken = [read @ each for each in weights]
            assert relations.reading[block].tolist() == pytest.approx(taken, rel=1e-6)
            lifts = [math.log2(mass / read.sum() / np.mean(each)) for mass, each in zip(taken, weights, strict=True)]
            assert relations.reading_lift[block].tolist() == pytest.approx(lifts, abs=1e-6)


def test_an_empty_background_is_nan_and_nothing_else(vit):
    whole = torch.ones(1, *vit.preprocessing.size, dtype=torch.bool)
    with vit.trace(random_images(vit, 1), 0) as trace:
        (found,) = relate(trace, [whole])
    assert found.lift[:, 0, 0].abs().max() < 1e-6
    assert found.attention[:, 1].isnan().all()
    assert found.lift[:, 0, 1].isnan().all()


def test_padding_is_no_background(monkeypatch, vit):
    """Patches 0 and 1 are an object, 2 and 3 background, and the two rows below padding but for a quarter of patch 4."""
    high, wide = vit.patch
    shown = torch.zeros(1, *vit.preprocessing.size, dtype=torch.bool)
    shown[0, :high] = True
    shown[0, high : high + high // 2, : wide // 2] = True
    attention = torch.full((vit.tokens, vit.tokens), 1 / vit.tokens)
    masks = [of_patches(vit, [0, 1])]
    (found,) = made(monkeypatch, vit, attention, lambda trace: relate(trace, masks, shown))
    assert found.shares.tolist() == pytest.approx([2 / 12, 2.25 / 12])
    assert found.attention[0, 0].tolist() == pytest.approx([2 / vit.tokens, 2.25 / vit.tokens])
    assert found.reading[0].tolist() == pytest.approx([2 / vit.tokens, 2.25 / vit.tokens])
    assert found.lift.abs().max() < 1e-6
    (whole,) = made(monkeypatch, vit, attention, lambda trace: relate(trace, masks, torch.ones_like(shown)))
    (same,) = made(monkeypatch, vit, attention, lambda trace: relate(trace, masks))
    assert torch.equal(whole.attention, same.attention)
    assert same.shares[1].item() == pytest.approx(10 / 12)
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError, match="shown has shape"):
        relate(trace, masks, shown[:, 1:])


def test_later_captures_begin_later(vit):
    from vitreous.vit.passes import Capture

    masks = [some_masks(vit, 2, 0)]
    with vit.trace(random_images(vit, 1), 0) as trace:
        (whole,) = relate(trace, masks)
    with vit.trace(random_images(vit, 1), 0, capture=Capture(first=1)) as trace:
        (later,) = relate(trace, masks)
    assert (whole.first, later.first) == (0, 1)
    assert torch.allclose(whole.per_head[1:], later.per_head)


def test_wrong_objects_are_refused(vit):
    masks = some_masks(vit, 2, 0)
    empty = masks.clone()
    empty[1] = False
    with vit.trace(random_images(vit, 1), 0) as trace:
        for wrong, told in [
            ([masks[:, 1:]], "have shape"),
            ([masks[0]], "have shape"),
            ([masks, masks], "about 2 images"),
            ([empty], "Object 1 of image 0 has no pixel"),
        ]:
            for ask in (relate, binding):
                with pytest.raises(InputError, match=told):
                    ask(trace, wrong)


# --- over a data set


def invented(generator, objects, lift=None, blocks=2):
    """Relations of an image with objects at random places."""
    centres = torch.from_numpy(generator.uniform(0, 224, (objects, 2)))
    shares = torch.from_numpy(generator.uniform(0.01, 0.2, objects + 1))
    made = generator.normal(size=(blocks, objects + 1, objects + 1))
    found = Relations(
        attention=torch.from_numpy(made),
        per_head=torch.from_numpy(made)[:, None],
        lift=torch.from_numpy(made),
        reading=torch.zeros(blocks, objects + 1, dtype=torch.float64),
        reading_lift=torch.zeros(blocks, objects + 1, dtype=torch.float64),
        shares=shares,
        centres=centres,
        first=0,
    )
    return found if lift is None else replace(found, lift=torch.from_numpy(lift(found)))


def named(generator, relations, names="abcd"):
    return [[str(name) for name in generator.choice(list(names), len(each.centres))] for each in relations]


def pairs_of(relation, block):
    count = len(relation.centres)
    for i in range(count):
        for j in range(count):
            if i != j:
                yield (
                    relation.lift[block, i, j].item(),
                    math.dist(relation.centres[i], relation.centres[j]),
                    relation.shares[i].item(),
                    relation.shares[j].item(),
                )


def test_correlations_are_those_of_scipy_on_one_image():
    generator = np.random.default_rng(0)
    relation = invented(generator, 7)
    found = relation_statistics([relation], [list("abcabca")], permutations=9)
    for block in range(2):
        columns = np.array(list(pairs_of(relation, block))).T
        expected = stats.spearmanr(columns[0], columns[1]).statistic
        assert found.distance.value[block] == pytest.approx(expected, abs=1e-9)
        ranks = np.array([stats.rankdata(column) for column in columns])
        design = np.stack([np.ones(ranks.shape[1]), ranks[2], ranks[3]], 1)
        left = [rank - design @ np.linalg.lstsq(design, rank, rcond=None)[0] for rank in ranks[:2]]
        assert found.distance_alone.value[block] == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-9)
    assert np.isnan(found.distance.low).all()  # of one image there is no interval


def test_only_differences_within_images_count():
    """Lift falls with distance within every image, and images with larger distances have larger lifts."""
    generator = np.random.default_rng(1)

    def falling(relation):
        distances = np.pad(relation.distances.numpy(), (0, 1))
        return np.stack([100 * distances.mean() - distances] * 2)

    relations = [invented(generator, 5, falling) for _ in range(12)]
    found = relation_statistics(relations, named(generator, relations), permutations=99)
    assert found.distance.value == pytest.approx([-1, -1])
    assert found.distance.images == 12
    assert found.distance.p == pytest.approx([0.02, 0.02])
    assert found.distance.corrected == pytest.approx([0.01, 0.01])
    assert found.distance.high == pytest.approx([-1, -1])


def test_sizes_alone_do_not_pass_for_distance():
    """Lift follows the size of both, and large objects stand far out: with sizes held fixed less of it is left."""
    generator = np.random.default_rng(2)
    relations = []
    for _ in range(60):
        plain = invented(generator, 6)
        angles, out = generator.uniform(0, 2 * np.pi, 6), 500 * plain.shares[:-1].numpy()
        placed = replace(plain, centres=torch.from_numpy(np.stack([out * np.cos(angles), out * np.sin(angles)], 1)))
        sizes = plain.shares.numpy()
        relations.append(replace(placed, lift=torch.from_numpy(np.stack([-sizes[:, None] - sizes] * 2))))
    found = relation_statistics(relations, named(generator, relations), permutations=99)
    assert found.distance.value[0] < -0.4
    assert abs(found.distance_alone.value[0]) < 0.6 * abs(
        found.distance.value[0]
    )  # linear in ranks, which distance is not


def test_pairs_of_names_are_averaged_by_image():
    generator = np.random.default_rng(3)
    relations = [invented(generator, count) for count in (3, 2, 4, 2)]
    names = [["cup", "table", "cup"], ["cup", "table"], ["dog", "cup", "table", "dog"], ["dog", "table"]]
    found = relation_statistics(relations, names, fewest=1, permutations=9)
    listed = {(pair.query, pair.key): pair for pair in found.pairs}
    assert found.pairs[0].images == 3
    assert set(listed) == {
        ("cup", "table"), ("table", "cup"), ("cup", "cup"), ("dog", "cup"), ("cup", "dog"), ("dog", "table"),
        ("table", "dog"), ("dog", "dog"),
    }  # fmt: skip
    lift = [relation.lift[0].numpy() for relation in relations]
    expected = np.mean([np.mean([lift[0][0, 1], lift[0][2, 1]]), lift[1][0, 1], lift[2][1, 2]])
    assert listed["cup", "table"].lift[0] == pytest.approx(expected)
    less = [each[:-1, :-1] - each[:-1, :-1][~np.eye(len(each) - 1, dtype=bool)].mean() for each in lift]
    expected = np.mean([np.mean([less[0][0, 1], less[0][2, 1]]), less[1][0, 1], less[2][1, 2]])
    assert listed["cup", "table"].excess[0] == pytest.approx(expected)
    assert listed["dog", "dog"].lift[0] == pytest.approx((lift[2][0, 3] + lift[2][3, 0]) / 2)
    assert listed["cup", "table"].pmi == pytest.approx(math.log2((3 / 4) / (3 / 4 * 4 / 4)))
    assert listed["dog", "cup"].pmi == pytest.approx(math.log2((1 / 4) / (2 / 4 * 3 / 4)))
    assert math.isnan(listed["cup", "cup"].pmi)


def test_attention_that_follows_cooccurrence_is_found():
    """a and b come together, and c and d; each attends to its companion."""
    generator = np.random.default_rng(4)
    relations, names = [], []
    for image in range(60):
        called = list("aabb" if image % 3 == 0 else "ccdd" if image % 3 == 1 else "abcd")
        friends = np.array([[{x, y} in ({"a", "b"}, {"c", "d"}) for y in [*called, ""]] for x in [*called, ""]])

        def lift(_, friends=friends):
            return 2.0 * friends + generator.normal(size=(2, 5, 5))

        relations.append(invented(generator, 4, lift))
        names.append(called)
    found = relation_statistics(relations, names, permutations=199)
    assert found.cooccurrence.value.min() > 0.5
    assert found.cooccurrence.corrected.max() < 0.1  # few names have few orders
    listed = {(pair.query, pair.key): pair for pair in found.pairs}
    assert listed["a", "b"].pmi > 0 > listed["a", "c"].pmi
    assert listed["a", "b"].corrected.max() < 0.05
    assert listed["a", "b"].excess.min() > 0.5
    expected = stats.spearmanr(
        [pair.excess[0] for pair in found.pairs if pair.query != pair.key],
        [pair.pmi for pair in found.pairs if pair.query != pair.key],
    ).statistic
    assert found.cooccurrence.value[0] == pytest.approx(expected)


def test_false_alarms_are_as_rare_as_promised(monkeypatch):
    """No lift depends on anything: each test at 5 % may be wrong in 5 of 100, and corrected ones in 5 of 100 together."""
    statistics = import_module("vitreous.analysis.relation_statistics")  # the package has a function of this name
    monkeypatch.setattr(statistics, "RESAMPLES", 2)  # intervals are not looked at, and dear
    families = ("distance", "distance_alone", "cooccurrence")
    trials, wrong = 100, {"distance": 0, "alone": 0, "names": 0, "pairs": 0}
    for trial in range(trials):
        generator = np.random.default_rng(1000 + trial)
        relations = [invented(generator, int(generator.integers(3, 6))) for _ in range(12)]
        found = relation_statistics(relations, named(generator, relations), permutations=39, seed=trial)
        wrong["distance"] += found.distance.p[0] <= 0.05
        wrong["alone"] += found.distance_alone.p[0] <= 0.05
        wrong["names"] += found.cooccurrence.p[0] <= 0.05
        wrong["pairs"] += found.pairs[0].p[0] <= 0.05
        for family in families:
            wrong[f"all {family}"] = wrong.get(f"all {family}", 0) + (min(getattr(found, family).corrected) <= 0.05)
    limits = stats.binom(trials, 0.05).ppf([0.001, 0.999])
    assert len(wrong) == 7
    for name, times in wrong.items():
        assert limits[0] <= times <= limits[1], name


def test_corrected_p_is_fair_with_few_permutations():
    """The data are one of twenty draws that are alike: they lead one time in twenty, however many blocks there are."""
    statistics = import_module("vitreous.analysis.relation_statistics")
    generator, trials = np.random.default_rng(0), 600
    wrong = 0
    for _ in range(trials):
        drawn = generator.normal(size=(20, 6))
        found = statistics._association(drawn[0], drawn[1:], drawn[:2], images=3)
        wrong += min(found.corrected) <= 0.05
    limits = stats.binom(trials, 0.05).ppf([0.001, 0.999])
    assert limits[0] <= wrong <= limits[1]


def test_images_of_few_objects_say_little_and_stop_nothing():
    generator = np.random.default_rng(5)
    relations = [invented(generator, count) for count in (0, 1, 2, 2)]
    names = [[], ["a"], ["a", "b"], ["b", "b"]]
    found = relation_statistics(relations, names, fewest=1, permutations=9)
    assert found.distance.images == 0
    assert np.isnan(found.distance.value).all()
    assert np.isnan(found.cooccurrence.value).all()  # two pairs of names are no correlation
    assert {(pair.query, pair.key): pair.images for pair in found.pairs} == {
        ("a", "b"): 1,
        ("b", "a"): 1,
        ("b", "b"): 1,
    }
    assert relation_statistics(relations, names, fewest=2, permutations=9).pairs == ()
    assert relation_statistics(relations[:1], names[:1], permutations=9).pairs == ()


def test_a_block_without_differences_is_unknown_and_the_others_are_not():
    generator = np.random.default_rng(6)
    relations = [invented(generator, 4) for _ in range(12)]
    even = [replace(each, lift=torch.stack([each.lift[0], 0 * each.lift[1]])) for each in relations]
    names = named(generator, relations)
    found = relation_statistics(even, names, permutations=39)
    whole = relation_statistics(relations, names, permutations=39)
    assert np.isnan(found.distance.value).tolist() == [False, True]
    for name in ("low", "high", "p", "corrected", "null"):
        assert np.isnan(getattr(found.distance, name)).tolist() == [False, True]
    assert found.distance.value[0] == whole.distance.value[0]
    assert found.distance.p[0] == whole.distance.p[0]


def test_statistics_that_do_not_fit_are_refused():
    relation = invented(np.random.default_rng(0), 3)
    with pytest.raises(InputError, match="3 objects and 2 names"):
        relation_statistics([relation], [["a", "b"]])
    with pytest.raises(InputError, match="1 images, names of 2"):
        relation_statistics([relation], [["a", "b", "c"], []])
    with pytest.raises(InputError, match="0 images"):
        relation_statistics([], [])


# --- binding


def test_binding_holds_an_object_against_its_shape_elsewhere(monkeypatch, vit):
    """Patches 0 and 1 attend to each other; all others attend to all patches alike."""
    tokens, prefix, patches = vit.tokens, vit.prefix, vit.grid[0] * vit.grid[1]
    attention = torch.zeros(tokens, tokens)
    attention[:, prefix:] = 1 / patches
    attention[prefix : prefix + 2] = 0
    attention[prefix : prefix + 2, prefix : prefix + 2] = 0.5
    masks = of_patches(vit, [0, 1])
    (found,) = made(monkeypatch, vit, attention, lambda trace: binding(trace, [masks]))
    assert found.lift.tolist() == pytest.approx([math.log2(patches - 1)])
    rows, columns = vit.grid
    assert found.elsewhere.shape == (1, rows * (columns - 1) - 1)
    # Laid over patches 1 and 2: patch 1 gives nothing to 2, and 0.5 to 0; patch 2 gives 1/p to each of p - 1 others.
    beside = math.log2((1 / patches) / (0.5 + (patches - 1) / patches) * (patches - 1) * 2 / 2)
    beside += math.log2(2 / 1) - 1  # even attention would give 1 / (p - 1) from both
    elsewhere = [beside] + [0.0] * (rows * (columns - 1) - 2)
    assert found.elsewhere[0].tolist() == pytest.approx(elsewhere, abs=1e-6)
    assert found.excess.item() == pytest.approx(math.log2(patches - 1) - np.mean(elsewhere), abs=1e-6)


def test_nearness_alone_is_no_binding(monkeypatch, vit):
    """Attention falls with distance, the same from everywhere (round the edges): near patches are bound by nothing."""
    tokens, prefix = vit.tokens, vit.prefix
    (rows, columns), masks = vit.grid, of_patches(vit, [5, 6])
    attention = torch.zeros(tokens, tokens)
    for query in range(rows * columns):
        for key in range(rows * columns):
            down, across = abs(query // columns - key // columns), abs(query % columns - key % columns)
            away = math.hypot(min(down, rows - down), min(across, columns - across))
            attention[prefix + query, prefix + key] = math.exp(-3 * away)
    (found,) = made(monkeypatch, vit, attention, lambda trace: binding(trace, [masks]))
    assert found.lift.item() > 1
    assert abs(found.excess.item()) < 1e-6


@EVERY
def test_binding_agrees_with_relations_on_every_family(family):
    vit = EITHER_SIDE[family].open()
    masks = [of_patches(vit, [0, 1], [4, 6]), of_patches(vit, [1, 2, 5])]
    whole = torch.ones(1, *vit.preprocessing.size, dtype=torch.bool)
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        found, relations = binding(trace, masks), relate(trace, masks)
        assert [(each.image, each.number) for each in found] == [(0, 0), (0, 1), (1, 0)]
        assert binding(trace, [of_patches(vit, [3]), of_patches(vit, [4])]) == []  # there is no other patch
        assert binding(trace, [whole, whole]) == []  # there is no other place
        for each in found:
            expected = relations[each.image].lift[:, each.number, each.number]
            assert torch.allclose(each.lift, expected, atol=1e-6)
        moved = of_patches(vit, [1, 2], [5, 7])  # one column to the right
        for number, again in enumerate(relate(trace, [moved, moved])[0].lift.diagonal(dim1=1, dim2=2)[:, :2].T):
            gaps = (found[number].elsewhere - again[:, None]).abs().amax(0)
            assert gaps.min() < 1e-6


def chance(generator, images=12, own=0.0, blocks=2):
    made = [[generator.normal(size=(blocks, 9)) for _ in range(int(generator.integers(1, 4)))] for _ in range(images)]
    return [
        [
            Binding(image, number, torch.from_numpy(each[:, 0] + own), torch.from_numpy(each[:, 1:]))
            for number, each in enumerate(lifts)
        ]
        for image, lifts in enumerate(made)
    ]


def test_binding_over_a_data_set():
    found = chance(np.random.default_rng(0), own=2.0)
    whole = binding_statistics([*found, []], draws=999)
    expected = np.mean([np.mean([each.excess.numpy() for each in image], 0) for image in found], 0)
    assert whole.excess == pytest.approx(expected)
    assert (whole.images, whole.objects) == (12, sum(map(len, found)))
    assert whole.p == pytest.approx([0.002, 0.002])
    assert (whole.low < expected).all()
    assert (whole.high > expected).all()
    wrong = [binding_statistics(chance(np.random.default_rng(trial)), draws=99, seed=trial) for trial in range(300)]
    limits = stats.binom(300, 0.05).ppf([0.001, 0.999])
    assert limits[0] <= sum(each.p[0] <= 0.05 for each in wrong) <= limits[1]
    assert limits[0] <= sum(min(each.corrected) <= 0.05 for each in wrong) <= limits[1]


def test_corrected_p_of_binding_is_fair_with_few_draws():
    generators = [np.random.default_rng(trial) for trial in range(400)]
    found = [binding_statistics(chance(each, 3, blocks=8), draws=19, seed=at) for at, each in enumerate(generators)]
    limits = stats.binom(400, 0.05).ppf([0.001, 0.999])
    assert limits[0] <= sum(min(each.corrected) <= 0.05 for each in found) <= limits[1]


def test_binding_on_few_images_has_no_interval():
    for images, known in [(2, False), (9, False), (10, True)]:
        found = binding_statistics(chance(np.random.default_rng(0), images, own=2.0), draws=99)
        for each in (found.low, found.high):
            assert each.shape == found.excess.shape
            assert np.isfinite(each).all() if known else np.isnan(each).all(), images
        assert np.isfinite(found.excess).all()
        assert found.p.max() < 0.2


def test_binding_of_nothing_is_refused():
    with pytest.raises(InputError, match="no object"):
        binding_statistics([[], []])


def test_models_without_plain_attention_are_refused():
    import timm

    import vitreous as vt

    model = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, img_size=64, window_size=2).eval()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=(64, 64)), require_attention=False)
    masks = [torch.ones(1, 64, 64, dtype=torch.bool)]
    with vit.trace(torch.rand(1, 3, 64, 64), 0) as trace:
        for ask in (relate, binding):
            with pytest.raises(MethodNotApplicableError):
                ask(trace, masks)
