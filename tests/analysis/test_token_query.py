"""Single tokens: what they attend to and who attends to them, their names, and outlying ones found and named."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vitreous as vt
from contracts.families import EITHER_SIDE, FAMILIES, PATCH, random_images
from oracles.planted import open_planted, planted_images
from vitreous.analysis.token_query import name_outliers, name_tokens, on_grid, query_token, token_table
from vitreous.core.errors import InputError, MethodNotApplicableError

EVERY = pytest.mark.parametrize("family", FAMILIES)

PREFIXES = {
    "timm": ["class"],
    "timm distilled": ["class", "distillation"],
    "timm registers": ["class", "register 1", "register 2", "register 3", "register 4"],
    "timm mean": [],
    "timm class token, mean": ["register 1"],
    "timm map": [],
    "timm registers, map": ["register 1", "register 2", "register 3", "register 4"],
    "eva rope registers": ["class", "register 1", "register 2", "register 3", "register 4"],
    "rope mean": [],
    "beit": ["register 1"],
    "transformers eager": ["class"],
    "transformers sdpa": ["class"],
    "dinov2 registers": ["class", "register 1", "register 2", "register 3", "register 4"],
    "torchvision": ["class"],
    "handwritten": ["class"],
    "class token behind": [],
    "registers before, class token behind": ["register 1", "register 2"],
}


@pytest.mark.parametrize("family", EITHER_SIDE)
def test_tokens_have_their_names(family):
    vit = EITHER_SIDE[family].open()
    rows, columns = vit.grid
    expected = [f"patch ({row}, {column})" for row in range(rows) for column in range(columns)]
    assert list(name_tokens(vit)) == PREFIXES[family] + expected + ["class"] * vit.suffix


def test_names_where_nothing_is_a_convention():
    vit = FAMILIES["timm registers"].open()
    weights = torch.zeros(vit.tokens + 2, dtype=torch.float64)
    weights[[0, 2, 3]] = 1 / 3
    read = replace(vit, readout=replace(vit.readout, weights=weights), suffix=2)
    assert name_tokens(read)[:6] == ("class 1", "register 1", "class 2", "class 3", "register 2", "patch (0, 0)")
    assert name_tokens(read)[-3:] == ("patch (2, 3)", "register 3", "register 4")
    weights[-1] = 1 / 3
    assert name_tokens(read)[-2:] == ("register 3", "class 4")
    weights[[2, 3]] = 0
    assert [name_tokens(read)[place] for place in (0, 1, -2, -1)] == [
        "class",
        "register 1",
        "register 5",
        "distillation",
    ]
    strange = replace(vit, readout=None)
    with pytest.raises(MethodNotApplicableError, match="no plain sequence"):
        name_tokens(strange)
    with strange.trace(random_images(vit, 1), 0) as trace, pytest.raises(MethodNotApplicableError):
        query_token(trace, prefix_token=0)


@EVERY
def test_a_query_is_a_row_and_a_column_of_attention(family):
    vit = FAMILIES[family].open()
    asked = [{"row": row, "column": column} for row in range(vit.grid[0]) for column in range(vit.grid[1])]
    asked = [{"prefix_token": number} for number in range(vit.prefix)] + asked
    with vit.trace(random_images(vit, 2), [0, 1]) as trace:
        attention = torch.stack(trace.attention, 1).detach()
        table = token_table(trace)
        norms = [
            [float(np.linalg.norm(each.detach()[1, n].numpy())) for n in range(vit.tokens)] for each in trace.tokens
        ]
        for place, where in enumerate(asked):
            found = query_token(trace, **where)
            assert (found.token, found.name) == (place, name_tokens(vit)[place])
            assert torch.equal(found.given, attention[:, :, :, place])
            assert torch.equal(found.received, attention[:, :, :, :, place])
            assert torch.allclose(found.received.mean((2, 3)), table.received[:, :, place], atol=1e-6)
        assert torch.allclose(table.reading, trace.reading)
    assert torch.allclose(table.received.sum(-1), torch.ones(2, 2), atol=1e-5)
    assert torch.allclose(table.norm[1], torch.tensor(norms), rtol=1e-5)
    grid = on_grid(vit, found.given)
    row, column = vit.grid[0] - 1, 1
    number = [*name_tokens(vit)].index(f"patch ({row}, {column})")
    assert torch.equal(grid[..., row, column], found.given[..., number])


def test_the_planted_patches_get_what_is_theirs():
    vit = open_planted()
    images, _ = planted_images(vit, [(5, 6), (5, 2)])
    with vit.trace(images, 0) as trace:
        bright, reader = query_token(trace, row=1, column=1), query_token(trace, prefix_token=0)
        table = token_table(trace)
    assert torch.equal(bright.received[:, 0, 0], torch.ones(2, vit.tokens))  # every token's head 0 attends to it
    assert bright.received[:, 0, 1].max() == 0
    marked = on_grid(vit, reader.given)[:, 0]
    assert (marked[:, 0] > 1e-6).nonzero().tolist() == [[0, 1, 1], [1, 1, 1]]
    assert (marked[:, 1] > 1e-6).nonzero().tolist() == [[0, 1, 2], [1, 0, 2]]
    assert table.received[:, 0, bright.token].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"row": 1},
        {"column": 1},
        {"row": 0, "column": 0, "prefix_token": 0},
        {"row": 0, "prefix_token": 0},
        {"row": 3, "column": 0},
        {"row": 0, "column": -1},
        {"prefix_token": 1},
        {"prefix_token": -1},
    ],
)
def test_what_names_no_single_token_is_refused(where):
    vit = FAMILIES["timm"].open()
    with vit.trace(random_images(vit, 1), 0) as trace, pytest.raises(InputError):
        query_token(trace, **where)


class Stretching(nn.Module):
    """Attends a little, and then gives each token the norm that it is told to, whatever the image."""

    def __init__(self, norms):
        super().__init__()
        self.norms = nn.Parameter(torch.tensor(norms)[:, None])

    def forward(self, tokens):
        mixed = tokens + F.scaled_dot_product_attention(*[tokens.unsqueeze(1)] * 3).squeeze(1)
        return self.norms * F.normalize(mixed, dim=-1)


class StretchingViT(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 4, PATCH, PATCH)
        self.prefix = nn.Parameter(torch.randn(1, 1, 4))
        self.blocks = nn.ModuleList([Stretching(norms) for norms in blocks])
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


NORMS = [
    [50.0, 1.0, 1.2, 0.8, 1.1, 0.9, 1.0],  # a class token of a large norm, which is no outlier
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.1],
    [0.5, 1.0, 7.0, 1.0, 1.0, 2.9, 4.0],
]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_outliers_are_found_and_named(first):
    model = StretchingViT(NORMS).eval()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=(2 * PATCH, 3 * PATCH)))
    with vit.trace(random_images(vit, 2), 0, capture=vt.Capture(first=first)) as trace:
        table, named = token_table(trace), name_outliers(trace)
        into_last = trace.attention[-1].detach()[:, 0].mean(1)
        few = token_table(trace, times=5.0)
    for image, outliers in enumerate(named):
        assert [(each.name, each.token, each.blocks) for each in outliers] == [
            ("outlier at patch (0, 1)", 2, (2,)),
            ("outlier at patch (1, 2)", 6, (1, 2)),
        ]
        assert [each.times for each in outliers] == pytest.approx([7, 4], rel=1e-5)
        assert outliers[0].received is None  # no block takes it in
        assert outliers[1].received == pytest.approx(float(into_last[image, 6]))
        marked = [[0, 2, 6], [0, 3, 2], [0, 3, 6]]
        positions = [[position - first, token] for _, position, token in marked]
        assert table.outlying[image].nonzero().tolist() == positions
        assert few.outlying[image].nonzero().tolist() == [[3 - first, 2]]
    assert table.norm[0, -1].tolist() == pytest.approx(NORMS[-1], rel=1e-5)


def test_where_nothing_is_outlying_nothing_is_named():
    vit = vt.open_vit(StretchingViT(NORMS[:1]).eval(), preprocessing=vt.Preprocessing(size=(2 * PATCH, 3 * PATCH)))
    with vit.trace(random_images(vit, 2), 0) as trace:
        assert name_outliers(trace) == [(), ()]
        assert not token_table(trace).outlying.any()
