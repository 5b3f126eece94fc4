"""Futures: results, exceptions, timeouts, cancelling, callbacks, waiting, chaining to asyncio."""

import asyncio
import concurrent.futures
import gc
import logging
import pickle
import threading
import time
import weakref
from concurrent.futures import CancelledError, Future, InvalidStateError, as_completed, wait
from functools import partial

import jobs
import pytest
from harness import TIMEOUT, Gate, in_thread

from aiointerpreters.executors import interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


@both
def test_is_a_future(executor, tag):
    future = executor.submit(tag(jobs.add), 1, 2)
    assert isinstance(future, Future)
    assert future.result(TIMEOUT) == 3
    assert future.done()
    assert not future.running()
    assert not future.cancelled()


@both
def test_result_can_be_asked_for_again(executor, tag):
    future = executor.submit(tag(jobs.identity), [1, 2])
    first = future.result(TIMEOUT)
    assert future.result() is first
    assert future.result(timeout=0) is first
    assert future.result(timeout=-1) is first


@both
def test_exception(executor, tag):
    future = executor.submit(tag(jobs.raise_value_error), "oh")
    error = future.exception(TIMEOUT)
    assert isinstance(error, ValueError)
    assert error.args == ("oh",)
    assert future.exception(timeout=0) is error
    with pytest.raises(ValueError, match="oh") as caught:
        future.result(timeout=0)
    assert caught.value is error


@both
def test_exception_of_success_is_none(executor, tag):
    assert executor.submit(tag(jobs.add), 1).exception(TIMEOUT) is None


@both
@pytest.mark.parametrize("timeout", [0, 0.0, 0.01, -1, -0.5])
def test_timeouts(executor, tag, gate, timeout):
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    with pytest.raises(TimeoutError):
        future.result(timeout)
    with pytest.raises(TimeoutError):
        future.exception(timeout=timeout)
    assert not future.done()
    gate.open()
    future.result(TIMEOUT)


@both
def test_timeout_waits_as_long_as_it_says(executor, tag, gate):
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        future.result(timeout=0.2)
    assert 0.19 <= time.monotonic() - before < TIMEOUT


@both
def test_waiting_in_several_threads(executor, tag, gate):
    future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(future.result(TIMEOUT))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == ["value"] * 8


@both
def test_states_of_a_task(pool, tag, gate):
    executor = pool(max_workers=1)
    running = executor.submit(tag(jobs.pass_gate), *gate.args)
    pending = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    assert running.running()
    assert not running.done()
    assert not pending.running()
    assert not pending.done()
    gate.open(2)
    wait([running, pending], TIMEOUT)
    assert running.done()
    assert pending.done()
    assert not running.running()


@both
def test_cancel_of_a_pending_task(pool, tag, gate, lines):
    executor = pool(max_workers=1)
    running = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = executor.submit(tag(jobs.write_line), lines.descriptor, "ran")
    assert pending.cancel()
    assert pending.cancelled()
    assert pending.done()
    assert not pending.running()
    assert pending.cancel()
    for ask in (pending.result, pending.exception):
        with pytest.raises(CancelledError):
            ask(TIMEOUT)
    gate.open()
    running.result(TIMEOUT)
    executor.submit(tag(jobs.add), 1).result(TIMEOUT)
    assert lines.read() == []


@both
def test_cancel_of_a_running_or_finished_task(executor, tag, gate):
    if tag is interpreter:
        tag = partial(tag, interruptible=False)
    future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
    gate.wait_started()
    assert not future.cancel()
    assert not future.cancelled()
    gate.open()
    assert future.result(TIMEOUT) == "value"
    assert not future.cancel()
    assert future.result(TIMEOUT) == "value"


@both
def test_cancel_against_start(pool, tag):
    """Whichever comes first: a task either ran, or it was cancelled and did not."""
    executor = pool(max_workers=2)
    outcomes = set()
    for _ in range(1000):
        future = executor.submit(tag(jobs.identity), "ran")
        if future.cancel():
            assert future.cancelled()
            with pytest.raises(CancelledError):
                future.result(TIMEOUT)
            outcomes.add("cancelled")
        else:
            assert future.result(TIMEOUT) == "ran"
            assert not future.cancelled()
            outcomes.add("ran")
    assert outcomes


# --- callbacks -----------------------------------------------------------------------------------


@both
def test_callback_before_and_after_the_end(executor, tag, gate):
    future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
    called = []
    told = threading.Event()
    future.add_done_callback(called.append)
    future.add_done_callback(lambda _: told.set())
    gate.open()
    assert told.wait(TIMEOUT)
    future.add_done_callback(called.append)
    assert called == [future, future]


@both
def test_callback_sees_a_finished_future(executor, tag, gate):
    seen = []
    told = threading.Event()

    def callback(future):
        seen.append((future.done(), future.running(), future.result(timeout=0)))
        told.set()

    executor.submit(tag(jobs.pass_gate), *gate.args, 5).add_done_callback(callback)
    gate.open()
    assert told.wait(TIMEOUT)
    assert seen == [(True, False, 5)]


@both
def test_callbacks_in_order_once_in_the_workers_thread(pool, tag, gate):
    executor = pool(max_workers=1)
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    order, threads, told = [], set(), threading.Event()

    def callback(n):
        def call(_):
            order.append(n)
            threads.add(threading.current_thread())

        return call

    for n in range(20):
        future.add_done_callback(callback(n))
    future.add_done_callback(lambda _: told.set())
    gate.open()
    assert told.wait(TIMEOUT)
    assert order == list(range(20))
    assert threads == set(executor._threads)


@both
def test_callback_that_raises_is_logged_and_the_next_is_called(executor, tag, gate, caplog):
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    told = threading.Event()

    def failing(_):
        raise ValueError("the callback's own")

    future.add_done_callback(failing)
    future.add_done_callback(lambda _: told.set())
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.open()
        assert told.wait(TIMEOUT)
    record = caplog.records[0]
    assert record.name == "concurrent.futures"
    assert "exception calling callback for" in record.getMessage()
    assert "the callback's own" in str(record.exc_info[1])


@both
def test_callback_added_after_the_end_that_raises_is_logged(executor, tag, caplog):
    future = executor.submit(tag(jobs.add), 1)
    future.result(TIMEOUT)

    def failing(_):
        raise ValueError("the callback's own")

    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.add_done_callback(failing)
    assert "the callback's own" in caplog.text


@both
def test_callback_of_a_cancelled_future(pool, tag, gate):
    executor = pool(max_workers=1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = executor.submit(tag(jobs.add), 1)
    called = []
    pending.add_done_callback(lambda future: called.append(future.cancelled()))
    pending.cancel()
    pending.cancel()
    assert called == [True]


@both
def test_callbacks_against_completion(executor, tag):
    """A callback added while the task ends is called exactly once."""
    for _ in range(500):
        called = []
        future = executor.submit(tag(jobs.identity), 1)
        for _ in range(5):
            future.add_done_callback(called.append)
        future.result(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while len(called) < 5:
            assert time.monotonic() < deadline
        assert called == [future] * 5


# --- wait and as_completed -----------------------------------------------------------------------


def submit_gated(executor, tag, count, gates):
    """`count` running tasks with a gate each."""
    made: list[Gate] = [gates() for _ in range(count)]
    futures = [executor.submit(tag(jobs.pass_gate), *gate.args, n) for n, gate in enumerate(made)]
    for gate in made:
        gate.wait_started()
    return futures, made


@pytest.fixture
def roomy(pool):
    """An executor in which four tagged tasks can run at once, however few CPUs there are."""
    return pool(max_workers=4, max_interpreters=4)


@both
def test_wait_for_all(roomy, tag, gates):
    futures, made = submit_gated(roomy, tag, 3, gates)
    assert wait(futures, timeout=0.01) == (set(), set(futures))
    for gate in made:
        gate.open()
    assert wait(futures, TIMEOUT) == (set(futures), set())
    assert wait(futures, TIMEOUT) == (set(futures), set())


@both
def test_wait_for_the_first(roomy, tag, gates):
    futures, made = submit_gated(roomy, tag, 3, gates)
    made[1].open()
    done, pending = wait(futures, TIMEOUT, return_when=concurrent.futures.FIRST_COMPLETED)
    assert done == {futures[1]}
    assert pending == {futures[0], futures[2]}


@both
def test_wait_for_the_first_exception(roomy, tag, gates):
    futures, made = submit_gated(roomy, tag, 2, gates)
    bad_gate = gates()
    bad = roomy.submit(tag(jobs.pass_gate_and_raise), *bad_gate.args)
    made[0].open()
    futures[0].result(TIMEOUT)
    bad_gate.open()
    done, pending = wait([*futures, bad], TIMEOUT, return_when=concurrent.futures.FIRST_EXCEPTION)
    assert done == {futures[0], bad}
    assert pending == {futures[1]}


@both
def test_as_completed_in_the_order_of_completion(roomy, tag, gates):
    futures, made = submit_gated(roomy, tag, 4, gates)
    iterator = as_completed(futures, timeout=TIMEOUT)
    for n in (2, 0, 3, 1):
        made[n].open()
        assert next(iterator) is futures[n]
    assert list(iterator) == []


@both
def test_as_completed_that_times_out(roomy, tag, gates):
    futures, made = submit_gated(roomy, tag, 2, gates)
    made[0].open()
    futures[0].result(TIMEOUT)
    iterator = as_completed(futures, timeout=0.05)
    assert next(iterator) is futures[0]
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        next(iterator)


@both
def test_wait_in_a_thread_while_tasks_end(executor, tag):
    for _ in range(200):
        futures = [executor.submit(tag(jobs.identity), n) for n in range(4)]
        done, pending = wait(futures, TIMEOUT)
        assert (done, pending) == (set(futures), set())
        assert {future.result(timeout=0) for future in as_completed(futures)} == {0, 1, 2, 3}


@both
def test_wait_for_futures_of_several_executors(executor, tag, gate):
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        mine = executor.submit(tag(jobs.pass_gate), *gate.args, "mine")
        theirs = other.submit(gate.wait_started)
        unowned = Future()
        done, pending = wait(
            [mine, theirs, unowned], TIMEOUT, return_when=concurrent.futures.FIRST_COMPLETED
        )
        assert theirs in done
        assert mine in pending
        gate.open()
        unowned.set_result("set by hand")
        assert wait([mine, theirs, unowned], TIMEOUT).not_done == set()
        assert set(as_completed([mine, theirs, unowned], TIMEOUT)) == {mine, theirs, unowned}


def test_tagged_and_untagged_futures_together(executor):
    futures = [
        executor.submit(kind, n, 0)
        for n in range(100)
        for kind in (jobs.add, interpreter(jobs.add))
    ]
    assert wait(futures, TIMEOUT).not_done == set()
    assert sorted(future.result() for future in as_completed(futures)) == sorted([*range(100)] * 2)


@both
def test_wait_for_a_cancelled_future(pool, tag, gate):
    executor = pool(max_workers=1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = executor.submit(tag(jobs.add), 1)
    pending.cancel()
    gate.open()
    assert wait([pending], TIMEOUT).done == {pending}
    assert list(as_completed([pending], TIMEOUT)) == [pending]


# --- asyncio -------------------------------------------------------------------------------------


@both
def test_wrap_future(executor, tag, gate):
    async def main():
        future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
        wrapped = asyncio.wrap_future(future)
        gate.open()
        assert await asyncio.wait_for(wrapped, TIMEOUT) == "value"
        assert await asyncio.wait_for(asyncio.wrap_future(future), TIMEOUT) == "value"

    asyncio.run(main())


@both
def test_wrap_future_of_an_error(executor, tag):
    async def main():
        future = executor.submit(tag(jobs.raise_custom))
        with pytest.raises(jobs.CustomError):
            await asyncio.wait_for(asyncio.wrap_future(future), TIMEOUT)

    asyncio.run(main())


@both
def test_cancelling_a_wrapped_future_cancels_a_pending_task(pool, tag, gate):
    executor = pool(max_workers=1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()

    async def main():
        future = executor.submit(tag(jobs.add), 1)
        wrapped = asyncio.wrap_future(future)
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
        return future

    assert asyncio.run(main()).cancelled()


@both
def test_cancelling_the_task_cancels_its_wrapped_future(pool, tag, gate):
    executor = pool(max_workers=1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()

    async def main():
        future = executor.submit(tag(jobs.add), 1)
        wrapped = asyncio.wrap_future(future)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(wrapped, TIMEOUT)

    asyncio.run(main())


# --- the protocol that other libraries use -------------------------------------------------------


def test_futures_made_by_hand(executor):
    cls = type(executor.submit(jobs.add, 1))
    future = cls()
    assert future._state == "PENDING"
    assert future.set_running_or_notify_cancel()
    assert future.running()
    with pytest.raises(RuntimeError, match="Future in unexpected state"):
        future.set_running_or_notify_cancel()
    future.set_result(4)
    with pytest.raises(InvalidStateError, match="FINISHED: <Future at"):
        future.set_result(5)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert future.result(timeout=0) == 4


def test_set_running_or_notify_cancel_of_a_cancelled_future(executor):
    future = type(executor.submit(jobs.add, 1))()
    future.cancel()
    assert not future.set_running_or_notify_cancel()
    assert future._state == "CANCELLED_AND_NOTIFIED"
    with pytest.raises(InvalidStateError):
        future.set_result(1)


def test_future_completed_by_hand_in_another_thread(executor):
    future = type(executor.submit(jobs.add, 1))()
    waiting = threading.Event()
    results = []

    def ask():
        waiting.set()
        results.append(future.result(TIMEOUT))

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(TIMEOUT)
    future.set_result("by hand")
    thread.join(TIMEOUT)
    assert results == ["by hand"]


@both
def test_repr(executor, tag, gate):
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    assert repr(future).startswith("<Future at 0x")
    assert repr(future).endswith(" state=running>")
    gate.open()
    future.result(TIMEOUT)
    assert repr(future).endswith(" state=finished returned int>")
    failed = executor.submit(tag(jobs.raise_value_error))
    failed.exception(TIMEOUT)
    assert repr(failed).endswith(" state=finished raised ValueError>")


@both
def test_private_attributes_that_libraries_read(executor, tag):
    future = executor.submit(tag(jobs.add), 1, 2)
    future.result(TIMEOUT)
    assert future._state == "FINISHED"
    assert future._result == 3
    assert future._exception is None
    assert future._waiters == []
    assert future._done_callbacks == []
    assert future._condition is future._condition
    with future._condition:
        assert future._state == "FINISHED"


@pytest.mark.skipif(
    not hasattr(Future, "_get_snapshot"), reason="Future._get_snapshot came with 3.15"
)
@both
def test_snapshot(executor, tag):
    future = executor.submit(tag(jobs.add), 1, 2)
    future.result(TIMEOUT)
    assert future._get_snapshot() == (True, False, 3, None)


@both
def test_futures_take_weak_references_and_attributes(executor, tag):
    future = executor.submit(tag(jobs.add), 1, 2)
    future.note = "mine"
    reference = weakref.ref(future)
    future.result(TIMEOUT)
    assert future.note == "mine"
    assert reference() is future
    # The worker lets go of the future just after it told the result.
    del future
    deadline = time.monotonic() + TIMEOUT
    while reference() is not None:
        gc.collect()
        assert time.monotonic() < deadline


def test_future_in_a_cycle_is_collected(executor):
    future = executor.submit(interpreter(jobs.add), 1, 2)
    future.result(TIMEOUT)
    future.itself = future
    future.add_done_callback(lambda done, cycle=future: None)
    reference = weakref.ref(future)
    del future
    deadline = time.monotonic() + TIMEOUT
    while reference() is not None:
        gc.collect()
        assert time.monotonic() < deadline


@both
def test_futures_are_not_pickled(executor, tag):
    future = executor.submit(tag(jobs.add), 1)
    future.result(TIMEOUT)
    with pytest.raises(TypeError):
        pickle.dumps(future)


def test_class_can_be_subscripted(executor):
    cls = type(executor.submit(jobs.add, 1))
    assert cls[int].__origin__ is cls


@both
def test_result_of_an_abandoned_future(executor, tag):
    """Nobody holds the future of a task: it runs all the same."""
    for n in range(100):
        executor.submit(tag(jobs.identity), n)
    gc.collect()
    assert executor.submit(tag(jobs.identity), "after").result(TIMEOUT) == "after"


@both
def test_result_in_another_thread(executor, tag):
    future = executor.submit(tag(jobs.capture), 1, (2.5, "three"))
    assert in_thread(future.result, TIMEOUT) == ((1, (2.5, "three")), ())
