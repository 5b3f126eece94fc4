"""Small tasks from an event loop: executor.run, gathered.

To be compared with run_in_executor, which is what the others have.
"""

from collections.abc import Awaitable
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import NO_SUCH_METHOD, Figure, Outcome
from measures.run_in_executor import gathered

TITLE = "small tasks: executor.run, gathered"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}
ABSENT = NO_SUCH_METHOD


def start(executor: Executor, function: Function, number: int) -> Awaitable[int]:
    return executor.run(function, number)  # type: ignore[attr-defined,no-any-return]


def run(contestant: Contestant, quick: bool) -> Outcome:
    return gathered(contestant, quick, start)
