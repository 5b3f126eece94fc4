"""The same 130 × 130 grid of bools as an argument of every call, beside calls without it."""

from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import Figure, Outcome
from payload import GRID, corner
from sampling import samples, seconds_taken, warm_executor

TITLE = "a grid of 130 × 130 bools in every call: without it, passed as it is, as a broadcast"
FIGURES = {"without": Figure("µs"), "passed": Figure("µs"), "broadcast": Figure("µs")}

NO_BROADCAST = "has no broadcast()"


def calls(contestant: Contestant, quick: bool) -> int:
    """Those that send the grid anew take milliseconds for each."""
    if contestant.environment == "own" or contestant.title == "ThreadPoolExecutor":
        return 1_000 if quick else 4_000
    return 50 if quick else 200


def microseconds(executor: Executor, function: Function, grid: object, count: int) -> float:
    """For each of `count` calls by submit, until the last result."""

    def batch() -> None:
        futures = [executor.submit(function, grid, number) for number in range(count)]
        if [future.result() for future in futures] != list(range(count)):
            raise AssertionError("wrong results")

    return seconds_taken(batch) / count * 1e6


def run(contestant: Contestant, quick: bool) -> Outcome:
    count = calls(contestant, quick)
    function = contestant.prepare(corner)
    outcome: Outcome = {"broadcast": NO_BROADCAST}
    with warm_executor(contestant) as executor:

        def taken(grid: object) -> list[float]:
            return samples(lambda: microseconds(executor, function, grid, count), quick)

        outcome["without"] = taken(((0,),))
        outcome["passed"] = taken(GRID)
        if contestant.environment == "own":
            from aiointerpreters import broadcast

            outcome["broadcast"] = taken(broadcast(GRID))
    return outcome
