"""From no executor to the result of its first task.

`first` and `next` are pools of one worker. `both` is the time until each of two workers is in its
first task; were they to come up one after the other, it would be twice the `next`.
"""

import time

from contestants import WORKERS, Contestant
from measures import Figure
from sampling import gate
from tasks import echo, hold

TITLE = "first task of a worker, from nothing"
FIGURES = {
    "first": Figure("ms"),  # in the process
    "next": Figure("ms"),  # with further executors in that process
    "both": Figure("ms"),  # of two workers that come up at the same time
}


def executors(quick: bool) -> int:
    return 3 if quick else 8


def figures(milliseconds: list[float], both: list[float]) -> dict[str, list[float]]:
    return {"first": milliseconds[:1], "next": milliseconds[1:], "both": both}


def until_both(contestant: Contestant) -> float:
    """Milliseconds until all workers of a new executor are in their first task."""
    with gate() as door:
        function = contestant.prepare(hold)
        start = time.perf_counter()
        executor = contestant.make(WORKERS)
        held = [executor.submit(function, *door.args) for _ in range(WORKERS)]
        door.wait_held(held)
        taken = (time.perf_counter() - start) * 1e3
        door.free(WORKERS)
        executor.shutdown()
        for future in held:
            future.result()
    return taken


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
    return figures(taken, [until_both(contestant) for _ in range(executors(quick))])


def floor(quick: bool) -> dict[str, list[float]]:
    """A bare Py_NewInterpreterFromConfig; for both, in two threads at once."""
    import _floor

    taken = []
    for _ in range(executors(quick)):
        taken += [seconds * 1e3 for seconds in _floor.interpreters(1)]
        _floor.end_interpreters()
    at_once = [_floor.interpreters_at_once(WORKERS) * 1e3 for _ in range(executors(quick))]
    return figures(taken, at_once)
