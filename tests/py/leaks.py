"""Repeats what the executor does, and fails if references, memory blocks or heap bytes pile up.

usage: python tests/py/leaks.py [-k TEXT] [--repetitions N]

On a debug build of CPython (python3.14-dbg) references are counted (sys.gettotalrefcount); on every
build memory blocks (sys.getallocatedblocks) and, with glibc, bytes in use by malloc. All three are
sums over all interpreters, so a leak in a worker counts as well.

Each workload runs in rounds of N repetitions. What leaks grows in every round, by one reference,
one block or one allocation in each repetition; what only fills up (caches, free lists) or wobbles
(a worker that is still tidying up) does not. So a workload passes with the first round, or rounds,
in which nothing grew by more than half of one leak in each repetition: N / 2 references or blocks,
or N / 2 of the smallest chunks of malloc. It fails if there is none in MOST_ROUNDS.

What makes and ends interpreters is compared with bare interpreters that import what a task needs:
CPython itself leaves something behind with each (3.13: 4,000 blocks), and the more, the more was
imported; so twice of that is allowed.
"""

import argparse
import array
import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import ctypes
import functools
import gc
import io
import itertools
import logging
import math
import mmap
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.thread import BrokenThreadPool
from dataclasses import dataclass
from sys import getallocatedblocks  # CPython's: ours refuses beside hosts, and nothing runs here

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import buffers
import coroutine_jobs
import everywhere_jobs
import harness
import home_jobs
import jobs
import kinds
import stopping_jobs
import tagged_jobs

from aiointerpreters import SendError, broadcast
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

MOST_ROUNDS = 12
TIMEOUT = 60  # seconds
SMALLEST_CHUNK = 32  # bytes, of glibc's malloc

Counts = dict[str, int]
NONE = dict.fromkeys(("references", "blocks", "bytes"), -math.inf)  # limits that nothing meets


class MallocInfo(ctypes.Structure):
    """struct mallinfo2 of glibc; `uordblks` is the bytes in use, over all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def find_mallinfo() -> Callable[[], MallocInfo] | None:
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = MallocInfo
    return mallinfo


mallinfo = find_mallinfo()


def count() -> Counts:
    """What is in use now."""
    counts = {}
    if hasattr(sys, "gettotalrefcount"):
        counts["references"] = sys.gettotalrefcount()
    counts["blocks"] = getallocatedblocks()
    if mallinfo is not None:
        info = mallinfo()
        counts["bytes"] = info.uordblks + info.hblkhd
    return counts


@dataclass
class Workload:
    """One thing that is repeated.

    Attributes:
        run: the repetition; takes the executor if there is one.
        has_executor: whether one executor serves all repetitions.
        scale: repetitions are divided by this, for slow ones.
        baseline: another run, whose growth is allowed.
    """

    run: Callable
    has_executor: bool
    scale: int = 1
    baseline: Callable | None = None

    @property
    def name(self) -> str:
        return self.run.__name__


WORKLOADS: list[Workload] = []


def on_one_executor(run):
    WORKLOADS.append(Workload(run, has_executor=True))
    return run


def alone(scale=1, baseline=None):
    def register(run):
        WORKLOADS.append(Workload(run, has_executor=False, scale=scale, baseline=baseline))
        return run

    return register


# --- tasks ---------------------------------------------------------------------------------------


@on_one_executor
def untagged(executor):
    assert executor.submit(jobs.add, 1, b=2).result(TIMEOUT) == 3


@on_one_executor
def tagged(executor):
    assert executor.submit(interpreter(jobs.add), 1, b=2).result(TIMEOUT) == 3


@on_one_executor
def tagged_where_it_is_defined(executor):
    executor.submit(tagged_jobs.plain, 1, extra=2).result(TIMEOUT)
    executor.submit(tagged_jobs.Work(1).method, 2).result(TIMEOUT)


def lease():
    assert everywhere_jobs.add(1, b=2) == 3
    assert everywhere_jobs.Counter(3).plus(4)[0] == 7
    assert everywhere_jobs.fill(memoryview(bytearray(100)), 1) != 0
    assert everywhere_jobs.thread_name() != ""
    for function, argument in ((everywhere_jobs.raise_error, "no"), (everywhere_jobs.add, "a")):
        with contextlib.suppress(ValueError, TypeError):
            function(argument)
    with contextlib.suppress(SendError):
        everywhere_jobs.add(threading.Lock())
    with contextlib.suppress(SendError):
        everywhere_jobs.return_lock()


@alone()
def leased():
    harness.in_thread(lease)
    lease()


@alone()
def leased_by_a_crowd():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(everywhere_jobs.add, range(32))) == [*range(32)]


def time_out():
    with contextlib.suppress(TimeoutError):
        everywhere_jobs.spin_for_a_while()


@alone(scale=10)
def leased_with_a_timeout():
    harness.in_thread(time_out)


@on_one_executor
def tagged_with_context_vars(executor):
    context = contextvars.copy_context()
    context.run(tagged_jobs.request_id.set, ["id"])
    executor.submit(tagged_jobs.sees_request, 1, context=context).result(TIMEOUT)
    context.run(tagged_jobs.tenant.set, jobs.Point(1, 2))
    handler = tagged_jobs.Handler()
    call = functools.partial(context.run, handler.method, 2)
    executor.submit(call).result(TIMEOUT)
    list(context.run(executor.map, handler.method, [1, 2]))
    context.run(tagged_jobs.request_id.set, threading.Lock())
    assert executor.submit(tagged_jobs.sees_request, context=context).exception(TIMEOUT)


class Counter(logging.Handler):
    def emit(self, record):
        assert record.getMessage()


@on_one_executor
def tagged_that_logs(executor):
    handler = Counter()
    logging.root.addHandler(handler)
    try:
        log = interpreter(home_jobs.log)
        extra = {"point": jobs.Point(1, 2)}
        executor.submit(log, "leaks", logging.WARNING, "text", extra=extra).result(TIMEOUT)
        executor.submit(interpreter(home_jobs.log_from_a_thread), "text").result(TIMEOUT)
        logging.getLogger("leaks").setLevel(logging.ERROR)
        executor.submit(log, "leaks", logging.WARNING, "below").result(TIMEOUT)
        logging.getLogger("leaks").setLevel(logging.NOTSET)
    finally:
        logging.root.removeHandler(handler)


@on_one_executor
def tagged_after_changes_at_home(executor):
    sys.argv.append("one more")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT)
    sys.argv.pop()
    executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT)


@on_one_executor
def tagged_values(executor):
    value = (1, -1.5, "text", "\u2603", b"bytes", None, True, 10**50, ((), ("nested",)))
    assert executor.submit(interpreter(jobs.identity), value).result(TIMEOUT) == value


@on_one_executor
def tagged_large_values(executor):
    value = ["x" * 100_000, b"y" * 100_000, 1 << 100_000]  # in a tuple they may be cached
    assert executor.submit(interpreter(jobs.identity), value).result(TIMEOUT) == value


@on_one_executor
def blocks(executor):
    block = bytes(100_000)
    assert executor.submit(interpreter(jobs.identity), [block, block]).result(TIMEOUT)[1] == block
    executor.submit(interpreter(jobs.identity), [block])  # nobody takes it


@on_one_executor
def broadcasts(executor):
    handle = broadcast([jobs.Point(1, 2), broadcast({"a": b"x" * 1000})])
    tagged = interpreter(jobs.capture)
    assert executor.submit(tagged, handle, [handle], key=handle).result(TIMEOUT)[0][0][1]
    executor.submit(tagged, jobs.Point(handle, 1)).result(TIMEOUT)
    executor.submit(tagged, handle)  # nobody takes it
    executor.submit(jobs.capture, [handle], {1: (handle,)}, key=handle).result(TIMEOUT)
    executor.submit(interpreter(lambda: handle)).result(TIMEOUT)
    gc.collect()


@on_one_executor
def broadcasts_that_fail(executor):
    try:
        broadcast(threading.Lock())
    except SendError:
        pass
    expect(executor.submit(interpreter(jobs.capture), broadcast(jobs.Unloadable())))
    expect(executor.submit(interpreter(jobs.capture), broadcast(1), threading.Lock()))


@on_one_executor
def repeats(executor):
    values = ["x" * 20_000, b"y" * 100_000, tuple(range(1000)), frozenset(range(500))]
    tagged = interpreter(jobs.add)
    for value in values:
        pair = value, [1]
        for _ in range(3):
            executor.submit(tagged, (value, 1), ()).result(TIMEOUT)
            expect(executor.submit(tagged, value, jobs.Point(1, 2)))
            executor.submit(jobs.identity, pair).result(TIMEOUT)
            list(executor.map(interpreter(jobs.identity), [value] * 3))


@on_one_executor
def tagged_objects(executor):
    values = [jobs.Point(1, 2), {"a": [1, {2}]}, kinds.Named(1, 2), jobs.Text("text")]
    assert executor.submit(interpreter(jobs.identity), values).result(TIMEOUT) == values


@on_one_executor
def tagged_cycles(executor):
    result = executor.submit(interpreter(jobs.cycle)).result(TIMEOUT)
    result.clear()


@on_one_executor
def tagged_result_that_nobody_takes(executor):
    executor.submit(interpreter(jobs.identity), "x" * 1000)
    executor.submit(interpreter(jobs.identity), [jobs.Point(1, 2)])
    executor.submit(interpreter(jobs.raise_custom))


@on_one_executor
def tagged_methods_and_partials(executor):
    import functools

    executor.submit(interpreter(jobs.Point(1, 2).total), 3).result(TIMEOUT)
    executor.submit(interpreter(functools.partial(jobs.add, 1)), 3).result(TIMEOUT)
    executor.submit(interpreter("text".upper)).result(TIMEOUT)


@on_one_executor
def map_of_both_kinds(executor):
    assert list(executor.map(jobs.add, range(5))) == list(range(5))
    assert list(executor.map(interpreter(jobs.add), range(5), buffersize=2)) == list(range(5))


@on_one_executor
def map_abandoned(executor):
    next(executor.map(interpreter(jobs.add), range(5)))


@on_one_executor
def map_that_fails(executor):
    results = executor.map(interpreter(math.sqrt), [1, -1, 1])
    assert next(results) == 1
    with contextlib.suppress(ValueError):
        next(results)
    assert list(executor.map(interpreter(str), range(100))) == [str(n) for n in range(100)]
    executor.map(interpreter(str), range(100))  # nobody takes anything


@on_one_executor
def callbacks_and_waiting(executor):
    called = []
    futures = [executor.submit(interpreter(jobs.add), n) for n in range(3)]
    futures.append(executor.submit(jobs.add, 3))
    for future in futures:
        future.add_done_callback(called.append)
    assert not concurrent.futures.wait(futures, TIMEOUT).not_done
    assert len(list(concurrent.futures.as_completed(futures, TIMEOUT))) == 4


@on_one_executor
def futures_with_attributes_in_a_cycle(executor):
    future = executor.submit(interpreter(jobs.add), 1)
    future.itself = future
    future.add_done_callback(lambda done, cycle=future: None)
    future.result(TIMEOUT)


@on_one_executor
def cancelled(executor):
    started, say = os.pipe()
    listen, go_on = os.pipe()
    running = executor.submit(interpreter(jobs.pass_gate), say, listen)
    assert os.read(started, 1)
    pending = [executor.submit(interpreter(jobs.add), "x" * 100, n) for n in range(3)]
    pending.append(executor.submit(jobs.add, 3))
    assert all(future.cancel() for future in pending)
    os.write(go_on, b"x")
    running.result(TIMEOUT)
    for descriptor in (started, say, listen, go_on):
        os.close(descriptor)


# --- errors --------------------------------------------------------------------------------------


def expect(future):
    try:
        future.result(TIMEOUT)
    except BaseException:
        return
    raise AssertionError("the task did not fail")


@on_one_executor
def untagged_error(executor):
    expect(executor.submit(jobs.raise_custom))


@on_one_executor
def tagged_error(executor):
    expect(executor.submit(interpreter(jobs.raise_value_error)))
    expect(executor.submit(interpreter(jobs.raise_custom)))
    expect(executor.submit(interpreter(jobs.raise_group)))


@on_one_executor
def tagged_system_exit(executor):
    expect(executor.submit(interpreter(jobs.exit_with), 3))
    expect(executor.submit(interpreter(jobs.interrupt)))


@on_one_executor
def unsendable_argument(executor):
    expect(executor.submit(interpreter(jobs.capture), "x" * 100, [1], jobs.Unpicklable()))
    expect(executor.submit(interpreter(jobs.capture), bytearray(5), key=threading.Lock()))


@on_one_executor
def unsendable_result(executor):
    expect(executor.submit(interpreter(jobs.make_nested_unpicklable)))
    expect(executor.submit(interpreter(jobs.make_unloadable)))
    expect(executor.submit(interpreter(jobs.raise_holding)))


@on_one_executor
def unsendable_function(executor):
    lock = threading.Lock()
    expect(executor.submit(interpreter(lambda: lock)))


@on_one_executor
def argument_that_does_not_arrive(executor):
    expect(executor.submit(interpreter(jobs.capture), "x" * 100, jobs.Unloadable()))


# --- memory --------------------------------------------------------------------------------------


@on_one_executor
def memoryview_argument(executor):
    block = bytearray(1000)
    executor.submit(interpreter(jobs.fill), memoryview(block)[::2], 1).result(TIMEOUT)


@on_one_executor
def memoryview_result(executor):
    assert executor.submit(interpreter(jobs.own_memory), 1000, 5).result(TIMEOUT)[999] == 5


@on_one_executor
def memoryview_there_and_back(executor):
    view = memoryview(bytearray(1000))
    assert executor.submit(interpreter(jobs.slice_of), view, 1, 5).result(TIMEOUT).nbytes == 4


@on_one_executor
def memoryview_kept_for_a_while(executor):
    executor.submit(interpreter(jobs.keep), memoryview(bytearray(1000))).result(TIMEOUT)
    executor.submit(interpreter(jobs.drop_kept)).result(TIMEOUT)


@on_one_executor
def memoryview_that_nobody_takes(executor):
    executor.submit(interpreter(jobs.identity), memoryview(bytearray(1000)))
    executor.submit(interpreter(jobs.own_memory), 1000, 5)


@on_one_executor
def memoryview_of_a_failing_task(executor):
    expect(executor.submit(interpreter(jobs.nest), memoryview(bytearray(1000)), "too many"))
    expect(executor.submit(interpreter(jobs.capture), memoryview(b"x"), jobs.Unpicklable()))


@on_one_executor
def buffers_of_pickle(executor):
    value = kinds.OutOfBand(bytearray(10_000))
    executor.submit(interpreter(jobs.identity), value).result(TIMEOUT)
    executor.submit(interpreter(jobs.identity), [value, b"x" * 100_000]).result(TIMEOUT)


@on_one_executor
def exporters(executor):
    for value in (mmap.mmap(-1, 1000), (ctypes.c_int * 3)()):
        executor.submit(interpreter(jobs.identity), value).result(TIMEOUT)
        executor.submit(interpreter(jobs.identity), key=value).exception(TIMEOUT)
        executor.submit(interpreter(jobs.capture), jobs.Point(1, 2), value).result(TIMEOUT)


@on_one_executor
def arrays(executor):
    for size in (10, 100_000):
        for value in (bytearray(size), array.array("d", [1.0]) * size):
            executor.submit(interpreter(jobs.identity), value).result(TIMEOUT)
            executor.submit(interpreter(jobs.identity), [value, {1: value}]).result(TIMEOUT)
            executor.submit(interpreter(jobs.capture), value, threading.Lock()).exception(TIMEOUT)


@on_one_executor
def exporters_that_refuse(executor):
    closed = mmap.mmap(-1, 4096)
    closed.close()
    expect(executor.submit(interpreter(jobs.capture), bytearray(10), closed))
    expect(executor.submit(interpreter(jobs.capture), bytearray(10), buffers.Refusing()))
    expect(executor.submit(interpreter(jobs.capture), (ctypes.py_object * 2)(1, 2)))


@on_one_executor
def handed_over(executor):
    for make in (buffers.bytes_made, buffers.bytearray_made, buffers.array_made):
        assert len(executor.submit(interpreter(make), 100_000).result(TIMEOUT)[1])
    assert executor.submit(interpreter(buffers.text_made), "é", 100_000).result(TIMEOUT)
    assert executor.submit(interpreter(buffers.kept_made), 100_000).result(TIMEOUT)
    executor.submit(interpreter(buffers.drop_kept)).result(TIMEOUT)


@on_one_executor
def handed_over_and_left(executor):
    for make in (buffers.bytearray_made, buffers.array_made, buffers.every_second_made):
        executor.submit(interpreter(make), 100_000)


@on_one_executor
def not_handed_over_after_all(executor):
    expect(executor.submit(interpreter(buffers.with_unpicklable), 100_000))


if sys.version_info >= (3, 14):
    from concurrent import interpreters

    @on_one_executor
    def queues(executor):
        queue = interpreters.create_queue()
        executor.submit(interpreter(jobs.put_all), queue, (1, 2)).result(TIMEOUT)
        assert (queue.get(timeout=TIMEOUT), queue.get(timeout=TIMEOUT)) == (1, 2)


# --- functions by value --------------------------------------------------------------------------

same_lambda = interpreter(lambda n: n + 1)


@on_one_executor
def by_value_again(executor):
    assert executor.submit(same_lambda, 1).result(TIMEOUT) == 2


@on_one_executor
def by_value_new_each_time(executor):
    base = len(gc.get_stats())
    assert executor.submit(interpreter(lambda n: n + base), 1).result(TIMEOUT) == base + 1


@on_one_executor
def by_value_new_code_each_time(executor):
    function = eval("lambda n: n + 1")
    assert executor.submit(interpreter(function), 1).result(TIMEOUT) == 2


@on_one_executor
def by_value_class(executor):
    class Point:
        def __init__(self, x):
            self.x = x

    result = executor.submit(interpreter(lambda point: Point(point.x + 1)), Point(1))
    assert type(result.result(TIMEOUT)) is Point


# --- asyncio -------------------------------------------------------------------------------------

loop = asyncio.new_event_loop()
atexit.register(loop.close)


@on_one_executor
def asyncio_calls(executor):
    async def main():
        calls = [loop.run_in_executor(executor, interpreter(jobs.add), n) for n in range(3)]
        calls.append(loop.run_in_executor(executor, jobs.add, 3))
        return await asyncio.gather(*calls)

    assert loop.run_until_complete(main()) == [0, 1, 2, 3]


@on_one_executor
def asyncio_amap(executor):
    async def items():
        for n in range(8):
            yield n

    async def main():
        assert sum([n async for n in executor.amap(interpreter(jobs.add), range(8), limit=3)]) == 28
        async for _ in executor.amap(interpreter(jobs.add), range(8), ordered=False):
            break
        async for _ in executor.amap(interpreter(jobs.add), items(), limit=2):
            pass
        with contextlib.suppress(ValueError):
            async for _ in executor.amap(interpreter(jobs.raise_value_error), range(8)):
                pass

    loop.run_until_complete(main())


@on_one_executor
def asyncio_run(executor):
    async def main():
        calls = [executor.run(interpreter(jobs.add), n) for n in range(3)]
        calls += [executor.run(jobs.add, 3), executor.run(interpreter(jobs.raise_value_error))]
        calls.append(executor.run(interpreter(jobs.add), threading.Lock()))
        calls += [executor.run(jobs.add, n) for n in range(3)]
        for call in calls[-3:]:
            call.add_done_callback(len)
            call.remove_done_callback(len)
            call.cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = loop.run_until_complete(main())
    assert results[:4] == [0, 1, 2, 3]
    kinds = [ValueError, SendError] + 3 * [asyncio.CancelledError]
    assert [type(result) for result in results[4:]] == kinds


@on_one_executor
def asyncio_run_in_a_loop_that_closes(executor):
    async def main():
        return [executor.run(interpreter(jobs.add), n) for n in range(3)]

    asyncio.run(main())
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    asyncio.run(main())  # whether results come before or after the end


@on_one_executor
def coroutines(executor):
    add, fail = interpreter(coroutine_jobs.add), interpreter(coroutine_jobs.raise_this)

    async def main():
        calls = [executor.run(add, n) for n in range(4)]
        calls += [executor.run(fail, ValueError("text")), executor.run(fail, SystemExit(1))]
        calls.append(executor.run(add, threading.Lock()))
        calls.append(executor.run(interpreter(coroutine_jobs.lock)))
        calls.append(executor.run(interpreter(asyncio.sleep, timeout=0.001), 60))
        calls.append(executor.run(interpreter(asyncio.sleep), 60))
        calls[-1].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = loop.run_until_complete(main())
    assert results[:4] == [2, 3, 4, 5]
    kinds = [ValueError, SystemExit, SendError, SendError, TimeoutError, asyncio.CancelledError]
    assert [type(result) for result in results[4:]] == kinds
    future = executor.submit(add, 1)
    future.add_done_callback(len)
    assert future.result(TIMEOUT) == 3


@on_one_executor
def coroutines_that_stream(executor):
    async def main():
        count = interpreter(coroutine_jobs.count, buffer=4)
        assert [item async for item in executor.run(count, 20)] == [*range(20)]
        async for _ in executor.run(count, 20):
            break
        stream = executor.run(count, 20)
        await anext(stream)
        await stream.aclose()
        with contextlib.suppress(SendError):
            async for _ in executor.run(interpreter(coroutine_jobs.with_a_lock), 9, 5):
                pass

    loop.run_until_complete(main())
    # What was left early goes when its host has heard of it.
    harness.wait_until(lambda: executor.stats().running == 0, "the end of the generators")


def asyncio_await(future):
    async def main():
        return await future

    return loop.run_until_complete(main())


# --- tags ----------------------------------------------------------------------------------------


@alone()
def tags():
    import copy
    import pickle

    tag = interpreter(jobs.add)
    assert pickle.loads(pickle.dumps(tag))(1, 2) == copy.copy(tag)(1, 2) == 3
    assert tagged_jobs.Work().method(1) == (0, 11)
    repr(tag)
    with contextlib.suppress(TypeError):
        interpreter(3)

    def cyclic():
        return cyclic_tag

    cyclic_tag = interpreter(cyclic)
    cyclic_tag.note = cyclic_tag


# --- executors -----------------------------------------------------------------------------------


@alone()
def executor_unused():
    InterpreterThreadPoolExecutor(2).shutdown()
    with contextlib.suppress(ValueError):
        InterpreterThreadPoolExecutor(0)


@alone(scale=2)
def executor_untagged():
    with InterpreterThreadPoolExecutor(2) as executor:
        assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1


@alone(scale=2)
def executor_collected():
    executor = InterpreterThreadPoolExecutor(2)
    threads = executor._threads
    future = executor.submit(jobs.add, 1)
    executor.itself = executor
    assert future.result(TIMEOUT) == 1
    del executor
    gc.collect()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@alone(scale=2)
def executor_that_cancels():
    release = threading.Event()
    executor = InterpreterThreadPoolExecutor(1)
    running = executor.submit(release.wait, TIMEOUT)
    pending = [executor.submit(jobs.add, n) for n in range(3)]
    pending += [executor.submit(interpreter(jobs.add), n) for n in range(3)]
    executor.shutdown(wait=False, cancel_futures=True)
    release.set()
    assert running.result(TIMEOUT)
    assert not concurrent.futures.wait(pending, TIMEOUT).not_done
    executor.shutdown(wait=True)


@alone(scale=2)
def executor_broken():
    executor = InterpreterThreadPoolExecutor(1, initializer=jobs.fail_to_start)
    try:
        expect(executor.submit(jobs.add, 1))
        expect(executor.submit(jobs.add, 1))
    except BrokenThreadPool:
        pass
    executor.shutdown(wait=True)


def bare_interpreter(module="jobs"):
    """What CPython itself leaves behind with an interpreter that imports what a worker imports."""
    import _interpreters

    def life():
        made = _interpreters.create("isolated")
        source = f"import sys; sys.path[:] = path; import {module}; import aiointerpreters._core"
        _interpreters.set___main___attrs(made, {"path": tuple(sys.path)})
        failure = _interpreters.exec(made, source)
        assert failure is None, failure
        _interpreters.destroy(made)

    harness.in_thread(life)


def interpreter_with_asyncio():
    """The same with what a host imports."""
    bare_interpreter("asyncio")


@alone(scale=5, baseline=interpreter_with_asyncio)
def a_host_whose_loop_dies():
    with InterpreterThreadPoolExecutor(1) as executor:
        expect(executor.submit(interpreter(coroutine_jobs.break_loop)))
        assert executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT) == 3


@alone(scale=5, baseline=bare_interpreter)
def executor_tagged():
    with InterpreterThreadPoolExecutor(1) as executor:
        assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1


@alone(scale=5, baseline=bare_interpreter)
def blocks_that_outlive_their_interpreter():
    with InterpreterThreadPoolExecutor(1) as executor:
        taken, left = (executor.submit(interpreter(jobs.identity), "é" * 70_000) for _ in range(2))
    assert len(taken.result(TIMEOUT)) == 70_000
    del left


@alone(scale=5, baseline=bare_interpreter)
def handed_over_by_an_interpreter_that_ends():
    with InterpreterThreadPoolExecutor(1) as executor:
        taken, left = (executor.submit(interpreter(jobs.own_memory), 70_000, 1) for _ in range(2))
    assert len(taken.result(TIMEOUT)) == 70_000
    del left


@alone(scale=5, baseline=bare_interpreter)
def executor_tagged_with_an_initializer():
    with InterpreterThreadPoolExecutor(1, initializer=jobs.identity, initargs=(1,)) as executor:
        assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1


@alone(scale=5, baseline=bare_interpreter)
def executor_broken_in_its_interpreter():
    with InterpreterThreadPoolExecutor(1, initializer=interpreter(jobs.fail_to_start)) as executor:
        expect(executor.submit(interpreter(jobs.add), 1))


@alone(scale=2)
def executor_prestarted_without_interpreters():
    with InterpreterThreadPoolExecutor(2) as executor:
        futures = [executor.prestart(0) for _ in range(2)]
        assert [future.result(TIMEOUT) for future in futures] == [None, None]
        assert asyncio_await(executor.prestart(0, 1)) is None


@alone(scale=5, baseline=bare_interpreter)
def executor_prestarted():
    with InterpreterThreadPoolExecutor(1, preload=["jobs"]) as executor:
        futures = [executor.prestart() for _ in range(3)]
        assert futures[0].result(TIMEOUT) is None
        futures[1].cancel()
        assert futures[2].result(TIMEOUT) is None


@alone(scale=5, baseline=bare_interpreter)
def executor_broken_by_a_preload():
    with InterpreterThreadPoolExecutor(1, preload=["jobs", "no_such_module"]) as executor:
        expect(executor.prestart())


@alone(scale=5, baseline=bare_interpreter)
def interpreter_renewed():
    with InterpreterThreadPoolExecutor(
        1, max_tasks_per_interpreter=1, initializer=jobs.identity, initargs=(1,)
    ) as executor:
        assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1


@alone(scale=5, baseline=bare_interpreter)
def interpreter_ended_when_idle():
    with InterpreterThreadPoolExecutor(1, idle_timeout=0.001) as executor:
        assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
        harness.wait_until(lambda: executor.stats().interpreters == 0, "the end")


@on_one_executor
def prestart_again(executor):
    assert executor.prestart().result(TIMEOUT) is None
    assert asyncio_await(executor.prestart()) is None


@alone()
def prestart_cancelled():
    release = threading.Event()
    with InterpreterThreadPoolExecutor(1) as executor:
        executor.submit(release.wait, TIMEOUT)
        assert executor.prestart().cancel()
        release.set()


@alone()
def room_that_is_not_there():
    release = threading.Event()
    with InterpreterThreadPoolExecutor(1, max_pending=1, pending_timeout=0) as executor:
        executor.submit(release.wait, TIMEOUT)
        harness.wait_until(lambda: executor.stats().running == 1, "the task")
        pending = executor.submit(jobs.add, 1)
        for call in (executor.submit, executor.map):
            with contextlib.suppress(queue.Full):
                call(jobs.identity, [jobs.Point(1, 2)])
        with contextlib.suppress(TimeoutError):
            asyncio_await(asyncio.wait_for(executor.submit_async(jobs.add, jobs.Point(1, 2)), 0))
        pending.cancel()
        release.set()


@alone()
def room_that_is_waited_for():
    with InterpreterThreadPoolExecutor(1, max_pending=1) as executor:
        futures = [executor.submit(jobs.add, n) for n in range(20)]
        assert list(executor.map(jobs.add, range(20))) == list(range(20))
        futures += [asyncio_await(executor.submit_async(jobs.add, n)) for n in range(5)]
        assert concurrent.futures.wait(futures, TIMEOUT).not_done == set()


@on_one_executor
def deadlocks(executor):
    def wait():
        executor.submit(jobs.add, jobs.Point(1, 2)).result()

    expect(executor.submit(wait))


@on_one_executor
def figures(executor):
    executor.stats()
    executor.dump(io.StringIO())
    executor.submit(executor.dump, io.StringIO()).result(TIMEOUT)


@on_one_executor
def a_stack_that_is_looked_at(executor):
    executor.submit(interpreter(jobs.sleep), 0.005)
    executor.dump(io.StringIO())


# --- tasks that are stopped --------------------------------------------------------------------


sink = os.open(os.devnull, os.O_WRONLY)


def start(executor, function, *args, **options):
    """A task of stopping_jobs; it does run when this returns."""
    reading, writing = os.pipe()
    try:
        future = executor.submit(interpreter(function, **options), writing, *args)
        assert os.read(reading, 1) == b"S"
    finally:
        os.close(reading)
        os.close(writing)
    return future


@on_one_executor
def a_running_task_cancelled(executor):
    assert start(executor, stopping_jobs.spin).cancel()


@on_one_executor
def a_running_task_cancelled_that_is_waited_for(executor):
    future = start(executor, stopping_jobs.spin)
    future.add_done_callback(lambda done: done.cancelled())
    timer = threading.Thread(target=future.cancel)
    timer.start()
    expect(future)
    timer.join()


@on_one_executor
def a_task_over_its_timeout(executor):
    expect(executor.submit(interpreter(stopping_jobs.spin, timeout=0.001), sink))


@on_one_executor
def a_running_task_that_a_loop_cancels(executor):
    async def wait():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.002):
                await asyncio.wrap_future(executor.submit(interpreter(stopping_jobs.spin), sink))

    asyncio.run(wait())


@alone(scale=5, baseline=bare_interpreter)
def an_interpreter_that_was_interrupted_in_the_library():
    with InterpreterThreadPoolExecutor(1) as executor:
        for _ in range(2):
            start(executor, stopping_jobs.spin_in_scheduler).cancel()
        harness.wait_until(lambda: executor.stats().recycled == 2, "the renewal")


@alone(scale=5, baseline=bare_interpreter)
def a_worker_set_aside_that_comes_back():
    held, holding = os.pipe()
    with InterpreterThreadPoolExecutor(1, grace=0) as executor:
        future = start(executor, stopping_jobs.read, held)
        stuck = next(iter(executor._threads))
        future.cancel()
        harness.wait_until(lambda: executor.stats().set_aside == 1, "the end of the grace")
        os.write(holding, b"x")
        stuck.join()
    os.close(held)
    os.close(holding)


# --- measuring -----------------------------------------------------------------------------------


def settle(executor) -> None:
    """Let everybody tidy up: main, and the worker, behind whatever it still has to do."""
    if executor is not None:
        for _ in range(2):
            executor.submit(interpreter(gc.collect)).result(TIMEOUT)
            executor.submit(gc.collect).result(TIMEOUT)
    gc.collect()


def rounds(run, executor, repetitions: int) -> Iterator[Counts]:
    """Run round after round; the growth in each. The first is a warm-up, and left out."""
    arguments = () if executor is None else (executor,)
    for number in range(1 + MOST_ROUNDS):
        settle(executor)
        before = count()
        for _ in range(repetitions):
            run(*arguments)
        settle(executor)
        after = count()
        if number > 0:
            yield {kind: after[kind] - before[kind] for kind in before}


def smallest(growths: Iterable[Counts], limits: dict[str, float]) -> Counts:
    """The smallest growth of each kind; takes rounds until all are within their limits."""
    best: Counts = {}
    for growth in growths:
        best = {kind: min(growth[kind], best.get(kind, growth[kind])) for kind in growth}
        if all(best[kind] <= limits[kind] for kind in best):
            break
    return best


def check(workload: Workload, repetitions: int) -> bool:
    """Run one workload and print its line; whether nothing piles up."""
    repetitions = max(4, repetitions // workload.scale)
    limits = dict.fromkeys(count(), repetitions / 2)
    limits["bytes"] = repetitions / 2 * SMALLEST_CHUNK
    bare = ""
    if workload.baseline is not None:
        baseline = smallest(itertools.islice(rounds(workload.baseline, None, repetitions), 3), NONE)
        bare = "".join(f", {baseline[kind] / repetitions:+.2f}" for kind in baseline)
        bare = f"   (bare{bare.replace(',', ':', 1)})"
        limits = {kind: limits[kind] + max(0, 2 * baseline[kind]) for kind in baseline}
    with contextlib.ExitStack() as stack:
        executor = None
        if workload.has_executor:
            executor = stack.enter_context(InterpreterThreadPoolExecutor(1))
        growth = smallest(rounds(workload.run, executor, repetitions), limits)
    leaks = [kind for kind in growth if growth[kind] > limits[kind]]
    per_repetition = ", ".join(f"{growth[kind] / repetitions:+8.2f} {kind}" for kind in growth)
    verdict = f"   LEAKS {', '.join(leaks)}" if leaks else ""
    print(f"{workload.name:<38} {per_repetition}{bare}{verdict}", flush=True)
    return not leaks


def main() -> int:
    parser = argparse.ArgumentParser(description="Repeat workloads and look for leaks.")
    parser.add_argument("-k", dest="text", default="", help="only workloads with this in the name")
    parser.add_argument("--repetitions", type=int, default=100, help="in each round (default 100)")
    options = parser.parse_args()
    logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL + 1)
    if sys.version_info < (3, 14):
        warnings.simplefilter("ignore", RuntimeWarning)  # of what CPython leaks there
    if not hasattr(sys, "gettotalrefcount"):
        print("not a debug build: references are not counted")
    print(f"smallest growth in a round of {options.repetitions}, for one repetition:")
    chosen = [workload for workload in WORKLOADS if options.text in workload.name]
    # What seems to leak is run for longer: a leak grows with that, the noise of malloc does not.
    results = [
        check(workload, options.repetitions) or check(workload, 4 * options.repetitions)
        for workload in chosen
    ]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
