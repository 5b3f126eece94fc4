"""Distinct bytes of 1 MB, one after another: the price of recognising what comes again."""

from concurrent.futures import Executor

from contestants import WORKERS, Contestant, Function
from measures import Figure, Outcome
from payload import size
from sampling import held, samples, seconds_taken, warm_executor

TITLE = "distinct bytes of 1 MB in, with and without an argument cache"
FIGURES = {"cached": Figure("µs"), "uncached": Figure("µs")}

MEGABYTE = 1 << 20
CHUNKS = 64
NO_CACHE = "has no argument cache"


def microseconds(executor: Executor, function: Function) -> float:
    """For each of CHUNKS calls, one after the other."""

    def batch() -> None:
        for number in range(CHUNKS):
            chunk = number.to_bytes(8, "little") * (MEGABYTE // 8)
            if executor.submit(function, chunk).result() != MEGABYTE:
                raise AssertionError("wrong size")

    return seconds_taken(batch) / CHUNKS * 1e6


def run(contestant: Contestant, quick: bool) -> Outcome:
    function = contestant.prepare(size)
    rounds = 10 if quick else 40
    with warm_executor(contestant) as executor:
        if contestant.environment != "own":
            taken = samples(lambda: microseconds(executor, function), quick)
            return {"cached": NO_CACHE, "uncached": taken}
        from aiointerpreters.executors import InterpreterThreadPoolExecutor

        cached, uncached = [], []
        with InterpreterThreadPoolExecutor(
            WORKERS, max_interpreters=WORKERS, argument_cache_bytes=0
        ) as other:
            with held(contestant, other):
                pass
            for _ in range(rounds):  # in turn, so that what else runs disturbs both alike
                cached.append(microseconds(executor, function))
                uncached.append(microseconds(other, function))
        return {"cached": cached, "uncached": uncached}
