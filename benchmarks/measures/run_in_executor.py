"""Small tasks from an event loop: run_in_executor, gathered."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import Figure
from measures.submit import batch_size
from sampling import samples, seconds_taken, warm_executor
from tasks import echo

TITLE = "small tasks: loop.run_in_executor, gathered"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}

# Starts a task on an executor from a running event loop.
type Start = Callable[[Executor, Function, int], Awaitable[int]]


def gathered(contestant: Contestant, quick: bool, start: Start) -> dict[str, list[float]]:
    """How many tasks a second are done when `start` starts each and `gather` awaits them."""
    count = batch_size(quick)
    function = contestant.prepare(echo)

    async def batch(executor: Executor) -> None:
        started = (start(executor, function, number) for number in range(count))
        if await asyncio.gather(*started) != list(range(count)):
            raise AssertionError("wrong results")

    with warm_executor(contestant) as executor, asyncio.Runner() as runner:

        def rate() -> float:
            return count / seconds_taken(lambda: runner.run(batch(executor)))

        return {"rate": samples(rate, quick)}


def in_executor(executor: Executor, function: Function, number: int) -> Awaitable[int]:
    return asyncio.get_running_loop().run_in_executor(executor, function, number)


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    return gathered(contestant, quick, in_executor)
