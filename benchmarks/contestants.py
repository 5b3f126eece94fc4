"""The executors that are compared, by name. Standard library only: child.py imports it everywhere.

To add one: an entry in CONTESTANTS; if it needs packages, an environment in environments.py too.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

WORKERS = 2

type Function = Callable[..., Any]


@dataclass(frozen=True)
class Contestant:
    """One way to run a task: how to make its executor, and what to submit for a function."""

    title: str
    make: Callable[[int], Executor]  # takes the number of workers
    prepare: Callable[[Function], Function] = lambda function: function
    environment: str = "stdlib"  # what it runs in: see environments.py
    minimum: tuple[int, int] = (3, 13)  # the first Python it is there for


def threads(workers: int) -> Executor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers)


def interpreters(workers: int) -> Executor:
    from concurrent.futures import InterpreterPoolExecutor

    return InterpreterPoolExecutor(workers)


def processes(workers: int) -> Executor:
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(workers)


def predecessor(workers: int) -> Executor:
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    return InterpreterThreadPoolExecutor(workers)


def this_project(workers: int) -> Executor:
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    return InterpreterThreadPoolExecutor(workers, max_interpreters=workers)


def tagged(function: Function) -> Function:
    from aiointerpreters.executors import interpreter

    return interpreter(function)


def no_executor(workers: int) -> Executor:
    raise NotImplementedError("the floor is a function of each measure, not an executor")


FLOOR = "floor"

CONTESTANTS = {
    FLOOR: Contestant("floor (C)", no_executor),
    "threads": Contestant("ThreadPoolExecutor", threads),
    "interpreters": Contestant("InterpreterPoolExecutor", interpreters, minimum=(3, 14)),
    "processes": Contestant("ProcessPoolExecutor", processes),
    "0.6.0-tagged": Contestant(
        "aiointerpreters 0.6.0, tagged", predecessor, tagged, "0.6.0", minimum=(3, 14)
    ),
    "0.6.0-untagged": Contestant(
        "aiointerpreters 0.6.0, untagged", predecessor, environment="0.6.0", minimum=(3, 14)
    ),
    "tagged": Contestant("this project, tagged", this_project, tagged, "own"),
    "untagged": Contestant("this project, untagged", this_project, environment="own"),
}


def name_of(contestant: Contestant) -> str:
    """What it is called in CONTESTANTS."""
    return next(name for name, other in CONTESTANTS.items() if other is contestant)
