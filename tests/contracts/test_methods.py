"""What every method promises on every family of models, driven by the registry."""

import functools
import inspect
import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import Tensor

import vitreous as vt
import vitreous.methods
from contracts.cheap import CHEAP, ENOUGH
from contracts.exempt import CANCELS, ILL_CONDITIONED, INAPPLICABLE, MISLEADING, PLANTED, ROUGH, SILENT
from contracts.families import FAMILIES, HandwrittenViT, random_images, scramble
from contracts.snapshot import nothing_changes
from oracles.planted import BRIGHTEST, DARKEST, NOTHING, open_planted, planted_images
from vitreous.methods._method import METHODS, Method

ROUNDING = 1e-5
"""Of a map's peak, in float32; `exempt` names the methods that enlarge it."""

CHOSEN = os.environ.get("CONTRACT_METHODS", "")
"""Names of methods, with commas between them, to hold only these to the contract while working on them."""

NAMES = CHOSEN.split(",") if CHOSEN else list(METHODS)
ORDER = [2, 0, 1]
ALONE = [0, 2, 5, 7]
"""A class, two contrasts and the prediction, first, last and in the middle of the batch."""


def applies(family: str, name: str) -> bool:
    """Whether a method applies to a family of models, by what is written down."""
    return family not in INAPPLICABLE.get(name, ())


PAIRS = [(family, name) for family, name in itertools.product(FAMILIES, NAMES) if applies(family, name)]
EVERYWHERE = [pytest.param(family, name, id=f"{name}-{family}") for family, name in PAIRS]
everywhere = pytest.mark.parametrize(("family", "name"), EVERYWHERE)
every_method = pytest.mark.parametrize("name", NAMES)
every_family = pytest.mark.parametrize("family", FAMILIES)


def every_method_for(family: str) -> Any:
    """Parametrise a test that uses one family over the methods that apply to it."""
    return pytest.mark.parametrize("name", [name for name in NAMES if applies(family, name)])


def variants(method: Method, enough: bool = False) -> list[dict[str, Any]]:
    """Every value that the types of a method's parameters allow, one parameter changed at a time, with and without ReLU.

    All combinations would be half as many again, and the oracles have those that matter. Numbers stay at their default,
    or at what `cheap` says where the default would take too long here; `enough` takes what the planted truth needs.
    """
    cheap = CHEAP.get(method.name, {}) | (ENOUGH.get(method.name, {}) if enough else {})
    choices: dict[str, tuple[Any, ...]] = {}
    for parameter in list(inspect.signature(method.function).parameters.values())[1:]:
        every: tuple[Any, ...] = ()
        if get_origin(parameter.annotation) is Literal:
            every = get_args(parameter.annotation)
        elif parameter.annotation is bool:
            every = (True, False)
        elif parameter.name == method.only_block:
            every = (-1, 0)
        first = cheap.get(parameter.name, parameter.default)
        choices[parameter.name] = (first, *(choice for choice in every if choice != first))
    usual = {name: values[0] for name, values in choices.items()}
    single = [usual, *(usual | {name: value} for name, values in choices.items() for value in values[1:])]
    if "relu" not in choices:
        return single
    every = itertools.product((given for given in single if given["relu"] == usual["relu"]), choices["relu"])
    return [given | {"relu": relu} for given, relu in every]


@functools.cache
def opened(family: str) -> vt.Vit:
    return FAMILIES[family].open()


def run(vit: vt.Vit, images: Tensor, target: Any, name: str, **parameters: Any) -> Tensor:
    method = METHODS[name]
    with vit.trace(images, target) as trace:
        return method.function(trace, **method.complete(CHEAP.get(name, {}) | parameters)).detach()


@dataclass(frozen=True)
class Case:
    """One batch and the maps that all methods, in all their variants, give for it. All come from one trace."""

    images: Tensor
    targets: list[Any]
    maps: dict[str, list[tuple[dict[str, Any], Tensor]]]

    @staticmethod
    def of(vit: vt.Vit, images: Tensor, targets: list[Any], most: int | None = None) -> "Case":
        """Ask every method, in at most so many of its variants, the defaults first."""
        with vit.trace(images, targets) as trace:
            maps = {
                name: [
                    (given, METHODS[name].function(trace, **given).detach()) for given in variants(METHODS[name])[:most]
                ]
                for name in NAMES
                if not METHODS[name].why_not(vit)
            }
        return Case(images, targets, maps)

    def default(self, name: str) -> Tensor:
        """The map of a method with its defaults."""
        return self.maps[name][0][1]

    def assert_same(self, name: str, given: dict[str, Any], found: Tensor, chosen: Any = slice(None)) -> None:
        """Compare a map with that of this case, image by image, up to rounding.

        Rounding is relative to the peak of the numbers that are computed: where a ReLU may cut off almost all of a
        map, to the peak of the map before it.
        """
        own, before = (
            next(found for other, found in self.maps[name] if other == wanted)[chosen]
            for wanted in (given, given | {"relu": False} if "relu" in given else given)
        )
        assert found.shape == own.shape
        if any(item in ILL_CONDITIONED for item in given.items()):
            return
        difference = (found - own).abs().flatten(1).amax(1)
        allowed = ROUGH.get(name, ROUNDING) * before.abs().flatten(1).amax(1) + CANCELS.get(name, 0.0)
        assert (difference <= allowed).all(), (given, difference)


@functools.cache
def explained(family: str) -> Case:
    """Three different images, three different targets."""
    return Case.of(opened(family), random_images(opened(family), 3), [0, 3, vt.Contrast(6, 2)])


# --- the map itself


@every_family
def test_the_family_is_what_it_is_listed_as(family):
    vit, listed = opened(family), FAMILIES[family]
    found = (vit.prefix, vit.suffix, vit.grid, vit.readout.kind, vit.attention_kind)
    assert found == (listed.prefix, 0, listed.grid, listed.readout, listed.kind)


@everywhere
def test_a_map_is_finite_float32_of_its_level(family, name):
    vit = opened(family)
    size = {"patch": vit.grid, "pixel": vit.preprocessing.size}[METHODS[name].level]
    for given, found in explained(family).maps[name]:
        assert found.shape == (3, *size), given
        assert found.dtype == torch.float32, given
        assert found.isfinite().all(), given


@every_family
def test_a_method_refuses_the_models_that_are_written_down_and_no_others(family):
    refused = {name for name in NAMES if METHODS[name].why_not(opened(family))}
    assert refused == {name for name in NAMES if not applies(family, name)}


@everywhere
def test_a_map_says_something(family, name):
    """For each image some variant differs from patch to patch; a map of zeros would pass everything else."""
    if name in SILENT:
        assert any(found.any() for _, found in explained(family).maps[name])
        return
    spreads = [found.flatten(1).amax(1) - found.flatten(1).amin(1) for _, found in explained(family).maps[name]]
    assert (torch.stack(spreads).amax(0) > 1e-5).all()


@everywhere
def test_negative_values_only_where_declared(family, name):
    for given, found in explained(family).maps[name]:
        if not METHODS[name].is_signed(given):
            assert found.min() >= 0, given


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].signed is not False])
def test_what_is_declared_as_signed_can_be_negative(name):
    cases = [case for family in FAMILIES if applies(family, name) for case in explained(family).maps[name]]
    signs = {METHODS[name].is_signed(given) for given, found in cases if found.min() < 0}
    assert signs == {True}


@functools.cache
def two_targets(family: str) -> tuple[Case, Case]:
    images = random_images(opened(family), 3)
    return Case.of(opened(family), images, [0] * 3), Case.of(opened(family), images, [1] * 3)


@everywhere
def test_the_target_changes_the_map_if_and_only_if_declared(family, name):
    differs = []
    for (given, first), (_, second) in zip(*(case.maps[name] for case in two_targets(family)), strict=True):
        peak = torch.maximum(first.abs().amax(), second.abs().amax())
        differs.append(bool((first - second).abs().max() > 1e-3 * peak))
        if not METHODS[name].class_specific:
            assert torch.equal(first, second), given
    assert any(differs) == METHODS[name].class_specific


# --- batches


@functools.cache
def eight_images(family: str) -> tuple[Case, dict[int, Case]]:
    """Eight images with eight targets: together, and some of them alone."""
    vit = opened(family)
    images, targets = random_images(vit, 8, seed=1), [5, 0, vt.Contrast(1, 2), 4, 3, None, 2, vt.Contrast(6, 0)]
    alone = {image: Case.of(vit, images[image : image + 1], targets[image : image + 1]) for image in ALONE}
    return Case.of(vit, images, targets), alone


@everywhere
def test_eight_images_give_the_maps_that_each_gives_alone(family, name):
    together, alone = eight_images(family)
    for image, case in alone.items():
        for given, found in case.maps[name]:
            together.assert_same(name, given, found, chosen=[image])


@functools.cache
def permuted(family: str) -> Case:
    case = explained(family)
    return Case.of(opened(family), case.images[ORDER], [case.targets[image] for image in ORDER])


@everywhere
def test_permuting_the_images_permutes_the_maps(family, name):
    for given, found in permuted(family).maps[name]:
        explained(family).assert_same(name, given, found, chosen=ORDER)


@every_family
def test_the_same_call_twice_gives_the_same_bits(family):
    case = explained(family)
    again = Case.of(opened(family), case.images, case.targets)
    for name in case.maps:
        for (given, found), (_, expected) in zip(again.maps[name], case.maps[name], strict=True):
            assert torch.equal(found, expected), (name, given)


@everywhere
def test_a_trace_of_its_own_with_the_least_capture_gives_the_same_map(family, name):
    vit, case, method = opened(family), explained(family), METHODS[name]
    for given, _ in case.maps[name]:
        with vit.trace(case.images, case.targets, capture=method.capture(vit, given)) as trace:
            case.assert_same(name, given, method.function(trace, **given).detach())


@every_family
def test_explain_gives_the_raw_maps_of_the_methods(family):
    case = explained(family)
    methods = {name: CHEAP.get(name, {}) for name in NAMES if applies(family, name)}
    for image, heatmaps in enumerate(vt.compare(opened(family), case.images, methods, case.targets)):
        assert list(heatmaps) == list(methods)
        for name, heatmap in heatmaps.items():
            given = case.maps[name][0][0]
            case.assert_same(name, given, torch.tensor(heatmap.relevance)[None], chosen=[image])
            assert (heatmap.unit, heatmap.signed) == (METHODS[name].unit, METHODS[name].is_signed(given))


def test_who_writes_the_attention_does_not_matter():
    eager, fused = (explained(f"transformers {how}") for how in ("eager", "sdpa"))
    for name in eager.maps:
        for given, found in eager.maps[name]:
            fused.assert_same(name, given, found)


# --- the user's model and process


@functools.cache
def disturbed(family: str) -> vt.Vit:
    """A model with things in it that might be lost: a gradient, hooks, odd flags."""
    vit = FAMILIES[family].open()
    parameters = list(vit.model.parameters())
    parameters[0].grad = torch.full_like(parameters[0], 3.0)
    parameters[-1].requires_grad_(False)
    vit.model.train()
    for module in vit.model.modules():
        if any(kind in type(module).__name__ for kind in ("Drop", "BatchNorm")):
            module.eval()
    vit.blocks[0].register_forward_hook(lambda *_: None)
    vit.model.register_forward_pre_hook(lambda *_: None)
    vit.blocks[-1].register_full_backward_hook(lambda *_: None)
    return vit


@everywhere
def test_model_and_process_are_left_as_they_were(family, name):
    vit, case = disturbed(family), explained(family)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    with nothing_changes(vit.model):
        found = run(vit, case.images, case.targets, name)
        vt.explain(vit, case.images[:1], name, vt.Contrast(0, 1), **CHEAP.get(name, {}))
    case.assert_same(name, case.maps[name][0][0], found)


def test_opening_leaves_model_and_process_as_they_were():
    for family in FAMILIES.values():
        torch.manual_seed(0)
        model = scramble(family.build())
        with nothing_changes(model):
            vt.open_vit(model, preprocessing=vt.Preprocessing(size=family.size))


@every_family
def test_frozen_weights_give_the_same_maps(family):
    vit, case = FAMILIES[family].open(), explained(family)
    vit.model.requires_grad_(False)
    with nothing_changes(vit.model):
        assert_same_case(Case.of(vit, case.images, case.targets, most=1), case)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@every_family
def test_the_callers_grad_mode_does_not_matter(family, mode):
    case = explained(family)
    with mode():
        vit = FAMILIES[family].open()  # built and opened in the mode: its weights may be inference tensors
        for model in (opened(family), vit):
            with nothing_changes(model.model):
                found = Case.of(model, case.images, case.targets, most=1)
            assert_same_case(found, case)
    assert_same_case(Case.of(vit, case.images, case.targets, most=1), case)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@every_method_for("timm map")
def test_explain_works_in_the_callers_grad_mode(name, mode):
    case = explained("timm map")
    with mode():
        heatmaps = vt.explain(opened("timm map"), case.images, name, case.targets, **CHEAP.get(name, {}))
    found = torch.stack([torch.tensor(heatmap.relevance) for heatmap in heatmaps])
    case.assert_same(name, case.maps[name][0][0], found)


def assert_same_case(found: Case, expected: Case) -> None:
    for name in expected.maps:
        for given, relevance in found.maps[name]:
            expected.assert_same(name, given, relevance.clone())


def test_the_random_numbers_of_python_are_left_alone():
    """In a process of its own: the run-time type checks of the tests draw from them."""
    script = """
import random
import vitreous as vt
from oracles.planted import open_planted, planted_images
vit = open_planted()
images, _ = planted_images(vit, [(0, 1), (2, 3)])
random.seed(5)
before = random.getstate()
vt.compare(vit, images)
assert random.getstate() == before
"""
    here = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)


class InterruptionError(Exception):
    """Raised in the middle of something, in place of whatever may go wrong there."""


@every_method_for("handwritten")
def test_a_call_that_fails_after_the_blocks_ran_leaves_nothing_behind(name):
    failing = []

    def call(model, inputs):
        logits = model(inputs)
        if failing:
            raise InterruptionError
        return logits

    model = scramble(HandwrittenViT())
    vit = vt.open_vit(model, preprocessing=opened("handwritten").preprocessing, call=call)
    case = explained("handwritten")
    failing.append(True)
    with nothing_changes(model), pytest.raises(InterruptionError):
        run(vit, case.images, case.targets, name)
    with nothing_changes(model), torch.no_grad(), pytest.raises(InterruptionError):
        vt.explain(vit, case.images, name, case.targets, **CHEAP.get(name, {}))
    failing.clear()
    assert torch.equal(run(vit, case.images, case.targets, name), case.default(name))


@every_method_for("handwritten")
def test_a_block_that_fails_in_the_middle_leaves_nothing_behind(name):
    vit, case = FAMILIES["handwritten"].open(), explained("handwritten")
    vit.blocks[1].broken = True
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode(), nothing_changes(vit.model), pytest.raises(ArithmeticError):
            vt.explain(vit, case.images, name, case.targets, **CHEAP.get(name, {}))
    vit.blocks[1].broken = False
    assert torch.equal(run(vit, case.images, case.targets, name), case.default(name))


@every_family
def test_a_method_that_fails_leaves_nothing_behind(family, monkeypatch):
    vit, case = opened(family), explained(family)
    before = run(vit, case.images, case.targets, "agcam")

    def interrupted(trace):
        assert trace.attention_grad
        assert trace.attention_grad_cut
        raise InterruptionError

    broken = Method(
        "broken", interrupted, "gradient", None, True, False, "nothing", "1F1B", "patch", True, True, False, None
    )
    monkeypatch.setitem(METHODS._entries, "broken", broken)
    with nothing_changes(vit.model), pytest.raises(InterruptionError):
        vt.explain(vit, case.images, "broken", case.targets)
    assert torch.equal(run(vit, case.images, case.targets, "agcam"), before)


@every_family
def test_an_edit_that_fails_leaves_nothing_behind(family):
    vit, case = opened(family), explained(family)

    def edit(block, probabilities, values):
        if block == 1:
            raise InterruptionError
        return probabilities, values

    with nothing_changes(vit.model), pytest.raises(InterruptionError):
        vit.logits(case.images, edit)


# --- the planted truth


EXTREMES = [(0, 11), (5, 2), (11, 6), (7, 8)]
"""Brightest and darkest patch of each image; corners, an edge and the inside of a 3 x 4 grid."""


FREE = [name for name in NAMES if not (METHODS[name].class_specific or METHODS[name].control or name in PLANTED)]
"""Methods that do not look at the target, and yet at the model."""


@pytest.fixture(scope="module", params=itertools.product([0, 1, 2, 5], ["sdpa", "softmax"]), ids=str)
def planted(request):
    prefix, attention = request.param
    vit = open_planted(prefix=prefix, attention=attention)
    return vit, planted_images(vit, EXTREMES)[0]


def per_patch(vit: vt.Vit, found: Tensor) -> Tensor:
    """Absolute relevance of each patch, "b patches"; of a pixel map its sum over the patch."""
    if found.shape[1:] == vit.grid:
        return found.abs().flatten(1)
    (rows, columns), (high, wide) = vit.grid, vit.patch
    return found.abs().reshape(-1, rows, high, columns, wide).sum((2, 4)).flatten(1)


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].class_specific and name not in PLANTED])
def test_a_class_specific_method_finds_the_patch_that_the_output_reads(planted, name):
    vit, images = planted
    for given in variants(METHODS[name], enough=True):
        for target, place in ((BRIGHTEST, 0), (DARKEST, 1)):
            if any((*item, target) in MISLEADING for item in given.items()):
                continue
            found = per_patch(vit, run(vit, images, target, name, **given))
            assert found.argmax(1).tolist() == [pair[place] for pair in EXTREMES], (given, target)


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].class_specific and name not in PLANTED])
def test_a_class_specific_method_finds_nothing_where_nothing_is_read(planted, name):
    vit, images = planted
    for given in variants(METHODS[name], enough=True):
        found = run(vit, images, NOTHING, name, **given).flatten(1)
        assert (found.amax(1) - found.amin(1)).max() < 1e-6, given


@pytest.mark.parametrize("name", FREE)
def test_a_class_free_method_finds_both_patches_that_are_attended_to(planted, name):
    vit, images = planted
    found = per_patch(vit, run(vit, images, None, name))
    assert [set(top) for top in found.topk(2).indices.tolist()] == [set(pair) for pair in EXTREMES]


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if METHODS[name].level == "pixel" and not METHODS[name].control and name not in PLANTED],
)
def test_a_pixel_method_stays_inside_the_patch_that_is_read(planted, name):
    vit, images = planted
    found = per_patch(vit, run(vit, images, BRIGHTEST, name, **ENOUGH.get(name, {})))
    shares = found / found.sum(1, keepdim=True)
    assert [float(shares[image, pair[0]]) for image, pair in enumerate(EXTREMES)] == pytest.approx([1.0] * 4)


# --- the registry


def test_every_file_of_the_folder_is_a_method():
    files = sorted(path.stem for path in Path(vitreous.methods.__file__).parent.glob("[!_]*.py"))
    assert vt.list_methods() == list(METHODS) == files
    assert vt.list_methods("*gradcam") == [name for name in files if name.endswith("gradcam")]


@every_method
def test_a_method_says_all_about_itself(name):
    method = METHODS[name]
    described = inspect.getdoc(inspect.getmodule(method.function)) or ""
    assert len(method.title.split()) >= 4
    assert described.startswith(method.title)
    assert described.rstrip().endswith(".")
    assert method.paper is None or re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", method.paper)
    assert method.unit.strip()
    assert re.fullmatch(r"\d+F(\d+B)?( [+x] .+)?|.+ x \d+F(\d+B)?", method.cost)
    assert method.gradient == ("B" in method.cost or "backward" in method.cost) or method.repeats
    assert method.gradient or not method.pixels
    assert method.gradient or method.repeats or not method.class_specific
    assert not method.control or not method.class_specific
    assert method.only_block is None or method.only_block in method.defaults


@every_method
def test_every_parameter_has_a_type_and_a_default_and_is_told_about(name):
    signature = inspect.signature(METHODS[name].function)
    documentation = inspect.getdoc(METHODS[name].function) or ""
    trace, *parameters = signature.parameters.values()
    assert trace.name == "trace"
    for parameter in parameters:
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.default is not inspect.Parameter.empty
        assert re.search(rf"\b{parameter.name}\b", documentation), parameter.name
