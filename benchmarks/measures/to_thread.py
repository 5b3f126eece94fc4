"""Small tasks from an event loop: asyncio.to_thread, gathered.

An executor whose workers take no `contextvars.Context` fails here; so does one that asyncio
refuses as a loop's default. The floor is that of run_in_executor: what asyncio takes for itself.
"""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import Figure, Outcome
from measures.run_in_executor import gathered, gathered_idle

TITLE = "small tasks: asyncio.to_thread, gathered"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}


def to_thread(executor: Executor, function: Function, number: int) -> Awaitable[int]:
    asyncio.get_running_loop().set_default_executor(executor)
    return asyncio.to_thread(function, number)


def run(contestant: Contestant, quick: bool) -> Outcome:
    return gathered(contestant, quick, to_thread)


def floor(quick: bool) -> Outcome:
    return gathered_idle(quick, to_thread)
