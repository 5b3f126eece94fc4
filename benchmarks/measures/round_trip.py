"""One task at a time on a pool that has gone to sleep: the wake-ups are what it shows.

The longer a pool sleeps, the more of what a task touches has left the caches: so there are three
pauses. bare_trip has the same for a call in a bare interpreter, which is what a Python function
takes at least.
"""

import statistics
import time
from collections.abc import Callable

from contestants import Contestant
from measures import Figure
from sampling import warm_executor
from tasks import echo

TITLE = "round trip of one task on an idle pool"
FIGURES = {"p50": Figure("µs"), "p99": Figure("µs"), "soon": Figure("µs"), "late": Figure("µs")}

# Seconds between two tasks, enough for every worker to go to sleep: of p50 and p99; of the medians
# `soon` and `late`.
GAP, SOON, LATE = 0.001, 0.0002, 0.005


def trips(quick: bool) -> int:
    return 200 if quick else 1_000


def figures(times: Callable[[float], list[float]]) -> dict[str, list[float]]:
    """From what gives the seconds of trips with a gap between."""
    percentiles = statistics.quantiles((second * 1e6 for second in times(GAP)), n=100)
    return {
        "p50": [percentiles[49]],
        "p99": [percentiles[98]],
        "soon": [statistics.median(times(SOON)) * 1e6],
        "late": [statistics.median(times(LATE)) * 1e6],
    }


def timed(trip: Callable[[int], object], count: int, gap: float) -> list[float]:
    """The seconds that each call of `trip` takes, `gap` seconds after the one before."""
    taken = []
    for number in range(count):
        time.sleep(gap)
        start = time.perf_counter()
        trip(number)
        taken.append(time.perf_counter() - start)
    return taken


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    function = contestant.prepare(echo)
    with warm_executor(contestant) as executor:

        def trip(number: int) -> None:
            executor.submit(function, number).result()

        return figures(lambda gap: timed(trip, trips(quick), gap))


def floor(quick: bool) -> dict[str, list[float]]:
    """Two threads that hand a word to each other through a futex."""
    import _floor

    return figures(lambda gap: _floor.round_trips(trips(quick), gap))
