"""Small tasks a second as the pool grows, and as the threads that submit do."""

import threading
from concurrent.futures import Executor

from contestants import CONTESTANTS, WORKERS, Contestant, Function
from measures import AS_THREADS, Figure, Outcome
from sampling import samples, seconds_taken, warm_executor
from tasks import echo

TITLE = "small tasks with more workers, one thread submits; with more threads, two workers"
POOLS = 1, 2, 4, 16, 64  # workers
SUBMITTERS = 1, 2, 4, 16  # threads
FIGURES = {
    **{f"workers_{n}": Figure("tasks/s", more_is_better=True) for n in POOLS},
    **{f"submitters_{n}": Figure("tasks/s", more_is_better=True) for n in SUBMITTERS},
}
PROCESSES = 3, 1
ABSENT = {"0.6.0-untagged": AS_THREADS}

SECONDS = 0.1  # of a batch, about; a batch is at least FEWEST tasks and at most MOST
FEWEST, MOST = 512, 51_200
# More processes than that take longer to start than all else here.
MOST_PROCESSES = 16


def batch(executor: Executor, function: Function, count: int) -> None:
    futures = [executor.submit(function, number) for number in range(count)]
    if [future.result() for future in futures] != list(range(count)):
        raise AssertionError("wrong results")


def batch_of_threads(executor: Executor, function: Function, count: int, submitters: int) -> float:
    """The seconds until each of the threads has the results of its part of the tasks."""
    go = threading.Barrier(submitters + 1)
    failures: list[BaseException] = []

    def part() -> None:
        go.wait()
        try:
            batch(executor, function, count // submitters)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=part) for _ in range(submitters)]
    for thread in threads:
        thread.start()

    def all_parts() -> None:
        go.wait()
        for thread in threads:
            thread.join()

    seconds = seconds_taken(all_parts)
    if failures:
        raise failures[0]
    return seconds


def size_of_batch(executor: Executor, function: Function) -> int:
    """A multiple of any number of submitters."""
    batch(executor, function, FEWEST)
    seconds = seconds_taken(lambda: batch(executor, function, FEWEST))
    return min(max(round(SECONDS / seconds) * FEWEST, FEWEST), MOST)


def run(contestant: Contestant, quick: bool) -> Outcome:
    function = contestant.prepare(echo)
    taken: Outcome = {}
    for workers in POOLS:
        name = f"workers_{workers}"
        if contestant is CONTESTANTS["processes"] and workers > MOST_PROCESSES:
            taken[name] = f"left out: {workers} processes"
            continue
        with warm_executor(contestant, workers) as executor:
            count = size_of_batch(executor, function)

            def rate(executor: Executor = executor, count: int = count) -> float:
                return count / seconds_taken(lambda: batch(executor, function, count))

            taken[name] = samples(rate, quick, seconds=0.8)
    with warm_executor(contestant, WORKERS) as executor:
        count = size_of_batch(executor, function)
        for submitters in SUBMITTERS:

            def rate_of(submitters: int = submitters) -> float:
                return count / batch_of_threads(executor, function, count, submitters)

            taken[f"submitters_{submitters}"] = samples(rate_of, quick, seconds=0.8)
    return taken
