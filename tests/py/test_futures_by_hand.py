"""Futures that are not left to the executor: ended by hand, while a worker has them or not."""

import threading
from concurrent.futures import CancelledError, InvalidStateError, as_completed, wait

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


@pytest.fixture(scope="module")
def future_class():
    with InterpreterThreadPoolExecutor(1) as executor:
        return type(executor.submit(jobs.add, 1))


# --- what a future may be ended with -------------------------------------------------------------


BY_HAND = """
import sys
from aiointerpreters.executors import InterpreterThreadPoolExecutor

with InterpreterThreadPoolExecutor(1) as executor:
    future = type(executor.submit(int))()
value = {"class": ValueError, "str": "a text", "int": 7, "type": int, "None": None}[sys.argv[2]]
if sys.argv[1] == "set_exception":
    future.set_exception(value)
else:
    future._exception = value
    future._state = "FINISHED"
for _ in range(2):
    assert future.exception(0) is value
    try:
        print(future.result(0))
    except BaseException as error:
        print(type(error).__name__, *error.args)
"""


@pytest.mark.parametrize("end", ["set_exception", "_exception"])
@pytest.mark.parametrize("value", ["class", "str", "int", "type", "None"])
def test_exception_that_is_no_exception(tmp_path, end, value):
    """As in `raise`: a class is called, and anything else refused."""
    said = {"class": "ValueError", "None": "None"}
    line = said.get(value, "TypeError exceptions must derive from BaseException")
    assert_ok(run_script(tmp_path, BY_HAND, end, value), line, line)


@pytest.mark.parametrize("how", ["by hand", "untagged", "tagged"])
def test_raising_sets_the_context(executor, future_class, how):
    if how == "by hand":
        future = future_class()
        future.set_exception(ValueError("no good"))
    else:
        function = jobs.raise_value_error
        future = executor.submit(interpreter(function) if how == "tagged" else function)
    wait([future], TIMEOUT)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        handled = error
        with pytest.raises(ValueError, match="no good") as caught:
            future.result(0)
    assert caught.value.__context__ is handled


# --- a call that is running ----------------------------------------------------------------------


def end_with_value(future):
    future.set_result("by hand")


def end_with_error(future):
    future.set_exception(KeyError("by hand"))


def outcome(future):
    error = future.exception(0)
    return error.args if isinstance(error, KeyError) else (future.result(0),)


@both
@pytest.mark.parametrize("task", [jobs.pass_gate, jobs.pass_gate_and_raise])
@pytest.mark.parametrize("end", [end_with_value, end_with_error])
@pytest.mark.parametrize("observed", [False, True], ids=["unobserved", "observed"])
def test_running_call_is_ended(pool, gate, tag, task, end, observed):
    """What was set stays; the worker's outcome, when it comes, is dropped."""
    executor = pool(1)
    future = executor.submit(tag(task), *gate.args)
    told = []
    if observed:
        future.add_done_callback(lambda f: told.append(outcome(f)))
    gate.wait_started()
    end(future)
    assert outcome(future) == ("by hand",)
    with pytest.raises(InvalidStateError):
        end(future)
    gate.open()
    assert executor.submit(tag(jobs.add), 1, 2).result(TIMEOUT) == 3  # the worker has gone on
    assert outcome(future) == ("by hand",)
    assert wait([future], 0).done == {future}
    assert list(as_completed([future], TIMEOUT)) == [future]
    assert told == [("by hand",)] * observed


@both
@pytest.mark.parametrize("end", [end_with_value, end_with_error])
def test_pending_call_is_ended(pool, gate, tag, end):
    """It does not run any more."""
    executor = pool(1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    end(future)
    assert not future.cancel()
    gate.open(2)
    assert executor.submit(tag(jobs.add), 1, 2).result(TIMEOUT) == 3
    assert outcome(future) == ("by hand",)
    assert gate.listen() == "SE"


@both
def test_waiting_for_a_call_that_is_ended(pool, gate, tag):
    executor = pool(1)
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    begun, results = threading.Semaphore(0), []

    def ask():
        begun.release()
        results.append(future.result(TIMEOUT))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=TIMEOUT)
    end_with_value(future)
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == ["by hand"] * 3
    gate.open()


@pytest.mark.parametrize("observed", [False, True], ids=["unobserved", "observed"])
def test_ending_against_the_worker(tmp_path, observed):
    """Whoever is first has ended it, and it stays as it was ended."""
    source = f"""
    import jobs
    from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter
    from concurrent.futures import InvalidStateError, wait

    LONG = "e" * 200_000  # takes the worker some time to send

    with InterpreterThreadPoolExecutor(2) as executor:
        for round in range(400):
            future = executor.submit(interpreter(jobs.raise_value_error), LONG)
            told = []
            if {observed}:
                future.add_done_callback(lambda f: told.append(f.exception()))
            while not future.running() and not future.done():
                pass
            for _ in range(round * 10):
                pass
            try:
                future.set_result("mine")
                mine = True
            except InvalidStateError:
                mine = False
            for _ in range(100):
                error = future.exception(30)
                assert error is None if mine else error.args == (LONG,), error
            if mine:
                assert future.result() == "mine"
            assert executor.submit(interpreter(jobs.add), 1, 2).result(30) == 3
            if mine:
                assert future.result() == "mine"
                assert told == [None] * {observed}
    print("done")
    """
    assert_ok(run_script(tmp_path, source), "done")


# --- states set by hand, and futures that nobody has any more ------------------------------------

DROPPING = """
import sys
import threading

import jobs
from harness import TIMEOUT, Gate
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

kind, state = sys.argv[1:]
dropped = []

class Argument:
    def __del__(self):
        dropped.append(jobs.interpreter_id())
        [turn for turn in range(1000)]

for _ in range(20):
    gate = Gate()
    with InterpreterThreadPoolExecutor(1) as executor:
        # The worker comes from an interpreter of its own, or from nowhere, to the dropped task.
        tag = interpreter if kind == "tagged" else lambda function: function
        executor.submit(tag(jobs.pass_gate), *gate.args)
        gate.wait_started()
        future = executor.submit(print, Argument())
        if state == "cancel":
            assert future.cancel()
        elif state != "leave":
            future._state = state
            assert future._state == state
        del future
        gate.open()
    gate.free()
print(sorted(set(dropped)), len(dropped))
"""


@pytest.mark.parametrize("kind", ["tagged", "untagged"])
@pytest.mark.parametrize("state", ["CANCELLED", "CANCELLED_AND_NOTIFIED", "cancel"])
def test_pending_call_with_a_state_of_its_own_is_dropped(tmp_path, kind, state):
    """Its arguments are let go in the interpreter that they are from."""
    assert_ok(run_script(tmp_path, DROPPING, kind, state), "[0] 20")


def test_parked_worker_meets_a_dropped_call(tmp_path):
    """The worker wakes while the call is being marked and dropped."""
    source = """
    import random
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    class Argument:
        def __del__(self):
            [turn for turn in range(1000)]

    with InterpreterThreadPoolExecutor(1) as executor:
        executor.submit(pow, 2, 3).result(30)
        for round in range(3000):
            future = executor.submit(int, Argument())
            future._state = "CANCELLED"
            del future
            if round % 10 == 0:
                assert executor.submit(pow, 2, 3).result(30) == 8
            for _ in range(random.randrange(1000)):
                pass
    print("done")
    """
    assert_ok(run_script(tmp_path, source), "done")


@pytest.mark.parametrize("kind", ["untagged", "tagged"])
def test_dying_future_is_not_revived(tmp_path, kind):
    """Its weak reference dies with it, and whoever is told so cancels all that is pending."""
    source = """
    import sys
    import threading
    import weakref

    import jobs
    from harness import Gate
    from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

    tag = interpreter if sys.argv[1] == "tagged" else lambda function: function
    called = []
    for _ in range(100):
        gate = Gate()
        executor = InterpreterThreadPoolExecutor(1)
        first = executor.submit(tag(jobs.pass_gate), *gate.args, "first")
        gate.wait_started()
        future = executor.submit(tag(jobs.pass_gate), *gate.args)

        def cancel(_, executor=executor):
            executor.shutdown(wait=False, cancel_futures=True)
            called.append(1)

        reference = weakref.ref(future, cancel)
        del future
        gate.open()
        assert first.result(30) == "first"
        executor.shutdown()
        assert reference() is None
        assert gate.listen() == "SE"
        gate.free()
    print(len(called))
    """
    assert_ok(run_script(tmp_path, source, kind), "100")


@both
def test_state_set_by_hand_while_others_wait(pool, gate, tag):
    """_state does not tell the Python way, but it wakes who is in result()."""
    executor = pool(1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    future = executor.submit(tag(jobs.add), 1)
    begun, errors = threading.Event(), []

    def ask():
        begun.set()
        with pytest.raises(CancelledError) as caught:
            future.result(TIMEOUT)
        errors.append(caught.value)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert begun.wait(TIMEOUT)
    future._state = "CANCELLED"
    thread.join(TIMEOUT)
    assert len(errors) == 1
    gate.open()
