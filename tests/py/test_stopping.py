"""Tagged tasks that are stopped while they run: the worker lives on, and no other task is hit."""

import asyncio
import concurrent.futures
import gc
import os
import random
import sys
import threading
import time
from concurrent.futures import CancelledError, as_completed, wait
from pathlib import Path

import jobs
import pytest
import stopping_jobs
from harness import TIMEOUT, assert_ok, interpreters, run_script, wait_until

from aiointerpreters import Interrupted, RemoteTraceback, interpreter

GRACE = 0.2  # seconds, for tasks that do not stop


@pytest.fixture
def said(gate):
    """A gate's writing end; `gate` hears what is said to it."""
    return gate.args[0]


@pytest.fixture
def single(pool):
    return pool(1, max_interpreters=1)


def start(executor, gate, function, *args, **options):
    future = executor.submit(interpreter(function, **options), gate.args[0], *args)
    gate.wait_started(gate.log.count("S") + 1)
    return future


def start_blocked(executor, gate, blocked, **options):
    """A task that waits in C for `blocked` to open."""
    future = start(executor, gate, stopping_jobs.read, blocked.args[1], **options)
    thread = int(gate.log.rpartition("[")[2].partition("]")[0])
    stat = Path(f"/proc/self/task/{thread}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "the read")
    return future


def assert_cancelled(future):
    assert future.cancelled()
    assert future.done()
    assert not future.running()
    with pytest.raises(CancelledError):
        future.result(0)
    with pytest.raises(CancelledError):
        future.exception(0)


# --- cancel() ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        stopping_jobs.spin,
        stopping_jobs.spin_in_calls,
        stopping_jobs.spin_in_comprehension,
        stopping_jobs.turn_into_error,
        stopping_jobs.swallow_and_return,
        stopping_jobs.spin_in_library,
        stopping_jobs.spin_beside_a_thread,
        stopping_jobs.raise_in_destructor,
    ],
)
def test_cancel_frees_the_worker(single, gate, function):
    future = start(single, gate, function)
    thread = next(iter(single._threads))
    assert future.cancel()
    assert_cancelled(future)
    assert future.cancel()
    assert single.submit(interpreter(jobs.add), 2, 3).result(TIMEOUT) == 5
    assert single._threads == {thread}


def test_untagged_tasks_cannot_be_cancelled_while_they_run(single, gate):
    future = single.submit(jobs.pass_gate, *gate.args, "value")
    gate.wait_started()
    assert not future.cancel()
    gate.open()
    assert future.result(TIMEOUT) == "value"


def test_not_interruptible(single, gate):
    tag = interpreter(jobs.pass_gate, interruptible=False)
    future = single.submit(tag, *gate.args, "value")
    gate.wait_started()
    assert not future.cancel()
    assert future.running()
    gate.open()
    assert future.result(TIMEOUT) == "value"
    assert not future.cancel()


def test_those_who_wait_are_told_at_once(pool, gate, gates):
    """Although the function has not come to an end, and does not for a while."""
    executor = pool(2, max_interpreters=2)
    blocked = gates()
    future = start_blocked(executor, gate, blocked)
    told = []
    future.add_done_callback(lambda done: told.append((done, threading.current_thread())))
    started = threading.Barrier(3)

    def waiting(how):
        started.wait(TIMEOUT)
        told.append(how())

    threads = [
        threading.Thread(target=waiting, args=(how,))
        for how in (
            lambda: wait([future], TIMEOUT).done == {future},
            lambda: next(as_completed([future], TIMEOUT)) is future,
        )
    ]
    for thread in threads:
        thread.start()
    started.wait(TIMEOUT)
    assert future.cancel()
    for thread in threads:
        thread.join(TIMEOUT)
    assert (future, threading.current_thread()) in told
    assert told.count(True) == 2
    with pytest.raises(CancelledError):
        future.result(0)
    blocked.open()


def test_blocked_in_result_while_it_is_cancelled(single, gate):
    future = start(single, gate, stopping_jobs.spin)
    raised = []
    about_to = threading.Event()

    def result():
        about_to.set()
        try:
            future.result(TIMEOUT)
        except BaseException as error:
            raised.append(type(error))

    thread = threading.Thread(target=result)
    thread.start()
    about_to.wait(TIMEOUT)
    assert future.cancel()
    thread.join(TIMEOUT)
    assert raised == [CancelledError]


def test_clean_up_is_left_alone(single, gate):
    """However long it takes: `finally`, context managers, and what they call."""
    future = start(single, gate, stopping_jobs.spin_and_clean_up)
    assert future.cancel()
    assert single.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() == "Scef"


def test_a_task_that_swallows_it_gets_it_again(single, gate):
    future = start(single, gate, stopping_jobs.swallow, 10)
    assert future.cancel()
    assert single.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() == "S" + 10 * "i"


def test_the_exception_by_hand_is_no_interruption(single):
    """It ends the future as cancelled, which is what it says."""
    future = single.submit(interpreter(stopping_jobs.raise_interrupted))
    with pytest.raises(CancelledError):
        future.result(TIMEOUT)
    assert issubclass(Interrupted, BaseException)
    assert not issubclass(Interrupted, Exception)


def test_no_other_task_is_hit(single, pool):
    """Cancelled at any moment, before, while and after it runs; the tasks around it are whole."""
    executor = pool(2, max_interpreters=1)
    dice = random.Random(5)
    neighbours, victims = [], []
    for _ in range(600):
        neighbours.append(executor.submit(interpreter(sum), range(dice.randrange(3000))))
        victims.append(executor.submit(interpreter(sum), range(dice.randrange(3000))))
        neighbours.append(executor.submit(interpreter(jobs.add), 1, 2))
        for _ in range(dice.randrange(60)):
            pass
        if dice.randrange(2):
            neighbours[-3 if dice.randrange(2) else -1].running()
        victims[dice.randrange(len(victims))].cancel()
    for future in neighbours:
        assert isinstance(future.result(TIMEOUT), int)
    for future in victims:
        assert future.cancelled() or isinstance(future.result(TIMEOUT), int)


def test_cancelled_before_its_interpreter_is_made(pool, gate):
    """The function does not run."""
    executor = pool(1, initializer=interpreter(jobs.pass_gate), initargs=gate.args)
    future = executor.submit(interpreter(jobs.write_line), gate.args[0], "ran")
    gate.wait_started()
    assert future.running()
    assert future.cancel()
    gate.open()
    assert executor.submit(interpreter(jobs.add), 4).result(TIMEOUT) == 4
    assert gate.listen() == "SE"


def test_cancelled_again_and_again(single, gate):
    for _ in range(100):
        future = start(single, gate, stopping_jobs.spin)
        assert future.cancel()
    assert single.submit(interpreter(jobs.add), 4).result(TIMEOUT) == 4


def test_future_dropped_after_cancel(single, gate):
    future = start(single, gate, stopping_jobs.spin)
    future.cancel()
    del future
    gc.collect()
    assert single.submit(interpreter(jobs.add), 4).result(TIMEOUT) == 4


def test_cancel_from_a_callback_and_from_another_thread(pool, gate):
    executor = pool(3, max_interpreters=2)
    future = start(executor, gate, stopping_jobs.spin)
    other = executor.submit(jobs.add, 1)
    other.add_done_callback(lambda _: future.cancel())
    assert wait([future], TIMEOUT).done
    assert_cancelled(future)
    future = start(executor, gate, stopping_jobs.spin)
    assert executor.submit(future.cancel).result(TIMEOUT) is True
    assert_cancelled(future)


# --- interpreters --------------------------------------------------------------------------------


def test_interpreter_stays_where_its_own_code_was_interrupted(single, gate):
    before = single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    for function in (stopping_jobs.spin, stopping_jobs.spin_in_calls):
        start(single, gate, function).cancel()
        assert single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT) == before


def endless_module(folder):
    (folder / "endless.py").write_text(
        "import os, sys\nos.write(sys.said, b'S')\nwhile True: pass\n"
    )
    return str(folder)


def test_interpreter_is_renewed_where_the_library_was_interrupted(single, gate):
    before = single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    start(single, gate, stopping_jobs.spin_in_scheduler).cancel()
    after = single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    assert after != before
    wait_until(lambda: before not in interpreters(), "end of the interpreter")
    assert single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT) == after
    assert single.stats().set_aside == 0


def test_an_import_that_does_not_end_is_set_aside(pool, gate, tmp_path):
    """And interrupted then, since nobody uses the interpreter any more."""
    single = pool(1, grace=GRACE)
    before = single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    start(single, gate, stopping_jobs.import_slowly, endless_module(tmp_path)).cancel()
    after = single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    assert after != before
    wait_until(lambda: before not in interpreters(), "end of the interpreter")
    assert single.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT) == after
    assert single.stats().set_aside == 1


def test_renewed_interpreters_are_initialized(pool, gate):
    executor = pool(1, initializer=interpreter(jobs.set_state), initargs=("ready",))
    start(executor, gate, stopping_jobs.spin_in_scheduler).cancel()
    assert executor.submit(interpreter(jobs.get_state)).result(TIMEOUT) == "ready"


def test_interrupted_in_an_interpreter_that_another_worker_has_made(pool, gate, gates):
    """Only that one may end it, when it has time; another interpreter takes its place meanwhile."""
    executor = pool(2, max_interpreters=1)
    before = executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    busy = gates()
    plain = executor.submit(jobs.pass_gate, *busy.args, "plain")
    busy.wait_started()
    start(executor, gate, stopping_jobs.spin_in_scheduler).cancel()
    after = executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    assert after != before
    assert before in interpreters()
    busy.open()
    assert plain.result(TIMEOUT) == "plain"
    wait_until(lambda: before not in interpreters(), "end of the interpreter")


# --- where a task is left alone ------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "handler",
        "condition",
        "queue",
        "callback",
        "finalizer",
        "destructor",
        "import",
        "closed_generator",
        "exit",
    ],
)
def test_code_that_others_have_called_is_left_alone(pool, gate, where):
    """The interruption waits until the task is back in what is its own alone."""
    executor = pool(1, grace=TIMEOUT)
    tag = interpreter(stopping_jobs.busy_then_spin)
    future = executor.submit(tag, gate.args[0], where)
    gate.wait_for("b")
    assert future.cancel()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() == "be"


@pytest.mark.parametrize(
    "clean_up",
    [
        stopping_jobs.clean_up_in_except_star,
        stopping_jobs.clean_up_after_a_group,
        stopping_jobs.clean_up_in_a_sibling,
        stopping_jobs.clean_up_handling_something_else,
    ],
    ids=lambda function: function.__name__,
)
def test_every_clean_up_is_left_alone(single, gate, clean_up):
    start(single, gate, clean_up).cancel()
    assert single.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() == "Sbe"


def test_what_a_with_block_has_entered_is_left(single, gate):
    """No interruption comes between the call of `__enter__` and the block."""
    for _ in range(50):
        start(single, gate, stopping_jobs.enter_in_a_loop).cancel()
        assert single.submit(interpreter(stopping_jobs.is_lock_held)).result(TIMEOUT) is False


def test_a_task_that_waits_for_most_of_the_time(pool, gates):
    """It is met when it comes back to its own code, whenever it was knocked at meanwhile."""
    executor = pool(4, max_interpreters=4, grace=2 * TIMEOUT)
    for future in [start(executor, gates(), stopping_jobs.wait_in_a_loop) for _ in range(4)]:
        assert future.cancel()
    wait_until(lambda: executor.stats().running == 0, "end of the tasks")


@pytest.mark.parametrize("count", [1, 4])
def test_a_clean_up_beside_threads_is_left_alone(pool, gate, count):
    """Although it is the others that come by first when the task is knocked at."""
    executor = pool(1, grace=2 * TIMEOUT)
    for _ in range(5):
        start(executor, gate, stopping_jobs.clean_up_beside_threads, count).cancel()
        assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() == 5 * "Sbef"
    assert executor.stats().set_aside == 0


# --- threads that tasks leave behind -------------------------------------------------------------


def test_a_thread_that_was_left_behind_is_interrupted(pool, gate, capfd):
    """After half the grace, and once."""
    executor = pool(1, grace=10)
    before = interpreters()
    leave = interpreter(stopping_jobs.leave_a_thread)
    executor.submit(leave, "clean_up", *gate.args).result(TIMEOUT)
    executor.shutdown()
    assert interpreters() == before
    assert executor.stats().set_aside == 0
    assert gate.listen() == "be"
    assert "Interrupted: the interpreter of the thread is to end" in capfd.readouterr().err


def test_threads_that_end_when_they_are_told_to(pool):
    """Those of an executor, which `threading` tells."""
    executor = pool(1, grace=None)
    before = interpreters()
    assert executor.submit(interpreter(stopping_jobs.leave_a_pool)).result(TIMEOUT) == 1
    executor.shutdown()
    assert interpreters() == before


LEAVING = """
    import sys, warnings
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    from harness import Gate, TIMEOUT
    import jobs, stopping_jobs

    what, gate = sys.argv[1], Gate()
    warnings.simplefilter("ignore", RuntimeWarning)  # 3.13: interpreters that end leak
    executor = InterpreterThreadPoolExecutor(1, grace=0.5, max_tasks_per_interpreter=1)
    leave = interpreter(stopping_jobs.leave_a_thread)
    executor.submit(leave, what, *gate.args).result(TIMEOUT)
    print(executor.submit(interpreter(jobs.add), 2).result(TIMEOUT))
    executor.submit(leave, what, *gate.args).result(TIMEOUT)
    executor.shutdown()
    print(executor.stats().set_aside)
    again = InterpreterThreadPoolExecutor(1, grace=0.5)
    again.submit(leave, what, *gate.args).result(TIMEOUT)
"""


@pytest.mark.skipif(hasattr(sys, "gettotalrefcount"), reason="a debug build waits for them")
@pytest.mark.parametrize("what", ["block", "clean_up_for_ever"])
def test_a_thread_that_does_not_end_keeps_nobody(tmp_path, what):
    """Neither the next task of the worker, nor shutdown(), nor the end of the process."""
    assert_ok(run_script(tmp_path, LEAVING, what), "2", "2")


# --- workers that do not come back ---------------------------------------------------------------


def test_another_worker_takes_the_place(pool, gate, gates):
    executor = pool(1, grace=GRACE)
    blocked = gates()
    future = start_blocked(executor, gate, blocked)
    stuck = next(iter(executor._threads))
    assert future.cancel()
    assert executor.submit(interpreter(jobs.add), 2, 3).result(TIMEOUT) == 5
    assert executor.submit(jobs.add, 2, 3).result(TIMEOUT) == 5
    assert stuck not in executor._threads
    assert len(executor._threads) == 1
    assert stuck.is_alive()
    blocked.open()
    stuck.join(TIMEOUT)
    assert not stuck.is_alive()
    assert executor.submit(interpreter(jobs.add), 2, 3).result(TIMEOUT) == 5


def test_shutdown_does_not_wait_for_those_set_aside(pool, gate, gates):
    executor = pool(2, grace=GRACE)
    blocked = gates()
    futures = [start_blocked(executor, gate, blocked) for _ in range(2)]
    stuck = set(executor._threads)
    for future in futures:
        future.cancel()
    assert list(executor.map(interpreter(jobs.add), range(3))) == [0, 1, 2]
    executor.shutdown(wait=True)
    assert all(thread.is_alive() for thread in stuck)
    blocked.open(2)
    for thread in stuck:
        thread.join(TIMEOUT)


def test_set_aside_in_an_interpreter_that_another_worker_has_made(pool, gate, gates):
    executor = pool(2, max_interpreters=1, grace=GRACE)
    before = executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    busy, blocked = gates(), gates()
    plain = executor.submit(jobs.pass_gate, *busy.args)
    busy.wait_started()
    future = start_blocked(executor, gate, blocked)
    future.cancel()
    assert executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT) != before
    busy.open()
    plain.result(TIMEOUT)
    blocked.open()
    wait_until(lambda: before not in interpreters(), "end of the interpreter")
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1


def test_comes_back_within_the_grace(pool, gate, gates):
    """It is stopped as it returns to Python, and nobody is set aside."""
    executor = pool(1, grace=TIMEOUT)
    blocked = gates()
    future = start_blocked(executor, gate, blocked)
    threads = set(executor._threads)
    future.cancel()
    blocked.open()
    assert executor.submit(interpreter(jobs.add), 2).result(TIMEOUT) == 2
    assert executor._threads == threads


def await_watch(pool, gate):
    """Every task that was to stop until now has been knocked at when this one has been stopped."""
    executor = pool(1)
    start(executor, gate, stopping_jobs.spin).cancel()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1


@pytest.mark.parametrize("how", ["read", "select", "lock", "sleep"])
def test_stopped_at_the_return_of_a_call_that_blocks(pool, gate, gates, how):
    """Not one statement later."""
    executor = pool(1, grace=TIMEOUT)
    blocked = gates()
    future = start(executor, gate, stopping_jobs.block_and_go_on, how, blocked.args[1])
    thread = int(gate.log.rpartition("[")[2].partition("]")[0])
    stat = Path(f"/proc/self/task/{thread}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "the call")
    assert future.cancel()
    await_watch(pool, gates())
    blocked.open()
    assert executor.submit(interpreter(jobs.add), 2).result(TIMEOUT) == 2
    assert "X" not in gate.listen()


def test_no_grace_at_all(pool, gate, gates):
    executor = pool(1, grace=0)
    blocked = gates()
    for _ in range(5):
        start_blocked(executor, gate, blocked).cancel()
        assert executor.submit(interpreter(jobs.add), 2).result(TIMEOUT) == 2
    blocked.open(5)


@pytest.mark.parametrize(
    ("grace", "error"),
    [("soon", TypeError), (-1, ValueError), (float("nan"), ValueError), ([], TypeError)],
)
def test_wrong_grace(pool, grace, error):
    with pytest.raises(error, match="grace must"):
        pool(1, grace=grace)


@pytest.mark.parametrize("grace", [None, 1, 0.5, 1e300, float("inf")])
def test_grace_of_any_length(pool, gate, grace):
    executor = pool(1, grace=grace)
    start(executor, gate, stopping_jobs.spin).cancel()
    assert executor.submit(interpreter(jobs.add), 2).result(TIMEOUT) == 2


# --- timeouts ------------------------------------------------------------------------------------


def test_timeout(single, gate):
    future = start(single, gate, stopping_jobs.spin, timeout=1)
    thread = next(iter(single._threads))
    with pytest.raises(TimeoutError, match=r"stopping_jobs\.spin .* 1\.0 seconds") as caught:
        future.result(TIMEOUT)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in spin" in str(caught.value.__cause__)
    assert not future.cancelled()
    assert not future.cancel()
    assert future.exception(0) is caught.value
    assert single.submit(interpreter(jobs.add), 2, 3).result(TIMEOUT) == 5
    assert single._threads == {thread}


def test_timeout_that_is_not_reached(single):
    tag = interpreter(jobs.add, timeout=TIMEOUT)
    assert [single.submit(tag, n, 1).result(TIMEOUT) for n in range(100)] == list(range(1, 101))
    assert list(single.map(tag, range(100))) == list(range(100))
    with pytest.raises(jobs.CustomError):
        single.submit(interpreter(jobs.raise_this, timeout=TIMEOUT), jobs.CustomError(1, 2)).result(
            TIMEOUT
        )


def test_timeout_counts_from_the_start_of_the_function(single, gate):
    """Not from when it was submitted."""
    first = single.submit(interpreter(jobs.pass_gate), *gate.args, 1)
    gate.wait_started()
    second = single.submit(interpreter(jobs.add, timeout=0.5), 1)
    time.sleep(0.6)  # this is about time
    gate.open()
    assert first.result(TIMEOUT) == 1
    assert second.result(TIMEOUT) == 1


@pytest.mark.parametrize(
    "function", [stopping_jobs.turn_into_error, stopping_jobs.swallow_and_return]
)
def test_timeout_whatever_the_function_makes_of_it(single, gate, function):
    future = single.submit(interpreter(function, timeout=0.05), gate.args[0])
    assert type(future.exception(TIMEOUT)) is TimeoutError


def test_timeout_of_what_does_not_come_back(pool, gate, gates):
    executor = pool(2, max_interpreters=1, grace=GRACE)
    blocked = gates()
    future = start_blocked(executor, gate, blocked, timeout=1)
    told = threading.Event()
    future.add_done_callback(lambda _: (executor.submit(jobs.add, 1).result(TIMEOUT), told.set()))
    assert isinstance(future.exception(TIMEOUT), TimeoutError)
    assert told.wait(TIMEOUT), "a callback may wait for the pool"
    assert executor.submit(interpreter(jobs.add), 2, 3).result(TIMEOUT) == 5
    blocked.open()
    executor.shutdown()
    assert isinstance(future.exception(TIMEOUT), TimeoutError)


def test_timeout_in_map(single, gate):
    results = single.map(interpreter(stopping_jobs.spin, timeout=0.05), [gate.args[0]] * 3)
    with pytest.raises(TimeoutError, match="spin"):
        next(results)


def test_timeouts_of_many_at_once(pool, gate):
    executor = pool(4, max_interpreters=4)
    futures = [
        executor.submit(interpreter(stopping_jobs.spin, timeout=0.02 + n / 500), gate.args[0])
        for n in range(12)
    ]
    assert [type(future.exception(TIMEOUT)) for future in futures] == [TimeoutError] * 12


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"timeout": "soon"}, TypeError, "timeout must be a number of seconds or None, not 'soon'"),
        ({"timeout": 0}, ValueError, "timeout must be greater than 0 seconds, not 0"),
        ({"timeout": -1.5}, ValueError, "timeout must be greater than 0 seconds"),
        ({"timeout": float("nan")}, ValueError, "timeout must be greater than 0 seconds"),
        ({"timeout": 1, "interruptible": False}, ValueError, "must be interruptible"),
    ],
)
def test_wrong_options(options, error, text):
    with pytest.raises(error, match=text):
        interpreter(jobs.add, **options)
    with pytest.raises(error, match=text):
        interpreter(**options)


def test_options_of_time(single):
    assert interpreter(jobs.add, timeout=None, interruptible=True) == interpreter(jobs.add)
    assert interpreter(jobs.add, timeout=float("inf")) == interpreter(jobs.add)
    assert repr(interpreter(jobs.add, timeout=2)).endswith(", timeout=2.0)")
    assert repr(interpreter(jobs.add, interruptible=False)).endswith(", interruptible=False)")
    error = single.submit(interpreter(jobs.add, timeout=1e-12), 1).exception(TIMEOUT)
    assert error is None or type(error) is TimeoutError  # it may be quicker than the watch


# --- map and asyncio -----------------------------------------------------------------------------


def test_map_stops_what_nobody_will_take(single, gate):
    results = single.map(interpreter(stopping_jobs.spin), [gate.args[0]] * 3, timeout=0.1)
    with pytest.raises(TimeoutError):
        next(results)
    assert single.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() in ("S", "")


@pytest.mark.parametrize("how", ["to_thread", "run_in_executor"])
def test_asyncio_timeout_frees_the_cpu(single, gate, factory, how):
    async def main():
        loop = asyncio.get_running_loop()
        single.set_as_event_loop_default()
        spin = interpreter(stopping_jobs.spin)
        ways = {
            "to_thread": lambda: asyncio.to_thread(spin, gate.args[0]),
            "run_in_executor": lambda: loop.run_in_executor(None, spin, gate.args[0]),
        }
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ways[how](), 0.1)
        assert await asyncio.to_thread(interpreter(jobs.add), 2, 3) == 5

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_asyncio_cancels_many(pool, gate, factory):
    async def main():
        loop = asyncio.get_running_loop()
        tasks = [
            asyncio.ensure_future(
                loop.run_in_executor(executor, interpreter(stopping_jobs.spin), gate.args[0])
            )
            for _ in range(20)
        ]
        while "SS" not in gate.listen():
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        return await loop.run_in_executor(executor, interpreter(jobs.add), 4)

    executor = pool(2, max_interpreters=2)
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == 4


# --- shutdown, exit ------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False])
def test_shutdown_that_interrupts(pool, gate, waits):
    executor = pool(2, max_interpreters=2)
    running = [start(executor, gate, stopping_jobs.spin) for _ in range(2)]
    pending = [executor.submit(interpreter(jobs.add), 1), executor.submit(jobs.add, 1)]
    told = []
    for future in running:
        future.add_done_callback(told.append)
    threads = list(executor._threads)
    executor.shutdown(wait=waits, interrupt=True)
    assert wait(running, TIMEOUT).not_done == set()
    for thread in threads:
        thread.join(TIMEOUT)
    for future in running + pending:
        assert_cancelled(future)
    assert set(told) == set(running)


def test_shutdown_interrupts_nothing_that_may_not_be(pool, gate):
    executor = pool(2, max_interpreters=1)
    tagged = executor.submit(interpreter(jobs.pass_gate, interruptible=False), *gate.args, 1)
    plain = executor.submit(jobs.pass_gate, *gate.args, 2)
    gate.wait_started(2)
    executor.shutdown(wait=False, interrupt=True)
    gate.open(2)
    assert (tagged.result(TIMEOUT), plain.result(TIMEOUT)) == (1, 2)


def test_ctrl_c_in_a_with_block_interrupts(pool, gate):
    executor = pool(2, max_interpreters=2)
    future = start(executor, gate, stopping_jobs.spin)
    with pytest.raises(KeyboardInterrupt), executor:
        raise KeyboardInterrupt
    assert_cancelled(future)


def test_another_error_in_a_with_block_does_not(pool, gate):
    executor = pool(1)
    future = executor.submit(interpreter(jobs.pass_gate), *gate.args, 3)
    gate.wait_started()
    gate.open()
    with pytest.raises(ZeroDivisionError), executor:
        raise ZeroDivisionError
    assert future.result(0) == 3


START = """
    import os, signal, sys, threading, time
    import jobs, stopping_jobs
    from concurrent.futures import wait
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    reading, writing = os.pipe()
    executor = InterpreterThreadPoolExecutor(2)
    future = executor.submit(interpreter(stopping_jobs.spin), writing)
    os.read(reading, 1)
    began = time.monotonic()

    def press_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
"""

WAITS = {
    "result": "future.result()",
    "wait": "wait([future])",
    "shutdown": "executor.shutdown()",
    "with": "with executor: future.result()",
    "leaving a with": "with executor: pass",
    "map": "next(executor.map(interpreter(stopping_jobs.spin), [writing]))",
    "exit": "pass",
    "asyncio": """import asyncio
    async def main():
        executor.set_as_event_loop_default()
        future.cancel()  # which would be waited for
        await asyncio.to_thread(interpreter(stopping_jobs.spin), writing)
    asyncio.run(main())""",
}


@pytest.mark.parametrize("waiting", WAITS.values(), ids=WAITS)
def test_first_ctrl_c_ends_the_process(tmp_path, waiting):
    source = f"{START}\n    threading.Timer(0.2, press_ctrl_c).start()\n    {waiting}\n"
    began = time.monotonic()
    done = run_script(tmp_path, source)
    assert time.monotonic() - began < 20
    assert done.returncode in (-2, 130), done.stderr
    assert "KeyboardInterrupt" in done.stderr
    assert "Fatal" not in done.stderr


def test_exit_waits_for_what_was_accepted(tmp_path):
    source = """
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
        import jobs, sys
        executor = InterpreterThreadPoolExecutor(1)
        for n in range(5):
            executor.submit(interpreter(jobs.write_line), 1, str(n))
        sys.exit(3)
    """
    assert_ok(run_script(tmp_path, source), *"01234", code=3)


def test_future_of_the_parent_is_not_cancelled_in_a_fork(single, gate):
    future = start(single, gate, stopping_jobs.spin)
    child = os.fork()
    if child == 0:
        os._exit(0 if future.cancel() is False else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert future.running()
    assert future.cancel()


def test_stopping_after_a_fork(pool, gate):
    """The child has a watch of its own."""
    executor = pool(1)
    start(executor, gate, stopping_jobs.spin).cancel()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            future = start(executor, gate, stopping_jobs.spin)
            if future.cancel():
                code = executor.submit(interpreter(jobs.add), 0).result(TIMEOUT)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert executor.submit(interpreter(jobs.add), 2).result(TIMEOUT) == 2


def test_standard_tools_work_on_futures_that_were_stopped(single, gate):
    future = start(single, gate, stopping_jobs.spin)
    loop_future = concurrent.futures.Future()
    future.add_done_callback(lambda done: loop_future.set_result(done.cancelled()))
    future.cancel()
    assert loop_future.result(TIMEOUT) is True
