"""Small tasks from one thread: a batch of futures, then their results."""

from concurrent.futures import Executor

from contestants import WORKERS, Contestant
from measures import Figure
from sampling import samples, seconds_taken, warm_executor
from tasks import echo

TITLE = "small tasks: submit a batch, then get each result"
FIGURES = {"rate": Figure("tasks/s", more_is_better=True)}


def batch_size(quick: bool) -> int:
    return 2_000 if quick else 10_000


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    count = batch_size(quick)
    function = contestant.prepare(echo)

    def batch(executor: Executor) -> None:
        futures = [executor.submit(function, number) for number in range(count)]
        if [future.result() for future in futures] != list(range(count)):
            raise AssertionError("wrong results")

    with warm_executor(contestant) as executor:
        return {"rate": samples(lambda: count / seconds_taken(lambda: batch(executor)), quick)}


def floor(quick: bool) -> dict[str, list[float]]:
    """A queue with a lock and a condition variable."""
    import _floor

    count = batch_size(quick)
    return {"rate": samples(lambda: count / _floor.queue(count, WORKERS), quick)}
