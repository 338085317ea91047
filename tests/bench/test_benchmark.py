"""Benchmarks: configurations, outcomes, the leader board, and submissions that somebody else can check."""

import io
import json
import re
import shutil
import stat
import zipfile
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vitreous as vt
from vitreous.bench import submission as submissions
from vitreous.bench._board import board_html, board_latex, board_markdown
from vitreous.bench.benchmark import Outcome, load_benchmark, open_model, run_benchmark
from vitreous.bench.config import BenchmarkConfig, read_config
from vitreous.bench.leader_board import leader_board
from vitreous.bench.store import rows_from_parquet, rows_to_parquet
from vitreous.bench.submission import open_submission, pack
from vitreous.bench.verify import _draw, verify

CONFIG = """name: Scenes
models:
  - name: small
    model: bundled:scenes
data:
  - name: three
    data: scenes
    limit: 3
  - {name: two, data: scenes, limit: 2, target: label}
methods: [rollout]
metrics: ["pointing_game", "srg(steps=2)"]
batch_size: 2
"""


def config_file(folder, text=CONFIG):
    path = folder / "bench.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def opened_once():
    """Open each model once for all tests here; what opening does is tested elsewhere."""
    opened = cache(vt.open_vit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitreous.bench.benchmark.open_vit", opened)
        patch.setattr(vt, "open_vit", opened)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished benchmark: the configuration and its folder."""
    folder = tmp_path_factory.mktemp("bench")
    config = read_config(config_file(folder))
    outcomes = run_benchmark(config, folder / "out")
    assert [each.problem for each in outcomes] == ["", ""]
    return config, folder / "out"


@pytest.fixture
def copy(done, tmp_path):
    """A copy of the folder, to be changed."""
    shutil.copytree(done[1], tmp_path / "copy")
    return tmp_path / "copy"


# -- the configuration -------------------------------------------------------------------------------------------------


def test_a_configuration_is_read(tmp_path):
    config = read_config(config_file(tmp_path))
    assert [entry.name for entry in config.data] == ["three", "two"]
    assert (config.data[1].asked, config.data[0].asked, config.data[0].fitted) == ("label", None, "crop")
    pair = read_config(config_file(tmp_path, CONFIG.replace("target: label", "target: {a: cube, b: 2}")))
    assert pair.data[1].asked == vt.Contrast("cube", 2)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    limit: 3", "    limmit: 3", r"line 8, data\.0\.limmit: there is no such field\. Did you mean 'limit'"),
        ("    limit: 3", "    limit: -3", r"line 8, data\.0\.limit"),
        ("    limit: 3", "    limit: '3'", r"line 8, data\.0\.limit: Input should be a valid integer"),
        ("    model: bundled:scenes", "    weights: x", r"line 3, models\.0\.model: Field required"),
        ("name: small", "name: ../small", r"line 3, models\.0\.name"),
        ("name: small", "name: .", r"line 3, models\.0\.name"),
        ("name: two", "name: THREE", "two of data have the name 'three'"),
        ("batch_size: 2", "batchsize: 2", r"line 12, batchsize: .*Did you mean 'batch_size'"),
        ("batch_size: 2", "methods: [rollout]", "line 12: 'methods' is given twice"),
        ("[rollout]", "[rolout]", r"line 10, methods: There is no method 'rolout'\. Did you mean 'rollout'"),
        ("steps=2", "stepz=2", "line 11, metrics: .*no parameter 'stepz'"),
        ("data: scenes\n", "data: scnes\n", "line 7, data: there is no data set loader 'scnes'. Did you mean 'scenes'"),
        ("methods: [rollout]", "methods: []", "line 10, methods"),
        ("name: Scenes", "name: &x Scenes\nout: *x", "alias"),
        ("name: Scenes", "name: !!python/object/apply:os.system ['true']", "no YAML"),
        ("name: Scenes", "name: [", "no YAML"),
        (CONFIG, "", "no fields"),
        (CONFIG, "[" * 20_000, "no YAML"),
        (CONFIG, "\x00", "NUL"),
        (CONFIG, "[1, 2]", "no fields"),
        ("target: label", "target: {a: 1, c: 2}", r"line 9, data\.1\.target"),
    ],
)
def test_what_a_configuration_must_not_have_is_told_with_its_line(tmp_path, old, new, told):
    assert old in CONFIG
    with pytest.raises(vt.VitreousError, match=told):
        read_config(config_file(tmp_path, CONFIG.replace(old, new)))


def test_the_schema_accepts_what_the_program_accepts():
    schema = BenchmarkConfig.model_json_schema()
    assert set(schema["required"]) == {"name", "models", "data"}
    assert schema["additionalProperties"] is False
    pattern = schema["$defs"]["ModelEntry"]["properties"]["name"]["pattern"]
    for good, name in (
        (True, "ViT-B_16.2"),
        (False, ".."),
        (False, "a/b"),
        (False, "a."),
        (False, ""),
        (False, "a" * 61),
    ):
        assert bool(re.fullmatch(pattern.strip("^$"), name)) is good


# -- running -----------------------------------------------------------------------------------------------------------


def test_every_pair_is_the_evaluation_that_one_would_make_by_hand(done):
    _, outcomes = load_benchmark(done[1])
    assert [each.name for each in outcomes] == ["small/three", "small/two"]
    vit = vt.open_vit("bundled:scenes")
    for outcome, count, target in ((outcomes[0], 3, None), (outcomes[1], 2, "label")):
        by_hand = vt.evaluate(
            vit, vt.worlds.scenes()[:count], ["rollout"], ["pointing_game", "srg(steps=2)"], target, batch_size=2
        )
        assert [(row.sample, row.method, row.metric, row.value) for row in outcome.evaluation.rows] == [
            (row.sample, row.method, row.metric, row.value) for row in by_hand.rows
        ]


def test_what_fails_is_an_outcome_and_stops_nothing_else(tmp_path):
    text = CONFIG.replace(
        "    model: bundled:scenes", "    model: bundled:scenes\n  - {name: gone, model: timm:no_such}"
    )
    text = text.replace("data: scenes\n    limit: 3", "data: folder:/nowhere")
    told = []
    outcomes = run_benchmark(read_config(config_file(tmp_path, text)), tmp_path / "out", lambda *one: told.append(one))
    problems = {each.name: each.problem for each in outcomes}
    assert problems["small/two"] == ""
    assert "/nowhere" in problems["small/three"]
    assert "no_such" in problems["gone/two"]
    assert told == [("small/two", 1, 4), ("small/two", 2, 4)]
    board = leader_board("x", outcomes)
    assert set(board.problems) == {"small/three", "gone/three", "gone/two"}
    for text in (board_html(board), board_markdown(board), board_latex(board)):
        assert "Missing: gone/two" in text.replace("\\", "")


def test_it_goes_on_and_can_grow_and_refuses_another(done, copy, monkeypatch):
    config = done[0]
    monkeypatch.setattr("vitreous.bench.engines.job.evaluate_samples", lambda *_: pytest.fail("computed again"))
    again = run_benchmark(config, copy)
    assert [each.problem for each in again] == ["", ""]
    monkeypatch.undo()
    more = config.model_copy(
        update={"data": [*config.data, config.data[0].model_copy(update={"name": "more", "limit": 1})]}
    )
    assert [each.name for each in run_benchmark(more, copy)] == ["small/three", "small/two", "small/more"]
    with pytest.raises(vt.VitreousError, match="data set 'more'"):
        run_benchmark(config, copy)
    with pytest.raises(vt.VitreousError, match="seed"):
        run_benchmark(more.model_copy(update={"seed": 1}), copy)
    (copy.parent / "other").mkdir()
    (copy.parent / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(vt.VitreousError, match="other files"):
        run_benchmark(config, copy.parent / "other")


def test_an_unfinished_pair_is_told_and_left_out(copy):
    (copy / "small" / "two" / "rows" / "000000.parquet").unlink()
    _, outcomes = load_benchmark(copy)
    assert "not finished" in outcomes[1].problem
    packed = open_submission(pack(copy, copy.parent / "s.zip"))
    assert packed.record.missing == ["small/two"]
    checked = verify(packed, 1)
    assert checked[0].good
    assert "missing" in checked[1].refused


# -- the board ---------------------------------------------------------------------------------------------------------


def outcome(name, values):
    """An evaluation with the given values: by metric, by method, one for each image."""
    rows = []
    base = vt.evaluate(vt.open_vit("bundled:scenes"), vt.worlds.scenes()[:1], ["rollout"], ["pointing_game", "gini"])
    for metric, by_method in values.items():
        for method, numbers in by_method.items():
            for place, number in enumerate(numbers):
                ok, value = number is not None, float("nan") if number is None else float(number)
                rows.append(
                    replace(
                        base.rows[0], sample=str(place), method=method, metric=metric, value=value,
                        parts=(value,) if ok else (), status="ok" if ok else "failed", reason="" if ok else "broken",
                    )
                )  # fmt: skip
    return Outcome("m", name, vt.Evaluation(tuple(rows), base.manifest))


def test_ranks_are_averaged_over_pairs_and_metrics_by_hand():
    board = leader_board(
        "By hand",
        [
            outcome("a", {"pointing_game": {"x": [1, 1], "y": [1, 0], "random": [0, 1]}, "gini": {"x": [1, 1], "y": [2, 2], "random": [0, 0]}}),
            outcome("b", {"pointing_game": {"x": [0, 0], "y": [1, 1], "random": [0, 0]}}),
        ],
    )  # fmt: skip
    # In a: x 1.0 is first, y and random share 0.5 and the ranks 2 and 3. In b: y is first, x and random share 2 and 3.
    expected = {"x": (1 + 2.5) / 2, "y": (2.5 + 1) / 2, "random": 2.5}
    assert dict(board.overall) == pytest.approx(expected)
    assert board.counted == 2  # gini has no direction
    entry = next(entry for entry in board.entries if entry.metric == "pointing_game")
    assert dict(entry.ranks) == pytest.approx(expected)
    assert entry.methods[-1] == "random"
    gini = next(entry for entry in board.entries if entry.metric == "gini")
    assert all(np.isnan(rank) for rank in gini.ranks.values())


def test_a_method_that_lacks_a_value_is_not_ranked_and_fewer_images_are_told():
    values = {"pointing_game": {"x": [1, None], "y": [1, 0], "z": [None, None], "random": [0, 0]}}
    board = leader_board(
        "x", [outcome("a", values), outcome("b", {"pointing_game": {"x": [1], "y": [1], "random": [0]}})]
    )
    ranks = dict(board.overall)
    assert np.isnan(ranks["z"])
    assert ranks["x"] == pytest.approx((1 + 1.5) / 2)
    assert list(ranks)[-1] == "z"
    text = board_markdown(board)
    assert "(n = 1 of 2)" in text
    assert "(n = 0)" in text


def test_marks_say_which_methods_differ_from_the_control_in_every_format():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(3, 30)) * 0.1
    values = {"srg": {"good": (2 + noise[0]).tolist(), "bad": (noise[1] - 2).tolist(), "random": noise[2].tolist()}}
    base = outcome("a", {"pointing_game": {"random": [0]}}).evaluation
    told = {"srg": {"name": "srg"}}
    found = outcome("a", values)
    evaluation = vt.Evaluation(found.evaluation.rows, base.manifest.model_copy(update={"metrics": told}))
    board = leader_board("<b>x</b> & $1_y", [Outcome("m", "a", evaluation)])
    lines = {line.split("|")[1].strip(): line for line in board_markdown(board).splitlines() if "(n = 30)" in line}
    assert lines["good"].rstrip(" |").endswith("+**")  # best of all as well
    assert lines["bad"].rstrip(" |").endswith("\N{MINUS SIGN}")
    page = board_html(board, {("m/a", "srg"): b"<svg/>"})
    assert 'aria-label="better than random"' in page
    assert 'aria-label="worse than random"' in page
    assert "<b>x" not in page
    assert "http" not in page
    assert "<script" not in page
    assert "data:image/svg+xml;base64,PHN2Zy8+" in page
    closed = Closed()
    closed.feed(page)
    assert closed.open == []
    tables = board_latex(board)
    assert r"\$1\_y" in tables
    assert tables.count(r"\begin{table}") == tables.count(r"\end{table}") == 2
    assert "$-$" in tables


class Closed(HTMLParser):
    """Checks that every element of a page is closed in turn."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_board_of_nothing_is_refused():
    with pytest.raises(vt.VitreousError, match="timm:none is not there"):
        leader_board("x", [Outcome("m", "d", problem="timm:none is not there")])


# -- submissions -------------------------------------------------------------------------------------------------------


def test_a_submission_has_the_same_bytes_each_time_and_agrees_with_itself(done, tmp_path):
    first, second = (pack(done[1], tmp_path / f"{name}.zip").read_bytes() for name in "ab")
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {"README.md", "benchmark.json", "small/two/manifest.json", "small/two/rows/000000.parquet"} <= set(
            archive.namelist()
        )
    found = verify(open_submission(tmp_path / "a.zip"), 3)
    assert [(each.good, each.rows, each.compared, each.largest) for each in found] == [
        (True, 12, 12, 0),
        (True, 8, 8, 0),
    ]
    with pytest.raises(vt.VitreousError, match="exists already"):
        pack(done[1], tmp_path / "a.zip")


def test_a_folder_and_an_unpacked_submission_are_checked_alike(done, tmp_path):
    assert all(each.good for each in verify(open_submission(done[1]), 1))
    with zipfile.ZipFile(pack(done[1], tmp_path / "s.zip")) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert all(each.good for each in verify(open_submission(tmp_path / "unpacked"), 1))


def tamper(folder, change, pair="small/three"):
    """Change the rows of one pair, as a submitter might before packing."""
    path = folder / pair / "rows" / "000000.parquet"
    rows = rows_from_parquet(path.read_bytes())
    path.write_bytes(rows_to_parquet(change(rows)))


def better(row, by=0.05):
    value = row.value + by
    return replace(row, value=value, parts=(value,))


def test_a_tampered_value_is_found_where_it_is_run_again(copy):
    def change(rows):
        return [better(row) if (row.metric, row.method) == ("srg(steps=2)", "rollout") else row for row in rows]

    tamper(copy, change)
    found, untouched = verify(open_submission(pack(copy, copy.parent / "s.zip")), 1, seed=1)
    assert not found.good
    assert len(found.differs) == found.compared // 4  # the one row in four of every sample that was run again
    assert all("rollout, srg(steps=2): the value is" in line for line in found.differs)
    assert untouched.good


def test_a_bad_value_that_is_passed_off_as_a_failure_is_found(copy):
    def hidden(row):
        return replace(row, status="failed", value=float("nan"), parts=(), reason="RuntimeError: out of luck")

    tamper(copy, lambda rows: [hidden(row) if row.method == "rollout" else row for row in rows])
    found, _ = verify(open_submission(copy), 3)
    assert len(found.differs) == 6
    assert all("status is 'failed', again 'ok'" in line for line in found.differs)


def test_one_tampered_row_is_found_when_all_are_run_again(copy):
    tamper(copy, lambda rows: [*rows[:5], better(rows[5], 0.01), *rows[6:]])
    found, _ = verify(open_submission(copy), 3)
    assert len(found.differs) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [replace(rows[0], value=0.5), *rows[1:]], "does not follow from its parts"),
        (lambda rows: [replace(rows[0], seed=5), *rows[1:]], "the seed is 5"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "belongs"),
        (lambda rows: [rows[1], rows[1], *rows[2:]], "belongs"),
        (lambda rows: [replace(rows[0], status="excluded"), *rows[1:]], "it has a value, and is excluded"),
        (lambda rows: [replace(rows[0], parts=(1.0, 1.0)), *rows[1:]], "2 parts"),
        (lambda rows: [replace(rows[0], parts=()), *rows[1:]], "0 parts"),
    ],
)
def test_rows_that_contradict_themselves_are_found_without_running_them(copy, monkeypatch, change, told):
    tamper(copy, change)
    monkeypatch.setattr("vitreous.bench.verify._again", lambda *_: [])
    found, _ = verify(open_submission(copy), 1)
    assert told in " ".join(found.wrong)
    assert not found.good


@pytest.mark.parametrize(
    ("change", "told"),
    [(lambda rows: rows[:-4], "8 rows instead of 12"), (lambda rows: rows + rows[:1], "13 rows instead of 12")],
)
def test_left_out_and_added_rows_are_refused(copy, change, told):
    tamper(copy, change)
    found, _ = verify(open_submission(copy), 1)
    assert told in found.refused


def test_other_images_of_the_same_names_differ(copy):
    def change(rows):
        return [replace(row, image_digest="0" * 64) for row in rows]

    tamper(copy, change)
    found, _ = verify(open_submission(copy), 1)
    assert len(found.differs) == found.compared
    assert "image_digest" in found.differs[0]


def test_other_weights_are_refused_by_their_digest(done, tmp_path):
    vit = open_model(done[0].models[0])
    weights = {name: tensor.clone() for name, tensor in vit.body.model.state_dict().items()}
    name = next(iter(weights))
    weights[name] = weights[name] + torch.finfo(torch.float32).eps
    save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / "other.safetensors")
    own = done[0].model_copy(
        update={"models": [done[0].models[0].model_copy(update={"weights": str(tmp_path / "other.safetensors")})]}
    )
    for found in verify(open_submission(done[1]), 1, own=own):
        assert not found.good
        assert "They are other weights." in found.refused


def test_another_digest_in_the_manifest_is_refused(copy):
    path = copy / "small" / "three" / "manifest.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"weights_digest": "0" * 64}))
    found, other = verify(open_submission(copy), 1)
    assert "They are other weights." in found.refused
    assert other.good


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"methods": {"rollout": {"name": "attnlrp"}, "random": {"name": "random"}}}, "methods"),
        ({"samples": 2}, "samples: 2 there, 3 now"),
        ({"samples": 10**15}, "samples"),
        ({"samples_digest": "0"}, "samples_digest"),
        ({"seed": 4}, "seed: 4 there, 0 now"),
        ({"target": 3}, "target"),
        ({"shard": 1}, "shard"),
    ],
)
def test_a_manifest_that_is_not_of_its_configuration_is_refused(copy, change, told):
    path = copy / "small" / "three" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    found, _ = verify(open_submission(copy), 1)
    assert "not the evaluation of its configuration" in found.refused
    assert told in found.refused


def test_other_versions_are_noted_and_no_difference(copy):
    path = copy / "small" / "three" / "manifest.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"versions": {"torch": "9.9"}, "threads": 64}))
    found, _ = verify(open_submission(copy), 1)
    assert found.good
    assert any("9.9" in note for note in found.notes)


def test_the_readers_own_data_are_used_by_name(done, tmp_path):
    vt.worlds.export(vt.worlds.scenes()[:3], tmp_path / "mine", "cc0-1.0")
    entries = [entry.model_copy(update={"data": f"shared:{tmp_path / 'mine'}", "limit": 99}) for entry in done[0].data]
    found = verify(open_submission(done[1]), 1, own=done[0].model_copy(update={"data": entries}))
    assert [each.good for each in found] == [True, True]  # limits and targets stay those of the submission
    nowhere = [entry.model_copy(update={"data": "folder:/nowhere"}) for entry in done[0].data]
    found = verify(open_submission(done[1]), 1, own=done[0].model_copy(update={"data": nowhere}))
    assert all("/nowhere" in each.refused for each in found)


def test_whole_batches_are_drawn_at_random_from_the_seed(done):
    drawn = [_draw(20, 3, 7, seed) for seed in range(40)]
    assert all(sum(map(len, batches)) >= 7 and len(batches) == 3 for batches in drawn)
    assert {batch for batches in drawn for batch in batches} == {range(s, min(s + 3, 20)) for s in range(0, 20, 3)}
    assert _draw(20, 3, 7, 5) == drawn[5]
    assert len({tuple(batches) for batches in drawn}) > 10
    assert _draw(5, 2, 99, 0) == [range(2), range(2, 4), range(4, 5)]
    with pytest.raises(vt.VitreousError, match="sample=0"):
        verify(open_submission(done[1]), 0)


# -- strangers' files --------------------------------------------------------------------------------------------------


def archive_of(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (("../../evil", b"x", 0), "leads out"),
        (("/etc/evil", b"x", 0), "leads out"),
        (("a\\..\\..\\evil", b"x", 0), "leads out"),
        (("C:/evil", b"x", 0), "leads out"),
        (("Benchmark.json", b"x", 0), "there twice"),
        (("link", b"/etc/passwd", stat.S_IFLNK | 0o777), "is a link"),
        (("bomb", b"\0" * 10**7, 0), "hundred times"),
    ],
)
def test_archives_that_could_do_harm_are_refused(done, tmp_path, entry, told):
    record = (done[1] / "benchmark.json").read_bytes()
    path = archive_of(tmp_path / "s.zip", [("benchmark.json", record, 0), entry])
    with pytest.raises(vt.VitreousError, match=told):
        open_submission(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s.zip"]


def test_a_header_that_lies_about_its_size_reads_no_more_than_the_limit(done, tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MOST_BYTES", 1000)
    record = (done[1] / "benchmark.json").read_bytes()
    path = archive_of(tmp_path / "s.zip", [("benchmark.json", record, 0), ("big", b"\1" * 5000, 0)])
    content = path.read_bytes()
    lying = content.replace((5000).to_bytes(4, "little"), (900).to_bytes(4, "little"))
    path.write_bytes(lying)
    with pytest.raises(vt.VitreousError, match=r"damaged|more than"):
        open_submission(path).read("big")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "s.zip").write_bytes(content)
    with pytest.raises(vt.VitreousError):
        open_submission(tmp_path / "s.zip")
    with pytest.raises(vt.VitreousError):
        open_submission(tmp_path / "nowhere.zip")


def test_a_damaged_copy_another_layout_and_links_are_refused(done, tmp_path):
    with zipfile.ZipFile(pack(done[1], tmp_path / "s.zip")) as archive:
        archive.extractall(tmp_path / "copy")
    path = tmp_path / "copy" / "small" / "three" / "rows" / "000000.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    assert "another digest" in verify(open_submission(tmp_path / "copy"), 1)[0].refused
    path.unlink()
    path.symlink_to(tmp_path / "s.zip")
    assert "link" in verify(open_submission(tmp_path / "copy"), 1)[0].refused
    path.unlink()
    assert "missing" in verify(open_submission(tmp_path / "copy"), 1)[0].refused
    record = tmp_path / "copy" / "benchmark.json"
    record.write_text(record.read_text().replace('"layout": 1', '"layout": 2'))
    with pytest.raises(vt.VitreousError, match="layout 2"):
        open_submission(tmp_path / "copy")
    record.write_text("[" * 100_000)
    with pytest.raises(vt.VitreousError, match="no benchmark"):
        open_submission(tmp_path / "copy")


def test_rows_of_another_form_are_refused(copy):
    import pyarrow as pa
    from pyarrow import parquet

    path = copy / "small" / "three" / "rows" / "000000.parquet"
    table = parquet.read_table(path)
    empty = pa.array([None] * len(table), pa.float64())
    parquet.write_table(
        table.set_column(table.schema.get_field_index("value"), table.schema.field("value"), empty), path
    )
    assert "empty cells" in verify(open_submission(copy), 1)[0].refused
    status = pa.array(["ok", "fine"] * (len(table) // 2))
    parquet.write_table(table.set_column(table.schema.get_field_index("status"), "status", status), path)
    assert "no status 'fine'" in verify(open_submission(copy), 1)[0].refused
    parts = pa.array([[None]] * len(table), pa.list_(pa.float64()))
    parquet.write_table(
        table.set_column(table.schema.get_field_index("parts"), table.schema.field("parts"), parts), path
    )
    assert "empty cells" in verify(open_submission(copy), 1)[0].refused
    parquet.write_table(table.drop_columns(["value"]), path)
    assert "columns" in verify(open_submission(copy), 1)[0].refused
    path.write_bytes(b"PAR1")
    assert "damaged" in verify(open_submission(copy), 1)[0].refused
