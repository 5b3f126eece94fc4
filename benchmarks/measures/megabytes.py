"""8 MB of bytes as an argument, the same again and a new one each time, and as a result: one that
the worker keeps, and one made for it.

perf_counter() is one clock for all threads and processes of a Linux machine.
"""

import time
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import Figure
from payload import MEGABYTES_8, produce, produce_anew, size
from sampling import warm_executor

TITLE = "8 MB of bytes in, and out"
FIGURES = {
    "in": Figure("ms"),
    "new": Figure("ms"),
    "crossing": Figure("ms"),  # the same trips; their floor is a copy by another than the writer
    "out": Figure("ms"),
    "fresh": Figure("ms"),  # from the moment that the task has made it
}

WARM = 5  # trips that do not count: the allocator settles


def trips(quick: bool) -> int:
    return WARM + (10 if quick else 50)


def timed(executor: Executor, function: Function, *arguments: bytes) -> float:
    """The milliseconds from submit to the result."""
    start = time.perf_counter()
    executor.submit(function, *arguments).result()
    return (time.perf_counter() - start) * 1e3


def unseen(number: int) -> bytes:
    """8 MB whose content differs from that of every other number."""
    return number.to_bytes(8, "little") * (len(MEGABYTES_8) // 8)


def timed_fresh(executor: Executor, function: Function) -> float:
    """The milliseconds from when the task had its result to when the caller has it."""
    made, _ = executor.submit(function).result()
    return (time.perf_counter() - float(made)) * 1e3


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    take, give = contestant.prepare(size), contestant.prepare(produce)
    make = contestant.prepare(produce_anew)
    with warm_executor(contestant, workers=1) as executor:
        if executor.submit(take, MEGABYTES_8).result() != len(MEGABYTES_8):
            raise AssertionError("wrong size")
        new = [timed(executor, take, unseen(n)) for n in range(trips(quick))][WARM:]
        return {
            "in": [timed(executor, take, MEGABYTES_8) for _ in range(trips(quick))][WARM:],
            "new": new,
            "crossing": new,
            "out": [timed(executor, give) for _ in range(trips(quick))][WARM:],
            "fresh": [timed_fresh(executor, make) for _ in range(trips(quick))][WARM:],
        }


def floor(quick: bool) -> dict[str, list[float]]:
    """One memcpy to memory freshly allocated; and one by another thread than has written it."""
    import _floor

    def milliseconds(seconds: list[float]) -> list[float]:
        return [each * 1e3 for each in seconds][WARM:]

    here = milliseconds(_floor.copies(MEGABYTES_8, trips(quick)))
    elsewhere = milliseconds(_floor.copies_elsewhere(len(MEGABYTES_8), trips(quick)))
    return {"in": here, "new": here, "crossing": elsewhere, "out": here, "fresh": here}
