"""Metrics of things that are taken out, against numbers worked out by hand and the truth of rendered scenes."""

import numpy as np
import pytest
import torch
from scripted import Scripted, open_case

import vitreous as vt
from oracles.planted import open_planted
from vitreous.core.frame import frame_tensor
from vitreous.core.heatmap import Heatmap
from vitreous.core.provenance import Provenance
from vitreous.metrics._case import Case, SceneTruth, Truth
from vitreous.metrics._things import drops, known_things
from vitreous.metrics.background_independence import background_independence
from vitreous.metrics.counterfactual_rank import counterfactual_rank
from vitreous.metrics.counterfactual_top import counterfactual_top
from vitreous.metrics.distractibility import distractibility
from vitreous.metrics.mass_on_target import mass_on_target
from vitreous.metrics.target_sensitivity import target_sensitivity
from vitreous.worlds.rendered.load import scenes
from vitreous.worlds.rendered.truth import logit_drops, mass_inside_target, rank_agreement

NAN = float("nan")
METRICS = (
    counterfactual_rank,
    counterfactual_top,
    target_sensitivity,
    distractibility,
    background_independence,
    mass_on_target,
)


def picture(*brightness):
    """Paint four patches of 4 x 4 pixels in a square."""
    return torch.tensor(brightness).reshape(1, 2, 2).repeat_interleave(4, 1).repeat_interleave(4, 2).expand(3, 8, 8)


def covering(patch, share):
    """Cover this share of every pixel of one patch."""
    return picture(*(share if place == patch else 0.0 for place in range(4)))[0]


# Output 0 is 10 times the brightest patch, output 1 10 times (1 - the darkest), output 2 is 5.
IMAGE = picture(0.9, 0.7, 0.5, 0.1)  # 9 and 9
WITHOUT = [
    picture(0.3, 0.7, 0.5, 0.1),  # 7 and 9: output 0 loses 2
    picture(0.8, 0.55, 0.5, 0.1),  # 8 and 9: output 0 loses 1
    picture(0.9, 0.7, 0.5, 0.3),  # 9 and 7: output 1 loses 2
]
COVERAGE = [covering(0, 1.0), covering(1, 0.5), covering(2, 0.5)]
MAP = [4.0, 1.0, 2.0, 3.0]  # on the things 16 * 4, 8 * 1 and 8 * 2, in all 16 * 10


def scene(*numbers):
    """Give a scene of some of the three things."""
    chosen = SceneTruth(
        torch.stack([WITHOUT[one] for one in numbers]),
        torch.stack([COVERAGE[one] for one in numbers]),
        tuple("abc"[one] for one in numbers),
    )
    return Truth(scene=lambda: chosen)


def test_by_hand():
    # Ranks of relevance 3 1 2, of the drops 2, 1, 0: 3 2 1. 1 - 6 * (0 + 1 + 1) / (3 * 8) = 1/2.
    # Reversed, relevance 1 * 16, 4 * 8, 3 * 8: ranks 1 3 2, so 1 - 6 * (4 + 1 + 1) / 24 = -1/2.
    # Two things, the second and the third: 8 and 16 against 1 and 0, so -1.
    truth = (scene(0, 1, 2), scene(0, 1, 2), scene(1, 2), scene(0), Truth())
    maps = [MAP, [1.0, 4.0, 3.0, 2.0], MAP, MAP, MAP]
    with open_case(maps, truth=truth, images=torch.stack([IMAGE] * 5)) as case:
        approx = lambda values: pytest.approx(values, abs=1e-6, nan_ok=True)  # noqa: E731
        assert counterfactual_rank(case).tolist() == approx([0.5, -0.5, -1, NAN, NAN])
        assert counterfactual_top(case).tolist() == approx([1, 0, 0, NAN, NAN])
        assert mass_on_target(case).tolist() == approx([0.4, 0.1, 8 / 160, 0.4, NAN])
        # Of a score of 9, 5 % are 0.45: only the third thing is not needed. It holds 16 or 24 of 160.
        assert distractibility(case).tolist() == approx([0, 0, 0, NAN, NAN])
        assert distractibility(case, share=0.12).tolist() == approx([1, 0, 1, NAN, NAN])
        # With 15 %, 1.35, the second is not needed either: it holds 8 or 32.
        assert distractibility(case, 0.15, 0.12).tolist() == approx([1, 0, 1, NAN, NAN])
        assert distractibility(case, 0.15, 0.075).tolist() == approx([0.5, 0, 0.5, NAN, NAN])
        assert background_independence(case).tolist() == approx([0.5, 0.5, 1, NAN, NAN])
        assert background_independence(case, 0.15).tolist() == approx([1, 1, 1, NAN, NAN])


def test_negative_relevance_and_equal_things():
    truth = (scene(0, 1, 2),) * 3
    maps = [[2.0, -4.0, -1.0, 2.0], [-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 1.0]]
    with open_case(maps, truth=truth, images=torch.stack([IMAGE] * 3)) as case:
        # On the things 32, -32, -8; then -16, -8, -8; then nothing.
        assert counterfactual_rank(case)[0].item() == pytest.approx(0.5)
        assert counterfactual_rank(case)[1].item() == pytest.approx(-(0.75**0.5))  # ranks 1, 2.5, 2.5 against 3, 2, 1
        assert counterfactual_rank(case)[2].isnan()
        assert counterfactual_top(case).tolist() == pytest.approx([1, 0, 1 / 3])
        assert mass_on_target(case).tolist() == pytest.approx([0.5, NAN, 0.0], nan_ok=True)
        assert distractibility(case).tolist() == pytest.approx([1, NAN, 1], nan_ok=True)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([1.0, 9.0, 3.0, 0.0], 1.0),  # less on the first thing, more on the third
        ([1.0, 9.0, 1.0, 0.0], 0.5),
        ([5.0, 9.0, 3.0, 0.0], 0.5),
        ([4.0, 1.0, 2.0, 3.0], 0.0),  # the same map
        ([3.99999, 1.0, 2.00001, 3.0], 0.0),  # the same but for rounding
        ([5.0, 0.0, 1.0, 0.0], 0.0),
    ],
)
def test_target_sensitivity_by_hand(other, expected):
    # The drops of output 0 are 2, 1, 0, those of output 1 0, 0, 2: thing 0 speaks for the one, thing 2 for the other.
    explain = Scripted([other] * 2)
    with open_case([MAP] * 2, explain, (scene(0, 1, 2), scene(0, 1)), images=torch.stack([IMAGE] * 2)) as case:
        found = target_sensitivity(case)
    assert found[0] == expected
    assert found[1].isnan()  # nothing among the first two speaks for output 1
    ((_, asked, _, _),) = explain.asked
    assert asked == [1, 1]


def test_target_sensitivity_needs_classes():
    for target in ("embedding", vt.Contrast(0, 2)):
        with open_case([MAP], Scripted(), (scene(0, 1, 2),), target, images=IMAGE[None]) as case:
            assert target_sensitivity(case).isnan().all()


def test_a_difference_of_two_classes_has_its_own_drops():
    # Output 0 less output 1: the drops are 2, 1, -2. On the things 64, 8 and 16: ranks 3 1 2 against 3 2 1.
    with open_case([MAP], truth=(scene(0, 1, 2),), target=vt.Contrast(0, 1), images=IMAGE[None]) as case:
        assert counterfactual_rank(case).item() == pytest.approx(0.5)
    with open_case([MAP], truth=(scene(0, 1, 2),), target=vt.Contrast(1, 0), images=IMAGE[None]) as case:
        assert counterfactual_rank(case).item() == pytest.approx(-0.5)


def test_the_drop_of_an_embedding_is_along_its_direction():
    with open_case([MAP], truth=(scene(0, 1, 2),), target="embedding", images=IMAGE[None]) as case:
        known = known_things(case)[0]
        direction = case.trace.target.direction[0].double()
        outputs = torch.tensor([[9.0, 9, 5], [7, 9, 5], [8, 9, 5], [9, 7, 5]], dtype=torch.float64)
        expected = (outputs[0] - outputs[1:]) @ direction
        assert drops(case, 0, known).tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        assert (direction.abs() > 0.1).sum() == 2


def test_scenes_are_rendered_and_run_once_for_all_metrics_and_methods():
    rendered = []

    def render(number):
        rendered.append(number)
        return scene(*range(number)).scene()

    truth = tuple(Truth(scene=lambda number=number: render(number)) for number in (3, 1, 2))
    with open_case([MAP] * 3, Scripted(*[[MAP] * 3] * 2), truth, images=torch.stack([IMAGE] * 3)) as case:
        before = case.trace.forwards
        for maps in (case.relevance, -case.relevance):
            other = Case(case.trace, maps, case.explain, truth)
            for metric in METRICS:
                metric(other)
        # Six pictures are two passes of a batch of three, and target sensitivity runs the method once for each map.
        assert case.trace.forwards - before == 2 + 2
    assert rendered == [3, 1, 2]


def test_pixel_maps_count_their_pixels():
    with open_case([MAP], truth=(scene(0, 1, 2),), images=IMAGE[None]) as case:
        fine = Case(case.trace, picture(*MAP)[:1].clone(), case.explain, case.truth)
        for metric in (counterfactual_rank, counterfactual_top, mass_on_target, distractibility):
            assert torch.equal(metric(fine), metric(case))


@pytest.fixture(scope="module")
def rendered():
    return vt.open_vit("bundled:scenes"), list(scenes())[:4]


def as_image(picture):
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)


def known(sample):
    def scene():
        removed = torch.stack([as_image(one.image) for one in sample.removals()])
        coverage = torch.stack([torch.from_numpy(sample.coverage(thing)) for thing in range(len(sample.things))])
        return SceneTruth(removed, coverage, tuple(thing.shape for thing in sample.things))

    return Truth(scene=scene)


@pytest.mark.parametrize("size", [(12, 12), (96, 96)])
def test_rendered_scenes_agree_with_the_truth_of_single_heatmaps(rendered, size):
    vit, samples = rendered
    images = torch.stack([as_image(sample.image) for sample in samples])
    maps = torch.randn(len(samples), *size, generator=torch.Generator().manual_seed(0))
    assert len({len(sample.things) for sample in samples}) > 1
    with vit.trace(images, [sample.index for sample in samples]) as trace:
        case = Case(trace, maps, lambda _trace: maps, tuple(known(sample) for sample in samples))
        ranks, top, mass = counterfactual_rank(case), counterfactual_top(case), mass_on_target(case)
        alone, quiet = background_independence(case), distractibility(case)
    for number, sample in enumerate(samples):
        frame = frame_tensor((96, 96), (8, 8), (12, 12))
        heatmap = Heatmap(maps[number].numpy(), "share", True, frame, Provenance.model_construct())
        drops = logit_drops(vit, sample)
        assert ranks[number].item() == pytest.approx(rank_agreement(heatmap, sample, drops), abs=1e-6)
        assert mass[number].item() == pytest.approx(mass_inside_target(heatmap, sample), abs=1e-6)
        # And once more in plain loops.
        spread = maps[number].double().numpy()
        spread = np.array([[spread[y * size[0] // 96, x * size[1] // 96] for x in range(96)] for y in range(96)])
        relevance = [float((spread * sample.coverage(thing)).sum()) for thing in range(len(sample.things))]
        assert top[number] == (np.argmax(relevance) == drops.argmax())
        score = float(vit.logits(images[number : number + 1])[0, sample.index])
        needed = [drop >= 0.05 * abs(score) for drop in drops]
        assert alone[number].item() == pytest.approx(1 - np.mean(needed[1:]))
        named = [one > 0.05 * np.maximum(spread, 0).sum() for one in relevance]
        idle = [not name for name, need in zip(named, needed, strict=True) if not need]
        assert quiet[number].item() == pytest.approx(np.mean(idle))


@pytest.mark.parametrize(
    ("metric", "parameters", "match"),
    [
        (distractibility, {"tolerance": -0.1}, "tolerance=-0.1"),
        (distractibility, {"share": -1.0}, "share=-1.0"),
        (background_independence, {"tolerance": -0.1}, "tolerance=-0.1"),
    ],
)
def test_bad_parameters_are_refused(metric, parameters, match):
    with (
        open_case([MAP], truth=(scene(0, 1, 2),), images=IMAGE[None], vit=open_planted(grid=(2, 2))) as case,
        pytest.raises(vt.VitreousError, match=match),
    ):
        metric(case, **parameters)
