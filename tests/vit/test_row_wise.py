"""Attention read by rows is the attention that a trace keeps, on every family, and never whole in memory."""

import pytest
import timm
import torch

import vitreous as vt
from contracts.families import EITHER_SIDE, FAMILIES, random_images
from oracles.live_bytes import LiveBytes
from vitreous.analysis.head_numbers import head_numbers, head_numbers_by_rows
from vitreous.core.errors import InputError, MethodNotApplicableError, UnsupportedModelError
from vitreous.vit import selfcheck
from vitreous.vit.row_wise import read_by_rows, reading_attention

EVERY = pytest.mark.parametrize("family", FAMILIES)
PLAIN = {"capture": vt.Capture(graph=False)}


@EVERY
@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_rows_put_together_are_the_attention_of_a_trace(family, at_once):
    vit = FAMILIES[family].open()
    images = random_images(vit, 2)
    found = torch.full((2, len(vit.blocks), vit.heads, vit.tokens, vit.tokens), float("nan"))

    def keep(block, rows, attention):
        assert attention.shape[-2] == rows.stop - rows.start <= at_once
        assert found[:, block, :, rows].isnan().all()  # no row comes twice
        found[:, block, :, rows] = attention

    logits = read_by_rows(vit, images, keep, at_once)
    with vit.trace(images, 0, **PLAIN) as trace:
        assert torch.allclose(found, torch.stack(trace.attention, 1), atol=1e-6)
        assert torch.allclose(logits, trace.logits, atol=1e-4)


@EVERY
def test_reading_attention_is_that_of_what_the_head_reads(family):
    vit = FAMILIES[family].open()
    images = random_images(vit, 3)
    found = reading_attention(vit, images, 4)
    with vit.trace(images, 0, **PLAIN) as trace:
        expected = torch.stack([torch.einsum("bn,bhnm->bhm", trace.reading, each) for each in trace.attention], 1)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(found.sum(-1), torch.ones(found.shape[:-1]), atol=1e-5)


@pytest.mark.parametrize("family", EITHER_SIDE)
@pytest.mark.parametrize("queries", ["patches", "prefix", "all"])
def test_numbers_by_rows_are_those_of_a_trace(family, queries):
    vit = EITHER_SIDE[family].open()
    if queries == "prefix" and not vit.prefix + vit.suffix:
        with pytest.raises(InputError, match="no class or register"):
            head_numbers_by_rows(vit, random_images(vit, 1), queries)
        return
    images = random_images(vit, 2)
    found = head_numbers_by_rows(vit, images, queries, 3)
    with vit.trace(images, 0, **PLAIN) as trace:
        expected = head_numbers(trace, queries)
    for name, value in vars(expected).items():
        assert torch.allclose(getattr(found, name).float(), value.float(), atol=1e-5, rtol=1e-4, equal_nan=True), name


def test_memory_does_not_grow_with_blocks_nor_with_the_square_of_tokens():
    def peaks(blocks, side):
        model = timm.create_model(
            "vit_tiny_patch16_224", pretrained=False, img_size=side, patch_size=4, depth=blocks, embed_dim=64,
            num_heads=8, num_classes=3,
        ).eval()  # fmt: skip
        vit = vt.open_vit(model)
        with LiveBytes() as live:
            head_numbers_by_rows(vit, torch.rand(1, 3, side, side), at_once=8)
        return live.peak, 4 * vit.heads * vit.tokens**2

    few, whole = peaks(2, 96)
    many, _ = peaks(6, 96)
    assert many < 1.1 * few
    assert few < 0.5 * whole  # not even one matrix of one block


def test_what_cannot_be_read_is_refused():
    torch.manual_seed(0)
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, embed_dim=24, depths=(1, 1), num_heads=(1, 2), window_size=4, num_classes=4
    )  # fmt: skip
    windowed = vt.open_vit(swin.eval(), require_attention=False)
    with pytest.raises(InputError, match="at_once=0"):
        head_numbers_by_rows(FAMILIES["timm"].open(), random_images(FAMILIES["timm"].open(), 1), at_once=0)
    with pytest.raises(MethodNotApplicableError, match="plain attention"):
        head_numbers_by_rows(windowed, torch.rand(1, 3, 32, 32))


@EVERY
def test_a_model_with_too_much_attention_to_keep_is_opened_all_the_same(family, monkeypatch):
    usual = FAMILIES[family].open()
    monkeypatch.setattr(selfcheck, "MOST_BYTES", 0)
    large = FAMILIES[family].open()
    for name in ("prefix", "suffix", "grid", "patch", "heads", "attention_kind"):
        assert getattr(large, name) == getattr(usual, name)
    assert torch.equal(large.plain_readout.weights, usual.plain_readout.weights)


class OneHeadForAll(torch.nn.Module):
    """Attention in the first block only whose heads lie before the images, so that rows belong to other images."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, tokens, **_):
        images, count, width = tokens.shape
        heads = self.attention.num_heads
        rows = self.attention.qkv(tokens).reshape(images, count, 3, heads, width // heads).permute(2, 3, 0, 1, 4)
        query, key, value = rows  # heads, images: swapped
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return self.attention.proj(mixed.permute(1, 2, 0, 3).reshape(images, count, width))


def test_a_wrong_early_block_is_found_where_attention_is_read_by_rows(monkeypatch):
    monkeypatch.setattr(selfcheck, "MOST_BYTES", 0)
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=32, patch_size=8, depth=3, embed_dim=48, num_heads=3, num_classes=3
    ).eval()  # fmt: skip
    model.blocks[0].attn = OneHeadForAll(model.blocks[0].attn)
    with pytest.raises(UnsupportedModelError, match="attention of an image is its own"):
        vt.open_vit(model)


def test_memory_of_opening_does_not_grow_with_blocks(monkeypatch):
    monkeypatch.setattr(selfcheck, "MOST_BYTES", 0)

    def peak(blocks):
        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224", pretrained=False, img_size=96, patch_size=4, depth=blocks, embed_dim=16, num_heads=8,
            num_classes=3,
        ).eval()  # fmt: skip
        with LiveBytes() as live:
            vt.open_vit(model)
        return live.peak

    assert peak(6) < 1.3 * peak(2)
