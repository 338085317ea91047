"""`vitreous benchmark` and `vitreous worlds export` as a person and a pipeline meet them."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import vitreous as vt
from vitreous.apps.cli.main import app
from vitreous.bench.store import rows_from_parquet, rows_to_parquet

CONFIG = """name: Two scenes
models:
  - {name: small, model: "bundled:scenes"}
data:
  - {name: two, data: scenes, limit: 2}
methods: [rollout]
metrics: [pointing_game]
batch_size: 1
"""


def run(*arguments, expect=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(CONFIG)
    return path


def test_a_benchmark_is_run_packed_and_checked(config, tmp_path):
    out, packed = tmp_path / "out", tmp_path / "results.zip"
    told = run("benchmark", config, "--out", out, "--pack", packed)
    assert "# Two scenes" in told.stdout
    assert "Evaluating small/two" in told.stderr
    assert {"leader-board.html", "leader-board.md", "leader-board.tex"} <= {file.name for file in out.iterdir()}
    assert (out / "small" / "two" / "table.html").is_file()
    assert (out / "leader-board.md").read_text(encoding="utf-8").strip() == told.stdout.strip()
    first = packed.read_bytes()
    again = run("benchmark", out, "--pack", packed, "--overwrite", "--json")
    assert packed.read_bytes() == first
    assert [each["method"] for each in json.loads(again.stdout)["overall"]] == ["rollout", "random"]

    agrees = run("benchmark", "--verify", packed, "--sample", 1)
    assert "small/two: AGREES. 2 of 2 rows that were run again agree, values to 0; 4 rows were read" in agrees.stdout
    assert "Drawn with --seed" in agrees.stdout

    path = out / "small" / "two" / "rows" / "000000.parquet"
    rows = rows_from_parquet(path.read_bytes())
    assert {row.value for row in rows if row.method == "random"} != {1.0}
    better = [replace(row, value=1.0, parts=(1.0,)) for row in rows]
    path.write_bytes(rows_to_parquet(better))
    differs = run("benchmark", config, "--verify", out, "--sample", 2, "--seed", 3, "--json", expect=1)
    found = json.loads(differs.stdout)
    assert (found["good"], found["seed"], found["compared"]) == (False, 3, 4)
    assert any("random, pointing_game: the value is 1, again 0" in line for line in found["differs"])
    assert "small/two: DIFFERS" in run("benchmark", "--verify", out, "--sample", 2, expect=1).stdout


def test_a_pair_that_fails_is_told_and_the_others_are_done(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(CONFIG.replace("data:\n", "data:\n  - {name: none, data: 'folder:/nowhere'}\n", 1))
    told = run("benchmark", path, "--out", tmp_path / "out", expect=1)
    assert "Failed: small/none" in told.stderr
    assert "small/two" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "told", "status"),
    [
        ((), "name a configuration", 2),
        (("CONFIG",), "say where results go", 2),
        (("CONFIG", "--seed", "3", "--out", "x"), "the seed of a run is in its configuration", 2),
        (("--verify", "x", "--pack", "y"), "--verify checks them", 2),
        (("--verify", "/nowhere.zip"), "VX-E600", 3),
        (("/nowhere.yaml", "--out", "x"), "VX-E800", 3),
    ],
)
def test_what_cannot_be_is_told(config, arguments, told, status):
    given = [config if argument == "CONFIG" else argument for argument in arguments]
    assert told in run("benchmark", *given, expect=status).stderr.replace("\n", " ").replace("│", "").replace("  ", " ")


def test_a_data_set_is_exported(tmp_path):
    told = run(
        "worlds", "export", "scenes", "--licence", "cc0-1.0", "--limit", 2, "--out", tmp_path / "set",
        "--source", "rendered by vitreous", "--caveat", "small",
    )  # fmt: skip
    assert told.stdout.strip() == str(tmp_path / "set")
    assert [sample.id for sample in vt.worlds.shared(tmp_path / "set")] == [s.id for s in vt.worlds.scenes()[:2]]
    assert "rendered by vitreous" in (tmp_path / "set" / "README.md").read_text()
    assert "licence" in run("worlds", "export", "scenes", "--out", tmp_path / "other", expect=2).stderr
