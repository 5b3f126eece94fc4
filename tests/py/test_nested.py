"""Tasks that submit to their own pool and wait: served while they can be, else told so."""

import concurrent.futures
import queue
import sys
import threading

import jobs
import pytest
from harness import TIMEOUT, await_sleep, wait_until

from aiointerpreters import DeadlockError, InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])

WAITS = {
    "result": lambda executor, function, *args: executor.submit(function, *args).result(),
    "exception": lambda executor, function, *args: executor.submit(function, *args).exception(),
    "map": lambda executor, function, *args: next(executor.map(function, *([arg] for arg in args))),
    "map, buffered": lambda executor, function, *args: next(
        executor.map(function, *([arg] for arg in args), buffersize=1)
    ),
}
every_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)


def test_the_error():
    assert issubclass(DeadlockError, RuntimeError)
    assert DeadlockError.__module__ == "aiointerpreters"


@both
@every_wait
def test_a_thread_is_added_for_what_a_task_waits_for(pool, wait, tag):
    executor = pool(2)
    future = executor.submit(wait, executor, tag(jobs.add), 7)
    assert future.result(TIMEOUT) in (7, None)
    assert len(executor._threads) == 2


def test_nested_as_deep_as_there_are_workers(pool):
    executor = pool(5)

    def nested(depth):
        return 1 + executor.submit(nested, depth - 1).result() if depth > 1 else 1

    assert executor.submit(nested, 5).result(TIMEOUT) == 5
    with pytest.raises(DeadlockError, match=r"waits for a task.*max_workers is 5"):
        executor.submit(nested, 6).result(TIMEOUT)
    assert executor.submit(nested, 5).result(TIMEOUT) == 5  # and the pool is as it was


@both
@every_wait
def test_the_only_worker_waits(pool, wait, tag):
    executor = pool(1)
    error = executor.submit(wait, executor, tag(jobs.add), 7).exception(TIMEOUT)
    assert isinstance(error, DeadlockError)
    assert executor.submit(tag(jobs.add), 7).result(TIMEOUT) == 7


def test_the_wait_that_closes_the_circle_is_the_one_that_raises(pool):
    executor = pool(2)
    both_run = threading.Barrier(2)
    caught = []

    def wait_for(number):
        both_run.wait(TIMEOUT)
        inner = executor.submit(jobs.add, number)
        try:
            return inner.result()
        except DeadlockError as error:
            caught.append(error)
            return "caught"

    futures = [executor.submit(wait_for, n) for n in range(2)]
    results = [future.result(TIMEOUT) for future in futures]
    assert len(caught) == 1
    assert results in ([0, "caught"], ["caught", 1])


def test_a_wait_for_a_task_that_runs_is_no_circle(pool, gate):
    executor = pool(2)
    running = executor.submit(jobs.pass_gate, *gate.args, 5)
    gate.wait_started()
    waiting = executor.submit(running.result)
    wait_until(lambda: executor.stats().running == 2, "the task that waits")
    gate.open()
    assert waiting.result(TIMEOUT) == 5


def test_waiting_for_a_running_task_that_waits_for_a_pending_one(pool):
    executor = pool(2)
    started = threading.Event()
    go_on = threading.Event()

    def first():
        started.set()
        assert go_on.wait(TIMEOUT)
        return executor.submit(jobs.add, 3).result()

    outer = executor.submit(first)
    assert started.wait(TIMEOUT)

    def second():
        go_on.set()
        try:
            return outer.result()
        except DeadlockError:
            return "caught"

    other = executor.submit(second)
    results = concurrent.futures.wait([outer, other], TIMEOUT)
    assert not results.not_done
    # Whoever came last has raised; then the other one could go on.
    assert other.result() == "caught" or isinstance(outer.exception(), DeadlockError)


def test_a_task_that_waits_for_itself(pool):
    executor = pool(1)
    own = []
    given = threading.Event()

    def wait():
        assert given.wait(TIMEOUT)
        return own[0].result()

    own.append(executor.submit(wait))
    given.set()
    assert isinstance(own[0].exception(TIMEOUT), DeadlockError)


def test_a_time_limit_is_an_end(pool):
    executor = pool(1)

    def wait():
        executor.submit(jobs.add, 1).result(timeout=0.01)

    assert type(executor.submit(wait).exception(TIMEOUT)) is TimeoutError


def test_a_task_that_has_ended_is_not_waited_for(pool):
    executor = pool(1)
    done = executor.submit(jobs.add, 1)
    assert executor.submit(done.result).result(TIMEOUT) == 1


def test_a_wait_that_is_over_is_none(pool):
    """What it was for has ended, but whoever waited has not got the GIL yet."""
    executor = pool(2)
    box, waiters = queue.Queue(), queue.Queue()

    def wait():
        waiters.put(threading.get_native_id())
        with pytest.raises(concurrent.futures.CancelledError):
            box.get(timeout=TIMEOUT).result()

    def cancel_and_wait():
        waiter = waiters.get(timeout=TIMEOUT)
        pending = executor.submit(jobs.add, 1)
        box.put(pending)
        await_sleep(waiter)
        before = sys.getswitchinterval()
        sys.setswitchinterval(1000)  # until this thread waits, nobody else gets the GIL
        try:
            assert pending.cancel()
            return executor.submit(jobs.add, 2).result()
        finally:
            sys.setswitchinterval(before)

    waited = executor.submit(wait)
    assert executor.submit(cancel_and_wait).result(TIMEOUT) == 2
    waited.result(TIMEOUT)


def test_a_callback_that_waits(pool):
    executor = pool(1)
    caught = []

    def callback(_future):
        try:
            executor.submit(jobs.add, 1).result()
        except BaseException as error:
            caught.append(error)

    gate = threading.Event()
    future = executor.submit(gate.wait, TIMEOUT)
    future.add_done_callback(callback)
    gate.set()
    assert executor.submit(jobs.add, 2).result(TIMEOUT) == 2
    assert [type(error) for error in caught] == [DeadlockError]


def test_other_threads_may_wait(pool, gate):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    pending = executor.submit(jobs.add, 4)
    results = []
    thread = threading.Thread(target=lambda: results.append(pending.result()))
    thread.start()
    gate.open()
    thread.join(TIMEOUT)
    assert results == [4]


def test_a_future_of_another_kind_is_not_looked_at(pool):
    executor = pool(1)
    other = concurrent.futures.Future()
    threading.Thread(target=other.set_result, args=[9]).start()
    assert executor.submit(other.result).result(TIMEOUT) == 9


# --- two pools -----------------------------------------------------------------------------------


def test_waiting_for_another_pool_is_no_circle(pool):
    one, other = pool(1), pool(1)
    assert one.submit(lambda: other.submit(jobs.add, 6).result()).result(TIMEOUT) == 6


def test_two_pools_that_wait_for_each_other(pool):
    one, other = pool(1), pool(1)

    def there():
        return one.submit(jobs.add, 1).result()

    error = one.submit(lambda: other.submit(there).result()).exception(TIMEOUT)
    assert isinstance(error, DeadlockError)


def test_two_pools_with_a_worker_to_spare(pool):
    one, other = pool(2), pool(1)

    def there():
        return one.submit(jobs.add, 8).result()

    assert one.submit(lambda: other.submit(there).result()).result(TIMEOUT) == 8


def test_three_pools_in_a_ring(pool):
    ring = [pool(1) for _ in range(3)]

    def step(number):
        return ring[number % 3].submit(step, number + 1).result()

    assert isinstance(ring[2].submit(step, 0).exception(TIMEOUT), DeadlockError)


# --- room ----------------------------------------------------------------------------------------


def test_submitting_to_a_full_pool_from_its_only_worker(pool):
    executor = pool(1, max_pending=1)

    def submit_two():
        futures = [executor.submit(jobs.add, 1)]
        with pytest.raises(DeadlockError, match=r"waits to submit to this executor.*max_pending"):
            executor.submit(jobs.add, 2)
        return futures

    (future,) = executor.submit(submit_two).result(TIMEOUT)
    assert future.result(TIMEOUT) == 1


def test_submitting_to_a_full_pool_with_another_worker_to_make_room(pool):
    executor = pool(2, max_pending=1)

    def submit_many():
        return [executor.submit(jobs.add, n) for n in range(20)]

    futures = executor.submit(submit_many).result(TIMEOUT)
    assert [future.result(TIMEOUT) for future in futures] == list(range(20))


def test_all_workers_submit_to_a_full_pool(pool):
    executor = pool(2, max_pending=1)
    both_run = threading.Barrier(2)

    def submit_many():
        both_run.wait(TIMEOUT)
        try:
            return [executor.submit(jobs.add, n) for n in range(20)]
        except DeadlockError:
            return []

    lists = [future.result(TIMEOUT) for future in [executor.submit(submit_many) for _ in "ab"]]
    for futures in lists:
        assert [future.result(TIMEOUT) for future in futures] == list(range(len(futures)))


def test_a_nested_map_in_a_full_pool(pool):
    executor = pool(1, max_pending=2)

    def inner():
        with pytest.raises(DeadlockError):
            list(executor.map(jobs.add, range(10)))
        return "raised"

    assert executor.submit(inner).result(TIMEOUT) == "raised"


def test_raising_instead_of_waiting_for_room(pool):
    executor = pool(1, max_pending=1, when_full="raise")

    def submit_two():
        executor.submit(jobs.add, 1)
        executor.submit(jobs.add, 2)

    assert isinstance(executor.submit(submit_two).exception(TIMEOUT), queue.Full)


# --- what stays as it was ------------------------------------------------------------------------


def test_a_forked_child_forgets_who_waited(pool, gate):
    import os

    executor = pool(2)
    running = executor.submit(jobs.pass_gate, *gate.args, 5)
    gate.wait_started()
    waiting = executor.submit(running.result)
    wait_until(lambda: executor.stats().running == 2, "the task that waits")
    child = os.fork()
    if child == 0:
        nested = executor.submit(lambda: executor.submit(jobs.add, 3).result())
        os._exit(nested.result(TIMEOUT))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    gate.open()
    assert waiting.result(TIMEOUT) == 5


def test_many_nested_waits_at_once():
    with InterpreterThreadPoolExecutor(8) as executor:

        def nested(depth):
            if depth == 0:
                return 1
            try:
                return sum(f.result() for f in [executor.submit(nested, depth - 1)] * 2)
            except DeadlockError:
                return 0

        futures = [executor.submit(nested, n % 4) for n in range(400)]
        results = [future.result(TIMEOUT) for future in futures]
        assert all(result in (0, 1, 2, 4, 8) for result in results)
        assert results[::4] == [1] * 100
