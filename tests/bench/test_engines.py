"""Engines: the same rows to the bit, whoever computes them and whoever dies on the way."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import vitreous as vt
from oracles.fragile import always_deadly, bright_sample, grey_picture, raises_on_patch_2
from oracles.planted import PlantedViT, open_planted
from vitreous.bench.engines import job as jobs
from vitreous.bench.evaluate import _engine
from vitreous.bench.manifest import describe_run
from vitreous.bench.plan import plan_evaluation
from vitreous.bench.store import RunFolder
from vitreous.metrics._metric import METRICS
from vitreous.worlds import Region, Sample, Samples

# Warnings of Ray about itself, some of them in threads, where an error would be met by nobody.
pytestmark = pytest.mark.filterwarnings(
    "default::DeprecationWarning", "default::FutureWarning", "default::ResourceWarning"
)

METHODS = ["raw_attention(head=0)", "gradcam(relu=False)"]
CHECKED = ["srg(steps=4)", "pointing_game"]
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def planted():
    return open_planted()


@pytest.fixture(scope="module")
def ray_of_two():
    """A real Ray on this machine with two workers, in which this package and the tests can be imported."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)]))
        patch.setenv("RAY_worker_niceness", "0")  # else whatever else runs on the machine goes first
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(params=["processes", "ray"])
def engine(request):
    """Each engine that computes elsewhere."""
    if request.param == "ray":
        request.getfixturevalue("ray_of_two")
    return request.param


@pytest.fixture(autouse=True)
def one_thread():
    """Workers have as many threads as this process, and Ray gives each so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def world(vit, count, deadly=None):
    """Samples of which one, in the middle, ends whoever reads it first."""
    return Samples(
        "bright",
        tuple(bright_sample(vit, seed, deadly if seed == count // 2 else None) for seed in range(count)),
        ("brightest",),
    )


def exactly(rows):
    """Everything that a row says but how long it took, floats as their bytes."""
    floats = ("value", "probability")
    told = [asdict(row) | {name: np.float64(getattr(row, name)).tobytes() for name in floats} for row in rows]
    return [{name: value for name, value in each.items() if name != "seconds"} for each in told]


def assert_same(found, expected):
    assert exactly(found.rows) == exactly(expected.rows)
    assert found.manifest == expected.manifest


def test_the_rows_are_those_of_the_local_engine_to_the_bit_though_a_worker_is_killed(
    planted, engine, tmp_path, monkeypatch
):
    monkeypatch.setitem(
        METRICS._entries, "pointing_game", replace(METRICS["pointing_game"], function=raises_on_patch_2)
    )
    gone, told, marker = Sample("gone", tmp_path / "none.png"), [], tmp_path / "killed"
    local = vt.evaluate(planted, [*world(planted, 100), gone], METHODS, CHECKED, batch_size=8)
    found = vt.evaluate(
        planted, [*world(planted, 100, str(marker)), gone], METHODS, CHECKED,
        batch_size=8, engine=engine, workers=2, out=tmp_path / "run", keep_maps=True,
        advance=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert marker.exists(), "nobody was killed"
    assert_same(found, local)
    assert RunFolder(tmp_path / "run").finished() == {0, 1, 2, 3}
    assert len({(row.sample, row.method, row.metric) for row in found.rows}) == len(found.rows) == 101 * 3 * 2
    assert told == [(done, 101) for done in range(1, 102)]
    by = {(row.sample, row.method, row.metric): row for row in found.rows}
    assert by["s2", METHODS[0], "pointing_game"].reason == "RuntimeError: cannot bear patch 2"
    assert by["s3", METHODS[0], "pointing_game"].status == "ok"
    assert "none.png" in by["gone", METHODS[0], "pointing_game"].reason
    mapped = [sample for sample, label, _ in RunFolder(tmp_path / "run").maps() if label == METHODS[0]]
    assert mapped == [f"s{seed}" for seed in range(100)]


def test_a_trained_model_and_rendered_scenes_give_the_same_bits(engine):
    vit = vt.open_vit("bundled:scenes")
    asked = (vit, vt.worlds.scenes()[:2], ["attnlrp"], ["srg(steps=3)", "counterfactual_rank"])
    local = vt.evaluate(*asked, batch_size=1)
    assert {row.status for row in local.rows} == {"ok"}
    assert_same(vt.evaluate(*asked, batch_size=1, engine=engine, workers=1), local)


def test_a_shard_that_always_ends_its_worker_is_an_error_and_the_others_are_kept(
    planted, engine, tmp_path, monkeypatch
):
    monkeypatch.setattr("vitreous.bench.engines.job.MOST_DEATHS", 1)
    pids = tmp_path / "pids"
    pids.mkdir()
    samples = [bright_sample(planted, seed) for seed in range(48)]
    samples[40] = replace(samples[40], regions=(Region("bright", None, partial(always_deadly, pids)),))
    with pytest.raises(vt.VitreousError, match="VX-E900") as caught:
        vt.evaluate(planted, samples, METHODS, CHECKED, batch_size=8, engine=engine, workers=1, out=tmp_path / "run")
    assert len(list(pids.iterdir())) == 2
    assert "memory" in str(caught.value)
    assert RunFolder(tmp_path / "run").finished() == {0}


def test_weights_that_changed_since_the_model_was_opened_are_refused(engine):
    vit = open_planted()
    with torch.no_grad():
        vit.model.head.bias += 1
    with pytest.raises(vt.VitreousError, match=r"VX-E900.*weights_digest"):
        vt.evaluate(vit, world(vit, 2), METHODS, CHECKED, engine=engine, workers=1)


def test_a_driver_that_is_killed_leaves_no_worker_and_the_run_goes_on(planted, tmp_path):
    program = f"""
import sys; sys.path[:0] = {[str(TESTS.parent / "src"), str(TESTS)]!r}
import torch, vitreous as vt
from oracles.planted import open_planted
from oracles.fragile import bright_sample
if __name__ == "__main__":
    torch.set_num_threads(1)
    vit = open_planted()
    samples = [bright_sample(vit, seed) for seed in range(200)]
    vt.evaluate(vit, samples, {METHODS!r}, {CHECKED!r}, batch_size=8, engine="processes", workers=2,
                out=sys.argv[1], advance=lambda done, of: print(done, flush=True))
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    driver = subprocess.Popen([sys.executable, script, tmp_path / "run"], stdout=subprocess.PIPE)
    assert driver.stdout is not None
    while int(driver.stdout.readline()) < 64:
        pass
    children = [int(pid) for pid in Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()]
    driver.kill()
    driver.communicate()
    assert 0 < len(RunFolder(tmp_path / "run").finished()) < 7
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    samples = [bright_sample(planted, seed) for seed in range(200)]
    found = vt.evaluate(planted, samples, METHODS, CHECKED, engine="processes", workers=1, out=tmp_path / "run")
    assert_same(found, vt.evaluate(planted, samples, METHODS, CHECKED, batch_size=8))


def test_ctrl_c_ends_the_workers_and_keeps_what_was_finished(planted, tmp_path):
    def interrupt(done, _all):
        if done == 33:
            signal.raise_signal(signal.SIGINT)  # in this very thread: another might see it late

    asked = (planted, world(planted, 96), METHODS, CHECKED)
    with pytest.raises(KeyboardInterrupt):
        vt.evaluate(*asked, batch_size=8, engine="processes", workers=2, out=tmp_path / "run", advance=interrupt)
    assert multiprocessing.active_children() == []
    assert len(RunFolder(tmp_path / "run").finished()) == 1
    assert_same(vt.evaluate(*asked, out=tmp_path / "run"), vt.evaluate(*asked, batch_size=8))


# -- what is refused ---------------------------------------------------------------------------------------------------


def job_of(vit, samples):
    plan = plan_evaluation(vit, METHODS, ["srg(steps=2)"], None, "crop", 2, 0)
    return jobs.Job(vit, plan, describe_run(vit, samples, plan), samples, keep_maps=False)


def done_elsewhere(job):
    """What a worker gives for the first shard; everything is pickled on the way as for another process."""
    return jobs.opened(jobs.Worker(jobs.seal_job(job)).answer(jobs.seal_shard(job, 0)))


def open_own(call=None, **attributes):
    model = PlantedViT().eval()
    vars(model).update(attributes)
    plain = vt.Preprocessing(size=model.size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return vt.open_vit(model, preprocessing=plain, call=call)


def test_a_model_that_cannot_be_sent_is_refused(engine):
    vit = open_own(lock=threading.Lock())
    with pytest.raises(vt.VitreousError, match=r"VX-E900.*'PlantedViT'.*cannot be sent.*engine=\"local\""):
        vt.evaluate(vit, world(vit, 2), METHODS, CHECKED, engine=engine, workers=1)


def test_a_model_of_ones_own_with_a_lambda_is_sent():
    vit = open_own(lambda net, inputs: net(inputs) * 2)
    found = done_elsewhere(job_of(vit, world(vit, 2)))
    assert exactly(found.rows) == exactly(vt.evaluate(vit, world(vit, 2), METHODS, ["srg(steps=2)"]).rows)


def test_a_sample_that_cannot_be_sent_is_refused_and_no_worker_is_left(planted):
    lock = threading.Lock()
    samples = [Sample("locked", grey_picture(planted, 0), regions=(Region("x", None, lambda: lock),))]
    with pytest.raises(vt.VitreousError, match=r"VX-E900.*sample of 'samples'"):
        vt.evaluate(planted, samples, METHODS, CHECKED, engine="processes", workers=1)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("field", "there"), [("versions", {"torch": "1.0"}), ("weights_digest", "0" * 64), ("device", "cuda:0")]
)
def test_a_worker_that_would_compute_something_else_refuses(planted, field, there):
    fine = job_of(planted, world(planted, 2))
    assert done_elsewhere(fine).number == 0
    other = replace(fine, manifest=fine.manifest.model_copy(update={field: there}))
    with pytest.raises(vt.VitreousError, match=f"VX-E900.*{field}"):
        done_elsewhere(other)


def test_an_unforeseen_error_travels_back_with_its_kind(planted):
    job = job_of(planted, world(planted, 2))
    plan, manifest = replace(job.plan, batch_size=0), job.manifest.model_copy(update={"batch_size": 0})
    with pytest.raises(vt.VitreousError, match=r"VX-E900.*ZeroDivisionError"):
        done_elsewhere(replace(job, plan=plan, manifest=manifest))


@pytest.mark.parametrize(
    ("name", "workers", "told"), [("spark", None, "spark"), ("processes", 0, "workers=0"), ("ray", -1, "workers=-1")]
)
def test_engines_and_workers_that_make_no_sense_are_refused(name, workers, told):
    with pytest.raises(vt.VitreousError, match=told):
        _engine(name, workers)


def test_several_local_workers_are_refused(planted):
    with pytest.raises(vt.VitreousError, match="engine='local'"):
        vt.evaluate(planted, world(planted, 1), METHODS, CHECKED, workers=2)


def test_a_script_without_the_guard_is_told_so_and_does_not_hang(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import vitreous as vt\n"
        "vit = vt.open_vit('bundled:scenes')\n"
        "vt.evaluate(vit, vt.worlds.scenes()[:1], ['random'], ['gini'], engine='processes', workers=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert ended.returncode == 1
    assert "VX-E900: A worker process ended with exit code 1 as it began." in ended.stderr
    assert "met this evaluation again" in ended.stderr  # from the worker
