"""`executor.stats()`: every task is counted once, where it belongs, and timed."""

import dataclasses
import os
import threading

import jobs
import pytest
import stopping_jobs
from harness import TIMEOUT, wait_until
from test_stopping import start_blocked

from aiointerpreters import Stats, Times, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])

STATES = ("pending", "running", "done", "failed", "cancelled", "interrupted")


def counts(executor) -> dict[str, int]:
    """The tasks in each state, those states left out in which there are none."""
    stats = executor.stats()
    return {state: getattr(stats, state) for state in STATES if getattr(stats, state)}


def test_a_new_executor(executor):
    none = Times(0, 0.0, 0.0, 0.0)
    assert executor.stats() == Stats(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, none, none)


def test_it_is_frozen(executor):
    stats = executor.stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.done = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.wait.sum = 1


@both
def test_a_result_that_is_seen_is_counted(executor, tag):
    for n in range(1, 200):
        executor.submit(tag(jobs.add), 1).result(TIMEOUT)
        assert counts(executor) == {"done": n}


@both
def test_the_states_of_tasks(pool, gate, tag):
    executor = pool(2, max_interpreters=2)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started(1)
    executor.submit(tag(jobs.pass_gate_and_raise), *gate.args)
    gate.wait_started(2)
    pending = [executor.submit(tag(jobs.add), 1) for _ in range(3)]
    assert counts(executor) == {"running": 2, "pending": 3}
    assert pending[1].cancel()
    assert counts(executor) == {"running": 2, "pending": 2, "cancelled": 1}
    gate.open(2)
    executor.shutdown()
    assert counts(executor) == {"done": 3, "failed": 1, "cancelled": 1}


@pytest.mark.parametrize("buffersize", [None, 3])
@both
def test_map_is_counted(executor, tag, buffersize):
    assert len(list(executor.map(tag(jobs.add), range(500), buffersize=buffersize))) == 500
    assert counts(executor) == {"done": 500}


def test_a_map_that_is_given_up(pool, gate):
    executor = pool(1)
    results = executor.map(jobs.pass_gate, *zip(*[gate.args] * 5, strict=True), range(5))
    gate.open()
    assert next(results) == 0
    gate.wait_started(2)
    results.close()
    assert counts(executor) == {"done": 1, "running": 1, "cancelled": 3}
    gate.open()


@both
def test_what_fails(executor, tag):
    executor.submit(tag(jobs.identity), threading.Lock()).exception(TIMEOUT)
    if tag is interpreter:
        assert counts(executor) == {"failed": 1}  # it could not be sent
        executor.submit(tag(threading.Lock)).exception(TIMEOUT)
        assert counts(executor) == {"failed": 2}  # nor its result
        assert list(executor.map(tag(jobs.add), [1]))
        with pytest.raises(TypeError):
            list(executor.map(tag(jobs.identity), [threading.Lock()]))
        assert counts(executor) == {"failed": 3, "done": 1}
    else:
        assert counts(executor) == {"done": 1}


@pytest.mark.parametrize("function", ["spin", "swallow_and_return", "turn_into_error"])
def test_what_is_stopped_while_it_runs(pool, gate, function):
    executor = pool(1)
    future = executor.submit(interpreter(getattr(stopping_jobs, function)), gate.args[0])
    gate.wait_started()
    assert future.cancel()
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    assert counts(executor) == {"interrupted": 1, "done": 1}


def test_what_runs_for_too_long(pool, gate):
    executor = pool(1)
    tagged = interpreter(stopping_jobs.spin, timeout=0.02)
    assert isinstance(executor.submit(tagged, gate.args[0]).exception(TIMEOUT), TimeoutError)
    assert counts(executor) == {"interrupted": 1}


def test_what_is_stopped_with_the_executor(pool, gate):
    executor = pool(1)
    executor.submit(interpreter(stopping_jobs.spin), gate.args[0])
    gate.wait_started()
    executor.submit(jobs.add, 1)
    executor.shutdown(interrupt=True)
    assert counts(executor) == {"interrupted": 1, "cancelled": 1}


@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "timeout"])
def test_workers_that_are_set_aside(pool, gate, gates, cancel):
    executor = pool(1, grace=0)
    blocked = gates()
    if cancel:
        assert start_blocked(executor, gate, blocked).cancel()
    else:
        tagged = interpreter(stopping_jobs.read, timeout=0.2)
        future = executor.submit(tagged, gate.args[0], blocked.args[1])
        assert isinstance(future.exception(TIMEOUT), TimeoutError)
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    assert counts(executor) == {"interrupted": 1, "done": 1}
    stats = executor.stats()
    assert (stats.set_aside, stats.threads, stats.interpreters) == (1, 1, 1)
    blocked.open()
    executor.shutdown()
    assert counts(executor) == {"interrupted": 1, "done": 1}
    assert executor.stats().set_aside == 1


def test_what_is_cancelled_at_shutdown(pool, gate):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    futures = [executor.submit(jobs.add, 1) for _ in range(4)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert counts(executor) == {"running": 1, "cancelled": 4}
    gate.open()


def test_what_a_broken_pool_fails(pool, gate):
    def begin():
        jobs.pass_gate_and_raise(*gate.args)

    executor = pool(1, initializer=begin)
    futures = [executor.submit(jobs.add, 1) for _ in range(3)]
    gate.wait_started()
    futures[2].cancel()
    gate.open()
    for future in futures[:2]:
        assert future.exception(TIMEOUT)
    assert counts(executor) == {"failed": 2, "cancelled": 1}


def test_prestart_is_no_task(pool):
    executor = pool(2, max_interpreters=2)
    executor.prestart().result(TIMEOUT)
    assert counts(executor) == {}
    stats = executor.stats()
    assert (stats.threads, stats.interpreters) == (2, 2)


def test_threads_and_interpreters_that_are_there(pool):
    executor = pool(2)
    executor.submit(jobs.add, 1).result(TIMEOUT)
    assert (executor.stats().threads, executor.stats().interpreters) == (1, 0)
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    assert (executor.stats().threads, executor.stats().interpreters) == (1, 1)
    executor.shutdown()
    assert (executor.stats().threads, executor.stats().interpreters) == (0, 0)
    assert counts(executor) == {"done": 2}


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
def test_bytes_in_and_out(executor, size):
    executor.submit(jobs.identity, bytes(size)).result(TIMEOUT)
    stats = executor.stats()
    assert (stats.bytes_in, stats.bytes_out) == (0, 0)  # untagged: nothing crosses
    executor.submit(interpreter(len), bytes(size)).result(TIMEOUT)
    stats = executor.stats()
    assert size <= stats.bytes_in < size + 200
    assert 0 < stats.bytes_out < 200
    executor.submit(interpreter(bytes), size).result(TIMEOUT)
    stats = executor.stats()
    assert size <= stats.bytes_in < size + 400
    assert size <= stats.bytes_out < size + 400


@both
def test_times(pool, tag):
    executor = pool(1)
    times = executor.stats().run
    assert times.count == 0
    for seconds in [0.02] * 3 + [0.1]:
        executor.submit(tag(jobs.sleep), seconds).result(TIMEOUT)
    times = executor.stats().run
    assert times.count == 4
    assert 0.16 <= times.sum < TIMEOUT
    assert 0.017 <= times.p50 <= times.sum
    assert 0.08 <= times.p99 <= times.sum


def test_the_time_that_tasks_wait(pool, gate):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    futures = [executor.submit(jobs.add, 1) for _ in range(3)]
    jobs.sleep(0.05)
    gate.open()
    for future in futures:
        future.result(TIMEOUT)
    times = executor.stats().wait
    assert times.count == 4
    assert 0.15 <= times.sum < 4 * TIMEOUT
    assert 0.04 <= times.p50 <= times.p99


def test_the_times_of_many_short_tasks(pool):
    executor = pool(1)
    for _ in range(5):
        assert len(list(executor.map(jobs.add, range(10_000)))) == 10_000
    stats = executor.stats()
    assert stats.done == 50_000
    for times in (stats.run, stats.wait):
        assert 45_000 < times.count < 55_000  # some were timed, and stand for all
        assert 0 < times.p50 <= times.p99 * 1.001


def test_counting_in_many_threads(pool):
    executor = pool(4, max_interpreters=2)

    def use():
        for n in range(100):
            executor.submit(interpreter(jobs.add), n).result(TIMEOUT)
            executor.submit(jobs.add, n).result(TIMEOUT)
            executor.submit(jobs.raise_value_error).exception(TIMEOUT)
            executor.submit(jobs.add, n).cancel()

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    executor.shutdown()
    stats = executor.stats()
    assert stats.failed == 600
    assert stats.done + stats.cancelled == 1800
    assert stats.pending == stats.running == stats.interrupted == stats.set_aside == 0


def test_a_forked_child_counts_afresh(pool):
    executor = pool(1)
    executor.submit(jobs.add, 1).result(TIMEOUT)
    child = os.fork()
    if child == 0:
        before = counts(executor)
        executor.submit(jobs.add, 1).result(TIMEOUT)
        os._exit(0 if (before, counts(executor)) == ({}, {"done": 1}) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counts(executor) == {"done": 1}


def test_a_task_that_forks_is_counted_in_the_parent(pool):
    executor = pool(1)

    def fork():
        child = os.fork()
        if child == 0:
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert executor.submit(fork).result(TIMEOUT) == 0
    assert counts(executor) == {"done": 1}
    wait_until(lambda: executor.stats().threads == 1, "the worker lives")


def test_cancelled_tasks_are_told_and_leave_the_queue(pool, gate):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    called = []
    future = executor.submit(jobs.add, 1)
    future.add_done_callback(called.append)
    assert executor._work_queue.qsize() == 1
    assert future.cancel()
    assert future.cancel()
    assert called == [future]
    assert executor._work_queue.qsize() == 0
    assert counts(executor) == {"running": 1, "cancelled": 1}
    gate.open()
