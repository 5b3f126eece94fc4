"""8 MB of bytes as an argument, and as a result."""

import time
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import Figure
from payload import MEGABYTES_8, produce, size
from sampling import warm_executor

TITLE = "8 MB of bytes in, and out"
FIGURES = {"in": Figure("ms"), "out": Figure("ms")}

WARM = 5  # trips that do not count: the allocator settles


def trips(quick: bool) -> int:
    return WARM + (10 if quick else 50)


def timed(executor: Executor, function: Function, *arguments: bytes) -> float:
    """The milliseconds from submit to the result."""
    start = time.perf_counter()
    executor.submit(function, *arguments).result()
    return (time.perf_counter() - start) * 1e3


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    take, give = contestant.prepare(size), contestant.prepare(produce)
    with warm_executor(contestant, workers=1) as executor:
        if executor.submit(take, MEGABYTES_8).result() != len(MEGABYTES_8):
            raise AssertionError("wrong size")
        return {
            "in": [timed(executor, take, MEGABYTES_8) for _ in range(trips(quick))][WARM:],
            "out": [timed(executor, give) for _ in range(trips(quick))][WARM:],
        }


def floor(quick: bool) -> dict[str, list[float]]:
    """One memcpy to memory freshly allocated."""
    import _floor

    taken = [seconds * 1e3 for seconds in _floor.copies(MEGABYTES_8, trips(quick))][WARM:]
    return {"in": taken, "out": taken}
