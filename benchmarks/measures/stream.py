"""Distinct bytes of 1 MB, one after another: the price of recognising what comes again."""

from concurrent.futures import Executor

from contestants import WORKERS, Contestant
from measures import Figure, Outcome
from payload import size
from sampling import held, samples, seconds_taken, warm_executor

TITLE = "distinct bytes of 1 MB in, with and without an argument cache"
FIGURES = {"cached": Figure("µs"), "uncached": Figure("µs")}

MEGABYTE = 1 << 20
CHUNKS = 64
NO_CACHE = "has no argument cache"


def run(contestant: Contestant, quick: bool) -> Outcome:
    function = contestant.prepare(size)

    def taken(executor: Executor) -> list[float]:
        def batch() -> None:
            for number in range(CHUNKS):
                chunk = number.to_bytes(8, "little") * (MEGABYTE // 8)
                if executor.submit(function, chunk).result() != MEGABYTE:
                    raise AssertionError("wrong size")

        return samples(lambda: seconds_taken(batch) / CHUNKS * 1e6, quick)

    if contestant.environment != "own":
        with warm_executor(contestant) as executor:
            return {"cached": NO_CACHE, "uncached": taken(executor)}
    with warm_executor(contestant) as executor:
        cached = taken(executor)
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    with InterpreterThreadPoolExecutor(
        WORKERS, max_interpreters=WORKERS, argument_cache_bytes=0
    ) as executor:
        with held(contestant, executor):
            pass
        return {"cached": cached, "uncached": taken(executor)}
