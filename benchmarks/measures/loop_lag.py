"""How late an event loop wakes up while both workers compute, and while they are idle.

The loop sleeps a millisecond at a time and notes how much longer it took. Beside it the pool gets
one computing task of 10 ms after another through run_in_executor, twice as many as there are
workers, so that a late loop leaves no worker without work.
"""

import asyncio
import time
from concurrent.futures import Executor

from contestants import WORKERS, Contestant, Function
from measures import AS_THREADS, Figure, Outcome
from sampling import percentile, rounds_for, warm_executor
from tasks import spin

TITLE = "lag of the event loop, idle and while both workers compute"
FIGURES = {name: Figure("ms") for name in ("idle_p99", "busy_p50", "busy_p99")}
PROCESSES = 4, 2
ABSENT = {"0.6.0-untagged": AS_THREADS}

NAP = 0.001  # seconds
LENGTH = 0.010  # seconds of a computing task


def plan(quick: bool) -> tuple[float, float]:
    """The seconds to measure for: idle, busy."""
    return (0.5, 1.0) if quick else (1.0, 3.0)


def figures(idle: list[float], busy: list[float]) -> Outcome:
    """From seconds."""
    return {
        "idle_p99": [percentile(idle, 99) * 1e3],
        "busy_p50": [percentile(busy, 50) * 1e3],
        "busy_p99": [percentile(busy, 99) * 1e3],
    }


async def lags(seconds: float) -> list[float]:
    """How late each nap of the running loop ended."""
    late = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        await asyncio.sleep(NAP)
        late.append(time.perf_counter() - start - NAP)
    return late


async def measured(
    executor: Executor, compute: Function, rounds: int, plan: tuple[float, float]
) -> tuple[list[float], list[float]]:
    """The lags on an idle pool and on a busy one."""
    loop = asyncio.get_running_loop()
    await lags(0.1)  # warm
    idle = await lags(plan[0])
    done = False

    async def feed() -> None:
        while not done:
            await loop.run_in_executor(executor, compute, rounds)

    feeding = [asyncio.create_task(feed()) for _ in range(2 * WORKERS)]
    await lags(0.1)  # until all workers compute
    busy = await lags(plan[1])
    done = True
    await asyncio.gather(*feeding)
    return idle, busy


def run(contestant: Contestant, quick: bool) -> Outcome:
    compute = contestant.prepare(spin)
    with warm_executor(contestant) as executor:
        rounds = rounds_for(executor, contestant, LENGTH)
        return figures(*asyncio.run(measured(executor, compute, rounds, plan(quick))))


def floor(quick: bool) -> Outcome:
    """A C thread that sleeps beside C threads that spin: what the system's scheduler alone does."""
    import _floor

    idle, busy = plan(quick)
    most = 100_000  # naps
    return figures(_floor.naps(most, NAP, idle, 0), _floor.naps(most, NAP, busy, WORKERS))
