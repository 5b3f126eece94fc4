"""Small tasks from an event loop: run_in_executor, gathered.

The floor is not in C here: it is an executor that runs nothing, so what asyncio takes for itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from contestants import Contestant, Function
from measures import Figure, Outcome
from measures.submit import batch_size
from sampling import samples, seconds_taken, warm_executor
from tasks import echo

TITLE = "small tasks: loop.run_in_executor, gathered"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}

# Starts a task on an executor from a running event loop.
type Start = Callable[[Executor, Function, int], Awaitable[int]]


class Idle(ThreadPoolExecutor):
    """Its futures have ended from the start, with the last argument."""

    def submit(self, function, /, *args):
        future: Future[int] = Future()
        future.set_result((args or function.args)[-1])  # to_thread: of a functools.partial
        return future


def rates(executor: Executor, function: Function, quick: bool, start: Start) -> Outcome:
    """How many tasks a second are done when `start` starts each and `gather` awaits them."""
    count = batch_size(quick)

    async def batch() -> None:
        started = (start(executor, function, number) for number in range(count))
        if await asyncio.gather(*started) != list(range(count)):
            raise AssertionError("wrong results")

    with asyncio.Runner() as runner:
        taken = samples(lambda: count / seconds_taken(lambda: runner.run(batch())), quick)
        return {"rate": taken}


def gathered(contestant: Contestant, quick: bool, start: Start) -> Outcome:
    """The rates of a contestant."""
    with warm_executor(contestant) as executor:
        return rates(executor, contestant.prepare(echo), quick, start)


def gathered_idle(quick: bool, start: Start) -> Outcome:
    """The rates of an executor that runs nothing."""
    return rates(Idle(), echo, quick, start)


def in_executor(executor: Executor, function: Function, number: int) -> Awaitable[int]:
    return asyncio.get_running_loop().run_in_executor(executor, function, number)


def run(contestant: Contestant, quick: bool) -> Outcome:
    return gathered(contestant, quick, in_executor)


def floor(quick: bool) -> Outcome:
    return gathered_idle(quick, in_executor)
