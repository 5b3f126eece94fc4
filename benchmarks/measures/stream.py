"""Distinct tuples, one after another: the price of recognising what comes again."""

from concurrent.futures import Executor

from contestants import WORKERS, Contestant, Function
from measures import Figure, Outcome
from payload import size
from sampling import held, samples, seconds_taken, warm_executor

TITLE = "distinct tuples of 300 floats in, with and without an argument cache"
FIGURES = {"cached": Figure("µs"), "uncached": Figure("µs")}

FLOATS = 300
TUPLES = 256
NO_CACHE = "has no argument cache"


def microseconds(executor: Executor, function: Function) -> float:
    """For each of TUPLES calls, one after the other."""

    def batch() -> None:
        for number in range(TUPLES):
            row = tuple([number / divisor for divisor in range(1, FLOATS + 1)])
            if executor.submit(function, row).result() != FLOATS:
                raise AssertionError("wrong size")

    return seconds_taken(batch) / TUPLES * 1e6


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
