"""`vitreous evaluate` and `vitreous list --metrics` as a person and a pipeline meet them."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

import vitreous as vt
from vitreous.apps.cli.main import app
from vitreous.metrics._metric import METRICS

CHEAP = ("--model", "bundled:scenes", "-m", "rollout", "--metric", "pointing_game", "--limit", 3)


def run(*arguments, expect=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}"
    return result


def test_it_prints_a_table_with_the_control_and_n():
    printed = run("evaluate", "scenes", *CHEAP).stdout
    assert "Pointing game" in printed
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line.strip()}
    assert "3" in lines["rollout"]
    assert "3" in lines["random"]
    assert "No image was left out." in printed


def test_it_writes_the_rows_and_the_table_in_four_forms_and_goes_on_there(tmp_path):
    out = tmp_path / "run"
    first = run("evaluate", "scenes", *CHEAP, "--out", out, "--json")
    told = json.loads(first.stdout)
    values = {record["method"]: record["value"] for record in told["records"]}
    assert {"manifest.json", "table.html", "table.md", "table.tex", "table.csv"} <= {
        file.name for file in out.iterdir()
    }
    written = list(csv.DictReader(io.StringIO((out / "table.csv").read_text(encoding="utf-8"))))
    assert {row["method"]: float(row["value"]) for row in written} == pytest.approx(values)
    rows = vt.Evaluation.load(out).rows
    assert sum(row.value for row in rows if row.method == "rollout") / 3 == pytest.approx(values["rollout"])
    again = run("evaluate", "scenes", *CHEAP, "--out", out, "--json")
    assert json.loads(again.stdout) == told
    refused = run("evaluate", "scenes", *CHEAP, "--seed", 5, "--out", out, expect=3)
    assert "seed: 0 there, 5 now" in refused.stderr


def test_the_true_class_can_be_explained(tmp_path):
    run("evaluate", "scenes", *CHEAP, "--true-class", "--out", tmp_path / "run")
    rows = vt.Evaluation.load(tmp_path / "run").rows
    labels = {sample.id: sample.label for sample in vt.worlds.scenes()[:3]}
    assert all(row.target.startswith(labels[row.sample]) for row in rows)
    run("evaluate", "scenes", *CHEAP, "--true-class", "--target", "cube", expect=2)


def test_rows_that_failed_are_told_by_the_status(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    vt.worlds.scenes()[0].photo().image.save(folder / "good.png")
    (folder / "torn.png").write_bytes((folder / "good.png").read_bytes()[:900])
    arguments = ("--model", "bundled:scenes", "-m", "rollout", "--metric", "srg(steps=2)")
    told = run("evaluate", f"folder:{folder}", *arguments, expect=1)
    assert "2 of 4 rows failed" in told.stderr
    assert "torn.png" in told.stdout or "VX-E103" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("scnes",), "Did you mean 'scenes'"),
        (("folder:/nowhere/at/all",), "VX-E800"),
        (("scenes", "-m", "rolout"), "Did you mean 'rollout'"),
        (("scenes", "--metric", "srg(stepz=3)"), "no parameter 'stepz'"),
        (("scenes", "--metric", "srg(3)"), "not understood"),
    ],
)
def test_what_is_not_understood_is_told_with_a_code(arguments, told):
    refused = run("evaluate", *arguments, "--model", "bundled:scenes", "--limit", 1, expect=3)
    assert told in refused.stderr


def test_metrics_are_listed_from_the_registry():
    listed = run("list", "--metrics", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in listed] == list(METRICS)
    printed = run("list", "--metrics", "s*").stdout
    assert "srg" in printed
    assert "higher is better" in printed
    assert vt.list_metrics("srg") == ["srg"]


def test_another_engine_prints_the_same_table():
    def records(*more):
        told = json.loads(run("evaluate", "scenes", *CHEAP, "--json", *more).stdout)["records"]
        return [{name: value for name, value in each.items() if not name.startswith("sec")} for each in told]

    assert records("--engine", "processes", "--workers", 1) == records()
    assert "processes" in run("evaluate", "scenes", *CHEAP, "--engine", "spark", expect=2).stderr
