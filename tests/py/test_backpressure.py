"""`max_pending`: who finds room among the pending tasks, who waits for it, and until when."""

import asyncio
import concurrent.futures
import gc
import itertools
import math
import os
import queue
import signal
import threading
import time
import weakref

import jobs
import pytest
from harness import TIMEOUT, assert_ok, in_thread, run_script, wait_until

from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


@pytest.fixture
def full(pool, gate):
    """Make an executor of one worker that is busy, with as many pending tasks as may be."""

    def make(max_pending=1, **options):
        executor = pool(1, max_pending=max_pending, **options)
        executor.submit(jobs.pass_gate, *gate.args)
        gate.wait_started()
        executor.futures = [executor.submit(jobs.add, n) for n in range(max_pending)]
        return executor

    return make


class Submitter(threading.Thread):
    """A thread that submits one call and waits for it; `get()` gives its result, or the error."""

    def __init__(self, executor, function=jobs.add, *args):
        super().__init__(daemon=True)
        self.call = executor, function, args or (1,)
        self.outcome = None
        self.start()

    def run(self):
        executor, function, args = self.call
        try:
            self.outcome = executor.submit(function, *args).result(TIMEOUT)
        except BaseException as error:
            self.outcome = error

    def get(self):
        self.join(TIMEOUT)
        assert not self.is_alive(), "submit() does not return"
        return self.outcome


def wait_for_submitters(executor, count=1):
    """Wait until so many threads are in submit(), waiting for room."""
    wait_until(lambda: executor._waiting() == count, f"{count} threads that wait")


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_pending": 0}, ValueError, "max_pending must be greater than 0"),
        ({"max_pending": -1}, ValueError, "max_pending must be greater than 0"),
        ({"max_pending": 1.5}, TypeError, "max_pending must be an int or None, not 'float'"),
        ({"max_pending": "9"}, TypeError, "max_pending must be an int or None, not 'str'"),
        ({"when_full": "drop"}, ValueError, "when_full must be 'block' or 'raise', not 'drop'"),
        ({"when_full": None}, ValueError, "when_full must be 'block' or 'raise', not None"),
        ({"pending_timeout": -1}, ValueError, "pending_timeout must not be negative"),
        ({"pending_timeout": math.nan}, ValueError, "pending_timeout must not be negative"),
        ({"pending_timeout": []}, TypeError, "pending_timeout must be a number or None"),
        (
            {"pending_timeout": 1, "when_full": "raise"},
            ValueError,
            "pending_timeout is for when_full='block'",
        ),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        InterpreterThreadPoolExecutor(1, **{"max_pending": 1} | options)


def test_options_are_keywords():
    with pytest.raises(TypeError):
        InterpreterThreadPoolExecutor(1, "", None, (), 1)


@pytest.mark.parametrize("most", [10**30, 2**63 - 1])
def test_a_large_limit_is_none(pool, most):
    executor = pool(1, max_pending=most, pending_timeout=math.inf)
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    assert list(executor.map(jobs.add, range(3))) == [0, 1, 2]


# --- raising -------------------------------------------------------------------------------------


@both
def test_raise(full, gate, tag):
    executor = full(2, when_full="raise")
    with pytest.raises(queue.Full, match=r"2 tasks are pending.*max_pending.*when_full='block'"):
        executor.submit(tag(jobs.add), 1)
    gate.open()
    assert [future.result(TIMEOUT) for future in executor.futures] == [0, 1]
    assert executor.submit(tag(jobs.add), 5).result(TIMEOUT) == 5


@both
def test_only_what_has_not_started_counts(pool, gate, tag):
    executor = pool(3, max_interpreters=3, max_pending=1, when_full="raise")
    for running in range(1, 4):
        executor.submit(tag(jobs.pass_gate), *gate.args)
        gate.wait_started(running)
    pending = executor.submit(tag(jobs.add), 1)
    with pytest.raises(queue.Full):
        executor.submit(tag(jobs.add), 2)
    gate.open(3)
    assert pending.result(TIMEOUT) == 1


def test_a_cancelled_task_makes_room_at_once(full):
    executor = full(1, when_full="raise")
    assert executor.futures[0].cancel()
    again = executor.submit(jobs.add, 1)
    with pytest.raises(queue.Full):
        executor.submit(jobs.add, 1)
    assert concurrent.futures.wait(executor.futures, TIMEOUT).not_done == set()
    assert again.cancel()


def test_what_cannot_be_sent_needs_no_room(full):
    executor = full(1, when_full="raise")
    failed = executor.submit(interpreter(jobs.identity), threading.Lock())
    assert failed.exception(TIMEOUT).type_name == "_thread.lock"


def test_prestart_needs_no_room(full, gate):
    executor = full(1, when_full="raise")
    begun = executor.prestart()
    gate.open()
    assert begun.result(TIMEOUT) is None


def test_a_refused_call_is_let_go_of(full):
    executor = full(1, when_full="raise")
    argument = jobs.Point(1, 2)
    gone = weakref.ref(argument)
    with pytest.raises(queue.Full):
        executor.submit(jobs.identity, argument)
    del argument
    gc.collect()
    assert gone() is None


# --- blocking ------------------------------------------------------------------------------------


@both
def test_block(full, gate, tag):
    executor = full()
    submitter = Submitter(executor, tag(jobs.add), 7)
    wait_for_submitters(executor)
    assert executor._work_queue.qsize() == 1
    gate.open()
    assert submitter.get() == 7


def test_those_who_wait_are_served_in_order(full, gate):
    executor = full()
    order = []
    submitters = []
    for n in range(5):
        submitters.append(Submitter(executor, order.append, n))
        wait_for_submitters(executor, n + 1)
    gate.open()
    for submitter in submitters:
        assert submitter.get() is None
    assert order == [0, 1, 2, 3, 4]


@both
def test_many_submitters_get_on(pool, tag):
    executor = pool(2, max_pending=2)
    results = []

    def submit_many():
        results.append([executor.submit(tag(jobs.add), n).result(TIMEOUT) for n in range(200)])

    threads = [threading.Thread(target=submit_many, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == [list(range(200))] * 6


def test_pending_never_exceeds_the_limit(pool):
    executor = pool(1, max_pending=3)
    most = []
    futures = [
        executor.submit(lambda: most.append(executor._work_queue.qsize())) for _ in range(300)
    ]
    concurrent.futures.wait(futures, TIMEOUT)
    assert len(most) == 300
    assert max(most) <= 3


@pytest.mark.parametrize("seconds", [0, 0.02])
def test_pending_timeout(full, gate, seconds):
    executor = full(1, pending_timeout=seconds)
    began = time.monotonic()
    with pytest.raises(queue.Full, match=r"none has started within 0(\.02)? s \(pending_timeout"):
        executor.submit(jobs.add, 1)
    assert time.monotonic() - began >= seconds
    gate.open()
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1


def test_cancelling_makes_room_for_who_waits(full):
    executor = full()
    submitter = Submitter(executor)
    wait_for_submitters(executor)
    assert executor.futures[0].cancel()
    wait_until(lambda: executor._work_queue.qsize() == 1, "the submitter is served")
    assert executor._waiting() == 0
    executor.shutdown(wait=False, cancel_futures=True)
    assert isinstance(submitter.get(), concurrent.futures.CancelledError)


@pytest.mark.parametrize("cancel", [False, True])
def test_shutdown_wakes_who_waits(full, cancel):
    executor = full()
    submitters = [Submitter(executor) for _ in range(3)]
    wait_for_submitters(executor, 3)
    executor.shutdown(wait=False, cancel_futures=cancel)
    for submitter in submitters:
        error = submitter.get()
        assert type(error) is RuntimeError
        assert str(error) == "cannot schedule new futures after shutdown"


def test_a_pool_that_breaks_wakes_who_waits(pool, gates):
    start, fail = gates(), gates()

    def begin():
        if threading.current_thread().name.endswith("_1"):
            jobs.pass_gate_and_raise(*fail.args)

    executor = pool(2, initializer=begin, max_pending=1)
    executor.submit(jobs.pass_gate, *start.args)
    start.wait_started()
    executor.submit(jobs.add, 1)
    fail.wait_started()
    submitter = Submitter(executor)
    wait_for_submitters(executor)
    fail.open()
    assert isinstance(submitter.get(), concurrent.futures.thread.BrokenThreadPool)


def test_ctrl_c_ends_the_wait(tmp_path):
    source = """
        import os, queue, signal, threading
        from aiointerpreters import InterpreterThreadPoolExecutor

        gate = threading.Event()
        executor = InterpreterThreadPoolExecutor(1, max_pending=1)
        executor.submit(gate.wait)
        while executor._work_queue.qsize():
            pass
        executor.submit(print, "ran")

        def interrupt():
            while not executor._waiting():
                pass
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            executor.submit(print, "never")
        except KeyboardInterrupt:
            print("interrupted", executor._waiting())
        gate.set()
        executor.shutdown()
    """
    assert_ok(run_script(tmp_path, source), "interrupted 0", "ran")


def test_a_signal_handler_may_make_room(full, gate):
    executor = full()

    def handler(_number, _frame):
        gate.open()

    before = signal.signal(signal.SIGUSR1, handler)
    try:

        def send():
            wait_for_submitters(executor)
            os.kill(os.getpid(), signal.SIGUSR1)

        sender = threading.Thread(target=send)
        sender.start()
        assert executor.submit(jobs.add, 3).result(TIMEOUT) == 3
        sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_forked_child_has_room(full, gate):
    executor = full()
    submitter = Submitter(executor)
    wait_for_submitters(executor)
    child = os.fork()
    if child == 0:
        answers = [executor.submit(jobs.add, n) for n in range(5)]
        os._exit(10 + answers[4].result(TIMEOUT) + executor._waiting())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 14
    gate.open()
    assert submitter.get() == 1


# --- map -----------------------------------------------------------------------------------------


@both
def test_map_reads_an_endless_iterable_as_it_goes(pool, tag):
    executor = pool(2, max_pending=3)
    numbers = itertools.count()
    results = executor.map(tag(jobs.add), numbers)
    assert next(numbers) <= 2 + 3 + 1
    taken = list(itertools.islice(results, 1000))
    assert taken[:6] == [0, 1, 2, 3, 4, 5] or len(taken) == 1000
    assert next(numbers) <= 1000 + 2 * (2 + 3)
    results.close()


@both
@pytest.mark.parametrize("buffersize", [None, 1, 2, 50])
@pytest.mark.parametrize("most", [1, 4])
def test_map_gives_all_results(pool, tag, buffersize, most):
    executor = pool(2, max_pending=most)
    expected = list(range(300))
    assert list(executor.map(tag(jobs.add), range(300), buffersize=buffersize)) == expected
    assert list(executor.map(tag(jobs.add), iter(range(300)), buffersize=buffersize)) == expected
    assert list(executor.map(tag(jobs.add), [])) == []


@pytest.mark.parametrize("when_full", ["block", "raise"])
def test_map_needs_room_for_one_task_only(pool, gate, when_full):
    executor = pool(1, max_pending=3, when_full=when_full)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    others = [executor.submit(jobs.add, n) for n in range(2)]
    results = executor.map(jobs.add, range(100))
    assert executor._work_queue.qsize() == 3
    gate.open()
    assert list(results) == list(range(100))
    assert [future.result(TIMEOUT) for future in others] == [0, 1]


def test_map_with_no_room_raises(full):
    executor = full(1, when_full="raise")
    with pytest.raises(queue.Full):
        executor.map(jobs.add, range(5))


def test_map_with_no_room_waits(full, gate):
    executor = full()
    mapping = Submitter(executor)  # any other that waits before
    wait_for_submitters(executor)
    results = []
    mapper = threading.Thread(
        target=lambda: results.extend(executor.map(jobs.add, range(50))), daemon=True
    )
    mapper.start()
    wait_for_submitters(executor, 2)
    gate.open()
    mapper.join(TIMEOUT)
    assert results == list(range(50))
    assert mapping.get() == 1


def test_the_timeout_of_map_limits_its_wait_for_room(full):
    executor = full()
    with pytest.raises(TimeoutError):
        next(executor.map(jobs.add, range(5), timeout=0.01))
    with pytest.raises(queue.Full):
        next(full_with_patience(full).map(jobs.add, range(5), timeout=60))


def full_with_patience(full):
    return full(1, pending_timeout=0.01)


def test_a_map_may_use_the_pool_that_it_is_for(pool):
    executor = pool(2, max_pending=1)
    items = (executor.submit(jobs.add, n).result(TIMEOUT) for n in range(50))
    assert list(executor.map(interpreter(jobs.add), items)) == list(range(50))


def test_a_map_whose_executor_is_gone_gives_what_was_accepted(gate):
    executor = InterpreterThreadPoolExecutor(1, max_pending=1)
    results = executor.map(jobs.pass_gate, *zip(*[gate.args] * 9, strict=True), range(9))
    gate.wait_started()
    threads = executor._threads
    del executor
    gc.collect()
    gate.close()
    taken = list(results)
    assert taken == list(range(len(taken)))
    assert 1 <= len(taken) < 9
    for thread in threads:
        thread.join(TIMEOUT)


def test_an_abandoned_map_leaves_room(pool, gate):
    executor = pool(1, max_pending=2, when_full="raise")
    results = executor.map(jobs.pass_gate, *zip(*[gate.args] * 9, strict=True), range(9))
    gate.open()
    assert next(results) == 0
    gate.wait_started(2)
    results.close()
    assert executor._work_queue.qsize() == 0
    assert executor.submit(jobs.add, 1).cancel()
    gate.open(9)


# --- event loops ---------------------------------------------------------------------------------


def run_in_loop(factory, main):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(main(), TIMEOUT))


def test_submit_does_not_hold_up_an_event_loop(full, factory):
    executor = full()

    async def main():
        with pytest.raises(queue.Full, match=r"event loop.*await executor\.submit_async\(\)"):
            executor.submit(jobs.add, 1)
        loop = asyncio.get_running_loop()
        with pytest.raises(queue.Full):
            await loop.run_in_executor(executor, jobs.add, 1)

    run_in_loop(factory, main)


@both
@pytest.mark.parametrize("when_full", ["block", "raise"])
def test_submit_async(full, gate, factory, tag, when_full):
    executor = full(1, when_full=when_full)

    async def main():
        waiting = asyncio.ensure_future(executor.submit_async(tag(jobs.add), 3, b=4))
        while executor._waiting() == 0:
            await asyncio.sleep(0)
        assert not waiting.done()
        gate.open()
        future = await waiting
        assert isinstance(future, concurrent.futures.Future)
        return await asyncio.wrap_future(future)

    assert run_in_loop(factory, main) == 7
    assert executor._bells == {}


def test_submit_async_without_a_limit(executor):
    async def main():
        future = await executor.submit_async(interpreter(jobs.add), 1, b=1)
        return await asyncio.wrap_future(future)

    assert run_in_loop(None, main) == 2


def test_submit_async_is_served_in_order(full, gate, factory):
    executor = full()
    order = []

    async def main():
        tasks = []
        for n in range(6):
            tasks.append(asyncio.ensure_future(executor.submit_async(order.append, n)))
            await asyncio.sleep(0)
        assert executor._waiting() == 6
        gate.open()
        futures = await asyncio.gather(*tasks)
        await asyncio.gather(*map(asyncio.wrap_future, futures))

    run_in_loop(factory, main)
    assert order == [0, 1, 2, 3, 4, 5]


def test_submit_async_in_several_loops_at_once(pool):
    executor = pool(2, max_pending=2)

    async def one(n):
        future = await executor.submit_async(interpreter(jobs.add), n)
        return await asyncio.wrap_future(future)

    async def main():
        return sum(await asyncio.gather(*map(one, range(200))))

    results = []
    threads = [
        threading.Thread(target=lambda: results.append(run_in_loop(None, main)), daemon=True)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == [sum(range(200))] * 3
    assert executor._waiting() == 0
    assert executor._bells == {}


def test_a_cancelled_submit_async_gives_up_its_place(full, gate, factory):
    executor = full()

    async def main():
        first, second = (
            asyncio.ensure_future(executor.submit_async(jobs.add, n)) for n in range(2)
        )
        while executor._waiting() < 2:
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert executor._waiting() == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await executor.submit_async(jobs.add, 9)
        gate.open()
        return await asyncio.wrap_future(await second)

    assert run_in_loop(factory, main) == 1
    assert executor.submit(jobs.add, 2).result(TIMEOUT) == 2


def test_a_turn_that_comes_as_it_is_cancelled_goes_to_the_next(full, gate):
    executor = full()

    async def main():
        waiting = asyncio.ensure_future(executor.submit_async(jobs.add, 1))
        while executor._waiting() == 0:
            await asyncio.sleep(0)
        gate.open()
        # The turn is there; the loop has not been told yet, since we do not let it run.
        wait_until(lambda: executor._waiting() == 0, "the turn is granted")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_in_loop(None, main)
    assert executor.submit(jobs.add, 2).result(TIMEOUT) == 2


def test_shutdown_ends_submit_async(full, factory):
    executor = full()

    async def main():
        waiting = [asyncio.ensure_future(executor.submit_async(jobs.add, n)) for n in range(3)]
        while executor._waiting() < 3:
            await asyncio.sleep(0)
        executor.shutdown(wait=False, cancel_futures=True)
        return await asyncio.gather(*waiting, return_exceptions=True)

    errors = run_in_loop(factory, main)
    assert [str(error) for error in errors] == ["cannot schedule new futures after shutdown"] * 3


def test_an_argument_that_cannot_be_sent_in_submit_async(full, gate):
    executor = full()

    async def main():
        waiting = asyncio.ensure_future(
            executor.submit_async(interpreter(jobs.identity), threading.Lock())
        )
        while executor._waiting() == 0:
            await asyncio.sleep(0)
        gate.open()
        return (await waiting).exception(TIMEOUT)

    assert run_in_loop(None, main).type_name == "_thread.lock"
    assert executor.submit(jobs.add, 2).result(TIMEOUT) == 2


def test_submit_async_leaves_no_descriptor_open(full, gate):
    executor = full()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    if before is None:
        pytest.skip("descriptors cannot be counted here")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await executor.submit_async(jobs.add, 9)
        return len(os.listdir("/proc/self/fd"))

    during = run_in_loop(None, main)
    assert len(os.listdir("/proc/self/fd")) == before <= during
    assert in_thread(lambda: executor._waiting()) == 0
