"""Worker processes on this machine, each with a model of its own. A process that dies is replaced, its shard done anew.

Processes are spawned, not forked: a fork of a process that has computed with threads or on a GPU can hang. So a script
needs the guard `if __name__ == "__main__":`, as for all of Python's `multiprocessing`.

A worker lives as long as its pipe. If this process is killed the pipe closes, and the worker ends after its shard.
"""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from vitreous.bench.engines.job import Done, Job, Tell, Worker, count_death, opened, seal_job, seal_shard

LIKELY = (
    "A code of -9 is most often a lack of memory: use fewer workers or a smaller batch. A script that evaluates in "
    'processes needs `if __name__ == "__main__":`.'
)


@dataclass(eq=False)
class _Hand:
    """One worker process, this end of its pipe, and the shard that it was given last."""

    process: SpawnProcess
    pipe: Connection
    shard: int = -1

    def give(self, job: Job, shard: int) -> None:
        """Send it a shard. If it has died meanwhile, waiting for its answer will tell."""
        self.shard = shard
        sealed = seal_shard(job, shard)
        with suppress(OSError):
            self.pipe.send_bytes(sealed)

    def end(self) -> int | None:
        """End it, whatever it does, and give its exit code."""
        self.pipe.close()
        self.process.kill()
        self.process.join()
        return self.process.exitcode


def run(job: Job, todo: Sequence[int], workers: int | None, tell: Tell) -> Generator[Done, None, None]:
    """Compute the shards in processes, in the order in which they come in.

    workers  how many; None takes as many as the machine has cores for, each with the threads of the manifest

    Raises WorkerError for what cannot be sent, for a worker that would compute something else, and for a shard that
    ends its worker again and again.
    """
    most = workers or max(1, (os.cpu_count() or 1) // job.manifest.threads)
    sealed, waiting, deaths = seal_job(job), deque(todo), Counter[int]()
    hands: dict[Connection, _Hand] = {}
    try:
        while waiting or hands:
            while waiting and len(hands) < most:
                hand = _hire(sealed)
                hands[hand.pipe] = hand
                hand.give(job, waiting.popleft())
            ready = wait(list(hands))
            for hand in [hand for pipe, hand in hands.items() if pipe in ready]:
                try:
                    done = opened(hand.pipe.recv_bytes())
                except (EOFError, OSError):
                    del hands[hand.pipe]
                    ended = f"worker processes in a row, the last with exit code {hand.end()}"
                    count_death(deaths, hand.shard, job, ended, LIKELY)
                    waiting.appendleft(hand.shard)
                    continue
                if waiting:
                    hand.give(job, waiting.popleft())
                else:
                    del hands[hand.pipe]
                    hand.end()
                for _ in job.shards[done.number]:
                    tell()
                yield done
    finally:
        for hand in hands.values():
            hand.end()


def _hire(sealed: bytes) -> _Hand:
    """Start a process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, sealed), daemon=True)
    process.start()
    there.close()  # else the pipe would not end with the process
    return _Hand(process, here)


def _serve(pipe: Connection, sealed: bytes) -> None:
    """Answer shards until the pipe ends. Ctrl-C is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(sealed)
    try:
        while True:
            pipe.send_bytes(worker.answer(pipe.recv_bytes()))
    except (EOFError, OSError):
        return
