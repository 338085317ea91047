"""`vitreous inspect` as a person and a pipeline meet it."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vitreous as vt
from vitreous.apps.cli.main import app

MODEL = ("--model", "bundled:scenes", "--no-ablation", "--draws", "3")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for place in (0, 1):
        vt.worlds.scenes()[place].photo().image.save(folder / f"scene {place}.png")
    return folder


def run(*arguments, expect=0):
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}"
    return result


def test_pages_and_numbers_are_those_of_the_library(photos, tmp_path):
    out = tmp_path / "out"
    result = run(photos, *MODEL, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == [
        f"scene {place}.inspect.{ending}" for place in (0, 1) for ending in ("html", "json")
    ]
    record = json.loads((out / "scene 0.inspect.json").read_text(encoding="utf-8"))
    (inside,) = vt.inspect(vt.open_vit("bundled:scenes"), photos / "scene 0.png", ablation=False, draws=3)
    expected = inside.record()
    for each in (record, expected):
        each["provenance"]["seconds"] = 0
    assert record == json.loads(json.dumps(expected))
    assert inside.provenance.target in result.stdout
    assert "left out: Heads were not silenced" in result.stdout
    again = run(photos, *MODEL, "--out", out, expect=1)
    assert "exists already" in again.stderr
    run(photos, *MODEL, "--out", out, "--overwrite")


def test_objects_by_box_and_by_mask(photos, tmp_path):
    mask = np.zeros((96, 96), dtype=np.uint8)
    mask[40:70, 10:50] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    result = run(
        photos / "scene 0.png", *MODEL, "--object", "box=10,40,50,70", "--object", f"mask={tmp_path / 'm.png'}",
        "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    (line,) = result.stdout.splitlines()
    record = json.loads(line)
    assert record["objects"] == {"names": ["box", "mask"], "found_by_a_map": False}
    shares = record["relations"]["shares"]
    assert shares[0] == pytest.approx(shares[1]) == pytest.approx(30 * 40 / 96**2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("cup", "names no object"), ("cup=nowhere.png", "there is no file"), ("cup=1,2,3", "there is no file")],
)
def test_what_is_no_object_is_refused_before_a_model_is_opened(photos, text, reason):
    assert reason in run(photos, "--model", "timm:none", "--object", text, expect=3).stderr


def test_expectations_are_told_for_each_photograph_and_for_all(photos, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        'priors: [{name: rim, class: "*", where: {zone: border, width: 0.02}, expect: most, reason: because}]',
        encoding="utf-8",
    )
    result = run(photos, *MODEL, "--priors", path, "--out", tmp_path / "out")
    assert result.stdout.count("Expectation: rim: violated (error)") == 2
    assert "rim [*]: violated in 2 of 2 photographs, 100% (95 % interval 16% to 100%)" in result.stdout
    (tmp_path / "bad.yaml").write_text("priors: [{nam: rim}]", encoding="utf-8")
    assert "bad.yaml" in run(photos, *MODEL, "--priors", tmp_path / "bad.yaml", expect=3).stderr


def test_a_broken_photograph_is_reported_and_the_others_go_on(photos, tmp_path):
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    result = run(photos, *MODEL, "--out", tmp_path / "out", expect=1)
    assert "broken.png" in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4
