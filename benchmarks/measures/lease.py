"""A direct call of a function that is tagged for everywhere: what it costs over the function.

In a thread that is not the main one, one call after the other, so that an interpreter is idle.
"""

import threading
import time

from contestants import Contestant, Function
from measures import NO_SUCH_METHOD, Figure
from tasks import echo

TITLE = "a direct call on a leased interpreter, more than the function"
FIGURES = {"p50": Figure("µs")}
ABSENT = NO_SUCH_METHOD | {"untagged": "it is not leased"}


def median(function: Function, calls: int) -> float:
    """The median of one call, in microseconds."""
    taken = []
    for number in range(calls):
        start = time.perf_counter_ns()
        function(number)
        taken.append(time.perf_counter_ns() - start)
    return sorted(taken)[calls // 2] / 1e3


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    from aiointerpreters import interpreter

    leased = interpreter(echo, everywhere=True)
    samples: list[float] = []

    def work() -> None:
        median(leased, 500)  # the interpreter is made, and warm
        for _ in range(3 if quick else 10):
            samples.append(median(leased, 2_000) - median(echo, 2_000))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return {"p50": samples}
