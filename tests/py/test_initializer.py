"""initializer: where it runs, and what happens to everybody if it fails."""

import logging
import threading
import traceback
from concurrent.futures import wait
from concurrent.futures.thread import BrokenThreadPool

import jobs
import pytest
from harness import TIMEOUT, interpreters, wait_until

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def starts(lines):
    """What jobs.report_start wrote: pairs of interpreter and thread."""
    return [tuple(map(int, line.split())) for line in lines.read()]


def test_runs_in_each_thread(pool, lines, gate):
    executor = pool(3, initializer=jobs.report_start, initargs=(lines.descriptor,))
    assert starts(lines) == []
    futures = [executor.submit(jobs.pass_gate, *gate.args) for _ in range(3)]
    gate.wait_started(3)
    assert sorted(starts(lines)) == sorted((0, thread.ident) for thread in executor._threads)
    gate.open(3)
    wait(futures, TIMEOUT)
    assert interpreters() == set()


def test_runs_before_the_first_task_of_a_thread(pool):
    seen = threading.local()

    def initialize(value):
        seen.value = value

    executor = pool(2, initializer=initialize, initargs=("ready",))
    assert [executor.submit(lambda: seen.value).result(TIMEOUT) for _ in range(5)] == ["ready"] * 5


def test_runs_in_each_thread_and_each_interpreter(pool, lines, gate):
    executor = pool(
        2,
        max_interpreters=2,
        initializer=jobs.report_start,
        initargs=(lines.descriptor,),
    )
    futures = [executor.submit(interpreter(jobs.pass_gate), *gate.args) for _ in range(2)]
    gate.wait_started(2)
    gate.open(2)
    ran_in = {future.result(TIMEOUT) for future in futures}
    said = starts(lines)
    assert sorted(where for where in said if where[0] == 0) == sorted(
        (0, thread.ident) for thread in executor._threads
    )
    assert {where[0] for where in said if where[0] != 0} == ran_in
    assert len(said) == 4


def test_is_done_in_an_interpreter_before_its_first_task(pool):
    executor = pool(1, initializer=jobs.set_state, initargs=("initialized",))
    try:
        assert executor.submit(interpreter(jobs.get_state)).result(TIMEOUT) == "initialized"
        assert jobs.get_state() == "initialized"  # the thread's run, in the main interpreter
    finally:
        jobs.set_state("untouched")


def test_tagged_runs_in_interpreters_only(pool, lines, gate):
    executor = pool(
        3,
        max_interpreters=2,
        initializer=interpreter(jobs.report_start),
        initargs=(lines.descriptor,),
    )
    plain = executor.submit(jobs.pass_gate, *gate.args)
    tagged = [executor.submit(interpreter(jobs.pass_gate), *gate.args) for _ in range(2)]
    gate.wait_started(3)
    gate.open(3)
    ran_in = {future.result(TIMEOUT) for future in tagged}
    assert plain.result(TIMEOUT) == 0
    said = starts(lines)
    assert {where[0] for where in said} == ran_in
    assert 0 not in ran_in
    assert len(said) == 2


def test_tagged_makes_no_interpreter_for_untagged_work(pool, lines):
    executor = pool(2, initializer=interpreter(jobs.report_start), initargs=(lines.descriptor,))
    assert [executor.submit(jobs.add, n).result(TIMEOUT) for n in range(10)] == list(range(10))
    assert interpreters() == set()
    assert starts(lines) == []


def test_runs_once_in_an_interpreter(pool, lines):
    executor = pool(1, initializer=interpreter(jobs.report_start), initargs=(lines.descriptor,))
    for _ in range(20):
        executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    assert len(starts(lines)) == 1


def test_by_value(pool):
    """A nested function can be the initializer: it goes to the interpreters as tasks do."""

    def initialize(value):
        jobs.set_state(value)

    executor = pool(1, initializer=interpreter(initialize), initargs=(("a", 1),))
    assert executor.submit(interpreter(jobs.get_state)).result(TIMEOUT) == ("a", 1)
    assert jobs.get_state() == "untouched"


@pytest.mark.parametrize("initializer", ["text", 3])
def test_that_cannot_be_called(initializer):
    with pytest.raises(TypeError, match="initializer must be a callable"):
        InterpreterThreadPoolExecutor(initializer=initializer)


# --- failing -------------------------------------------------------------------------------------


def assert_broken(executor, futures, text):
    """All futures and all later submits end with BrokenThreadPool, and nobody waits forever."""
    assert wait(futures, TIMEOUT).not_done == set()
    for future in futures:
        with pytest.raises(BrokenThreadPool):
            future.result(timeout=0)
        assert isinstance(future.exception(timeout=0), BrokenThreadPool)
    for tag in (lambda function: function, interpreter):
        with pytest.raises(BrokenThreadPool):
            executor.submit(tag(jobs.add), 1)
    assert any(text in "".join(traceback.format_exception(f.exception())) for f in futures)
    assert executor._broken


@both
def test_failing_breaks_the_pool(pool, tag, caplog):
    executor = pool(2, initializer=tag(jobs.fail_to_start), initargs=("initializer's own",))
    with caplog.at_level(logging.CRITICAL, "concurrent.futures"):
        futures = [executor.submit(interpreter(jobs.add), 1)]
        assert_broken(executor, futures, "initializer's own")
        wait_until(lambda: caplog.records, "the failure is logged")
    record = caplog.records[0]
    assert (record.name, record.levelname) == ("concurrent.futures", "CRITICAL")
    assert "Exception in initializer" in record.getMessage()
    assert "initializer's own" in caplog.text
    assert "in fail_to_start" in caplog.text


def test_failing_breaks_the_pool_for_untagged_tasks(pool, caplog):
    executor = pool(2, initializer=jobs.fail_to_start)
    with caplog.at_level(logging.CRITICAL, "concurrent.futures"):
        assert_broken(executor, [executor.submit(jobs.add, 1)], "error in initializer")
    assert "Exception in initializer" in caplog.text
    assert interpreters() == set()


def test_failure_is_the_cause(pool, caplog):
    executor = pool(1, initializer=jobs.fail_to_start, initargs=("the reason",))
    error = executor.submit(jobs.add, 1).exception(TIMEOUT)
    assert isinstance(error, BrokenThreadPool)
    assert type(error.__cause__) is ValueError
    assert error.__cause__.args == ("the reason",)
    with pytest.raises(BrokenThreadPool) as caught:
        executor.submit(jobs.add, 1)
    assert type(caught.value.__cause__) is ValueError


def test_failing_in_interpreters_only(pool, caplog):
    executor = pool(2, initializer=jobs.fail_in_interpreters)
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    futures = [executor.submit(interpreter(jobs.add), 1)]
    assert_broken(executor, futures, "error in an interpreter")
    assert "in fail_in_interpreters" in caplog.text


@both
def test_pending_tasks_of_both_kinds_end(pool, tag, gate, caplog):
    """What waits behind the task that needs the initializer ends with the pool."""
    executor = pool(1, initializer=tag(jobs.pass_gate_and_raise), initargs=gate.args)
    futures = [executor.submit(interpreter(jobs.add), 1)]
    futures += [executor.submit(jobs.add, n) for n in range(5)]
    futures += [executor.submit(interpreter(jobs.add), n) for n in range(5)]
    told = []
    for future in futures:
        future.add_done_callback(told.append)
    gate.open()
    assert wait(futures, TIMEOUT).not_done == set()
    assert all(isinstance(future.exception(), BrokenThreadPool) for future in futures)
    wait_until(lambda: len(told) == len(futures), "all callbacks are called")


def test_cancelled_task_stays_cancelled_when_the_pool_breaks(pool, gate, caplog):
    executor = pool(1, initializer=interpreter(jobs.pass_gate_and_raise), initargs=gate.args)
    first = executor.submit(interpreter(jobs.add), 1)
    gate.wait_started()
    second = executor.submit(interpreter(jobs.add), 1)
    third = executor.submit(interpreter(jobs.add), 1)
    assert second.cancel()
    gate.open()
    assert isinstance(first.exception(TIMEOUT), BrokenThreadPool)
    assert isinstance(third.exception(TIMEOUT), BrokenThreadPool)
    assert second.cancelled()


@both
def test_map_of_a_broken_pool(pool, tag, caplog):
    executor = pool(2, initializer=tag(jobs.fail_to_start))
    with pytest.raises(BrokenThreadPool):
        list(executor.map(interpreter(jobs.add), range(10)))


@both
def test_system_exit_in_the_initializer(pool, tag, caplog):
    executor = pool(1, initializer=tag(jobs.exit_at_start))
    error = executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    assert isinstance(error, BrokenThreadPool)


@both
def test_shutdown_of_a_broken_pool(pool, tag, caplog):
    executor = pool(2, initializer=tag(jobs.fail_to_start))
    executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    executor.shutdown(wait=True)
    wait_until(lambda: not any(t.is_alive() for t in executor._threads), "its threads end")
    wait_until(lambda: interpreters() == set(), "its interpreters end")


def test_initializer_that_cannot_be_sent(pool, caplog):
    lock = threading.Lock()

    def holds_a_lock():
        return lock.locked()

    executor = pool(1, initializer=interpreter(holds_a_lock))
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    try:
        error = executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    except BrokenThreadPool as raised:
        error = raised
    assert isinstance(error, BrokenThreadPool)
    assert "lock" in "".join(traceback.format_exception(error))


def test_failing_in_one_interpreter_only(pool, gate, tmp_path, caplog):
    """What runs in the sound one ends as it would; all else ends with BrokenThreadPool."""
    initializer = interpreter(jobs.create_file)  # which the second one finds there
    executor = pool(3, max_interpreters=2, initializer=initializer, initargs=(tmp_path / "first",))
    sound = executor.submit(interpreter(jobs.pass_gate), *gate.args, "sound")
    gate.wait_started()
    broken = [executor.submit(interpreter(jobs.add), n) for n in range(3)]
    assert_broken(executor, broken, "FileExistsError")
    gate.open()
    assert sound.result(TIMEOUT) == "sound"
