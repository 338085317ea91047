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
from vitreous.core.errors import WorkerError

READY = b"ready"
GUARD = (
    "A script that evaluates in processes is imported by each of them: put what it does under "
    '`if __name__ == "__main__":`. What a process said as it ended is on standard error.'
)
LIKELY = "A code of -9 is most often a lack of memory: use fewer workers or a smaller batch."


@dataclass(eq=False)
class _Hand:
    """One worker process, this end of its pipe, and the shard that it was given last."""

    process: SpawnProcess
    pipe: Connection
    shard: int
    started: bool = False

    def begin(self, job: Job, sealed: bytes) -> None:
        """Send the job and the first shard, once it has said that it listens: the job is more than a pipe holds."""
        self.started = True
        with suppress(OSError):
            self.pipe.send_bytes(sealed)
        self.give(job, self.shard)

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
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise WorkerError("A worker process imported the script that started it, and met this evaluation again.", GUARD)
    most = workers or max(1, (os.cpu_count() or 1) // job.manifest.threads)
    sealed, waiting, deaths = seal_job(job), deque(todo), Counter[int]()
    hands: dict[Connection, _Hand] = {}
    try:
        while waiting or hands:
            while waiting and len(hands) < most:
                hand = _hire(waiting.popleft())
                hands[hand.pipe] = hand
            ready = wait(list(hands))
            for hand in [hand for pipe, hand in hands.items() if pipe in ready]:
                answer = _heard(hand, job, deaths)
                if answer is None:
                    del hands[hand.pipe]
                    waiting.appendleft(hand.shard)
                    continue
                if not hand.started:
                    hand.begin(job, sealed)
                    continue
                done = opened(answer)
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


def _hire(shard: int) -> _Hand:
    """Start a process that is to begin with a shard."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    there.close()  # else the pipe would not end with the process
    return _Hand(process, here, shard)


def _heard(hand: _Hand, job: Job, deaths: Counter[int]) -> bytes | None:
    """Receive what a worker sent; None if it has died, which is counted.

    Raises WorkerError for a shard that has ended too many, and for a worker that ended by itself as it began: the next
    would fail alike.
    """
    try:
        return hand.pipe.recv_bytes()
    except (EOFError, OSError):
        code = hand.end()
        if not hand.started and (code or 0) > 0:  # below 0 it was killed
            raise WorkerError(f"A worker process ended with exit code {code} as it began.", GUARD) from None
        count_death(deaths, hand.shard, job, f"worker processes in a row, the last with exit code {code}", LIKELY)
        return None


def _serve(pipe: Connection) -> None:
    """Take the job, and answer shards until the pipe ends. Ctrl-C is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pipe.send_bytes(READY)
        worker = Worker(pipe.recv_bytes())
        while True:
            pipe.send_bytes(worker.answer(pipe.recv_bytes()))
    except (EOFError, OSError):
        return
