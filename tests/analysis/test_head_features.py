"""Outputs of heads: by loops on every family, by the model's own projection, and streamed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from contracts.families import FAMILIES, random_images
from vitreous.analysis.head_features import collect_features, head_features, object_shares, stream_features
from vitreous.core.errors import InputError

EVERY = pytest.mark.parametrize("family", FAMILIES)


@EVERY
@pytest.mark.parametrize("where", ["reading", "patches"])
def test_outputs_are_those_of_loops_on_every_family(family, where):
    vit = FAMILIES[family].open()
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        found, stream = head_features(trace, where), stream_features(trace, where)
        attention = [each.double().detach().numpy() for each in trace.attention]
        values = [each.double().detach().numpy() for each in trace.values]
        tokens = [each.double().detach().numpy() for each in trace.tokens]
        reading = trace.reading.double().detach().numpy()
    patches = vit.grid[0] * vit.grid[1]
    if where == "patches":
        reading = np.zeros_like(reading)
        reading[:, vit.prefix : vit.prefix + patches] = 1 / patches
    assert reading.sum(1) == pytest.approx(1)
    for image, block, head in np.ndindex(found.shape[:3]):
        expected = np.zeros(values[block].shape[-1])
        for query, share in enumerate(reading[image]):
            for key, weight in enumerate(attention[block][image, head, query]):
                expected += share * weight * values[block][image, head, key]
        assert found[image, block, head].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for image, position in np.ndindex(stream.shape[:2]):
        expected = sum(share * tokens[position][image, row] for row, share in enumerate(reading[image]))
        assert stream[image, position].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert stream.shape[1] == found.shape[1] + 1


def test_projected_outputs_are_what_attention_adds_to_the_tokens_read():
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 2), 0) as trace:
        found = head_features(trace)
        for block, projection in enumerate(trace.projections):
            added = F.linear(found[:, block].flatten(1), projection.weight, projection.bias)
            expected = (trace.between(block) - trace.tokens[block])[:, 0]
            assert torch.allclose(added, expected, atol=1e-4)


def test_streaming_gives_what_whole_traces_give_without_a_graph():
    vit = FAMILIES["timm registers"].open()
    images = random_images(vit, 5)
    shares = torch.rand(5, vit.tokens)
    for where in ("reading", "patches", shares):
        with vit.trace(images, 0) as trace:
            heads, stream = head_features(trace, where), stream_features(trace, where)
        found = collect_features(vit, images.split(2), where)
        assert torch.allclose(found.heads, heads, atol=1e-5)
        assert torch.allclose(found.stream, stream, atol=1e-5)
        later = collect_features(vit, images.split(3), where, first=1)
        assert torch.allclose(later.heads, heads[:, 1:], atol=1e-5)
        assert torch.allclose(later.stream, stream[:, 1:], atol=1e-5)
        assert later.first == 1
    assert not found.heads.requires_grad
    assert found.heads.dtype == torch.float32


def test_shares_of_an_object_are_those_of_its_patches():
    vit = FAMILIES["timm registers"].open()
    (high, wide), columns = vit.patch, vit.grid[1]
    masks = torch.zeros(2, *vit.preprocessing.size)
    masks[0, high : 2 * high, : 2 * wide] = 1  # two whole patches of the second row
    masks[1, : high // 2, :wide] = 0.5
    masks[1, -1, -1] = 1
    found = object_shares(vit, masks)
    expected = torch.zeros(2, vit.tokens)
    expected[0, vit.prefix + columns : vit.prefix + columns + 2] = 0.5
    part = 0.25 * high * wide
    expected[1, vit.prefix] = part / (part + 1)
    expected[1, -1] = 1 / (part + 1)
    assert torch.allclose(found, expected)


def test_wrong_arguments_are_refused():
    vit = FAMILIES["timm"].open()
    images = random_images(vit, 2)
    with vit.trace(images, 0) as trace, pytest.raises(InputError, match="share for each token"):
        head_features(trace, torch.ones(2, 3))
    with pytest.raises(InputError, match="3 rows for 2 images"):
        collect_features(vit, [images], torch.ones(3, vit.tokens))
    with pytest.raises(InputError, match="no images"):
        collect_features(vit, [])
    with pytest.raises(InputError, match="is empty"):
        object_shares(vit, torch.zeros(1, *vit.preprocessing.size))
    with pytest.raises(InputError, match="Fit them"):
        object_shares(vit, torch.ones(1, 5, 5))
