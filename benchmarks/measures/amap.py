"""Small tasks from an event loop: executor.amap, one result after the other.

To be compared with run_in_executor, which is what the others have.
"""

import asyncio
from concurrent.futures import Executor

from contestants import Contestant, Function
from measures import NO_SUCH_METHOD, Figure
from sampling import samples, seconds_taken, warm_executor
from tasks import echo

TITLE = "small tasks: executor.amap"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}
ABSENT = NO_SUCH_METHOD


async def consume(executor: Executor, function: Function, count: int) -> None:
    total = 0
    async for result in executor.amap(function, range(count)):  # type: ignore[attr-defined]
        total += result
    if total != count * (count - 1) // 2:
        raise AssertionError("wrong results")


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    count = 5_000 if quick else 20_000
    function = contestant.prepare(echo)
    with warm_executor(contestant) as executor, asyncio.Runner() as runner:

        def rate() -> float:
            taken = seconds_taken(lambda: runner.run(consume(executor, function, count)))
            return count / taken

        return {"rate": samples(rate, quick)}
