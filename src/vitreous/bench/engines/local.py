"""The local engine: one shard after the other, in this process."""

from collections.abc import Generator, Sequence

from vitreous.bench.engines.job import Done, Job, Tell, do_shard
from vitreous.core.errors import InputError


def run(job: Job, todo: Sequence[int], workers: int | None, tell: Tell) -> Generator[Done, None, None]:
    """Compute the shards in order. Raises InputError for several workers."""
    if workers not in {None, 1}:
        raise InputError(
            f"workers={workers} with engine='local'.", 'The local engine is one process: use engine="processes".'
        )
    for number in todo:
        yield do_shard(job, number, job.shards[number], tell)
