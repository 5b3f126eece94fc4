"""Coroutines that talk to an echo server over loopback: on one event loop, and in interpreters.

10,000 coroutines are under way at once, or as many as the limit of open files permits. Each opens a
connection with asyncio's streams, sends lines of JSON and parses what comes back
(conversation.py). The server is a process of its own in C (echo.c), which takes a small part of the
two cores.

A process takes two figures: all coroutines on one event loop, that of the main interpreter; and
each called with `executor.run` from such a loop, on the event loops of two workers' interpreters.
"""

import asyncio
import resource
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager

from contestants import Contestant
from conversation import converse, converse_many
from environments import CACHE
from measures import NO_SUCH_METHOD, Figure, Outcome
from sampling import serving, warm_executor

TITLE = "lines there and back, coroutines and an echo server"
FIGURES = {
    "one_loop": Figure("lines/s", more_is_better=True),
    "interpreters": Figure("lines/s", more_is_better=True),
}
PROCESSES = 3, 2
ABSENT = {**NO_SUCH_METHOD, "untagged": "its coroutines are the one loop's"}

MOST = 10_000  # coroutines
SPARE = 200  # descriptors for all else


def plan(quick: bool) -> tuple[int, int]:
    """Coroutines at once, and lines that each of them sends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    able = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard - SPARE)
    return (min(able, 2_000), 10) if quick else (able, 15)


def echo_server() -> AbstractContextManager[str]:
    """The port of a server that runs while the body does."""
    return serving([CACHE / "echo"])


def rate(talk: Callable[[int], Coroutine[None, None, int]], count: int, lines: int) -> float:
    """Lines a second while `count` coroutines talk."""
    with asyncio.Runner() as runner:
        start = time.perf_counter()
        right = runner.run(talk(count))
        taken = time.perf_counter() - start
    if right != count * lines:
        raise AssertionError(f"{count * lines - right} lines did not come back")
    return right / taken


def run(contestant: Contestant, quick: bool) -> Outcome:
    count, lines = plan(quick)
    function = contestant.prepare(converse)
    with echo_server() as server, warm_executor(contestant) as executor:
        port = int(server)

        async def alone(count: int) -> int:
            return await converse_many(port, lines, count)

        async def spread(count: int) -> int:
            calls = (executor.run(function, port, lines) for _ in range(count))  # type: ignore[attr-defined]
            return sum(await asyncio.gather(*calls))

        for talk in (alone, spread):
            rate(talk, count // 20, lines)  # warm
        return {
            "one_loop": [rate(alone, count, lines)],
            "interpreters": [rate(spread, count, lines)],
        }
