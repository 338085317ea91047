"""Reading logits from any tokens, and the backward of a linear layer whose gradient is the same for all tokens."""

import pytest
import torch
import torch.nn.functional as F

import vitreous as vt
from contracts.families import BEHIND, EITHER_SIDE, FAMILIES, random_images
from vitreous.vit.entering import read_out
from vitreous.vit.row_linear import row_linear


def test_where_the_prediction_is_read_is_said_in_words():
    said = {family: EITHER_SIDE[family].open().readout.describe() for family in ("timm", "timm distilled", *BEHIND)}
    assert said.pop("timm distilled") == "mean of 2 class tokens"
    assert set(said.values()) == {"class token"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_tokens_of_other_images_give_their_logits(family):
    vit = FAMILIES[family].open()
    images = random_images(vit, 5)
    with vit.trace(images) as trace:
        found = read_out(vit.body, trace.inputs[3:], trace.tokens[-1].detach())
        assert (found - trace.logits).abs().max() < 1e-5 * trace.logits.abs().max()


@pytest.mark.parametrize("family", ["timm", "beit", "transformers eager", "dinov2 registers", "handwritten"])
def test_what_the_blocks_multiply_does_not_matter(family):
    vit = FAMILIES[family].open()
    with vit.trace(random_images(vit, 2)) as trace:
        tokens = trace.tokens[-1].detach()
        expected = read_out(vit.body, trace.inputs, tokens)
        with torch.no_grad():
            for block in vit.blocks:
                for module in block.modules():
                    if isinstance(module, torch.nn.Linear):
                        module.weight.fill_(torch.nan)
        assert torch.equal(read_out(vit.body, trace.inputs, tokens), expected)


def test_a_backward_hook_on_the_last_block_is_not_called_and_does_not_warn():
    vit = FAMILIES["timm"].open()
    fired = []
    vit.blocks[-1].register_full_backward_hook(lambda *_: fired.append(1))
    images = random_images(vit, 2)
    found = torch.tensor(vt.explain(vit, images, "legrad", 1)[0].relevance)
    calls = len(fired)
    expected = torch.tensor(vt.explain(FAMILIES["timm"].open(), images, "legrad", 1)[0].relevance)
    assert torch.equal(found, expected)
    assert calls == 0


@pytest.mark.parametrize("shared", [True, False])
def test_a_gradient_shared_by_all_tokens_is_that_of_a_linear_layer(shared):
    torch.manual_seed(0)
    tokens = torch.randn(3, 7, 5, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    slope = torch.randn(3, 1, 4, dtype=torch.float64).expand(-1, 7, -1)
    slope = slope if shared else slope.contiguous()
    (found,) = torch.autograd.grad(row_linear(tokens, weight, bias), tokens, slope)
    (expected,) = torch.autograd.grad(F.linear(tokens, weight, bias), tokens, slope)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-12)
