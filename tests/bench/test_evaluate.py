"""Evaluations: the rows, what fails, and going on after an interruption."""

import json
import multiprocessing
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vitreous as vt
from oracles.planted import open_planted
from vitreous.bench.plan import _name, read_asked
from vitreous.bench.store import RunFolder
from vitreous.core.errors import InputError, RunFolderError
from vitreous.core.images import Fetched
from vitreous.metrics._metric import METRICS
from vitreous.worlds import Mask, Region, Sample, Samples

BRIGHT = "raw_attention(head=0)"
"""The head that attends to the brightest patch."""

METHODS = [BRIGHT, "gradcam(relu=False)"]
CHECKED = ["srg", "pointing_game"]


@pytest.fixture(scope="module")
def planted():
    return open_planted()


def picture(vit, seed):
    """A photograph of the model's size with patches of different brightness; the brightest is patch `seed % 12`."""
    rows, columns = vit.grid
    grid = np.random.default_rng(seed).uniform(80, 170, rows * columns)
    grid[seed % len(grid)] = 240
    pixels = np.kron(grid.reshape(rows, columns), np.ones(vit.patch)).round().astype(np.uint8)
    return Image.fromarray(np.stack([pixels] * 3, -1))


def sample(vit, seed, **known):
    height, width = vit.preprocessing.size
    inside = np.zeros((height, width), dtype=bool)
    row, column = divmod(seed % 12, vit.grid[1])
    inside[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = True
    region = Region("bright", None, lambda: Mask(inside, np.zeros_like(inside)))
    return Sample(f"s{seed}", picture(vit, seed), "brightest", regions=(region,), **known)


def world(vit, count):
    return Samples("bright", tuple(sample(vit, seed) for seed in range(count)), ("brightest",))


def values(rows):
    return [
        (row.sample, row.method, row.metric, np.float64(row.value).tobytes(), row.parts, row.status) for row in rows
    ]


def test_every_sample_method_and_metric_has_a_row_in_order(planted):
    found = vt.evaluate(planted, world(planted, 5), METHODS, CHECKED, batch_size=2)
    assert [(row.sample, row.method, row.metric) for row in found.rows] == [
        (f"s{seed}", method, metric) for seed in range(5) for method in [*METHODS, "random"] for metric in CHECKED
    ]
    assert {row.status for row in found.rows} == {"ok"}
    by = {(row.sample, row.method, row.metric): row for row in found.rows}
    assert all(by[f"s{seed}", BRIGHT, "pointing_game"].value == 1 for seed in range(5))
    assert by["s0", BRIGHT, "srg"].value > by["s0", "random", "srg"].value
    assert by["s0", BRIGHT, "srg"].forwards > 0
    assert by["s3", "random", "srg"].target.startswith("brightest")


def test_values_do_not_depend_on_the_batch(planted):
    one, three = (vt.evaluate(planted, world(planted, 4), METHODS, CHECKED, batch_size=size).rows for size in (1, 3))
    assert [row.value for row in one] == pytest.approx([row.value for row in three], abs=1e-6)


def test_values_are_those_of_the_metric_asked_by_hand(planted):
    samples = world(planted, 2)
    found = vt.evaluate(planted, samples, [BRIGHT], ["srg(steps=4)"], batch_size=1)
    row = next(row for row in found.rows if row.sample == "s1" and row.method == BRIGHT)
    (heatmap,) = vt.explain(planted, [samples[1].image], "raw_attention", head=0)
    assert heatmap.provenance.image_digest == row.image_digest
    order = np.argsort(-heatmap.relevance.ravel(), kind="stable")
    logits = {}
    for first, places in (("most", order), ("least", order[::-1])):
        for gone in (0, 3, 6, 9, 12):
            keep = np.ones(12, bool)
            keep[places[:gone]] = False
            grid = np.array(samples[1].image)[::4, ::4, 0].ravel() / 255
            logits[first, gone] = 10 * grid[keep].max() if keep.any() else None
    # Without any patch the planted class token attends to itself alone, and the logit is what the others do not reach.
    nothing = logits.pop(("most", 12)), logits.pop(("least", 12))
    assert nothing == (None, None)
    curves = {first: [logits[first, gone] for gone in (0, 3, 6, 9)] for first in ("most", "least")}
    # The last point is the same in both curves and cancels, with half the weight of its step.
    expected = sum(
        weight * (least - most)
        for weight, least, most in zip((1 / 8, 1 / 4, 1 / 4, 1 / 4), curves["least"], curves["most"], strict=True)
    )
    assert row.value == pytest.approx(expected, abs=1e-3)


def test_a_bad_photograph_a_missing_mask_and_a_broken_annotation_are_rows_with_reasons(planted, tmp_path):
    def broken():
        raise vt.VitreousError("The mask is torn.", "Mend it.")

    samples = [
        sample(planted, 0),
        Sample("gone", tmp_path / "none.png"),
        Sample("maskless", picture(planted, 1)),
        Sample("torn", picture(planted, 2), regions=(Region("x", None, broken),)),
        sample(planted, 4),
    ]
    found = vt.evaluate(planted, samples, [BRIGHT], CHECKED, batch_size=8)
    by = {(row.sample, row.method, row.metric): row for row in found.rows}
    assert len(found.rows) == 5 * 2 * 2
    gone, maskless, torn = (by[name, BRIGHT, "pointing_game"] for name in ("gone", "maskless", "torn"))
    assert (gone.status, maskless.status, torn.status) == ("failed", "excluded", "failed")
    assert "none.png" in gone.reason
    assert maskless.reason == "the sample has no mask"
    assert "torn" in torn.reason
    assert np.isnan(gone.value)
    assert by["torn", BRIGHT, "srg"].status == "ok"
    assert by["s4", BRIGHT, "pointing_game"].value == 1


def test_readers_that_raise_what_they_like_give_rows_with_reasons(planted):
    def torn():
        raise ZeroDivisionError("no mask\nat all")

    def lost(most):
        raise ConnectionResetError("the store is gone")

    samples = [
        Sample("torn", picture(planted, 2), regions=(Region("x", None, torn),)),
        Sample("lost", Fetched("far.png", lost)),
        sample(planted, 4),
    ]
    by = {(row.sample, row.method, row.metric): row for row in vt.evaluate(planted, samples, [BRIGHT], CHECKED).rows}
    assert by["torn", BRIGHT, "pointing_game"].reason == "ZeroDivisionError: no mask"
    assert by["torn", BRIGHT, "srg"].status == "ok"
    assert by["lost", BRIGHT, "srg"].reason == "ConnectionResetError: the store is gone"
    assert by["s4", BRIGHT, "pointing_game"].value == 1


def test_an_error_of_one_image_costs_only_that_image(planted, monkeypatch):
    original = METRICS["pointing_game"]

    def fragile(case, **_):
        if bool((case.relevance.flatten(1).argmax(1) == 2).any()):
            raise RuntimeError("cannot bear patch 2")
        return original.function(case)

    monkeypatch.setitem(METRICS._entries, "pointing_game", replace(original, function=fragile))
    found = vt.evaluate(planted, world(planted, 4), [BRIGHT], ["pointing_game"], batch_size=4)
    status = {row.sample: (row.status, row.reason) for row in found.rows if row.method == BRIGHT}
    assert status["s2"] == ("failed", "RuntimeError: cannot bear patch 2")
    assert [status[name][0] for name in ("s0", "s1", "s3")] == ["ok"] * 3


def test_the_class_of_the_data_set_can_be_the_target(planted):
    samples = [sample(planted, 0), Sample("nameless", picture(planted, 3))]
    found = vt.evaluate(planted, samples, [BRIGHT], ["srg"], "label")
    by = {row.sample: row for row in found.rows if row.method == BRIGHT}
    assert by["s0"].target == "brightest (0)"
    assert by["nameless"].status == "excluded"
    assert "class" in by["nameless"].reason


@pytest.mark.parametrize(
    ("asked", "told"),
    [([], "empty"), (["gradcam(True)"], "not understood"), (["gradcam(plus=__import__('os'))"], "not understood"),
     (["gradcam(**{})"], "not understood"), (["gradcam("], "not understood")],
)  # fmt: skip
def test_what_is_not_understood_is_refused(asked, told):
    with pytest.raises(vt.VitreousError, match=told):
        read_asked(asked, "methods")


def test_a_function_in_place_of_a_name_is_refused_with_its_name():
    """Asked where it is read: the run-time type checks of the tests refuse it before `evaluate` begins."""
    with pytest.raises(InputError, match=r"metrics has a function.*'values'"):
        _name(values, "metrics")


def test_parameters_are_part_of_the_label(planted):
    found = vt.evaluate(planted, world(planted, 1), {"gradcam": {"relu": False}}, ["srg"])
    assert [row.method for row in found.rows] == ["gradcam(relu=False)", "random"]
    with pytest.raises(vt.VitreousError, match="no parameter 'reluu'"):
        vt.evaluate(planted, world(planted, 1), ["gradcam(reluu=False)"], ["srg"])


# -- the store ---------------------------------------------------------------------------------------------------------


def test_a_kept_evaluation_reads_back_to_the_bit_and_holds_its_maps(planted, tmp_path):
    folder = tmp_path / "run"
    samples = world(planted, 5)
    found = vt.evaluate(planted, samples, METHODS, CHECKED, batch_size=2, out=folder, keep_maps=True)
    unkept = vt.evaluate(planted, samples, METHODS, CHECKED, batch_size=2)
    assert values(vt.Evaluation.load(folder).rows) == values(found.rows) == values(unkept.rows)
    maps = {(label, name): relevance for name, label, relevance in RunFolder(folder).maps()}
    assert set(maps) == {(label, f"s{seed}") for label in (*METHODS, "random") for seed in range(5)}
    (heatmap,) = vt.explain(planted, [samples[4].image], "raw_attention", head=0)
    assert maps[BRIGHT, "s4"] == pytest.approx(heatmap.relevance, abs=1e-6)
    (folder / "maps" / "000000.safetensors").write_bytes(b"{}")
    with pytest.raises(RunFolderError, match=r"000000.safetensors is damaged"):
        next(RunFolder(folder).maps())
    told = json.loads((folder / "manifest.json").read_text())
    assert told["weights_digest"] == planted.digest
    assert told["methods"]["gradcam(relu=False)"]["relu"] is False


def test_kept_rows_are_read_shard_by_shard_and_behave_like_a_tuple(planted, tmp_path, monkeypatch):
    (one,) = vt.evaluate(planted, world(planted, 1), ["random"], ["gini"]).rows
    rows = tuple(replace(one, sample=str(place)) for place in range(7))
    folder = RunFolder(tmp_path)
    for number, part in enumerate((rows[:3], (), rows[3:])):
        folder.write_shard(number, part)
    kept = folder.rows()
    assert kept == rows
    assert rows != kept[:6]
    assert [len(kept), kept[0], kept[3], kept[-1]] == [7, rows[0], rows[3], rows[6]]
    assert kept[2:5] == rows[2:5]
    with pytest.raises(IndexError):
        kept[7]
    read = []
    monkeypatch.setattr("vitreous.bench.store.rows_from_parquet", lambda _: read.append(1) or [one])
    assert next(iter(kept)) == one
    assert len(read) == 1
    (tmp_path / "rows" / "000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match=r"000002.parquet is damaged"):
        len(folder.rows())
    (tmp_path / "rows" / "000000.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"000000.parquet is gone"):
        next(iter(kept))


def test_a_finished_run_is_not_computed_again(planted, tmp_path, monkeypatch):
    first = vt.evaluate(planted, world(planted, 3), METHODS, CHECKED, out=tmp_path / "run")
    monkeypatch.setattr("vitreous.bench.engines.job.evaluate_samples", lambda *_: pytest.fail("computed again"))
    assert values(vt.evaluate(planted, world(planted, 3), METHODS, CHECKED, out=tmp_path / "run").rows) == values(
        first.rows
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [({"metrics": ["srg"]}, "metrics"), ({"seed": 1}, "seed: 0 there, 1 now"), ({"batch_size": 1}, "batch_size"),
     ({"samples": 4}, "samples")],
)  # fmt: skip
def test_another_evaluation_in_the_same_folder_is_refused_with_the_difference(planted, tmp_path, change, told):
    asked = {"samples": 3, "metrics": CHECKED, "seed": 0, "batch_size": 2}

    def run(samples, metrics, **rest):
        return vt.evaluate(planted, world(planted, samples), METHODS, metrics, out=tmp_path / "run", **rest)

    run(**asked)
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(vt.VitreousError, match=told):
        run(**(asked | change))
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


def test_two_processes_on_one_folder_are_refused(planted, tmp_path):
    found = vt.evaluate(planted, world(planted, 1), [BRIGHT], ["srg"], out=tmp_path / "run")
    hold = "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire()"
    program = f"{hold}; print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "run" / "lock")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(vt.VitreousError, match="Another process"):
            vt.evaluate(planted, world(planted, 1), [BRIGHT], ["srg"], out=tmp_path / "run")
    finally:
        holder.kill()
        holder.communicate()
    again = vt.evaluate(planted, world(planted, 1), [BRIGHT], ["srg"], out=tmp_path / "run")
    assert values(again.rows) == values(found.rows)


def test_a_folder_of_other_files_a_damaged_manifest_and_a_later_layout_are_refused(planted, tmp_path):
    def run(folder):
        return vt.evaluate(planted, world(planted, 1), [BRIGHT], ["srg"], out=folder)

    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(vt.VitreousError, match=r"thesis\.txt"):
        run(other)
    folder = tmp_path / "run"
    run(folder)
    manifest = folder / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"schema_version": 99}))
    with pytest.raises(vt.VitreousError, match="layout 99"):
        run(folder)
    manifest.write_text("{")
    with pytest.raises(vt.VitreousError, match="no manifest"):
        run(folder)
    with pytest.raises(vt.VitreousError, match="holds no evaluation"):
        vt.Evaluation.load(tmp_path / "nowhere")


def test_a_full_disk_loses_nothing_that_was_finished(planted, tmp_path, monkeypatch):
    whole = vt.evaluate(planted, world(planted, 70), [BRIGHT], ["pointing_game"], batch_size=8)
    real, calls = RunFolder.write_shard, []

    def full(self, number, rows, maps=None):
        calls.append(number)
        if number == 1 and len(calls) < 3:
            raise vt.VitreousError("No space left on device.", "Free space.")
        real(self, number, rows, maps)

    monkeypatch.setattr(RunFolder, "write_shard", full)
    arguments = (planted, world(planted, 70), [BRIGHT], ["pointing_game"])
    with pytest.raises(vt.VitreousError, match="No space"):
        vt.evaluate(*arguments, batch_size=8, out=tmp_path / "run")
    assert RunFolder(tmp_path / "run").finished() == {0}
    again = vt.evaluate(*arguments, out=tmp_path / "run")  # the batch size is that of the folder
    assert calls == [0, 1, 1, 2]
    assert values(again.rows) == values(whole.rows)


def test_a_run_killed_at_random_points_ends_as_one_that_was_never_interrupted(planted, tmp_path, monkeypatch):
    monkeypatch.setattr("vitreous.bench.manifest.SHARD", 8)
    folder, generator, metrics = tmp_path / "run", np.random.default_rng(0), ["srg(steps=3)", "pointing_game"]
    whole = vt.evaluate(planted, world(planted, 60), METHODS, metrics, batch_size=4)

    def work(told):
        vt.evaluate(
            planted, world(planted, 60), METHODS, metrics,
            batch_size=4, out=folder, advance=lambda done, _all: told.send(done),
        )  # fmt: skip

    kills = 0
    forking = multiprocessing.get_context("fork")
    while kills < 11:
        finished = RunFolder(folder).finished() if folder.exists() else set()
        stop_at = 8 * len(finished) + int(generator.integers(1, 12)) if kills < 10 else 1000
        heard, told = forking.Pipe(duplex=False)
        process = forking.Process(target=work, args=(told,))
        process.start()
        told.close()
        try:
            while heard.recv() < stop_at:
                pass
        except EOFError:
            kills = 10  # it came to its end
        time.sleep(float(generator.uniform(0, 0.02)))
        process.kill()
        process.join()
        heard.close()
        kills += 1
    found = vt.Evaluation.load(folder)
    assert values(found.rows) == values(whole.rows)
    assert not list(folder.rglob(".writing-*"))


def test_parameters_that_turn_a_metric_round_turn_its_direction_in_the_table(planted):
    found = vt.evaluate(planted, world(planted, 12), [BRIGHT], ["aopc(steps=3)", "aopc(steps=3, first='least')"])
    most, least = found.table().sections
    assert (most.better, least.better) == ("higher", "lower")
    assert [cell.method for cell in most.cells] == [cell.method for cell in least.cells] == [BRIGHT, "random"]
    assert most.cells[0].value > most.cells[1].value
    assert least.cells[0].value < least.cells[1].value


def test_images_that_the_model_is_unsure_of_are_excluded_with_the_reason(planted):
    found = vt.evaluate(
        planted, world(planted, 2), [BRIGHT], ["otsu_f1(confidence=0.9999999)", "otsu_f1(confidence=0.0)"]
    )
    unsure, every = ([row for row in found.rows if row.metric.endswith(f"{ending})")] for ending in ("99", "0.0"))
    assert {row.status for row in unsure} == {"excluded"}
    assert "no class has a probability of 0.9999999" in unsure[0].reason
    assert {row.status for row in every} == {"ok"}


def test_the_difference_of_two_runs_is_told_key_by_key(planted, tmp_path):
    vt.evaluate(planted, world(planted, 1), ["rollout", "gradcam"], ["gini"], out=tmp_path / "run")
    with pytest.raises(RunFolderError) as caught:
        vt.evaluate(planted, world(planted, 1), {"rollout": {}, "agcam": {}}, ["gini"], out=tmp_path / "run")
    assert "methods gradcam: only there; methods agcam: only now" in str(caught.value)
