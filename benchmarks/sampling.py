"""How the measures take their samples. Standard library only: child.py's measures import it."""

import gc
import os
import select
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from contestants import WORKERS, Contestant
from tasks import echo, hold, timed_spins

AT_LEAST = 3  # samples
PATIENCE = 60  # seconds until a worker that does not come up is a failure


@contextmanager
def warm_executor(contestant: Contestant, workers: int = WORKERS) -> Iterator[Executor]:
    """An executor all of whose workers have run tasks before."""
    with contestant.make(workers) as executor:
        with held(contestant, executor, workers):
            pass  # each has come up
        wait([executor.submit(contestant.prepare(echo), n) for n in range(500)])
        yield executor


@contextmanager
def serving(command: list[str | Path]) -> Iterator[str]:
    """The port that a server prints, which ends with its stdin: it runs while the body does."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                raise RuntimeError(f"the server did not start: exit {process.wait(PATIENCE)}")
            yield port
        finally:
            try:
                process.communicate(timeout=PATIENCE)  # closes its stdin
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    if process.returncode:
        raise RuntimeError(f"the server failed: exit {process.returncode}")


def seconds_taken(job: Callable[[], object]) -> float:
    """The seconds that `job()` takes."""
    gc.collect()
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def samples(job: Callable[[], float], quick: bool, seconds: float = 1.5) -> list[float]:
    """What `job()` gives, time after time for `seconds`, once it has been called once; for a fifth
    of them if `quick`.
    """
    job()
    taken: list[float] = []
    end = time.perf_counter() + (seconds / 5 if quick else seconds)
    while len(taken) < AT_LEAST or time.perf_counter() < end:
        taken.append(job())
    return taken


def percentile(values: list[float], percent: int) -> float:
    """The value below which `percent` of them lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def rounds_for(executor: Executor, contestant: Contestant, seconds: float) -> int:
    """How many rounds of tasks.spin a worker does in so many seconds, when nothing disturbs it."""
    rounds, timed = 50_000, contestant.prepare(timed_spins)
    best = min(executor.submit(timed, rounds, 1).result() for _ in range(10))
    return max(1, round(rounds * seconds / best))


class Gate:
    """Keeps workers of any kind busy without computing, and tells when they are: submit tasks.hold
    with `args`. Named pipes, since processes inherit no others.
    """

    def __init__(self, folder: Path) -> None:
        self.args = str(folder / "said"), str(folder / "told")
        for path in self.args:
            os.mkfifo(path)
        # Open for both directions, so that nobody's open() waits for the other side.
        self._said, self._told = (os.open(path, os.O_RDWR) for path in self.args)

    def wait_held(self, holding: list[Future[None]]) -> None:
        """Wait until all these tasks have begun; raises what one of them raised."""
        missing = len(holding)
        deadline = time.monotonic() + PATIENCE
        while missing > 0:
            if select.select([self._said], [], [], 0.2)[0]:
                missing -= len(os.read(self._said, missing))
                continue
            for future in holding:
                if future.done():
                    future.result()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{missing} workers did not come up within {PATIENCE} s")

    def free(self, count: int) -> None:
        """Let `count` of them end."""
        os.write(self._told, b"." * count)

    def close(self) -> None:
        os.close(self._said)
        os.close(self._told)


@contextmanager
def gate() -> Iterator[Gate]:
    """A Gate, for as long as the body runs."""
    with TemporaryDirectory() as folder:
        made = Gate(Path(folder))
        try:
            yield made
        finally:
            made.close()


@contextmanager
def held(contestant: Contestant, executor: Executor, workers: int = WORKERS) -> Iterator[None]:
    """While the body runs, every worker of a new executor is busy, and keeps no CPU busy."""
    function = contestant.prepare(hold)
    with gate() as door:
        holding: list[Future[None]] = [
            executor.submit(function, *door.args) for _ in range(workers)
        ]
        try:
            door.wait_held(holding)
            yield
        finally:
            door.free(workers)
            wait(holding)
