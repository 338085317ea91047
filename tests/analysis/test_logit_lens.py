"""The logit lens: against the models' own heads, written out for some, and against their logits for all families."""

from importlib import import_module

import pytest
import torch

import vitreous as vt
from contracts.families import FAMILIES, random_images
from oracles.planted import GAIN, IDLE, open_planted, planted_images
from vitreous.analysis.logit_lens import lens_logits, logit_lens, patch_evidence
from vitreous.core.errors import InputError

EVERY = pytest.mark.parametrize("family", FAMILIES)

HEADS = {  # what each library writes after its last block
    "timm": lambda model, tokens: model.head(model.norm(tokens)[:, 0]),
    "timm distilled": lambda model, tokens: (
        (model.head(model.norm(tokens)[:, 0]) + model.head_dist(model.norm(tokens)[:, 1])) / 2
    ),
    "timm registers": lambda model, tokens: model.head(model.norm(tokens)[:, 0]),
    "timm mean": lambda model, tokens: model.head(model.fc_norm(model.norm(tokens).mean(1))),
    "timm class token, mean": lambda model, tokens: model.head(model.fc_norm(model.norm(tokens)[:, 1:].mean(1))),
    "timm map": lambda model, tokens: model.head(model.fc_norm(model.attn_pool(model.norm(tokens)))),
    "transformers eager": lambda model, tokens: model.classifier(model.vit.layernorm(tokens)[:, 0]),
    "torchvision": lambda model, tokens: model.heads(model.encoder.ln(tokens)[:, 0]),
    "handwritten": lambda model, tokens: model.classifier(model.norm(tokens)[:, 0]),
}


@EVERY
def test_the_last_column_is_what_the_model_says(family):
    vit = FAMILIES[family].open()
    targets = [0, vt.Contrast(2, 1), 3]
    with vit.trace(random_images(vit, 3), targets) as trace:
        found, logits = logit_lens(trace), lens_logits(trace)
        tolerance = 1e-5 * float(trace.logits.detach().abs().max())
        assert (logits[:, -1] - trace.logits).abs().max() < tolerance
        assert (found.score[:, -1] - trace.score).abs().max() < tolerance
        assert (found.probability[:, -1] - trace.logits.softmax(1)[range(3), [0, 2, 3]]).abs().max() < 1e-5
        expected = trace.logits.argsort(1, descending=True)
        assert torch.equal(found.top[:, -1], expected[:, :5])
        ranks = [1 + expected[image].tolist().index(index) for image, index in enumerate([0, 2, 3])]
        assert found.rank[:, -1].tolist() == ranks
    assert found.score.shape == (3, 3)
    assert (logits[:, 0] - logits[:, -1]).abs().max() > 1e-2


@pytest.mark.parametrize("family", HEADS)
def test_every_column_is_the_models_own_head(family):
    vit = FAMILIES[family].open()
    with vit.trace(random_images(vit, 2), [0, vt.Contrast(1, 2)]) as trace, torch.no_grad():
        found, logits = logit_lens(trace, top=3), lens_logits(trace)
        expected = torch.stack([HEADS[family](vit.model, tokens) for tokens in trace.tokens], 1)
        assert torch.allclose(logits, expected, atol=1e-5 * float(expected.abs().max()))
    scores = torch.stack([expected[0, :, 0], expected[1, :, 1] - expected[1, :, 2]])
    assert torch.allclose(found.score, scores, atol=1e-4)
    for image, block in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        row = sorted(((value, index) for index, value in enumerate(expected[image, block].tolist())), reverse=True)
        assert found.top[image, block].tolist() == [index for _, index in row[:3]]
        assert 1 + [index for _, index in row].index(image) == found.rank[image, block]
        shares = expected[image, block].double().softmax(0)
        assert found.top_probability[image, block].tolist() == pytest.approx(
            [shares[i].item() for _, i in row[:3]], rel=1e-3
        )
        assert found.probability[image, block].item() == pytest.approx(shares[image].item(), rel=1e-3)


def test_it_finds_the_block_that_reads_the_planted_patch():
    vit = open_planted()
    images, brightness = planted_images(vit, [(0, 11), (5, 2)])
    with vit.trace(images, "brightest") as trace:
        found = logit_lens(trace)
        evidence = [patch_evidence(trace, position) for position in (0, 1)]
    # the class token enters with nothing, so that output 2, a constant, is ahead; the block writes the answer
    assert found.score[:, 0].tolist() == [0, 0]
    assert found.score[:, 1].tolist() == pytest.approx((GAIN * brightness.amax(1)).tolist())
    assert found.rank[:, 0].tolist() == [2, 2]  # output 1 has nothing either, and ties do not count
    assert found.rank[:, 1].max() <= 2  # output 1 says 1 - darkest, which is as large up to rounding
    assert found.top[:, 0, 0].tolist() == [2, 2]
    assert found.top_probability.sum(-1) == pytest.approx(torch.ones(2, 2))
    assert found.probability[:, 0].tolist() == pytest.approx([1 / (2 + torch.exp(torch.tensor(IDLE)).item())] * 2)
    assert evidence[0].abs().max() == 0
    assert torch.allclose(evidence[1], (GAIN * brightness.amax(1))[:, None, None].expand(2, *vit.grid))


@EVERY
def test_patch_evidence_is_the_score_of_tokens_that_are_all_alike(family):
    vit = FAMILIES[family].open()
    (rows, columns), prefix = vit.grid, vit.prefix
    with vit.trace(random_images(vit, 2), [0, vt.Contrast(1, 2)]) as trace, torch.no_grad():
        found = patch_evidence(trace, 1)
        tokens = trace.tokens[1].detach()
        if family in HEADS:
            for patch in range(rows * columns):
                alike = tokens[:, prefix + patch, None].expand_as(tokens)
                logits = HEADS[family](vit.model, alike)
                expected = torch.stack([logits[0, 0], logits[1, 1] - logits[1, 2]])
                assert torch.allclose(found.flatten(1)[:, patch], expected, atol=1e-4)
        if family in {"timm", "eva rope registers", "beit", "transformers sdpa", "dinov2 registers"}:
            # a model whose tokens all are the first patch's has that patch's evidence as its score
            again = logit_of(trace, tokens[:, prefix, None].expand_as(tokens))
            assert torch.allclose(found[:, 0, 0], trace.target.score(again), atol=1e-4)
        assert found.flatten(1).std(1).min() > 1e-3


def logit_of(trace, tokens):
    """Run the whole model, and exchange what leaves its last block by a hook of our own."""
    last = trace.vit.blocks[-1]

    def exchange(module, args, output):
        return (tokens, *output[1:]) if isinstance(output, tuple) else tokens

    handle = last.register_forward_hook(exchange)
    try:
        return trace.vit.logits(trace.images)
    finally:
        handle.remove()


def test_with_a_plain_mean_the_patches_have_the_mean_score():
    vit = open_planted(prefix=0)  # no norm: the head is linear in the mean
    images, _ = planted_images(vit, [(0, 11), (5, 2)])
    with vit.trace(images, ["brightest", "darkest"]) as trace:
        assert torch.allclose(patch_evidence(trace).mean((1, 2)), trace.score, atol=1e-5)


def test_what_does_not_fit_into_a_pass_is_read_in_parts(monkeypatch):
    vit = FAMILIES["timm registers, map"].open()
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        evidence, logits = patch_evidence(trace), lens_logits(trace)
    monkeypatch.setattr(import_module("vitreous.analysis.logit_lens"), "MOST_TOKENS", 5 * vit.tokens)
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        assert torch.allclose(patch_evidence(trace), evidence, atol=1e-5)
        assert torch.allclose(lens_logits(trace), logits, atol=1e-5)


def test_embeddings_have_a_score_alone_and_a_capture_its_own_positions():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 2)
    with vit.trace(images, "embedding") as trace:
        found = logit_lens(trace)
        assert torch.allclose(found.score[:, -1], trace.score, atol=1e-4)
    assert found.probability is found.rank is found.top is found.top_probability is None
    with vit.trace(images, 0) as trace:
        whole = logit_lens(trace)
        assert trace.forwards == 1 + 3
        assert logit_lens(trace, top=100).top.shape[-1] == vit.outputs
        assert trace.forwards == 1 + 3  # once for a trace
        with pytest.raises(InputError, match="outside the trace"):
            patch_evidence(trace, 3)
        with pytest.raises(InputError, match="lists nothing"):
            logit_lens(trace, top=0)
    with vit.trace(images, 0, capture=vt.Capture(first=1, graph=False)) as trace:
        assert torch.allclose(logit_lens(trace).score, whole.score[:, 1:], atol=1e-5)
