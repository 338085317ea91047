"""Outlying patch tokens, in a model that makes them where it is told to."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vitreous as vt
from contracts.families import PATCH, random_images
from oracles.planted import open_planted, planted_images
from vitreous.vit.outliers import TIMES, OutlyingToken, outlying_patches, outlying_tokens
from vitreous.vit.passes import Capture

WIDTH, GRID, BLOCKS = 4, (2, 3), 3
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)


class StretchingBlock(nn.Module):
    """Attends a little, and then gives each token the norm that it is told to, whatever the image."""

    def __init__(self, norms: list[float]) -> None:
        super().__init__()
        self.norms = nn.Parameter(torch.tensor(norms)[:, None])

    def forward(self, tokens):
        mixed = tokens + F.scaled_dot_product_attention(*[tokens.unsqueeze(1)] * 3).squeeze(1)
        return self.norms * F.normalize(mixed, dim=-1)


class StretchingViT(nn.Module):
    def __init__(self, norms: list[list[float]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.prefix = nn.Parameter(torch.randn(1, len(norms[0]) - GRID[0] * GRID[1], WIDTH))
        self.blocks = nn.ModuleList([StretchingBlock(row) for row in norms])
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


def open_stretching(*blocks: list[float]) -> vt.Vit:
    return vt.open_vit(StretchingViT(list(blocks)).eval(), preprocessing=vt.Preprocessing(size=SIZE))


EVEN = [50.0, 1.0, 1.2, 0.8, 1.1, 0.9, 1.0]
"""A class token of a large norm, which does not count, and six patches; the median that is taken is 1."""
ONE = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.1]
TWO = [0.5, 1.0, 7.0, 1.0, 1.0, 2.9, 4.0]


def test_outlying_tokens_are_found_with_block_place_norm_and_multiple():
    vit = open_stretching(EVEN, ONE, TWO)
    with vit.trace(random_images(vit, 2)) as trace:
        found = outlying_tokens(trace)
    expected = [(1, 1, 2, 3.1), (2, 0, 1, 7.0), (2, 1, 2, 4.0)]
    for tokens in found:
        assert [(token.block, token.row, token.column) for token in tokens] == [place[:3] for place in expected]
        assert [token.norm for token in tokens] == pytest.approx([place[3] for place in expected], rel=1e-5)
        assert [token.times for token in tokens] == pytest.approx([place[3] for place in expected], rel=1e-5)
        assert isinstance(tokens[0], OutlyingToken)


def test_the_bar_is_a_multiple_of_the_median():
    vit = open_stretching(EVEN, [10 * norm for norm in ONE], EVEN)
    images = random_images(vit, 1)
    for times, count in ((3.05, 1), (3.15, 0), (0.95, 4 + 6 + 4)):
        with vit.trace(images) as trace:
            assert len(outlying_tokens(trace, times)[0]) == count
    assert TIMES == 3.0


def test_only_what_the_blocks_take_in_counts():
    vit = open_stretching(EVEN, ONE, TWO)
    with vit.trace(random_images(vit, 2)) as trace:
        for blocks, places in (
            (range(1), []),
            (range(1, 2), []),
            (range(2, 3), [[1, 2]]),
            (range(3), [[1, 2]]),
        ):
            for found in outlying_patches(trace, blocks):
                assert found.nonzero().tolist() == places, blocks


def test_what_the_trace_did_not_keep_is_left_out_and_nothing_else():
    vit = open_stretching(TWO, ONE, EVEN)
    images = random_images(vit, 1)
    kept = []
    for first in range(BLOCKS):
        with vit.trace(images, capture=Capture(first=first)) as trace:
            kept.append([token.block for token in outlying_tokens(trace)[0]])
    assert kept == [[0, 0, 1], [0, 0, 1], [1]]


def test_images_of_a_batch_are_judged_alone():
    vit = open_planted()
    images, _ = planted_images(vit, [(0, 11), (5, 2)])
    with vit.trace(images) as trace:
        tokens = trace.tokens[1].detach()
        norms = trace.patches(tokens.norm(dim=-1))
        bar = float(norms[0].max() / norms[0].median()) - 1e-4
        together = outlying_tokens(trace, bar)
    for image in range(2):
        with vit.trace(images[image : image + 1]) as trace:
            alone = outlying_tokens(trace, bar)[0]
        assert [(t.row, t.column) for t in alone] == [(t.row, t.column) for t in together[image]]
    assert together[0]


def notes(vit, images, method, **parameters):
    return [found.provenance.notes for found in vt.explain(vit, images, method, **parameters)]


def test_maps_of_attention_remark_on_them_and_others_do_not():
    vit = open_stretching(EVEN, ONE, TWO)
    images = random_images(vit, 2)
    for method in ("raw_attention", "mean_attention", "rollout", "rfem", "query_attention", "agcam"):
        for (note,) in notes(vit, images, method):
            assert note.startswith("1 of 6 patch tokens have up to 3.1 times the median norm, at (row, column) (1, 2)")
    assert notes(vit, images, "saliency") == [(), ()]
    assert notes(vit, images, "raw_attention", block=1) == [(), ()]
    assert notes(vit, images, "rollout", last=1) == [(), ()]


def test_each_map_of_a_comparison_has_its_own_remarks():
    vit = open_stretching(TWO, EVEN, ONE)
    methods = {"raw_attention": {"block": 1}, "mean_attention": {"first": 2}, "saliency": {}}
    for maps in vt.compare(vit, random_images(vit, 2), methods):
        (note,) = maps["raw_attention"].provenance.notes
        assert note.startswith(
            "2 of 6 patch tokens have up to 7.0 times the median norm, at (row, column) (0, 1), (1, 2)"
        )
        assert maps["mean_attention"].provenance.notes == maps["saliency"].provenance.notes == ()


def test_a_model_without_outlying_tokens_has_no_remarks():
    vit = open_stretching(EVEN, EVEN, EVEN)
    assert notes(vit, random_images(vit, 2), "rollout") == [(), ()]


def test_deit_tiny_has_none(deit_weights, shared):
    vit = vt.open_vit("timm:deit_tiny_patch16_224", weights=deit_weights)
    for heatmap in vt.explain(
        vit, [shared / "data" / "photos" / name for name in ("koala.jpg", "catdog.png")], "rollout"
    ):
        assert heatmap.provenance.notes == ()
