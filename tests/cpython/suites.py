"""The suites of CPython's `test` package that `run.py` runs, and the tests that it leaves out."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from unittest import TestCase

# A test of asyncio is about executors if its own source says so.
ABOUT_EXECUTORS = re.compile(
    r"executor|to_thread|wrap_future|concurrent\.futures|run_coroutine_threadsafe"
)


@dataclass(frozen=True)
class Suite:
    """One run of one module of CPython's tests, in a process of its own.

    Attributes:
        name: what the counts are printed under.
        module: the module of CPython's `test` package.
        selects: whether a test of the module belongs.
        our_future: whether `concurrent.futures.Future` is replaced too, for the futures that the
            tests create themselves.
        seconds: time limit of the whole suite; then it fails, with the stacks of all threads.
        makes: what the tests must have made for the run to count: "executor", "future", or ""
            for nothing.
    """

    name: str
    module: str
    selects: Callable[[TestCase], bool]
    our_future: bool = False
    seconds: int = 300
    makes: str = "executor"


def every_test(test: TestCase) -> bool:
    return True


def of_thread_pool(test: TestCase) -> bool:
    """Whether `test` is of the thread-pool flavour: its class mixes ThreadPoolMixin in."""
    return any(base.__name__ == "ThreadPoolMixin" for base in type(test).__mro__)


def of_no_process_pool(test: TestCase) -> bool:
    """Whether `test` is of the thread-pool flavour, or tests futures without any executor."""
    return of_thread_pool(test) or not hasattr(test, "executor_type")


def about_executors(test: TestCase) -> bool:
    """Whether the test's source mentions an executor, or what stands on one."""
    method = getattr(type(test), getattr(test, "_testMethodName", ""), None)
    try:
        return bool(ABOUT_EXECUTORS.search(inspect.getsource(method)))
    except (TypeError, OSError):
        return False


def suites() -> list[Suite]:
    futures = "test.test_concurrent_futures."
    asyncio = "test.test_asyncio."
    found = []
    for name in (
        "test_thread_pool",
        "test_init",
        "test_shutdown",
        "test_wait",
        "test_as_completed",
    ):
        found.append(Suite(name, futures + name, of_thread_pool))
    # Process pools only, on 3.13 to 3.15: loaded all the same, to run a thread pool's if it comes.
    found.append(Suite("test_deadlock", futures + "test_deadlock", of_thread_pool, makes=""))
    # A second time where the tests create futures, with our Future in the place of CPython's.
    # (test_future creates nothing else: with CPython's Future nothing of ours would be in it.)
    for name in ("test_wait", "test_as_completed", "test_future"):
        found.append(
            Suite(
                f"{name}, our Future",
                futures + name,
                of_no_process_pool,
                our_future=True,
                makes="future",
            )
        )
    found.append(Suite("asyncio test_threads", asyncio + "test_threads", every_test))
    for name in (
        "test_events",
        "test_base_events",
        "test_futures",
        "test_tasks",
        "test_free_threading",
    ):
        found.append(Suite(f"asyncio {name}", asyncio + name, about_executors))
    for name in ("test_events", "test_futures", "test_tasks"):
        found.append(
            Suite(
                f"asyncio {name}, our Future",
                asyncio + name,
                about_executors,
                our_future=True,
                makes="future",
            )
        )
    return found


SUITES = suites()

# Test id (module.Class.method) -> the reason. Only for a test that asserts a private detail of
# CPython's thread pool. There is none.
EXCLUDED: dict[str, str] = {}
