"""What official code computes at other layers, in other units or with known defects: made of our own methods here.

At the end the list of all stored maps, each with the test that compares it: a new one fails until it is in a table.
"""

import importlib
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import vitreous as vt
from oracles.compare import relative_difference
from vitreous.methods import libragrad as balanced
from vitreous.methods import rollout as rolling
from vitreous.methods._method import METHODS
from vitreous.vit.passes import Capture
from vitreous.vit.rules.biases import BiasProbes
from vitreous.vit.rules.names import spelled
from vitreous.vit.rules.sets import linear
from vitreous.vit.trace import Trace

HERE = Path(__file__).parent
BIASES = 6
"""Of each block of a DeiT, in this order: norm, query with key and value, projection, norm, and the two of the MLP."""

ALL_TOKENS, EACH_BLOCK, PROBABILITY = 1e-5, 1e-5, 5e-5
TRANSFORMED = 1e-4
"""Relative to the peak: those of the maps that are transformed."""


class AtBlockInputs(Trace):
    """What the CAM family asks of a trace, answered with all tokens that enter a block, as LibraGrad's code has it."""

    attention_inputs = attention_input_grad = first = None

    def __init__(self, entering, slopes):
        self.attention_inputs, self.attention_input_grad, self.first = entering, slopes, 0
        self.vit = SimpleNamespace(grid=(1, entering[0].shape[1]), blocks=entering)
        self.logits = entering[-1]

    def patches(self, per_token):
        return per_token


def per_block_maps(trace, libra):
    """HiResCAM and XGrad-CAM of the last block's input, and the sum over blocks of each block's own FullGrad.

    The FullGrad of a block has the biases from that block on, and adds up to the score by itself.
    """
    probes, blocks = BiasProbes(), len(trace.vit.blocks)
    rules = spelled(probes.around(linear() if libra else {}))
    with trace.again(rules=rules, inputs=trace.inputs, capture=Capture(pixels=False, inputs=False)) as edited:
        gradients = edited.grad([*edited.tokens, *probes.leaves])
        entering, slopes = [tokens.detach() for tokens in edited.tokens[:blocks]], gradients[:blocks]
        added = [balanced._at_tokens(edited, each) for each in gradients[blocks + 1 :]]
    assert len(added) == BIASES * blocks + 2  # and those of the last norm and of the head
    fullgrad = [
        (tokens * slope).sum(-1) + sum(added[BIASES * block :])
        for block, (tokens, slope) in enumerate(zip(entering, slopes, strict=True))
    ]
    inputs = AtBlockInputs(entering, slopes)
    return {
        "hirescam_l11": METHODS["hirescam"].function(inputs)[:, 0, 1:].reshape(-1, 14, 14),
        "xgradcamabs_l11": METHODS["xgradcam"]
        .function(inputs, relu=False, absolute=True)[:, 0, 1:]
        .reshape(-1, 14, 14),
        "fullgrad_PLUS_layersum": trace.to_grid(sum(fullgrad)),
    }, fullgrad


def fullgrad_of_all_tokens(trace, libra):
    """The method itself, but that class tokens are not left out of its map."""
    trace.to_grid = lambda per_token: per_token[:, None]  # a grid of one row
    found = METHODS["libragrad"].function(trace, libra=libra, aggregate="fullgrad")
    del trace.to_grid
    return found[:, 0]


PER_BLOCK = {
    "libra_hirescam_l11": (True, "hirescam_l11"),
    "libra_xgradcamabs_l11": (True, "xgradcamabs_l11"),
    "nolibra_xgradcamabs_l11": (False, "xgradcamabs_l11"),
    "libra_fullgrad_PLUS_layersum": (True, "fullgrad_PLUS_layersum"),
    "nolibra_fullgrad_PLUS_layersum": (False, "fullgrad_PLUS_layersum"),
}
TOKENS = {"libra_fullgrad_tokens": True, "nolibra_fullgrad_tokens": False}
OF_PROBABILITIES = "libra_prob_fullgrad_tokens"


@pytest.fixture(scope="module")
def trace(deit, golden):
    with torch.no_grad(), deit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        yield trace


@pytest.fixture(scope="module")
def per_block(trace):
    return {libra: per_block_maps(trace, libra) for libra in (True, False)}


@pytest.mark.parametrize("prefix", PER_BLOCK)
def test_official_map_at_the_inputs_of_blocks(per_block, golden, prefix):
    libra, which = PER_BLOCK[prefix]
    found = per_block[libra][0][which].numpy()
    for question, own, expected in zip(golden.questions, found, golden.expected(prefix), strict=True):
        assert relative_difference(own, expected) < EACH_BLOCK, question


def test_fullgrad_is_complete_at_every_block(per_block, trace):
    for fullgrad in per_block[True][1]:
        assert fullgrad.sum(1).tolist() == pytest.approx(trace.score.tolist(), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("prefix", TOKENS)
def test_official_fullgrad_of_all_tokens(trace, golden, prefix):
    found = fullgrad_of_all_tokens(trace, TOKENS[prefix]).numpy()
    for question, own, expected in zip(golden.questions, found, golden.expected(prefix), strict=True):
        assert relative_difference(own, expected) < ALL_TOKENS, question


def test_official_fullgrad_of_a_probability_of_all_tokens(deit, golden):
    def probabilities(model, inputs):
        return torch.softmax(model(inputs), -1)

    vit = vt.open_vit(deit.model, preprocessing=deit.preprocessing, call=probabilities)
    with torch.no_grad(), vit.trace(golden.images(), [target for _, target in golden.questions]) as trace:
        found = fullgrad_of_all_tokens(trace, libra=True).numpy()
    for question, own, expected in zip(golden.questions, found, golden.expected(OF_PROBABILITIES), strict=True):
        assert relative_difference(own, expected) < PROBABILITY, question


# --- what was done to maps before they were stored


def between_0_and_1(values):
    low, high = values.min(), values.max()
    return (values - low) / (high - low)


def enlarged(values):
    larger = F.interpolate(torch.from_numpy(values)[None, None], (224, 224), mode="bilinear", align_corners=False)
    return between_0_and_1(larger[0, 0].numpy())


TRANSFORMS = {
    "attn_gradcam_minmax": ("attention_gradcam", between_0_and_1),
    "gradcam_final224": ("gradcam", enlarged),
}


@pytest.mark.parametrize("prefix", TRANSFORMS)
def test_official_map_behind_its_last_steps(trace, golden, prefix):
    name, transform = TRANSFORMS[prefix]
    compared = 0
    for (photo, target), own in zip(golden.questions, METHODS[name].function(trace).numpy(), strict=True):
        if f"{prefix}/{photo}/{target}" in golden.arrays:
            expected = golden.arrays[f"{prefix}/{photo}/{target}"]
            assert relative_difference(transform(own), expected) < TRANSFORMED, (photo, target)
            compared += 1
        else:  # the ReLU leaves nothing, and the official code then divides zero by zero
            assert not own.any()
    assert compared == sum(key.startswith(f"{prefix}/") for key in golden.arrays) > 0


# --- a known defect


DEFECTIVE = {
    f"vitexplain_rollout_{fusion}_d{discard}": (fusion, discard)
    for fusion, discard in itertools.product(("mean", "max", "min"), (0, 0.9))
    if (fusion, discard) != ("mean", 0)
}
"""Rows of the mean sum to one where nothing is discarded, and dividing columns by these sums does nothing."""


def with_the_defects(trace, image, fusion, discard):
    """Rollout of one image that spares the first entry alone, and divides columns by the sums of rows.

    Where fused entries are equal, either may be discarded: none are here.
    """
    row = torch.zeros(trace.vit.tokens)
    row[0] = 1
    for attention in reversed(trace.attention):
        fused = rolling._fuse(attention[image : image + 1].detach(), fusion)[0]
        order = fused.flatten().argsort()[: int(fused.numel() * discard)]
        kept = fused.flatten().clone()
        kept[order[order != 0]] = 0
        mixed = (kept.reshape(fused.shape) + torch.eye(len(fused))) / 2
        row = row @ (mixed / mixed.sum(-1)[None, :])
    return trace.patches(row).reshape(trace.vit.grid).numpy()


@pytest.mark.parametrize("prefix", DEFECTIVE)
def test_rollout_differs_from_vit_explain_by_its_defects_and_nothing_else(trace, golden, prefix):
    fusion, discard = DEFECTIVE[prefix]
    right = METHODS["rollout"].function(trace, fusion=fusion, discard=float(discard)).numpy()
    seen = set()
    for image, ((photo, _), own) in enumerate(zip(golden.questions, right, strict=True)):
        if photo not in seen:
            seen.add(photo)
            official = golden.arrays[f"{prefix}/{photo}/any"]
            assert relative_difference(with_the_defects(trace, image, fusion, discard), official) < 1e-4, photo
            assert relative_difference(own, official) > 1e-2, photo


# --- float32 maps of code that is ill-conditioned


SINGLE = ("chefer_ta", "chefer_lrp_rollout", "chefer_full_lrp", "chefer_partial_lrp")
"""Rounded by the official code itself: not to be compared but with the same code in float64, which our maps equal."""


@pytest.mark.parametrize("prefix", SINGLE)
def test_official_float32_map_is_the_float64_map_up_to_its_declared_rounding(golden, shared, prefix):
    about = json.loads((shared / "golden" / "golden.json").read_text())["methods"]
    declared = about[prefix]["float32_vs_float64_max_rel_to_peak"]
    differences = [
        relative_difference(single, double)
        for single, double in zip(golden.expected(prefix), golden.expected(f"{prefix}_f64"), strict=True)
    ]
    assert declared / 3 < max(differences) < 1.1 * declared


# --- nothing is left out

PREFIXES = {*PER_BLOCK, *TOKENS, OF_PROBABILITIES, *TRANSFORMS, *DEFECTIVE, *SINGLE}


def test_every_stored_map_has_a_test(golden, shared):
    modules = [importlib.import_module(f"methods.{path.stem}") for path in sorted(HERE.glob("test_golden*.py"))]
    compared = {prefix for module in modules for prefix in module.PREFIXES}
    stored = {key.split("/")[0] for key in golden.arrays} - {"image", "logits"}
    assert stored == set(json.loads((shared / "golden" / "golden.json").read_text())["methods"])
    assert compared == stored
