"""The command line as a person and a pipeline meet it: output, files, exit status."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import vitreous as vt
from vitreous.apps.cli._running import result_names
from vitreous.apps.cli.main import app
from vitreous.methods._method import METHODS

MODEL = "timm:test_vit"  # a six-block ViT of timm for tests: 160 pixels, patches of 16


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import timm

    torch.manual_seed(5)
    model = timm.create_model("test_vit")
    path = tmp_path_factory.mktemp("weights") / "test_vit.safetensors"
    save_file(
        {name: tensor * (1 + 3 * name.endswith("qkv.weight")) for name, tensor in model.state_dict().items()}, path
    )
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    for name, size in {"a.png": (170, 200), "b [x].jpg": (90, 60), "ü🙂.png": (160, 160)}.items():
        pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).resize((8, 8)).resize(size).save(folder / name)
    return folder


def run(*arguments, expect=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}"
    return result


def explain(weights, *arguments, expect=0):
    return run("explain", "--model", MODEL, "--weights", weights, *arguments, expect=expect)


def test_explain_writes_overlay_raw_map_and_record_for_each_photograph(weights, photos, tmp_path):
    out = tmp_path / "out"
    result = explain(weights, photos, "--out", out, "--method", "rollout")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{stem}.rollout.{ending}" for stem in ("a", "b [x]", "ü🙂") for ending in ("png", "vitreous", "json")
    )
    loaded = vt.Heatmap.load(out / "a.rollout.vitreous")
    assert loaded.frame.photo_size == (200, 170)
    assert (loaded.relevance == vt.explain(vt.open_vit(MODEL, weights), photos / "a.png", "rollout")[0].relevance).all()
    record = json.loads((out / "a.rollout.json").read_text(encoding="utf-8"))
    assert record["provenance"]["method"] == "rollout"
    with Image.open(out / "a.rollout.png") as picture:
        assert picture.height >= 200
    assert result.stdout.count("predicted") == 3
    assert "Opening" not in result.stdout
    assert "Opening" in result.stderr


def test_top_five_are_printed_with_the_models_own_probabilities(weights, photos, tmp_path):
    result = explain(weights, photos / "a.png", "--out", tmp_path / "o", "--json")
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    vit = vt.open_vit(MODEL, weights)
    (heatmap,) = vt.explain(vit, photos / "a.png")
    with vit.trace(_input_of(vit, photos / "a.png")) as trace:
        expected = trace.logits[0].detach().softmax(0).topk(5)
    assert [found["index"] for found in record["predictions"]] == expected.indices.tolist()
    assert [found["probability"] for found in record["predictions"]] == pytest.approx(
        expected.values.tolist(), abs=1e-6
    )
    assert record["target"] == heatmap.provenance.target == record["predictions"][0]["label"]


def _input_of(vit, path):
    from vitreous.core.fit import photo_to_input
    from vitreous.core.frame import frame_photo
    from vitreous.core.images import read_photo

    photo = read_photo(path)
    wanted = vit.preprocessing
    frame = frame_photo(photo.size, wanted.size, vit.patch, vit.grid, "crop", wanted.crop_share)
    return photo_to_input(photo, frame, wanted.interpolation)[None]


def test_a_bad_file_is_reported_and_the_others_go_on(weights, photos, tmp_path):
    bad = photos / "bad.png"
    bad.write_text("not a picture", encoding="utf-8")
    out = tmp_path / "out"
    result = explain(
        weights, photos / "a.png", bad, tmp_path / "missing.jpg", photos / "b [x].jpg", "--out", out, expect=1
    )
    assert result.stdout.count("predicted") == 2
    assert "bad.png: VX-E102" in result.stderr
    assert "missing.jpg: VX-E101" in result.stderr
    assert "2 of 4 photographs failed" in result.stderr
    assert (out / "b [x].libragrad.vitreous").exists()


def test_json_tells_failures_too(weights, photos, tmp_path):
    result = explain(weights, tmp_path / "missing.jpg", photos / "a.png", "--out", tmp_path / "o", "--json", expect=1)
    failed, done = [json.loads(line) for line in result.stdout.splitlines()]
    assert failed["error"]["code"] == "VX-E101"
    assert all(Path(path).exists() for path in done["written"])


def test_existing_results_are_kept_unless_asked(weights, photos, tmp_path):
    out = tmp_path / "out"
    explain(weights, photos / "a.png", "--out", out)
    before = (out / "a.libragrad.vitreous").read_bytes()
    again = explain(weights, photos / "a.png", "--out", out, "--target", "3", expect=1)
    assert "VX-E601" in again.stderr
    assert (out / "a.libragrad.vitreous").read_bytes() == before
    explain(weights, photos / "a.png", "--out", out, "--target", "3", "--overwrite")
    assert vt.Heatmap.load(out / "a.libragrad.vitreous").provenance.target.endswith("(3)")


def test_targets_by_name_index_and_contrast(weights, photos, tmp_path):
    def target(*arguments):
        result = explain(weights, photos / "a.png", "--out", tmp_path / "o", "--overwrite", "--json", *arguments)
        return json.loads(result.stdout)["target"]

    assert target("--target", "koala").startswith("koala")
    assert target("--target", "105") == target("--target", "koala")
    assert target("--target", "koala", "--against", "106").endswith("minus wombat (106)")
    unknown = explain(weights, photos / "a.png", "--out", tmp_path / "o", "--target", "koalla", expect=3)
    assert "VX-E400" in unknown.stderr
    assert "koala" in unknown.stderr
    explain(weights, photos / "a.png", "--against", "3", expect=2)


@pytest.mark.parametrize("odd", ["²", "--5", ""])
def test_odd_targets_are_told_like_any_other(weights, photos, tmp_path, odd):
    assert "VX-E400" in explain(weights, photos / "a.png", "-o", tmp_path / "o", f"--target={odd}", expect=3).stderr


def test_result_names_are_all_different():
    names = result_names([Path("a.png"), Path("a.jpg"), Path("a-2.png"), Path("A.gif")])
    assert len({name.casefold() for name in names}) == 4
    assert names[:2] == ["a", "a-2"]


def test_photographs_of_the_same_name_do_not_overwrite_each_other(weights, photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (50, 50), "red").save(other / "A.png")
    explain(weights, photos / "a.png", other / "A.png", "--out", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.vitreous")} == {
        "a.libragrad.vitreous",
        "A-2.libragrad.vitreous",
    }


def test_parameters_reach_the_method(weights, photos, tmp_path):
    result = explain(
        weights,
        photos / "a.png",
        "-m",
        "rollout",
        "--set",
        "discard=0.5",
        "--set",
        "fusion=max",
        "-o",
        tmp_path / "o",
        "--json",
    )
    parameters = json.loads(result.stdout)["provenance"]["parameters"]
    assert parameters == METHODS["rollout"].defaults | {"fusion": "max", "discard": 0.5}
    wrong = explain(weights, photos / "a.png", "-m", "rollout", "--set", "fusoin=max", "-o", tmp_path / "p", expect=3)
    assert "VX-E120" in wrong.stderr
    assert "'fusion'" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--method", "agcamm"], 3, "agcam"),
        (["--fit", "stretch"], 2, "squash"),
        (["--image-size", "big"], 2, "224x320"),
        (["--image-size", "²"], 2, "224x320"),
        (["--set", "detach=perhaps"], 3, "VX-E120"),
        (["--labels", "/nonexistent"], 2, "cannot be read"),
        (["--weights", "/nonexistent.safetensors"], 3, "VX-E300"),
        (["--model", "timm:vit_tinny_patch16_224"], 3, "vit_tiny_patch16_224"),
        (["--model", "vit_tiny_patch16_224"], 3, "timm:vit_tiny_patch16_224"),
        (["--set", "block"], 2, "NAME=VALUE"),
    ],
)
def test_wrong_arguments_are_told_without_a_traceback(weights, photos, tmp_path, arguments, status, told):
    result = explain(weights, photos / "a.png", "--out", tmp_path / "out", *arguments, expect=status)
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_error_itself(photos, tmp_path):
    with pytest.raises(vt.VitreousError):
        run("explain", photos / "a.png", "--weights", "/nonexistent.safetensors", "--debug", expect=1)


def test_compare_writes_one_sheet_and_all_raw_maps(weights, photos, tmp_path):
    out = tmp_path / "out"
    run("compare", photos / "a.png", "--model", MODEL, "--weights", weights, "-m", "agcam", "-m", "rollout", "-o", out)
    assert {path.name for path in out.iterdir()} == {"a.compare.png", "a.agcam.vitreous", "a.rollout.vitreous"}


def test_compare_takes_every_method_of_the_shared_pass_by_default(weights, photos, tmp_path):
    result = run("compare", photos / "a.png", "--model", MODEL, "--weights", weights, "-o", tmp_path / "out", "--json")
    shared = {name for name in METHODS if METHODS[name].shares_pass and not METHODS[name].control}
    assert {found["method"] for found in json.loads(result.stdout)["maps"]} == shared


def test_doctor_tells_layout_checks_and_methods(weights):
    told = run("doctor", MODEL, "--weights", weights).stdout
    for part in ("6 with 2 heads", "1 prefix + 10 x 10 patches", "class token", "passed: tapped logits", "rollout"):
        assert part in told
    facts = json.loads(run("doctor", MODEL, "--weights", weights, "--json").stdout)
    assert facts["grid"] == [10, 10]
    refused = [method["method"] for method in facts["methods"] if not method["applies"]]
    assert refused == ["cam"]  # it is about heads that read a mean


def test_doctor_says_why_methods_do_not_apply_to_a_convolutional_model():
    result = run("doctor", "timm:resnet18", "--weights", "random")
    assert "Only pixel methods apply. Check 'attention captured' failed" in result.stdout
    assert "no: the model has no plain attention" in result.stdout
    assert re.search(r"method: +saliency +\d+ MiB", result.stdout)


def test_explain_refuses_a_convolutional_model_and_names_what_still_applies(photos, tmp_path):
    result = run("explain", photos, "--model", "timm:resnet18", "--weights", "random", "-o", tmp_path / "o", expect=3)
    assert "VX-E201" in result.stderr
    assert "saliency" in result.stderr


def test_list_comes_from_the_registry():
    names = [json.loads(line)["name"] for line in run("list", "--json").stdout.splitlines()]
    assert names == vt.list_methods()
    assert "rollout" not in run("list", "*cam*").stdout
    assert "No method" in run("list", "nothing").stderr


def test_demo_explains_the_cat(weights, tmp_path):
    result = run("demo", "--model", MODEL, "--weights", weights, "--out", tmp_path / "demo")
    assert (tmp_path / "demo" / "cat.compare.png").exists()
    assert str(tmp_path / "demo" / "cat.libragrad.png") in result.stdout
    run("demo", "--model", MODEL, "--weights", weights, "--out", tmp_path / "demo")  # a second time as well


def test_help_does_not_load_torch():
    code = (
        "import sys\nfrom vitreous.apps.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'pydantic', 'PIL'} & set(sys.modules)\nassert not heavy, heavy"
    )
    began = time.perf_counter()
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert "explain" in finished.stdout
    assert time.perf_counter() - began < 30  # the half second is measured in benchmarks/, not here


def test_importing_the_package_loads_nothing_heavier_than_torch():
    code = (
        "import sys, vitreous\nvitreous.explain\n"
        "heavy = {'timm', 'transformers', 'torchvision', 'matplotlib', 'skimage', 'scipy', 'open_clip'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
