"""Causal metrics against public libraries that have the same quantity, where these are installed."""

import pytest
import torch

import vitreous as vt
from contracts.families import WIDE, random_images, scramble, timm_vit
from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import METRICS
from vitreous.metrics._random_sets import draw_sets, sizes_of_sets
from vitreous.vit.coalitions import coalition_scores
from vitreous.vit.impute import imputed


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_imputation_is_that_of_grad_cam():
    """Theirs gives single precision; the noise is set to 0."""
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randn(3, 12, 17, generator=generator, dtype=torch.float64)
    known = torch.rand(12, 17, generator=generator) > 0.6
    theirs = road.NoisyLinearImputer(noise=0.0)(pixels.float(), known.double())
    assert (imputed(pixels, known, torch.zeros_like(pixels)) - theirs).abs().max() < 1e-6


def test_infidelity_is_that_of_captum():
    """Its inputs are the patches of an image as ones, its perturbation is what to take away of them."""
    metrics = pytest.importorskip("captum.metrics")
    plain = vt.Preprocessing(size=WIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    vit = vt.open_vit(scramble(timm_vit()).double(), preprocessing=plain)
    sets, sizes = 6, sizes_of_sets(12, 0.1, 0.5, 3)
    with vit.trace(random_images(vit, 1), [3]) as trace:
        ones = torch.ones(1, 1, 12, dtype=torch.bool)
        alone = ~torch.eye(12, dtype=torch.bool)[None]
        maps = (trace.score.detach()[:, None] - coalition_scores(trace, alone, "black")).reshape(1, 3, 4)
        case = Case(trace, maps, lambda _: maps, (Truth(),))
        removed = torch.cat([draw_sets(case, sets, size) for size in sizes], 1)[0].double()

        def forward(kept):
            return coalition_scores(trace, kept[None] > 0.5, "black")[0]

        def perturb(inputs):
            return removed, inputs - removed

        for scaled in (False, True):
            (theirs,) = metrics.infidelity(
                forward,
                perturb,
                ones[0].double(),
                maps.reshape(1, 12),
                n_perturb_samples=len(removed),
                normalize=scaled,
            ).tolist()
            mine = METRICS["infidelity"].function(case, sets=sets, sizes=3, fill="black", scaled=scaled, relative=False)
            assert mine.item() == pytest.approx(theirs, abs=1e-9)
