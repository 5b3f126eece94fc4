"""Tagged tasks run and end while the main interpreter's GIL is held by somebody else."""

import ctypes
import os
import threading
import time
from array import array

import jobs
import odd_jobs
import pytest
from harness import TIMEOUT, wait_until

from aiointerpreters.executors import interpreter

HELD = 1_000_000  # microseconds
TASKS = 20


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_tasks_finish_while_the_main_gil_is_held(pool, pipe):
    """Each task stamps the time. On two workers, all but the last two have then ended, too."""
    executor = pool(2, max_interpreters=2)
    reading, writing = pipe
    usleep = ctypes.PyDLL(None).usleep  # PyDLL: keeps the GIL
    usleep(0)
    times = array("d", bytes(8 * (TASKS + 1)))
    heard = []

    def listen():
        os.read(reading, 1)
        heard.append(time.monotonic())

    listener = threading.Thread(target=listen, daemon=True)
    with memoryview(times) as view:
        warm_up(executor, view, writing)
        assert os.read(reading, 2) == b".."
        listener.start()
        futures = [
            executor.submit(interpreter(odd_jobs.stamp), view, index, writing, TIMEOUT)
            for index in range(1, TASKS + 1)
        ]
        view[0] = time.monotonic()  # lets them go
        usleep(HELD)
        done = [future.done() for future in futures]
        for future in futures:
            future.result(TIMEOUT)
    listener.join(TIMEOUT)
    begin, *stamps = times
    end = begin + HELD / 1e6
    assert all(begin <= stamp < end for stamp in stamps), [stamp - begin for stamp in stamps]
    assert all(done)
    # The GIL was held indeed: a thread of main that the first task woke had to wait for it.
    assert heard[0] >= end


def stamp_by_value(view, index, descriptor, seconds):
    odd_jobs.stamp(view, index, descriptor, seconds)


def stamp_pickled(view, index, descriptor, seconds, point):
    odd_jobs.stamp(view, index, descriptor, seconds)
    return jobs.move(point, 1)


stamp_by_value.__module__ = stamp_pickled.__module__ = "__main__"  # no name to import them by


@pytest.mark.parametrize(
    ("function", "more"),
    [(odd_jobs.stamp, ()), (stamp_by_value, ()), (stamp_pickled, (jobs.Point(1, 2),))],
    ids=["by name", "by value", "pickled"],
)
def test_first_tasks_after_a_prestart_finish_while_the_main_gil_is_held(pool, pipe, function, more):
    """Nothing is left to do that takes it. Main gives it back nowhere from the first submit to the
    end of usleep: all that is shorter than the switch interval."""
    executor = pool(2, max_interpreters=2, preload=[jobs, "odd_jobs"])
    executor.prestart().result(TIMEOUT)
    usleep = ctypes.PyDLL(None).usleep
    usleep(0)
    times = array("d", bytes(8 * 3))
    with memoryview(times) as view:
        tag = interpreter(function)
        futures = [executor.submit(tag, view, n, pipe[1], TIMEOUT, *more) for n in (1, 2)]
        view[0] = begin = time.monotonic()
        usleep(HELD)
        done = [future.done() for future in futures]
        results = [future.result(TIMEOUT) for future in futures]
    assert done == [True, True]
    assert all(begin <= stamp < begin + HELD / 1e6 for stamp in times[1:])
    assert results == [jobs.Point(2, 2) if more else None] * 2


def warm_up(executor, view, descriptor):
    """Both interpreters are there and have imported what the tasks need, for which Python may take
    the GIL of main."""
    futures = [
        executor.submit(interpreter(odd_jobs.stamp), view, index, descriptor, TIMEOUT)
        for index in (1, 2)
    ]
    wait_until(lambda: all(future.running() for future in futures), "both workers run")
    view[0] = 1
    for future in futures:
        future.result(TIMEOUT)
    view[:] = memoryview(array("d", bytes(view.nbytes)))
