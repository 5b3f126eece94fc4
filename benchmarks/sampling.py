"""How the measures take their samples. Standard library only: child.py's measures import it."""

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from contextlib import contextmanager

from contestants import WORKERS, Contestant
from tasks import echo, stay

AT_LEAST = 3  # samples


@contextmanager
def warm_executor(contestant: Contestant, workers: int = WORKERS) -> Iterator[Executor]:
    """An executor all of whose workers have run tasks before."""
    with contestant.make(workers) as executor:
        # As many slow tasks at a time as there are workers: each has to come up.
        wait([executor.submit(contestant.prepare(stay), 0.1) for _ in range(workers)])
        wait([executor.submit(contestant.prepare(echo), n) for n in range(500)])
        yield executor


def seconds_taken(job: Callable[[], object]) -> float:
    """The seconds that `job()` takes."""
    gc.collect()
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def samples(job: Callable[[], float], quick: bool) -> list[float]:
    """What `job()` gives, time after time for a second or so, once it has been called once."""
    job()
    taken: list[float] = []
    end = time.perf_counter() + (0.3 if quick else 1.5)
    while len(taken) < AT_LEAST or time.perf_counter() < end:
        taken.append(job())
    return taken
