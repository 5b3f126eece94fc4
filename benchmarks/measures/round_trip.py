"""One task at a time on a pool that has gone to sleep: the wake-ups are what it shows."""

import statistics
import time

from contestants import Contestant
from measures import Figure
from sampling import warm_executor
from tasks import echo

TITLE = "round trip of one task on an idle pool"
FIGURES = {"p50": Figure("µs"), "p99": Figure("µs")}

GAP = 0.001  # seconds between two tasks, enough for every worker to go to sleep


def trips(quick: bool) -> int:
    return 200 if quick else 1_000


def percentiles(seconds: list[float]) -> dict[str, list[float]]:
    ranked = statistics.quantiles((second * 1e6 for second in seconds), n=100)
    return {"p50": [ranked[49]], "p99": [ranked[98]]}


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    function = contestant.prepare(echo)
    taken = []
    with warm_executor(contestant) as executor:
        for number in range(trips(quick)):
            time.sleep(GAP)
            start = time.perf_counter()
            executor.submit(function, number).result()
            taken.append(time.perf_counter() - start)
    return percentiles(taken)


def floor(quick: bool) -> dict[str, list[float]]:
    """Two threads that hand a word to each other through a futex."""
    import _floor

    return percentiles(_floor.round_trips(trips(quick), GAP))
