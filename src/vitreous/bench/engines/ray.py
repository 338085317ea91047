"""Ray: shards computed by a pool of actors, on this machine or on a cluster.

If `ray.init` was called before, or a cluster is named by RAY_ADDRESS, that is used as it was set up; otherwise Ray is
started on this machine for the evaluation. All machines need the same libraries, and the data under the same paths or
addresses.

The pool is one of plain actors, not that of Ray Data's `map_batches`. A shard is given to one actor and comes back
when it is done; an actor that dies, alone or with its machine, is replaced by a new one, and its shard is done anew.
Ray Data restarts actors without end, so that a shard that ends its workers would never be told, and it is about to
remove the arguments that limit this (Ray 2.64).
"""

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vitreous.bench.engines.job import Done, Job, Tell, Worker, count_death, opened, seal_job, seal_shard
from vitreous.core.errors import MissingExtraError

LIKELY = "Most often memory is lacking: use fewer workers or a smaller batch. Ray's own records say more."


def run(job: Job, todo: Sequence[int], workers: int | None, tell: Tell) -> Generator[Done, None, None]:
    """Compute the shards in actors, in the order in which they come in.

    workers  how many actors; None takes as many as the cluster has cores for, or GPUs for a model on one. Each asks Ray
             for as many cores as the manifest has threads, or for one GPU

    Raises WorkerError for what cannot be sent, for a worker that would compute something else, and for a shard that
    ends its worker again and again; and MissingExtraError.
    """
    ray = _ray()
    sealed, waiting, deaths = seal_job(job), deque(todo), Counter[int]()
    with _running(ray):
        hire, most = _pool(ray, job, sealed, workers)
        idle: list[Any] = []
        busy: dict[Any, tuple[Any, int]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < most:
                    number = waiting.popleft()
                    hand = idle.pop() if idle else hire()
                    busy[hand.answer.remote(seal_shard(job, number))] = hand, number
                while idle:
                    ray.kill(idle.pop())  # another actor may be waiting for its cores
                (ready, *_), _ = ray.wait(list(busy))
                hand, number = busy.pop(ready)
                try:
                    done = opened(ray.get(ready))
                except ray.exceptions.RayActorError:
                    count_death(deaths, number, job, "actors in a row", LIKELY)
                    waiting.appendleft(number)
                    continue
                idle.append(hand)
                for _ in job.shards[done.number]:
                    tell()
                yield done
        finally:
            for hand in [*idle, *(hand for hand, _ in busy.values())]:
                ray.kill(hand)


def _pool(ray: Any, job: Job, sealed: bytes, workers: int | None) -> tuple[Any, int]:
    """Give what starts an actor, and how many there are to be."""
    on_gpu = job.vit.device.type == "cuda"
    each = 1 if on_gpu else job.manifest.threads
    there = int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1))
    actor = ray.remote(**({"num_gpus": each} if on_gpu else {"num_cpus": each}), max_restarts=0)(Worker)
    stored = ray.put(sealed)  # once for each machine, not once for each actor
    return lambda: actor.remote(stored), workers or max(1, there // each)


@contextmanager
def _running(ray: Any) -> Iterator[None]:
    """Use the Ray that is running, or start one and stop it afterwards."""
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415  (a large library, and only this engine needs it)
    except ImportError as problem:
        raise MissingExtraError.of("ray", "ray", "Evaluating on a cluster") from problem
    return ray
