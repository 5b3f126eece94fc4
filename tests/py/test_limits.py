"""Threads and interpreters are made as they are needed, and no more of them than allowed."""

import os
import sys
import threading

import jobs
import pytest
from harness import TIMEOUT, assert_ok, interpreters, run_script

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


# --- threads -------------------------------------------------------------------------------------


def test_a_new_executor_has_no_thread(pool):
    before = threading.active_count()
    executor = pool(4)
    assert executor._threads == set()
    assert threading.active_count() == before


@both
def test_threads_are_made_as_they_are_needed(pool, tag, gate):
    executor = pool(3, max_interpreters=3)
    for n in (1, 2, 3):
        executor.submit(tag(jobs.pass_gate), *gate.args)
        gate.wait_started(n)
        assert len(executor._threads) == n
    for _ in range(10):
        executor.submit(tag(jobs.add), 1)
    assert len(executor._threads) == 3
    gate.open(3)


@both
def test_idle_threads_are_used_again(pool, tag):
    executor = pool(5)
    for n in range(20):
        assert executor.submit(tag(jobs.add), n).result(TIMEOUT) == n
        assert len(executor._threads) == 1


def test_idle_threads_are_used_again_by_the_other_kind(pool):
    executor = pool(5)
    for n in range(20):
        assert executor.submit(jobs.add, n).result(TIMEOUT) == n
        assert executor.submit(interpreter(jobs.add), n).result(TIMEOUT) == n
    assert len(executor._threads) == 1
    assert len(interpreters()) == 1


@both
def test_no_more_threads_than_workers(pool, tag):
    executor = pool(4)
    futures = [executor.submit(tag(jobs.add), n) for n in range(500)]
    assert len(executor._threads) <= 4
    assert [future.result(TIMEOUT) for future in futures] == list(range(500))
    assert len(executor._threads) <= 4


def test_untagged_tasks_run_at_once(pool):
    executor = pool(4)
    barrier = threading.Barrier(4)
    futures = [executor.submit(barrier.wait, TIMEOUT) for _ in range(4)]
    assert sorted(future.result(TIMEOUT) for future in futures) == [0, 1, 2, 3]


def test_default_max_workers():
    with InterpreterThreadPoolExecutor() as executor:
        assert executor._max_workers == min(32, (os.process_cpu_count() or 1) + 4)


@pytest.mark.parametrize("number", [0, -1])
def test_too_few_workers(number):
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        InterpreterThreadPoolExecutor(number)
    with pytest.raises(ValueError, match="max_interpreters must be greater than 0"):
        InterpreterThreadPoolExecutor(max_interpreters=number)


@pytest.mark.parametrize("number", ["4", []])
def test_number_of_a_wrong_type(number):
    with pytest.raises(TypeError):
        InterpreterThreadPoolExecutor(number)
    with pytest.raises(TypeError):
        InterpreterThreadPoolExecutor(max_interpreters=number)


# --- interpreters --------------------------------------------------------------------------------


def test_untagged_work_makes_no_interpreter(pool):
    executor = pool(4)
    list(executor.map(jobs.add, range(1000)))
    executor.submit(jobs.raise_value_error).exception(TIMEOUT)
    assert interpreters() == set()


def test_the_first_tagged_task_makes_one(pool):
    executor = pool(4)
    interpreter(jobs.add)(1)
    assert interpreters() == set()
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    assert len(interpreters()) == 1


def test_tagged_tasks_run_in_parallel(pool):
    """Two tasks that busily wait for each other: neither ends unless both run."""
    executor = pool(2, max_interpreters=2)
    flags = memoryview(bytearray(2))
    futures = [
        executor.submit(interpreter(jobs.flag_up_and_await), flags, mine, 1 - mine, TIMEOUT / 2)
        for mine in (0, 1)
    ]
    assert [future.result(TIMEOUT) for future in futures] == [True, True]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_max_interpreters_bounds_what_runs_at_once(pool, gate, most):
    executor = pool(5, max_interpreters=most)
    futures = [executor.submit(interpreter(jobs.pass_gate), *gate.args) for _ in range(10)]
    gate.wait_started(most)
    gate.open(10)
    ran_in = {future.result(TIMEOUT) for future in futures}
    assert gate.most_at_once() <= most
    assert len(ran_in) <= most
    assert len(interpreters()) <= most


def test_max_interpreters_must_not_exceed_max_workers():
    """Nothing that was asked for is silently less."""
    with pytest.raises(ValueError, match="max_interpreters is 5, but max_workers is 4: an interp"):
        InterpreterThreadPoolExecutor(4, max_interpreters=5)
    with pytest.raises(ValueError, match="max_interpreters is 2, but max_workers is 1: an interp"):
        InterpreterThreadPoolExecutor(max_workers=1, max_interpreters=2)


def test_the_default_of_one_follows_the_other(pool):
    executor = pool(max_interpreters=100)
    assert (executor._max_workers, executor._max_interpreters) == (100, 100)
    executor = pool(max_workers=1)
    assert (executor._max_workers, executor._max_interpreters) == (1, 1)


def test_waiting_tagged_tasks_do_not_block_untagged_ones(pool, gate):
    executor = pool(4, max_interpreters=1)
    tagged = [executor.submit(interpreter(jobs.pass_gate), *gate.args) for _ in range(20)]
    gate.wait_started()
    for n in range(20):
        assert executor.submit(jobs.add, n).result(TIMEOUT) == n
    assert gate.listen() == "S"
    gate.open(20)
    for future in tagged:
        future.result(TIMEOUT)


def test_waiting_tagged_tasks_leave_all_other_threads_to_untagged_ones(pool, gate):
    executor = pool(4, max_interpreters=1)
    for _ in range(20):
        executor.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    barrier = threading.Barrier(3)
    futures = [executor.submit(barrier.wait, TIMEOUT) for _ in range(3)]
    assert sorted(future.result(TIMEOUT) for future in futures) == [0, 1, 2]
    gate.open(20)


def test_waiting_tagged_tasks_run_in_their_order(pool, gate, lines):
    executor = pool(4, max_interpreters=1)
    executor.submit(interpreter(jobs.pass_gate), *gate.args)
    for n in range(20):
        executor.submit(interpreter(jobs.write_line), lines.descriptor, str(n))
    last = executor.submit(interpreter(jobs.add), 1)
    gate.open()
    last.result(TIMEOUT)
    assert lines.read() == [str(n) for n in range(20)]


def test_untagged_tasks_on_the_interpreters_thread_do_not_block_tagged_ones(pool, gates):
    """The thread that made the one interpreter is busy with ordinary work: another takes it."""
    executor = pool(2, max_interpreters=1)
    first = executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    busy = gates()
    blocked = executor.submit(jobs.pass_gate, *busy.args)
    busy.wait_started()
    second = executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    assert second[0] != 0
    assert second[1] != first[1]
    assert len(interpreters()) == 1
    busy.open()
    blocked.result(TIMEOUT)


def test_untagged_tasks_on_all_threads_that_made_interpreters(pool, gates):
    """As above, with as many interpreters as may be and as many busy threads."""
    executor = pool(3, max_interpreters=2)
    tagged, busy = gates(), gates()
    futures = [executor.submit(interpreter(jobs.pass_gate), *tagged.args) for _ in range(2)]
    tagged.wait_started(2)
    tagged.open(2)
    made = {future.result(TIMEOUT) for future in futures}
    blocked = [executor.submit(jobs.pass_gate, *busy.args) for _ in range(2)]
    busy.wait_started(2)
    for _ in range(10):
        ran_in = executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
        assert ran_in != 0
        assert len(interpreters()) <= 2
    assert len(made) == 2
    busy.open(2)
    for future in blocked:
        future.result(TIMEOUT)


def test_tagged_tasks_run_when_all_threads_were_busy(pool, gates):
    """A tagged task that finds no thread is run by the first one that gets free."""
    executor = pool(2, max_interpreters=2)
    busy = gates()
    blocked = [executor.submit(jobs.pass_gate, *busy.args) for _ in range(2)]
    busy.wait_started(2)
    future = executor.submit(interpreter(jobs.interpreter_id))
    assert not future.done()
    busy.open(1)
    assert future.result(TIMEOUT) != 0
    busy.open(1)
    for one in blocked:
        one.result(TIMEOUT)


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2)])
def test_mixed_load_finishes(pool, workers, most):
    executor = pool(workers, max_interpreters=most)
    futures = [
        executor.submit(interpreter(jobs.add) if n % 3 else jobs.add, n, 1) for n in range(3000)
    ]
    assert [future.result(TIMEOUT) for future in futures] == list(range(1, 3001))
    assert len(interpreters()) <= most
    assert len(executor._threads) <= workers


def test_untagged_task_that_waits_for_a_tagged_one(pool):
    """The thread that waits is busy, the free one has to run what it waits for."""
    executor = pool(2, max_interpreters=1)
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)

    def outer(n):
        return executor.submit(interpreter(jobs.add), n, 1).result(TIMEOUT)

    for n in range(50):
        assert executor.submit(outer, n).result(TIMEOUT) == n + 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs sched_setaffinity")
def test_default_max_interpreters_is_the_cpus_of_this_process(tmp_path):
    assert_ok(
        run_script(
            tmp_path,
            """
            import os

            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

            import jobs
            from harness import Gate, interpreters
            from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

            gate = Gate()
            with InterpreterThreadPoolExecutor(8) as executor:
                for _ in range(8):
                    executor.submit(interpreter(jobs.pass_gate), *gate.args)
                gate.open(8)
            print(gate.most_at_once(), len(gate.log))
            """,
        ),
        "1 16",
    )
