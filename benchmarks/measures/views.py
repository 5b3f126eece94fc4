"""What a memoryview adds to a task, beside an argument that is nothing.

Empty trips and trips with views take turns, so that each has the same neighbours on the machine.
"""

import statistics
import time
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import Figure
from sampling import warm_executor
from tasks import echo, take

TITLE = "memoryviews: microseconds more than an empty round trip"
FIGURES = {
    "in": Figure("µs"),  # 8 MB, as an argument
    "back": Figure("µs"),  # 8 MB, as an argument that is also the result
    "large": Figure("µs"),  # 256 MB, as an argument
}

WARM = 50  # trips that do not count


def timed(executor: Executor, function: Function, argument: object) -> float:
    """The microseconds from submit to the result, its end included."""
    start = time.perf_counter()
    executor.submit(function, argument).result()
    return (time.perf_counter() - start) * 1e6


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    nothing, same = contestant.prepare(take), contestant.prepare(echo)
    view = memoryview(bytearray(8_000_000))
    large = memoryview(bytearray(256_000_000))
    trips = {"in": (nothing, view), "back": (same, view), "large": (nothing, large)}
    taken: dict[str, list[float]] = {name: [] for name in trips}
    empty: list[float] = []
    with warm_executor(contestant, workers=1) as executor:
        if executor.submit(same, view).result() != view:
            raise AssertionError("not the view")
        for _ in range(WARM + (200 if quick else 2_000)):
            empty.append(timed(executor, nothing, None))
            for name, (function, argument) in trips.items():
                taken[name].append(timed(executor, function, argument))
    bare = statistics.median(empty[WARM:])
    return {name: [statistics.median(times[WARM:]) - bare] for name, times in taken.items()}
