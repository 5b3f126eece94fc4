"""From no executor to the result of its first task, one worker."""

import time

from contestants import Contestant
from measures import Figure
from tasks import echo

TITLE = "first task of a worker, from nothing"
FIGURES = {
    "first": Figure("ms"),  # in the process
    "next": Figure("ms"),  # with further executors in that process
}


def executors(quick: bool) -> int:
    return 3 if quick else 8


def first_and_next(milliseconds: list[float]) -> dict[str, list[float]]:
    return {"first": milliseconds[:1], "next": milliseconds[1:]}


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    function = contestant.prepare(echo)
    contestant.make(1).shutdown()  # what the main interpreter imports does not count
    taken = []
    for _ in range(executors(quick)):
        start = time.perf_counter()
        executor = contestant.make(1)
        executor.submit(function, 1).result()
        taken.append((time.perf_counter() - start) * 1e3)
        executor.shutdown()
    return first_and_next(taken)


def floor(quick: bool) -> dict[str, list[float]]:
    """A bare Py_NewInterpreterFromConfig."""
    import _floor

    taken = []
    for _ in range(executors(quick)):
        taken += [seconds * 1e3 for seconds in _floor.interpreters(1)]
        _floor.end_interpreters()
    return first_and_next(taken)
