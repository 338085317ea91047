"""Metrics against torchmetrics, scikit-learn, Quantus and pytorch-grad-cam, where they are the same and where not.

docs/peers.md says which agree under which parameters. Tests of the name `test_theirs_…` reproduce what that page says
the libraries do otherwise: they fail when a new version no longer does.
"""

from contextlib import contextmanager
from itertools import chain

import numpy as np
import pytest
import scipy.stats
import timm.models.vision_transformer
import torch
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

import vitreous as vt
from contracts.families import PATCH, WIDE, random_images, scramble, timm_vit
from metrics.place_cases import case_of
from oracles.planted import open_planted
from vitreous.methods._method import METHODS
from vitreous.metrics._agreement import agreement
from vitreous.metrics._case import Case, HumanTruth, Truth
from vitreous.metrics._curve import removal_curve, without_first
from vitreous.metrics._metric import METRICS
from vitreous.metrics._random_sets import draw_sets
from vitreous.metrics._rank import descending_pixels
from vitreous.metrics._removal import still_right
from vitreous.metrics._sets import pixel_answers
from vitreous.vit.impute import imputed

CELLS = open_planted(grid=(9, 11), patch=1)
"""Patches of one pixel: a map on the grid is a map of the pixels, and nothing is interpolated."""
BLACK = -1.0
"""Black after the normalisation of `opened`."""
FEATURES = 3 * PATCH * PATCH
"""Numbers in a patch."""


@pytest.fixture
def quantus():
    """Quantus; whatever it does to NumPy's global random numbers is undone."""
    state = np.random.get_state()  # noqa: NPY002 theirs are the global ones
    yield pytest.importorskip("quantus")
    np.random.set_state(state)  # noqa: NPY002


@pytest.fixture
def classification():
    return pytest.importorskip("torchmetrics.functional.classification")


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def signed_maps(count, seed=0, size=(9, 11)):
    return torch.randn(count, *size, generator=drawn(seed), dtype=torch.float64)


def masks_of(count, seed=1, size=(9, 11)):
    """Squares and a few scattered pixels."""
    masks = torch.rand(count, *size, generator=drawn(seed)) > 0.9
    masks[:, 2:6, 3:8] = True
    return masks


def ours(name, maps, truths, **parameters):
    with case_of(maps, truths, CELLS) as case:
        return METRICS[name].function(case, **parameters)


def pooled(name, maps, masks, **parameters):
    found = ours(name, maps, [Truth(mask=mask) for mask in masks], **parameters)
    return METRICS[name].value(found.numpy())


class Exact(torch.nn.Module):
    """A model in double precision for libraries that hand over single precision; the inputs here survive that."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs.double())


@contextmanager
def opened(images, target, relevance, truth=None, model=None):
    """Open a case in double precision; also give the model and its inputs as other libraries take them."""
    model = scramble(model or timm_vit()).double()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=WIDE, mean=(0.5,) * 3, std=(0.5,) * 3))
    with vit.trace(images, target) as trace:
        case = Case(trace, relevance, lambda _: relevance, truth or (Truth(),) * len(images))
        yield case, Exact(model).eval(), vit.prepare(images).numpy()


def exact_images(count, seed=3):
    """Images that normalisation keeps exact in single precision, and that are nowhere black."""
    return torch.randint(1, 257, (count, 3, *WIDE), generator=drawn(seed)) / 256


def spread(patches):
    """Share the relevance of each patch out evenly among its numbers: "b 1 H W"."""
    fine = patches.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    return (fine[:, None] / FEATURES).numpy()


def ask(metric, model, inputs, targets, maps, masks=None, **call):
    """Call a metric of Quantus; maps are "b H W" or with channels."""
    maps = np.asarray(maps)
    return metric(
        model,
        np.asarray(inputs),
        np.asarray(targets),
        (maps if maps.ndim == 4 else maps[:, None]).copy(),
        None if masks is None else np.asarray(masks)[:, None],
        channel_first=True,
        **call,
    )


def of_maps(metric, maps, masks=None, **call):
    """Call a metric of Quantus that asks no model."""
    return ask(metric, None, np.zeros((len(maps), 3, *maps.shape[-2:])), [0] * len(maps), maps, masks, **call)


def plain(metric, **parameters):
    """A metric of Quantus that takes maps as they are."""
    return metric(abs=False, normalise=False, disable_warnings=True, **parameters)


# --- torchmetrics, scikit-learn ---


def test_overlap_is_that_of_torchmetrics(classification):
    maps, masks = torch.rand(3, 9, 11, generator=drawn(5), dtype=torch.float64), masks_of(3)
    maps[:, 0, 0], maps[:, 8, 10] = 0, 1  # so that stretching them to 0..1 leaves them as they are
    marked = torch.stack([one > threshold_otsu(one.numpy()) for one in maps]).int()
    for name, theirs in (
        ("otsu_jaccard", classification.binary_jaccard_index),
        ("otsu_f1", classification.binary_f1_score),
        ("otsu_pixel_accuracy", classification.binary_accuracy),
    ):
        expected = [theirs(one, mask.int()).item() for one, mask in zip(marked, masks, strict=True)]
        found = ours(name, maps, [Truth(mask=mask) for mask in masks], confidence=0.0)
        assert found.tolist() == pytest.approx(expected, abs=1e-6)  # theirs is single precision
    marked = (maps > maps.mean((1, 2), keepdim=True)).int()
    miou = classification.multiclass_jaccard_index(marked, masks.int(), num_classes=2, average="macro")
    assert pooled("segmentation_miou", maps, masks) == pytest.approx(miou.item(), abs=1e-6)
    accuracy = classification.binary_accuracy(marked, masks.int())
    assert pooled("segmentation_pixel_accuracy", maps, masks) == pytest.approx(accuracy.item(), abs=1e-6)


def test_average_precision_is_that_of_torchmetrics(classification):
    maps, masks = torch.rand(3, 9, 11, generator=drawn(6), dtype=torch.float64), masks_of(3)
    maps[1] = (maps[1] * 8).floor() / 8  # with many ties
    maps[:, 0, 0], maps[:, 8, 10] = 0, 1
    truths = [Truth(mask=mask) for mask in masks]
    plain_precision = [
        classification.binary_average_precision(one, mask.int()).item() for one, mask in zip(maps, masks, strict=True)
    ]
    assert ours("pixel_average_precision", maps, truths).tolist() == pytest.approx(plain_precision, abs=1e-6)
    of_both = [
        classification.multilabel_average_precision(
            torch.stack([1 - one, one], -1).reshape(-1, 2),
            torch.stack([~mask, mask], -1).reshape(-1, 2).int(),
            num_labels=2,
            average="micro",
        ).item()
        for one, mask in zip(maps, masks, strict=True)
    ]
    assert ours("segmentation_average_precision", maps, truths).tolist() == pytest.approx(of_both, abs=1e-6)
    cut = classification.binary_average_precision(maps, masks.int(), thresholds=torch.linspace(0, 1, 33).double())
    assert pooled("pxap", maps, masks, levels=32) == pytest.approx(cut.item(), abs=1e-6)


def test_localisation_is_that_of_scikit_learn():
    """In double precision, and of values as they come."""
    theirs = pytest.importorskip("sklearn.metrics")
    maps, masks, people = signed_maps(3), masks_of(3), signed_maps(3, seed=7)
    maps[1] = maps[1].round()  # with many ties
    truths = [Truth(mask=mask, human=(HumanTruth("where", human),)) for mask, human in zip(masks, people, strict=True)]
    rows = [(mask.flatten(), one.flatten()) for mask, one in zip(masks, maps, strict=True)]
    for name, score in (("otsu_jaccard", theirs.jaccard_score), ("otsu_f1", theirs.f1_score)):
        expected = [score(mask, one > threshold_otsu(one.numpy())) for mask, one in rows]
        assert ours(name, maps, truths, confidence=0.0).tolist() == pytest.approx(expected, abs=1e-12)
    everything = torch.cat([mask for mask, _ in rows]), torch.cat([one > one.mean() for _, one in rows])
    miou = theirs.jaccard_score(*everything, average="macro")
    assert pooled("segmentation_miou", maps, masks) == pytest.approx(miou, abs=1e-12)
    accuracy = theirs.accuracy_score(*everything)
    assert pooled("segmentation_pixel_accuracy", maps, masks) == pytest.approx(accuracy, abs=1e-12)
    expected = [theirs.average_precision_score(*row) for row in rows]
    assert ours("pixel_average_precision", maps, truths).tolist() == pytest.approx(expected, abs=1e-12)
    fixated = [human.flatten() >= human.flatten().sort().values[-20] for human in people]
    expected = [theirs.roc_auc_score(place, one.flatten()) for place, one in zip(fixated, maps, strict=True)]
    assert ours("human_auc_judd", maps, truths).tolist() == pytest.approx(expected, abs=1e-12)


def test_top_pixels_are_those_of_torchmetrics():
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    maps, masks = signed_maps(4), masks_of(4)
    expected = [
        retrieval.retrieval_r_precision(one.flatten(), mask.flatten()).item()
        for one, mask in zip(maps, masks, strict=True)
    ]
    found = ours("relevance_rank_accuracy", maps, [Truth(mask=mask) for mask in masks])
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_agreement_with_people_is_that_of_torchmetrics(classification):
    regression = pytest.importorskip("torchmetrics.functional.regression")
    maps, people = signed_maps(3).abs(), signed_maps(3, seed=7).abs()
    maps[0] = (maps[0] * 3).floor() + 0.25  # with many ties
    truths = [Truth(human=(HumanTruth("where", one),)) for one in people]
    for name, theirs, tolerance in (
        ("human_pearson", regression.pearson_corrcoef, 1e-6),  # theirs is single precision at the end
        ("human_spearman", regression.spearman_corrcoef, 1e-6),
        ("human_kl", lambda one, human: regression.kl_divergence(human[None], one[None]), 1e-12),
    ):
        expected = [theirs(one.flatten(), human.flatten()).item() for one, human in zip(maps, people, strict=True)]
        assert ours(name, maps, truths).tolist() == pytest.approx(expected, abs=tolerance)
    fixated = [(human >= human.flatten().sort().values[-20]).int() for human in people]  # 20 of 99 places
    expected = [
        classification.binary_auroc(one, place).item() for one, place in zip(maps.sigmoid(), fixated, strict=True)
    ]
    assert ours("human_auc_judd", maps, truths).tolist() == pytest.approx(expected, abs=1e-6)


def test_structural_similarity_is_that_of_torchmetrics():
    """Inside the borders, and with the variance of a sample of 49: k2 takes the factor 48/49 up."""
    image = pytest.importorskip("torchmetrics.functional.image")
    one, other = signed_maps(2, size=(13, 15)), signed_maps(2, seed=8, size=(13, 15))
    other = one + 0.5 * other
    found = agreement(one.flatten(1), other.flatten(1), "ssim", (13, 15))
    scaled = [(each / each.abs().amax((1, 2), keepdim=True))[:, None] for each in (one, other)]
    windows = {"gaussian_kernel": False, "kernel_size": 7, "data_range": 2.0, "reduction": "none"}
    mean, everywhere = image.structural_similarity_index_measure(
        *scaled, **windows, k2=0.03 * (48 / 49) ** 0.5, return_full_image=True
    )
    assert found.tolist() == pytest.approx(everywhere[:, 0, 3:-3, 3:-3].mean((1, 2)).tolist(), abs=1e-12)
    assert (mean - found).abs().min() > 1e-3  # their mean has windows beyond the border in it


def test_theirs_average_precision_saturates(classification):
    """Values beyond [0, 1] are taken for logits: what the sigmoid rounds to 1 ties."""
    mask = masks_of(1)[0]
    perfect = 100.0 + mask.double()
    assert ours("pixel_average_precision", [perfect], [Truth(mask=mask)]).item() == 1
    theirs = classification.binary_average_precision(perfect, mask.int())
    assert theirs.item() == pytest.approx(mask.double().mean().item(), abs=1e-6)


def test_theirs_counts_an_empty_mask_as_a_failure(classification):
    """Where there is nothing to be found they give 0, we give no value."""
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    values, nothing = signed_maps(1)[0], torch.zeros(9, 11, dtype=torch.bool)
    assert retrieval.retrieval_r_precision(values.flatten(), nothing.flatten()).item() == 0
    assert classification.binary_f1_score(nothing.int(), nothing.int()).item() == 0
    for name, parameters in (("relevance_rank_accuracy", {}), ("otsu_f1", {"confidence": 0.0})):
        assert ours(name, [values], [Truth(mask=nothing)], **parameters).isnan().all()


# --- Quantus: the form of a map ---


def test_form_is_that_of_quantus(quantus):
    maps = signed_maps(4)
    theirs = of_maps(quantus.Sparseness(disable_warnings=True), maps.numpy())
    assert ours("gini", maps, [Truth()] * 4).tolist() == pytest.approx(list(theirs), abs=1e-6)  # theirs adds 1e-7
    theirs = of_maps(quantus.Complexity(disable_warnings=True), maps.numpy())
    assert ours("entropy", maps, [Truth()] * 4, unit="nats").tolist() == pytest.approx(list(theirs), abs=1e-9)


def test_theirs_form_of_small_and_signed_maps(quantus):
    """Sparseness adds 1e-7 to every value, in place. Complexity takes the logarithm of what is negative."""
    maps = signed_maps(2).abs() * 1e-9
    theirs = of_maps(plain(quantus.Sparseness), maps.numpy())
    assert max(theirs) < 0.02
    assert ours("gini", maps, [Truth()] * 2).min() > 0.3
    given = maps.numpy()[:, None].copy()
    plain(quantus.Sparseness)(None, np.zeros((2, 3, 9, 11)), np.zeros(2, int), given, channel_first=True)
    assert (given >= 1e-7).all()
    with np.errstate(invalid="ignore"):
        assert np.isnan(of_maps(plain(quantus.Complexity), signed_maps(2).numpy())).all()


# --- Quantus: where a map lies ---


def test_place_is_that_of_quantus(quantus):
    maps, masks = signed_maps(4), masks_of(4)
    truths = [Truth(mask=mask) for mask in masks]
    positive = maps.clamp(min=0).numpy()
    mass = ours("relevance_mass_accuracy", maps, truths).tolist()
    assert mass == pytest.approx(list(of_maps(plain(quantus.RelevanceMassAccuracy), positive, masks)), abs=1e-12)
    localisation = plain(quantus.AttributionLocalisation, positive_attributions=True)
    assert mass == pytest.approx(list(of_maps(localisation, maps, masks)), abs=1e-9)  # theirs adds 1e-9 to the sum
    rank = ours("relevance_rank_accuracy", maps, truths).tolist()
    assert rank == pytest.approx(list(of_maps(plain(quantus.RelevanceRankAccuracy), maps, masks)), abs=1e-12)
    for one, mask, expected in zip(maps, masks, rank, strict=True):
        top = plain(quantus.TopKIntersection, k=int(mask.sum()))
        assert list(of_maps(top, one[None], mask[None])) == pytest.approx([expected], abs=1e-12)
    masks[:2] = ~masks[:2]
    pointing = ours("pointing_game", maps, [Truth(mask=mask) for mask in masks]).tolist()
    assert pointing == list(of_maps(plain(quantus.PointingGame), maps, masks))
    assert set(pointing) == {0.0, 1.0}


def test_area_under_the_roc_curve_is_that_of_quantus(quantus):
    maps, people = signed_maps(3), signed_maps(3, seed=9)
    maps[0] = maps[0].round()  # with many ties
    fixated = torch.stack([human >= human.flatten().sort().values[-20] for human in people])
    found = ours("human_auc_judd", maps, [Truth(human=(HumanTruth("where", one),)) for one in people])
    assert found.tolist() == pytest.approx(list(of_maps(plain(quantus.AUC), maps, fixated)), abs=1e-12)


def test_theirs_pointing_game_hits_with_ties_and_empty_masks(quantus):
    maps, masks = signed_maps(2), torch.zeros(2, 9, 11, dtype=torch.bool)
    maps[0, 4, 4] = maps[0, 0, 0] = 9
    masks[0, 4, 4] = True  # one of two maxima; the second mask stays empty
    assert list(of_maps(plain(quantus.PointingGame), maps, masks)) == [True, True]
    assert ours("pointing_game", maps, [Truth(mask=mask) for mask in masks]).tolist() == pytest.approx(
        [0.5, np.nan], nan_ok=True
    )
    with pytest.raises((TypeError, ValueError)):
        of_maps(plain(quantus.PointingGame, weighted=True), maps, masks)


def test_theirs_relevance_mass_sums_negative_values(quantus):
    maps, masks = signed_maps(1), masks_of(1)
    maps -= maps.mean() - 0.01  # the sum is nearly 0
    theirs = of_maps(plain(quantus.RelevanceMassAccuracy), maps, masks)
    assert abs(theirs[0]) > 1
    assert 0 < ours("relevance_mass_accuracy", maps, [Truth(mask=masks[0])]).item() < 1


def test_theirs_weighted_localisation_depends_on_the_batch(quantus):
    """Areas are divided by the size of all images of the batch but the first two, and not by that of one image."""
    maps, masks = signed_maps(4).abs(), masks_of(4)
    weighted = plain(quantus.AttributionLocalisation, weighted=True)
    four, three = of_maps(weighted, maps, masks), of_maps(weighted, maps[:3], masks[:3])
    assert np.allclose(2 * np.array(four[:3]), three)


# --- Quantus: what the model does ---


def test_removing_patches_is_that_of_quantus(quantus):
    """Theirs removes pixels: of a map that is even within patches, as many as a patch has at a time."""
    images, target, maps = exact_images(3), [0, 3, 5], signed_maps(3, size=(3, 4))
    common = {"perturb_baseline": BLACK}
    with opened(images, target, maps) as (case, model, inputs):
        for quantity in ("logit", "probability"):
            asked = {"softmax": quantity == "probability"}
            curve = removal_curve(case, "most", 12, "black").answers.of(quantity)
            flipping = plain(quantus.PixelFlipping, features_in_step=FEATURES, **common)
            for metric in (flipping, plain(quantus.Selectivity, patch_size=PATCH, **common)):
                theirs = torch.tensor(np.array(ask(metric, model, inputs, target, spread(maps), **asked)))
                assert (theirs - curve[:, 1:]).abs().max() < 1e-12
                whole = torch.cat([curve[:, :1], theirs], 1)
                found = METRICS["deletion"].function(case, steps=12, fill="black", of=quantity)
                assert (torch.trapezoid(whole, dx=1 / 12) - found).abs().max() < 1e-12
            losses = {}
            for first, order in (("most", "morf"), ("least", "lerf")):
                metric = plain(
                    quantus.RegionPerturbation, patch_size=PATCH, regions_evaluation=12, order=order, **common
                )
                losses[first] = torch.tensor(np.array(ask(metric, model, inputs, target, spread(maps), **asked)))
                mean = losses[first].sum(1) / 13  # ours counts the whole image, whose loss is 0
                found = METRICS["aopc"].function(case, steps=12, fill="black", of=quantity, first=first)
                assert (mean - found).abs().max() < 1e-12
            between = (losses["most"] - losses["least"]).sum(1) / 13
            found = METRICS["abpc"].function(case, steps=12, fill="black", of=quantity)
            assert found.tolist() == pytest.approx(between.tolist(), abs=1e-12)


def test_area_under_the_curve_is_that_of_quantus(quantus, monkeypatch):
    """Theirs is in steps, and without the whole image; it calls what NumPy 2.4 has no longer."""
    images, target, maps = exact_images(2), [0, 3], signed_maps(2, size=(3, 4))
    with opened(images, target, maps) as (case, model, inputs):
        metric = plain(
            quantus.PixelFlipping, features_in_step=FEATURES, perturb_baseline=BLACK, return_auc_per_sample=True
        )
        if not hasattr(np, "trapz"):
            with pytest.raises(AttributeError, match="trapz"):
                ask(metric, model, inputs, target, spread(maps))
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
        theirs = torch.tensor(np.array(ask(metric, model, inputs, target, spread(maps), softmax=True)))
        curve = removal_curve(case, "most", 12, "black").answers.probability
        found = METRICS["deletion"].function(case, steps=12, fill="black")
    assert ((theirs + curve[:, :2].mean(1)) / 12 - found).abs().max() < 1e-12


def test_theirs_black_is_the_darkest_number_of_the_image(quantus):
    """In normalised inputs: a colour that is black in no channel, unless the image has black in it."""
    images, maps = exact_images(1) / 2 + 0.25, signed_maps(1, size=(3, 4))
    with opened(images, 0, maps) as (_, model, inputs):
        metric = plain(quantus.PixelFlipping, features_in_step=FEATURES, perturb_baseline="black")
        last = ask(metric, model, inputs, [0], spread(maps), softmax=False)[0][-1]
        darkest = model(torch.full((1, 3, *WIDE), float(inputs.min())))[0, 0].item()
        black = model(torch.full((1, 3, *WIDE), BLACK))[0, 0].item()
    assert last == pytest.approx(darkest, abs=1e-12)
    assert last != pytest.approx(black, abs=1e-3)


def test_faithfulness_correlation_is_that_of_quantus(quantus, monkeypatch):
    """Their random numbers are replaced by the pixels of our sets."""
    images, target, maps = exact_images(2), [1, 4], signed_maps(2, size=(3, 4))
    cells = spread(torch.arange(12.0).reshape(1, 3, 4)) * FEATURES
    numbers = np.broadcast_to(cells.round()[0], (3, *WIDE)).ravel()
    with opened(images, target, maps) as (case, model, inputs):
        sets = draw_sets(case, 8, 3).numpy()
        chosen = iter([np.flatnonzero(sets[image, run][numbers.astype(int)]) for run in range(8) for image in range(2)])
        monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(chosen))
        metric = plain(
            quantus.FaithfulnessCorrelation,
            nr_runs=8,
            subset_size=3 * FEATURES,
            perturb_baseline=BLACK,
            return_aggregate=False,
        )
        theirs = ask(metric, model, inputs, target, spread(maps), softmax=False)
        found = METRICS["faithfulness_correlation"].function(case, sets=8, share=0.25, fill="black")
    assert found.tolist() == pytest.approx(list(theirs), abs=1e-9)


def test_theirs_infidelity_repeats_the_same_nested_squares(quantus, monkeypatch):
    """The formula is ours, but no sets are drawn: squares are removed row by row, and stay removed."""
    images, target, maps = exact_images(2), [1, 4], signed_maps(2, size=(3, 4))
    nested = torch.ones(12, 12).tril().bool().expand(2, 12, 12)
    monkeypatch.setattr("vitreous.metrics.infidelity.draw_sets", lambda *_: nested)
    with opened(images, target, maps) as (case, model, inputs):
        per_number = spread(maps) / (inputs - BLACK)  # theirs multiplies maps with what the image loses
        common = {"perturb_patch_sizes": [PATCH], "perturb_baseline": BLACK}
        metrics = [plain(quantus.Infidelity, n_perturb_samples=samples, **common) for samples in (1, 2)]
        theirs = [ask(metric, model, inputs, target, per_number) for metric in metrics]
        found = METRICS["infidelity"].function(case, sizes=1, fill="black", scaled=False, relative=False)
    assert list(theirs[0]) == list(theirs[1])
    assert found.tolist() == pytest.approx(list(theirs[0]), rel=1e-9)


def test_theirs_sensitivity_n_correlates_over_images_of_the_first_batch(quantus):
    """Not over sets of an image: of the k-th patch's relevance alone and what all of the first k take away."""
    images, target, maps = exact_images(4), [1, 4, 2, 0], signed_maps(4, size=(3, 4))
    with opened(images, target, maps) as (case, model, inputs):
        metric = plain(
            quantus.SensitivityN,
            features_in_step=FEATURES,
            n_max_percentage=1.0,
            perturb_baseline=BLACK,
            return_aggregate=False,
        )
        curve = removal_curve(case, "most", 12, "black").answers.score
        first_batch = ask(metric, model, inputs, target, spread(maps), softmax=False, batch_size=3)
    losses, relevance = curve[:3, :1] - curve[:3, 1:], maps[:3].flatten(1).sort(1, descending=True).values
    expected = [scipy.stats.pearsonr(relevance[:, k], losses[:, k])[0] for k in range(len(first_batch))]
    assert list(first_batch) == pytest.approx(expected, abs=1e-9)


def test_theirs_completeness_is_all_or_nothing_and_of_one_colour(quantus):
    """Equal to the last bit or not; and for a map without colours only the first colour gives way to the baseline."""
    inputs = np.round(exact_images(1).numpy() * 8)
    weights = torch.arange(inputs.size).reshape(1, -1).float() % 5 - 2
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs.size, 1, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(weights)
    exact = inputs * weights.double().numpy().reshape(inputs.shape)
    metric = plain(quantus.Completeness, perturb_baseline=0.0)
    assert list(ask(metric, model, inputs, [0], exact)) == [True]
    assert list(ask(metric, model, inputs, [0], exact + 1e-9)) == [False]
    assert list(ask(metric, model, inputs, [0], exact.sum(1, keepdims=True))) == [False]


@pytest.mark.parametrize("first", ["most", "least"])
def test_road_is_that_of_quantus(quantus, monkeypatch, first):
    """Without noise; and with two more colours in the map that are never reached, which theirs needs not to fail."""
    images, maps = exact_images(6), signed_maps(6, size=WIDE)
    monkeypatch.setattr("vitreous.vit.impute.DEVIATION", 0.0)
    with opened(images, 0, maps) as (case, _, _):
        labels = case.trace.logits.argmax(1).tolist()
    with opened(images, 0, maps, tuple(Truth(label=label) for label in labels)) as (case, model, inputs):
        found = METRICS["road"].function(case, first=first)
        steps = still_right(case, first, "pixel", "impute")[:, 1:].mean(0).tolist()
    shares = [ten / 3 + 1e-6 for ten in range(10, 100, 10)]  # theirs counts the pixels of all three colours
    ranked = np.full((6, 3, *WIDE), -1e9)
    ranked[:, 0] = maps if first == "most" else -maps
    theirs = list(ask(plain(quantus.ROAD, percentages=shares, noise=0.0), model, inputs, labels, ranked).values())
    assert theirs == pytest.approx(steps, abs=1e-12)
    assert np.mean(theirs) == pytest.approx(found.mean().item(), abs=1e-12)
    assert len(set(steps)) > 2


def test_theirs_road_looks_at_the_first_batch_alone(quantus):
    labels, maps = [0, 1, 2], signed_maps(3)
    ranked = np.full((3, 3, 9, 11), -1e9)
    ranked[:, 0] = maps
    answer = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(297, 3)).eval()
    torch.nn.init.zeros_(answer[1].weight)
    answer[1].bias.data = torch.tensor([1.0, 0.0, 0.0])  # always class 0: right about the first image alone
    metric = plain(quantus.ROAD, percentages=[10])
    inputs = np.asarray(random_images(CELLS, 3))
    assert ask(metric, answer, inputs, labels, ranked)[10] == pytest.approx(1 / 3)
    assert ask(metric, answer, inputs, labels, ranked, batch_size=1)[10] == 1


def test_theirs_road_fails_for_a_map_without_colours(quantus):
    with opened(exact_images(1), 0, signed_maps(1, size=WIDE)) as (case, model, inputs), pytest.raises(IndexError):
        ask(plain(quantus.ROAD, percentages=[50]), model, inputs, [0], case.relevance)


def test_imputation_is_that_of_quantus(quantus):
    pixels = torch.randn(3, 12, 17, generator=drawn(2), dtype=torch.float64)
    known = torch.rand(12, 17, generator=drawn(4)) > 0.6
    unknown = np.flatnonzero(~known.numpy())
    theirs = quantus.functions.perturb_func.noisy_linear_imputation(pixels.numpy(), unknown, noise=0.0)
    found = imputed(pixels, known, torch.zeros_like(pixels)).numpy()
    assert np.abs(found - theirs).max() < 1e-12


# --- Quantus, once more: robustness and sanity ---


def test_max_sensitivity_is_that_of_quantus(quantus):
    images = random_images(CELLS, 3).double()

    def explain(seen):
        return torch.sin(5 * torch.as_tensor(seen).double()).sum(1)

    with case_of(explain(images), [Truth()] * 3, CELLS) as given, CELLS.trace(images.float(), 0, seed=4) as trace:
        seen = trace.images
        case = Case(trace, explain(seen), lambda other: explain(other.images), given.truth)
        found = METRICS["max_sensitivity"].function(case, radius=0.05, draws=5)
        generators = case.generators("max_sensitivity")
        draws = [torch.stack([torch.rand(3, 9, 11, generator=one) for one in generators]) for _ in range(5)]
    noisy = iter([(seen + 0.05 * (2 * one - 1)).clamp(0, 1).flatten(1).numpy() for one in draws])
    metric = plain(quantus.MaxSensitivity, nr_samples=5, perturb_func=lambda **_: next(noisy))
    theirs = ask(
        metric, None, seen, [0] * 3, explain(seen),
        explain_func=lambda inputs, **_: explain(inputs)[:, None].numpy(),
    )  # fmt: skip
    assert found.tolist() == pytest.approx(list(theirs), abs=1e-9)


def two_classes():
    return timm.models.vision_transformer.VisionTransformer(
        WIDE, PATCH, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2, num_classes=2
    )


def test_random_logit_is_that_of_quantus(quantus):
    """Of two classes there is no choice, and so nothing is drawn."""
    images = exact_images(3)

    def explain(trace):
        return METHODS["gradcam"].function(trace, relu=False).detach()

    with opened(images, [0, 1, 0], torch.zeros(3, 3, 4), model=two_classes()) as (case, _, _):
        vit, trace = case.trace.vit, case.trace
        found = METRICS["random_logit"].function(Case(trace, explain(trace), explain, case.truth))

    def explain_class(inputs, targets, **_):
        with vit.trace(torch.as_tensor(inputs), targets.tolist()) as other:
            return spread(explain(other))

    metric = plain(
        quantus.RandomLogit, num_classes=2, similarity_func=quantus.functions.similarity_func.correlation_spearman
    )
    first = explain_class(images, np.array([0, 1, 0]))
    theirs = ask(metric, None, images, [0, 1, 0], first, explain_func=explain_class)
    assert found.tolist() == pytest.approx(list(theirs), abs=1e-9)
    assert (found.abs() < 0.999).all()


def test_theirs_random_logit_draws_the_same_for_each_batch(quantus):
    """It sets NumPy's global seed for each: with batches of one, all images of a class get the same other class."""
    maps, asked = signed_maps(8).numpy()[:, None], []

    def explain(inputs, targets, **_):
        asked.extend(targets.tolist())
        return maps[: len(inputs)]

    metric = plain(
        quantus.RandomLogit, num_classes=50, similarity_func=quantus.functions.similarity_func.correlation_spearman
    )
    of_maps(metric, maps, explain_func=explain)
    assert len(set(asked)) > 4
    asked.clear()
    of_maps(metric, maps, explain_func=explain, batch_size=1)
    assert len(asked) == 8
    assert len(set(asked)) == 1
    following = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002 what theirs overwrites
        of_maps(metric, maps, explain_func=explain)
        following.append(np.random.rand())  # noqa: NPY002
    assert following[0] == following[1]


def test_theirs_similarity_of_random_logit_is_of_one_line_of_pixels(quantus):
    """The default. Rows are strung together, so a window has pixels of one row, or of two that do not touch."""
    one, other = signed_maps(1).numpy(), signed_maps(1, seed=8).numpy()
    theirs = of_maps(
        plain(quantus.RandomLogit, num_classes=2), one, explain_func=lambda **_: (one + other)[:, None]
    )  # fmt: skip
    reach = float(np.ptp([one, one + other]))
    line = structural_similarity(one.ravel(), (one + other).ravel(), data_range=reach)
    picture = structural_similarity(one[0], (one + other)[0], data_range=reach)
    assert theirs[0] == pytest.approx(line, abs=1e-12)
    assert abs(line - picture) > 1e-3


# --- pytorch-grad-cam ---


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # its imputer and NumPy 2
def test_what_is_removed_is_that_of_grad_cam(monkeypatch):
    """Their percentile is what is left. Their confidence is our answer; the imputation is single precision."""
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    confidence = pytest.importorskip("pytorch_grad_cam.metrics.perturbation_confidence")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    monkeypatch.setattr("vitreous.vit.impute.DEVIATION", 0.0)
    size = (40, 32)  # as many pixels as ten divides: else theirs removes one more
    maps = torch.rand(2, *size, generator=drawn(5), dtype=torch.float64)
    vit = vt.open_vit(scramble(timm_vit(size)), preprocessing=vt.Preprocessing(size, (0.5,) * 3, (0.5,) * 3))
    images = random_images(vit, 2)
    with vit.trace(images, [2, 5]) as trace:
        case = Case(trace, maps, lambda _: maps, (Truth(),) * 2)
        order = descending_pixels(case)
        counts = torch.tensor([128, 640, 1152])
        found = {
            name: pixel_answers(trace, without_first(ranked, counts).reshape(2, 3, *size), "impute").score
            for name, ranked in (("Most", order), ("Least", order.flip(1)))
        }
    inputs = vit.prepare(images)
    asked = [targets.ClassifierOutputTarget(2), targets.ClassifierOutputTarget(5)]
    for name, answered in found.items():
        remove = getattr(confidence, f"Remove{name}RelevantFirst")
        for place, percentile in enumerate((90, 50, 10)):
            metric = confidence.PerturbationConfidenceMetric(remove(percentile, road.NoisyLinearImputer(noise=0.0)))
            theirs = metric(inputs, maps.numpy(), asked, vit.model, return_diff=False)
            assert theirs.tolist() == pytest.approx(answered[:, place].tolist(), abs=1e-4)
    assert max(abs(one - two) for one, two in zip(*map(chain.from_iterable, found.values()), strict=True)) > 0.1


def test_theirs_grad_cam_removes_all_that_ties():
    confidence = pytest.importorskip("pytorch_grad_cam.metrics.perturbation_confidence")
    half = torch.cat([torch.zeros(5, 10), torch.ones(5, 10)])
    remove = confidence.RemoveMostRelevantFirst(90, lambda _inputs, known: known)
    assert (remove(None, half) == 0).sum() == 50  # of 100; a tenth was asked for
    assert (remove(None, torch.arange(91.0)) == 0).sum() == 10  # of 91; rounded up, ours is rounded down
