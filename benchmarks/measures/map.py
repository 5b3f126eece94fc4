"""Small tasks by map: each item is a task of its own."""

from concurrent.futures import Executor

from contestants import Contestant
from measures import Figure
from measures.submit import batch_size, floor
from sampling import samples, seconds_taken, warm_executor
from tasks import echo

__all__ = ["FIGURES", "TITLE", "floor", "run"]

TITLE = "small tasks: map"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    count = batch_size(quick)
    function = contestant.prepare(echo)

    def batch(executor: Executor) -> None:
        if list(executor.map(function, range(count))) != list(range(count)):
            raise AssertionError("wrong results")

    with warm_executor(contestant) as executor:
        return {"rate": samples(lambda: count / seconds_taken(lambda: batch(executor)), quick)}
