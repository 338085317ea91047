"""explain, compare and explain_each: from photographs and tensors to heatmaps, and every way to ask wrongly."""

import json
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image
from safetensors.torch import save_file as save_torch_file

import vitreous as vt
from contracts.exempt import CANCELS, INAPPLICABLE, ROUGH
from contracts.families import PATCH, WIDE, random_images, scramble, timm_vit
from vitreous.core import errors
from vitreous.core.defaults import DEFAULT_METHOD
from vitreous.core.errors import InputError, NonFiniteError, OutputError, TargetError, VitreousError
from vitreous.core.images import read_photo
from vitreous.methods._method import METHODS

LABELS = ["tabby, tabby cat", "tiger cat", "crane, bird", "crane, machine", "koala", "bagel", "tractor"]
PREPROCESSING = vt.Preprocessing(size=WIDE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), crop_share=0.9)
ATTENTION_ONLY = ["mean_attention", "raw_attention", "rollout"]


@dataclass
class Counting:
    """Runs a model and counts images; images that are white everywhere make it return NaN."""

    images: list[int] = field(default_factory=list)

    def __call__(self, model, inputs):
        self.images.append(len(inputs))
        white = inputs.detach().amin((1, 2, 3)) > 1.5
        logits = model(inputs)
        return torch.where(white[:, None], torch.nan, logits) if bool(white.any()) else logits


@dataclass(frozen=True)
class Opened:
    vit: vt.Vit
    call: Counting


@pytest.fixture(autouse=True)
def single_thread_count():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def opened():
    call = Counting()
    model = scramble(timm_vit())
    return Opened(vt.open_vit(model, labels=LABELS, preprocessing=PREPROCESSING, call=call), call)


@pytest.fixture
def vit(opened):
    opened.call.images.clear()
    return opened.vit


@pytest.fixture
def call(opened, vit):
    """How many images each call of the model had since the test began."""
    return opened.call.images


@pytest.fixture(scope="module")
def embedder():
    """A model whose outputs are no classes."""
    model = scramble(timm_vit())
    model.num_classes = 0
    return vt.open_vit(model, preprocessing=PREPROCESSING)


def picture(seed=0, size=(45, 70)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def photos(tmp_path):
    """Four photographs as files, of different sizes."""
    paths = [tmp_path / f"photo {number} ö.png" for number in range(4)]
    for number, path in enumerate(paths):
        picture(number, (40 + 7 * number, 61 - 5 * number)).save(path)
    return paths


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("this is no picture")
    return path


def relevances(maps):
    return np.stack([heatmap.relevance for heatmap in maps])


def assert_close(found, expected, name=None):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= ROUGH.get(name, 1e-5) * np.abs(expected).max() + CANCELS.get(name, 0.0)


# --- what is computed, and how often


READ_OUT = {"legrad"}
"""Methods on the shared pass that also read tokens out of blocks, and go back through blocks one by one."""
SHARED = [name for name in METHODS if METHODS[name].shares_pass and not METHODS[name].control]


def test_compare_takes_all_methods_that_share_the_pass(vit, call):
    maps = vt.compare(vit, picture())
    assert list(maps) == SHARED
    blocks = len(vit.blocks)
    assert {(made.provenance.forwards, made.provenance.backwards) for made in maps.values()} == {(2, 2 + 1 + blocks)}
    assert call == [1, blocks]  # the second, of the blocks' mean tokens, does not run the blocks


def test_all_methods_share_one_forward_and_two_backwards(vit, call):
    wanted = [name for name in SHARED if name not in READ_OUT]
    assert len(wanted) >= 8
    maps = vt.compare(vit, picture(), wanted)
    assert {(made.provenance.forwards, made.provenance.backwards) for made in maps.values()} == {(1, 2)}
    assert call == [1]


@pytest.mark.parametrize("name", [name for name in SHARED if name not in READ_OUT])
def test_one_method_alone_costs_what_its_record_says(vit, call, name):
    (heatmap,) = vt.explain(vit, picture(), name)
    expected = (1, 1 if METHODS[name].gradient else 0)
    assert (heatmap.provenance.forwards, heatmap.provenance.backwards) == expected
    assert call == [1]


def test_attention_methods_together_need_no_backward(vit):
    maps = vt.compare(vit, picture(), ATTENTION_ONLY)
    assert {made.provenance.backwards for made in maps.values()} == {0}


def test_ordinary_gradients_are_shared_in_one_backward(vit):
    methods = {"agcam": {"detach": False}, "generic_attention": {}, "saliency": {}, "gradcam": {"block": 0}}
    maps = vt.compare(vit, picture(), methods)
    assert {made.provenance.backwards for made in maps.values()} == {1}


def test_compare_gives_the_same_maps_as_explain(vit):
    together = vt.compare(vit, picture(), target=3)
    for name, heatmap in together.items():
        (alone,) = vt.explain(vit, picture(), name, target=3)
        assert_close(heatmap.relevance, alone.relevance, heatmap.provenance.method)


def test_compare_keeps_the_order_and_the_parameters_it_was_given(vit):
    maps = vt.compare(vit, picture(), {"rollout": {"residual": 0.25}, "agcam": {}})
    assert list(maps) == ["rollout", "agcam"]
    assert maps["rollout"].provenance.parameters == METHODS["rollout"].defaults | {"residual": 0.25}
    (alone,) = vt.explain(vit, picture(), "rollout", residual=0.25)
    assert np.array_equal(maps["rollout"].relevance, alone.relevance)


@pytest.mark.parametrize(("size", "batches"), [(1, [1] * 5), (2, [2, 2, 1]), (3, [3, 2]), (8, [5]), (None, [5])])
def test_the_batch_size_does_not_change_the_maps(vit, call, size, batches):
    images, targets = random_images(vit, 5), [0, "koala", None, vt.Contrast(2, 3), 6]
    expected = {name: relevances(vt.explain(vit, images, name, targets)) for name in SHARED}
    call.clear()
    found = vt.compare(vit, images, target=targets, batch_size=size)
    assert call == [count for batch in batches for count in (batch, batch * len(vit.blocks))]
    assert [maps["agcam"].provenance.batch for maps in found] == [n for n in batches for _ in range(n)]
    for name in SHARED:
        assert_close(relevances([maps[name] for maps in found]), expected[name], name)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_refused(vit, call, size):
    with pytest.raises(InputError, match=f"batch_size.*{size}"):
        vt.explain(vit, random_images(vit, 2), batch_size=size)
    assert call == []


def test_an_image_that_does_not_fit_into_memory_is_refused_before_anything_is_computed(vit, call, monkeypatch):
    monkeypatch.setattr("vitreous.vit.memory.free_bytes", lambda _device: 1000)
    with pytest.raises(errors.MemoryEstimateError):
        vt.explain(vit, random_images(vit, 2))
    assert call == []


def test_little_memory_makes_smaller_batches(vit, call, monkeypatch):
    from vitreous.vit.memory import bytes_per_image

    images = random_images(vit, 3)
    expected = relevances(vt.explain(vit, images, "agcam"))
    capture = METHODS["agcam"].capture(vit, METHODS["agcam"].complete({}))
    monkeypatch.setattr("vitreous.vit.memory.free_bytes", lambda _device: 4 * bytes_per_image(vit, capture))
    call.clear()
    assert_close(relevances(vt.explain(vit, images, "agcam")), expected)
    assert call == [2, 1]
    call.clear()
    vt.explain(vit, images, "attnlrp")  # has a second graph, and the same memory
    assert set(call) == {1}


# --- photographs


def test_paths_text_pil_and_read_photographs_are_the_same(vit, photos):
    path = photos[0]
    expected = vt.explain(vit, [path], "agcam")[0]
    for source in (path, str(path), Image.open(path), read_photo(path)):
        for given in (source, [source], (source,)):
            (found,) = vt.explain(vit, given, "agcam")
            assert np.array_equal(found.relevance, expected.relevance)
            assert found.provenance.image_digest == expected.provenance.image_digest
    assert expected.provenance.image == path.name


def test_a_single_image_gives_a_dict_and_several_a_list_of_dicts(vit, photos):
    assert set(vt.compare(vit, photos[0], ["agcam", "rollout"])) == {"agcam", "rollout"}
    assert [set(maps) for maps in vt.compare(vit, photos[:2], ["rollout"])] == [{"rollout"}] * 2
    assert [set(maps) for maps in vt.compare(vit, random_images(vit, 1), ["rollout"])] == [{"rollout"}]


def test_photographs_of_different_sizes_are_explained_as_each_alone(vit, photos):
    together = vt.explain(vit, photos, "agcam", [1, 2, 3, 4], "squash")
    for number, path in enumerate(photos):
        (alone,) = vt.explain(vit, path, "agcam", number + 1, "squash")
        assert_close(together[number].relevance, alone.relevance)
        assert together[number].frame == alone.frame
        assert together[number].frame.photo_size == read_photo(path).size


def test_fit_decides_what_the_model_sees_and_is_recorded(vit, photos):
    maps = {fit: vt.explain(vit, photos[0], "agcam", 0, fit)[0] for fit in ("crop", "squash", "pad")}
    for fit, made in maps.items():
        assert made.frame.fit == fit
        assert made.provenance.preprocessing["fit"] == fit
    assert len({made.relevance.tobytes() for made in maps.values()}) == 3


def test_a_squashed_photograph_is_the_tensor_of_its_pixels(vit, photos):
    squashed = Image.open(photos[0]).resize(WIDE[::-1], Image.Resampling.BICUBIC)
    tensor = torch.from_numpy(np.array(squashed)).permute(2, 0, 1)[None] / 255
    (from_file,) = vt.explain(vit, photos[0], "agcam", 0, "squash")
    (from_tensor,) = vt.explain(vit, tensor, "agcam", 0)
    assert np.array_equal(from_file.relevance, from_tensor.relevance)
    assert from_tensor.provenance.image_digest == read_photo(squashed).digest


def test_a_bad_file_ends_explain_before_anything_is_computed(vit, call, photos, text_file):
    with pytest.raises(errors.ImageFormatError, match=text_file.name):
        vt.explain(vit, [*photos[:2], text_file, photos[2]], batch_size=1)
    with pytest.raises(errors.ImageNotFoundError):
        vt.compare(vit, [*photos, photos[0].with_name("absent.png")], batch_size=2)
    assert call == []


@pytest.mark.parametrize("size", [1, 2, 3, None])
def test_explain_each_goes_on_after_a_bad_file(vit, photos, text_file, size):
    sources = [photos[0], text_file, photos[1], photos[2].with_name("absent.png"), photos[2]]
    results = list(vt.explain_each(vit, sources, ["agcam"], [0, 1, 2, 3, 4], batch_size=size))
    kinds = [type(result) for result in results]
    assert kinds == [dict, errors.ImageFormatError, dict, errors.ImageNotFoundError, dict]
    for number in (0, 2, 4):
        (alone,) = vt.explain(vit, sources[number], "agcam", number)
        assert_close(results[number]["agcam"].relevance, alone.relevance)


def test_explain_each_reads_and_computes_only_as_far_as_it_is_asked(vit, call, photos, text_file):
    results = vt.explain_each(vit, [*photos, text_file], ["rollout"], batch_size=2)
    next(results)
    assert call == [2]
    next(results)
    assert call == [2]
    next(results)
    assert call == [2, 2]


@pytest.mark.parametrize("size", [1, 2, None])
def test_an_image_for_which_the_model_gives_nan_fails_alone(vit, size):
    images = random_images(vit, 4)
    images[1] = 1.0
    results = list(vt.explain_each(vit, images, ["agcam", "rollout"], [0, 1, 2, 3], batch_size=size))
    assert [isinstance(result, NonFiniteError) for result in results] == [False, True, False, False]
    for number in (0, 2, 3):
        alone = vt.compare(vit, images[number : number + 1], ["agcam", "rollout"], number)[0]
        for name, heatmap in results[number].items():
            assert_close(heatmap.relevance, alone[name].relevance, name)
    with pytest.raises(NonFiniteError):
        vt.explain(vit, images)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 2.0])
def test_explain_each_blames_the_image_of_a_tensor_that_is_bad(vit, bad):
    images = random_images(vit, 3)
    images[2, 0, 5, 5] = bad
    results = list(vt.explain_each(vit, images, ["rollout"]))
    assert [isinstance(result, VitreousError) for result in results] == [False, False, True]


# --- tensors


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(0, 3, *WIDE), "empty"),
        (torch.rand(2, 1, *WIDE), r"\(2, 1, 24, 32\).*\(b, 3, H, W\)"),
        (torch.rand(2, 4, *WIDE), r"\(2, 4, 24, 32\).*\(b, 3, H, W\)"),
        (torch.rand(3, *WIDE), r"\(3, 24, 32\).*\(b, 3, H, W\)"),
        (torch.rand(2, *WIDE, 3), r"\(2, 24, 32, 3\).*\(b, 3, H, W\)"),
        (torch.zeros(2, 3, *WIDE, dtype=torch.uint8), "uint8.*Divide by 255"),
        (torch.zeros(2, 3, *WIDE, dtype=torch.long), "int64.*Divide by 255"),
        (torch.rand(2, 3, *WIDE) * 255, "from .* to 25.*Divide by 255"),
        (torch.rand(2, 3, *WIDE) * 4 - 2, "normalised already"),
        (torch.full((2, 3, *WIDE), torch.nan), "NaN"),
        (torch.full((2, 3, *WIDE), -torch.inf), "infinity"),
        (torch.rand(2, 3, *WIDE[::-1]), r"\(32, 24\).*\(24, 32\)"),
        (torch.rand(2, 3, 224, 224), r"\(224, 224\).*\(24, 32\)"),
    ],
)
def test_a_tensor_that_is_no_batch_of_images_is_refused(vit, call, images, message):
    for ask in (vt.explain, vt.compare):
        with pytest.raises(InputError, match=message):
            ask(vit, images)
    assert call == []


def test_a_list_without_images_is_refused(vit):
    for ask in (vt.explain, vt.compare, lambda *given: list(vt.explain_each(*given))):
        with pytest.raises(InputError, match="images is empty"):
            ask(vit, [])


def test_the_callers_tensor_is_only_read(vit):
    images = random_images(vit, 2).requires_grad_()
    kept = images.detach().clone()
    vt.compare(vit, images)
    assert images.grad is None
    assert images.requires_grad
    assert torch.equal(images, kept)


@pytest.mark.parametrize("change", [torch.Tensor.double, lambda images: images.to(memory_format=torch.channels_last)])
def test_the_layout_of_a_tensor_does_not_matter(vit, change):
    images = random_images(vit, 2)
    assert_close(relevances(vt.explain(vit, change(images))), relevances(vt.explain(vit, images)))


# --- targets


def score_of(vit, target, image=None):
    (heatmap,) = vt.explain(vit, random_images(vit, 1) if image is None else image, "agcam", target)
    return heatmap.provenance.target, heatmap.provenance.score


def test_targets_by_index_name_synonym_contrast_and_prediction(vit):
    logits = vit.logits(random_images(vit, 1))[0].tolist()
    best = max(range(len(logits)), key=logits.__getitem__)
    assert score_of(vit, 4) == ("koala (4)", pytest.approx(logits[4], rel=1e-5))
    for name in ("koala", " Koala", "KOALA"):
        assert score_of(vit, name) == score_of(vit, 4)
    for name in ("tabby, tabby cat", "tabby", "tabby cat"):
        assert score_of(vit, name) == score_of(vit, 0)
    difference = pytest.approx(logits[1] - logits[5], rel=1e-5)
    assert score_of(vit, vt.Contrast(1, 5)) == ("tiger cat (1) minus bagel (5)", difference)
    assert score_of(vit, vt.Contrast("tiger cat", "bagel")) == score_of(vit, vt.Contrast(1, 5))
    for predicted in (None, "predicted"):
        assert score_of(vit, predicted) == (f"{LABELS[best]} ({best})", pytest.approx(logits[best], rel=1e-5))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (7, "target=7 .*0 to 6"),
        (1000, "target=1000 .*0 to 6"),
        (-1, "target=-1 .*0 to 6"),
        (True, "True is a bool"),
        (vt.Contrast(1, 7), "target=7 "),
        (vt.Contrast(1, -1), "target=-1 "),
        (vt.Contrast("koala", "begel"), "'begel'.*'bagel'"),
        ("coala", "'coala'.*Did you mean 'koala'"),
        ("xyzzy", "No class is called 'xyzzy'"),
        ("crane", r"2 classes: crane, bird \(2\), crane, machine \(3\)"),
        ("", "No class is called ''"),
        ([0, 1, 9], "target=9 "),
        (["embedding", 0, 0], "mixes"),
    ],
)
def test_a_target_that_the_model_does_not_have_is_refused(vit, call, target, message):
    images = random_images(vit, 3)
    with pytest.raises(TargetError, match=message):
        vt.explain(vit, images, target=target)
    with pytest.raises(TargetError, match=message):
        list(vt.explain_each(vit, images, target=target))
    assert call == []


@pytest.mark.parametrize("targets", [[], [0], [0, 1], [0, 1, 2, 3], (0, 1)])
def test_a_list_of_targets_must_have_one_for_each_image(vit, call, targets):
    with pytest.raises(VitreousError, match=f"list of {len(targets)} for 3 images"):
        vt.explain(vit, random_images(vit, 3), target=targets)
    assert call == []


def test_a_name_asked_of_a_model_without_names(embedder):
    with pytest.raises(TargetError, match=r"'koala'.*no class names"):
        vt.explain(embedder, random_images(embedder, 1), target="koala")


def test_a_model_without_classes_has_no_predicted_one(embedder):
    images = random_images(embedder, 2)
    for target in (None, "predicted", [0, None]):
        with pytest.raises(TargetError, match="embedding"):
            vt.explain(embedder, images, target=target)
    (first, second) = vt.explain(embedder, images, target="embedding")
    assert first.provenance.predictions == ()
    assert first.provenance.target == "embedding"
    assert not np.array_equal(first.relevance, second.relevance)


# --- names


@pytest.mark.parametrize(("name", "near"), [("agcamm", "agcam"), ("roll_out", "rollout"), ("Saliency", "saliency")])
def test_an_unknown_method_is_refused_with_near_names(vit, call, name, near):
    for ask in (lambda: vt.explain(vit, picture(), name), lambda: vt.compare(vit, picture(), ["agcam", name])):
        with pytest.raises(
            errors.UnknownNameError, match=f"{name!r}.*Did you mean .*{near!r}.*Known: ablation_cam, agcam, "
        ):
            ask()
    assert call == []


def test_an_unknown_parameter_is_refused_with_near_names(vit, call):
    with pytest.raises(InputError, match=r"'rollout'.*'discards'.*Did you mean 'discard'.*fusion, discard, residual"):
        vt.explain(vit, picture(), "rollout", discards=0.5)
    with pytest.raises(InputError, match=r"'mean_attention'.*'block'.*It has: head, first, last"):
        vt.compare(vit, picture(), {"mean_attention": {"block": 1}})
    with pytest.raises(InputError, match="methods is empty"):
        vt.compare(vit, picture(), [])
    assert call == []


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("rollout", {"discard": 1.5}, "discard=1.5"),
        ("rollout", {"residual": -1.0}, "residual=-1"),
        ("raw_attention", {"block": 2}, "block=2.*0 to 1"),
        ("gradcam", {"block": -3}, "block=-3.*0 to 1"),
    ],
)
def test_a_parameter_out_of_range_is_refused(vit, name, parameters, message):
    with pytest.raises(InputError, match=message):
        vt.explain(vit, picture(), name, **parameters)


# --- the record


def test_the_record_of_a_photograph_is_complete(vit, photos):
    (heatmap,) = vt.explain(vit, photos[1], "gradcam", "koala", "pad", seed=7, relu=False)
    record = heatmap.provenance
    assert (record.method, record.paper, record.seed) == ("gradcam", "arXiv:1610.02391", 7)
    assert record.parameters == {"block": -1, "relu": False, "plus": False}
    assert (record.target, record.image) == ("koala (4)", photos[1].name)
    assert record.image_digest == read_photo(photos[1]).digest
    assert record.preprocessing == {
        "size": WIDE, "mean": PREPROCESSING.mean, "std": PREPROCESSING.std, "interpolation": "bicubic",
        "crop_share": 0.9, "guessed": (), "fit": "pad",
    }  # fmt: skip
    assert (record.model, record.weights_digest) == ("VisionTransformer", vit.digest)
    assert record.weights_source == "the caller's own model"
    assert (record.device, record.dtype, record.batch) == ("cpu", "float32", 1)
    assert 0 < record.seconds < 60
    assert record.warnings == ()
    assert record.versions["python"] == platform.python_version()
    assert record.versions["vitreous"] == vt.__version__
    assert {name: record.versions[name] for name in ("torch", "timm", "pillow")} == {
        name: version(name) for name in ("torch", "timm", "pillow")
    }
    assert heatmap.signed
    assert heatmap.unit == METHODS["gradcam"].unit
    assert (heatmap.frame.patch, heatmap.frame.grid, heatmap.frame.input_size) == ((PATCH, PATCH), (3, 4), WIDE)


def test_predictions_are_the_top_five_in_order(vit):
    images = random_images(vit, 3)
    logits = vit.logits(images).double()
    for number, heatmap in enumerate(vt.explain(vit, images, "rollout", 6)):
        best = logits[number].argsort(descending=True)[:5]
        found = heatmap.provenance.predictions
        assert [prediction.index for prediction in found] == best.tolist()
        assert [prediction.label for prediction in found] == [f"{LABELS[index]} ({index})" for index in best]
        assert [prediction.logit for prediction in found] == pytest.approx(logits[number][best].tolist(), abs=1e-5)
        shares = logits[number].softmax(0)[best].tolist()
        assert [prediction.probability for prediction in found] == pytest.approx(shares, rel=1e-5)


def test_guesses_and_what_reading_changed_are_warnings(tmp_path):
    model = torch.nn.Module()
    model.inner = scramble(timm_vit())
    model.forward = model.inner.forward
    vit = vt.open_vit(model.eval(), image_size=WIDE)
    path = tmp_path / "animated.gif"
    picture(0).save(path, save_all=True, append_images=[picture(1)])
    (heatmap,) = vt.explain(vit, path, "rollout")
    guess, frame = heatmap.provenance.warnings
    assert "guessed" in guess
    assert frame == "animated: frame 0 of 2 is used"


def test_one_number_of_the_weights_changes_the_digest():
    def digest(change):
        model = scramble(timm_vit())
        with torch.no_grad():
            change(model)
        vit = vt.open_vit(model, preprocessing=PREPROCESSING)
        return vt.explain(vit, random_images(vit, 1), "rollout")[0].provenance.weights_digest

    def nudge(model):
        number = model.blocks[1].mlp.fc2.bias[3]
        number.copy_(torch.nextafter(number, torch.tensor(torch.inf)))

    same = [digest(lambda _model: None) for _ in range(2)]
    assert same[0] == same[1]
    assert len(same[0]) == 64
    assert digest(nudge) != same[0]
    assert digest(lambda model: model.head.weight[0].copy_(model.head.weight[1])) != same[0]


def test_the_record_survives_json(vit):
    (heatmap,) = vt.explain(vit, picture(), "rollout")
    text = heatmap.provenance.model_dump_json()
    assert type(heatmap.provenance).model_validate_json(text).model_dump_json() == text


def test_the_same_question_gives_the_same_record_but_for_the_time(vit):
    first, second = (vt.explain(vit, picture(), "agcam")[0] for _ in range(2))
    assert np.array_equal(first.relevance, second.relevance)
    assert first.provenance.model_copy(update={"seconds": 0.0}) == second.provenance.model_copy(update={"seconds": 0.0})


# --- files


@pytest.fixture
def heatmap(vit, photos):
    return vt.explain(vit, photos[0], "gradcam", vt.Contrast(1, 2), relu=False)[0]


@pytest.mark.parametrize("name", [name for name in vt.list_methods() if name not in INAPPLICABLE])
def test_a_saved_heatmap_comes_back_to_the_last_bit(vit, photos, tmp_path, name):
    (made,) = vt.explain(vit, photos[0], name, vt.Contrast("koala", 0), "pad")
    path = made.save(tmp_path / "new" / "folder" / "höhe.vitreous")
    found = vt.Heatmap.load(str(path))
    assert found.relevance.dtype == np.float32
    assert found.relevance.tobytes() == made.relevance.tobytes()
    assert (found.unit, found.signed, found.frame) == (made.unit, made.signed, made.frame)
    assert found.provenance.model_dump_json() == made.provenance.model_dump_json()
    assert list(path.parent.iterdir()) == [path]


def test_relevance_cannot_be_changed(heatmap, tmp_path):
    for made in (heatmap, vt.Heatmap.load(heatmap.save(tmp_path / "map.vitreous"))):
        with pytest.raises(ValueError, match="read-only"):
            made.relevance[0, 0] = 1.0


def test_a_loaded_heatmap_asks_for_the_photograph_and_knows_it(heatmap, photos, tmp_path):
    found = vt.Heatmap.load(heatmap.save(tmp_path / "map.vitreous"))
    with pytest.raises(InputError, match=photos[0].name):
        found.photograph()
    assert found.photograph(photos[0]).digest == found.provenance.image_digest
    with pytest.raises(InputError, match="pixels differ"):
        found.photograph(photos[1])


def test_a_file_is_not_overwritten_unless_asked(vit, heatmap, tmp_path):
    path = heatmap.save(tmp_path / "map.vitreous")
    before = path.read_bytes()
    (other,) = vt.explain(vit, picture(9), "rollout")
    with pytest.raises(errors.OutputExistsError, match=r"map\.vitreous"):
        other.save(path)
    assert path.read_bytes() == before
    other.save(path, overwrite=True)
    assert vt.Heatmap.load(path).provenance.method == "rollout"
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("step", ["fsync", "link", "fdopen"])
@pytest.mark.parametrize("kept", [None, b"an older result"])
def test_a_failure_in_the_middle_leaves_no_half_file(heatmap, tmp_path, monkeypatch, step, kept):
    path = tmp_path / "results" / "map.vitreous"
    path.parent.mkdir()
    if kept is not None:
        path.write_bytes(kept)

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        patch.setattr(type(path), "replace", fail)  # in place of the link where a file is overwritten
        with pytest.raises(OutputError, match="No space left"):
            heatmap.save(path, overwrite=kept is not None)
    found = {file: file.read_bytes() for file in path.parent.iterdir()}
    assert found == ({} if kept is None else {path: kept})


def test_a_folder_that_cannot_be_written_is_told(heatmap, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        heatmap.save(tmp_path / "file" / "map.vitreous")


def header_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["vitreous"])


def rewrite(path, header, relevance=None):
    content = {"relevance": np.zeros((3, 4), np.float32) if relevance is None else relevance}
    metadata = {"vitreous": header if isinstance(header, str) else json.dumps(header)}
    safetensors.numpy.save_file(content, path, metadata=metadata)


def test_a_file_cut_short_anywhere_is_told(heatmap, tmp_path):
    path = heatmap.save(tmp_path / "map.vitreous")
    content = path.read_bytes()
    for length in {*range(0, len(content), 41), 7, 8, 9, len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(OutputError, match=r"map\.vitreous"):
            vt.Heatmap.load(path)


def test_files_that_are_no_heatmaps_are_told(heatmap, tmp_path):
    foreign = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros(3, np.float32)}, foreign)
    unlabelled = tmp_path / "relevance.safetensors"
    safetensors.numpy.save_file({"relevance": np.zeros((3, 4), np.float32)}, unlabelled)
    text = tmp_path / "text.vitreous"
    text.write_text("{}" * 100)
    for path in (foreign, unlabelled, text, tmp_path / "absent.vitreous", tmp_path):
        with pytest.raises(OutputError, match=path.name):
            vt.Heatmap.load(path)


def test_relevance_of_a_type_that_numpy_does_not_have_is_told(heatmap, tmp_path):
    path = heatmap.save(tmp_path / "map.vitreous")
    metadata = {"vitreous": json.dumps(header_of(path))}
    save_torch_file({"relevance": torch.zeros(3, 4, dtype=torch.bfloat16)}, path, metadata=metadata)
    with pytest.raises(OutputError, match=r"map\.vitreous"):
        vt.Heatmap.load(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda header: header.update(schema=2),
        lambda header: header.pop("schema"),
        lambda header: header.pop("unit"),
        lambda header: header.pop("frame"),
        lambda header: header.update(frame=[1, 2]),
        lambda header: header["frame"].pop("grid"),
        lambda header: header["frame"].update(grid=[5, 5], input_size=[7, 7]),
        lambda header: header["frame"].update(more=1),
        lambda header: header.pop("provenance"),
        lambda header: header["provenance"].pop("method"),
        lambda header: header["provenance"].update(score="high"),
        lambda header: header["provenance"].update(more=1),
    ],
)
def test_a_damaged_header_is_told(heatmap, tmp_path, damage):
    path = heatmap.save(tmp_path / "map.vitreous")
    header = header_of(path)
    rewrite(path, header)
    assert vt.Heatmap.load(path).relevance.shape == (3, 4)
    damage(header)
    rewrite(path, header)
    with pytest.raises(OutputError, match=r"map\.vitreous"):
        vt.Heatmap.load(path)


@pytest.mark.parametrize("header", ["", "{", "[]", "null", "3", '{"schema": 1}', '{"schema": NaN}'])
def test_a_header_that_is_no_record_is_told(tmp_path, header):
    path = tmp_path / "map.vitreous"
    rewrite(path, header)
    with pytest.raises(OutputError, match=r"map\.vitreous"):
        vt.Heatmap.load(path)


@pytest.mark.parametrize(
    "relevance",
    [
        np.zeros((4, 3), np.float32),
        np.zeros(12, np.float32),
        np.zeros((1, 3, 4), np.float32),
        np.full((3, 4), np.nan, np.float32),
        np.full((3, 4), -np.inf, np.float32),
        np.zeros((3, 4), np.int32),
        np.zeros((3, 4), np.float64),
    ],
)
def test_a_relevance_that_no_heatmap_has_is_told(heatmap, tmp_path, relevance):
    path = heatmap.save(tmp_path / "map.vitreous")
    rewrite(path, header_of(path), np.ascontiguousarray(relevance))
    with pytest.raises(OutputError, match=r"map\.vitreous"):
        vt.Heatmap.load(path)


def test_the_default_method_takes_three_passes_applies_everywhere_and_depends_on_the_class(vit):
    (found,) = vt.explain(vit, picture())
    assert found.provenance.method == DEFAULT_METHOD
    assert found.provenance.forwards + found.provenance.backwards <= 3
    assert METHODS[DEFAULT_METHOD].class_specific
    assert DEFAULT_METHOD not in INAPPLICABLE


def test_the_default_method_is_more_faithful_than_chance_on_the_scenes_of_the_package():
    found = vt.evaluate(vt.open_vit("bundled:scenes"), vt.worlds.scenes()[:12], [DEFAULT_METHOD], ["srg(steps=4)"])
    (cell,) = (cell for cell in found.table().sections[0].cells if cell.method == DEFAULT_METHOD)
    assert cell.control.winner("higher") == DEFAULT_METHOD
