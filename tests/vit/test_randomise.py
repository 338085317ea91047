"""Random weights: what changes on the copy, what must not, and that nothing happens to the user's model."""

import itertools

import pytest
import torch
from torch import nn

import vitreous as vt
from contracts.cheap import CHEAP
from contracts.families import FAMILIES, HandwrittenViT, random_images, scramble, timm_vit
from contracts.snapshot import nothing_changes
from vitreous.methods._method import METHODS


def changed(vit: vt.Vit, copy: vt.Vit) -> set[str]:
    """Names of the parameters that are not what they were."""
    drawn = dict(copy.model.named_parameters())
    return {name for name, tensor in vit.model.named_parameters() if not torch.equal(tensor, drawn[name])}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_weights_of_the_copy_are_new_and_the_original_is_left_alone(family):
    vit = FAMILIES[family].open()
    with nothing_changes(vit.model):
        copy = vt.randomised(vit)
        logits = copy.logits(random_images(vit, 2))
    assert changed(vit, copy) == {name for name, _ in vit.model.named_parameters()}
    assert all(torch.equal(old, new) for old, new in zip(vit.model.buffers(), copy.model.buffers(), strict=True))
    assert not {id(tensor) for tensor in vit.model.parameters()} & {id(tensor) for tensor in copy.model.parameters()}
    assert logits.isfinite().all()
    assert (logits - vit.logits(random_images(vit, 2))).abs().max() > 0.1
    assert set(copy.blocks) <= set(copy.model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cascade_goes_from_the_top_down_and_changes_nothing_else(family):
    vit = FAMILIES[family].open()
    owner = {id(tensor): index for index, block in enumerate(vit.blocks) for tensor in block.parameters()}
    place = {name: owner.get(id(tensor)) for name, tensor in vit.model.named_parameters()}
    inside = [{name for name, block in place.items() if block == index} for index in range(len(vit.blocks))]
    images, found = random_images(vit, 1), []
    with vit.trace(images) as trace:
        original = [tokens.detach() for tokens in trace.tokens]
    for count in range(len(vit.blocks) + 1):
        copy = vt.randomised(vit, blocks=count)
        found.append(changed(vit, copy))
        kept = len(vit.blocks) - count
        for index, names in enumerate(inside):
            assert names & found[-1] == (names if index >= kept else set())
        with copy.trace(images) as trace:  # up to the first random block the stream is the same, and then it is not
            same = [torch.equal(new, old) for new, old in zip(trace.tokens, original, strict=True)]
        assert same == [position <= kept for position in range(len(same))]
    assert found[0]
    assert not found[0] & set().union(*inside)
    assert all(fewer < more for fewer, more in itertools.pairwise(found))
    embeddings = {name for name in place if "patch_embed" in name or "pos_embed" in name or "cls_token" in name}
    assert not embeddings & found[-1]


@pytest.mark.parametrize("family", ["timm", "dinov2 registers"])
def test_a_single_block_is_drawn_as_in_the_cascade_and_nothing_else_is(family):
    vit = FAMILIES[family].open()
    depth = len(vit.blocks)
    whole = dict(vt.randomised(vit, 5, depth).model.named_parameters())
    found = []
    for place in range(depth + 1):
        copy = vt.randomised(vit, 5, only=place)
        found.append(changed(vit, copy))
        assert all(torch.equal(dict(copy.model.named_parameters())[name], whole[name]) for name in found[-1])
    for index, block in enumerate(vit.blocks):
        assert len(found[index]) == len(list(block.parameters()))
    assert found[depth] == changed(vit, vt.randomised(vit, 5, blocks=0))
    assert sum(map(len, found)) == len(set().union(*found)) == len(changed(vit, vt.randomised(vit, 5, depth)))
    assert vt.randomised(vit, only=0).name.endswith(", weights random in block 0 (seed 0)")


@pytest.mark.parametrize("arguments", [{"only": -1}, {"only": 3}, {"only": 1, "blocks": 1}])
def test_a_single_block_that_is_not_there_is_refused(arguments):
    with pytest.raises(vt.VitreousError, match="is no place"):
        vt.randomised(FAMILIES["timm"].open(), **arguments)


def test_a_cascade_is_nested_and_fixed_by_its_seed():
    vit = FAMILIES["timm"].open()
    drawn = [dict(vt.randomised(vit, 3, blocks).model.named_parameters()) for blocks in (1, 2, None, None)]
    assert all(torch.equal(drawn[2][name], drawn[3][name]) for name in drawn[2])
    assert torch.equal(drawn[0]["blocks.1.attn.qkv.weight"], drawn[1]["blocks.1.attn.qkv.weight"])
    assert torch.equal(drawn[0]["head.weight"], drawn[2]["head.weight"])
    other = dict(vt.randomised(vit, 4).model.named_parameters())
    assert not any(torch.equal(drawn[2][name], other[name]) for name in other)


def test_numbers_keep_their_mean_and_deviation():
    model = HandwrittenViT()
    with torch.no_grad():
        model.layers[0].mlp[0].weight.uniform_(3.0, 5.0)
        model.norm.weight.fill_(0.7)
    copy = vt.randomised(vt.open_vit(model.eval(), preprocessing=vt.Preprocessing(size=(24, 32))))
    drawn = copy.model.layers[0].mlp[0].weight
    assert drawn.mean().item() == pytest.approx(4.0, abs=0.06)
    assert drawn.std().item() == pytest.approx(2 / 12**0.5, abs=0.04)
    assert drawn.max() > 5.3
    assert torch.equal(copy.model.norm.weight, torch.full((24,), 0.7))  # all equal, so without deviation


def test_name_digest_and_warning_tell_of_it():
    vit = FAMILIES["timm"].open()
    copies = [vt.randomised(vit, blocks=blocks) for blocks in (None, 1, 0)] + [vt.randomised(vit, seed=1)]
    assert [copy.name.removeprefix(vit.name) for copy in copies] == [
        ", weights random (seed 0)",
        ", weights random from block 1 on (seed 0)",
        ", weights random behind the last block (seed 0)",
        ", weights random (seed 1)",
    ]
    assert len({copy.digest for copy in (vit, *copies)}) == 5
    (heatmap,) = vt.explain(copies[1], random_images(vit, 1), "rollout")
    assert heatmap.provenance.model == copies[1].name
    assert heatmap.provenance.weights_digest == copies[1].digest
    assert "its maps are a control" in heatmap.provenance.warnings[-1]


def test_every_method_that_looks_at_the_model_gives_another_map():
    vit = FAMILIES["timm"].open()
    images, copy = random_images(vit, 2), vt.randomised(vit)
    methods = {name: CHEAP.get(name, {}) for name in METHODS if not METHODS[name].why_not(vit)}
    for old, new in zip(*(vt.compare(model, images, methods, 1) for model in (vit, copy)), strict=True):
        for name in methods:
            difference = abs(old[name].relevance - new[name].relevance).max()
            if METHODS[name].control:
                assert difference == 0, name
            else:
                assert difference > 0.01 * abs(old[name].relevance).max(), name


def test_a_tensor_that_two_layers_share_is_drawn_once():
    model = HandwrittenViT()
    model.layers[1].mlp[0].weight = model.layers[0].mlp[0].weight
    vit = vt.open_vit(scramble(model), preprocessing=vt.Preprocessing(size=(24, 32)))
    copy = vt.randomised(vit)
    assert copy.model.layers[1].mlp[0].weight is copy.model.layers[0].mlp[0].weight
    # Block 0 needs the tensor as it was: it is random only once block 0 is.
    assert not {name for name in changed(vit, vt.randomised(vit, blocks=1)) if name.startswith("layers.0")}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_grad_mode_does_not_matter(mode):
    with mode():
        vit = FAMILIES["timm"].open()
        copy = vt.randomised(vit)
    expected = vt.randomised(FAMILIES["timm"].open())
    assert copy.digest == expected.digest
    with mode():
        assert vt.randomised(expected).digest == vt.randomised(copy).digest


@pytest.mark.parametrize("blocks", [-1, 3])
def test_blocks_that_are_not_there_are_refused(blocks):
    with pytest.raises(vt.VitreousError, match=f"blocks={blocks}"):
        vt.randomised(FAMILIES["timm"].open(), blocks=blocks)


def test_a_call_that_runs_another_model_is_refused():
    model = scramble(timm_vit())
    vit = vt.open_vit(model, call=lambda _model, images: model(images), preprocessing=vt.Preprocessing(size=(24, 32)))
    with pytest.raises(vt.VitreousError, match="another model than the one it is given"):
        vt.randomised(vit)


def test_a_model_without_watched_blocks_can_be_randomised_as_a_whole():
    model = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(48, 7)).eval()
    vit = vt.open_vit(model, preprocessing=vt.Preprocessing(size=(24, 32)), require_attention=False)
    assert changed(vit, vt.randomised(vit)) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    with pytest.raises(vt.VitreousError, match="blocks=1"):
        vt.randomised(vit, blocks=1)
