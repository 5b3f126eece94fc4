"""What the iterator of map gives: results in order and as they come, errors, time-outs, its end.

The kinds of executor are CPython's own, as the reference, and ours, untagged and tagged.
"""

import collections.abc
import contextlib
import copy
import gc
import itertools
import operator
import pickle
import threading
import time
from concurrent.futures import CancelledError
from concurrent.futures.thread import BrokenThreadPool

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script, wait_until
from maps import (
    KINDS,
    THREADS,
    assert_ended,
    columns,
    finish,
    giving,
    only,
    raising,
    settle,
    through,
    writing,
)

# --- order ---------------------------------------------------------------------------------------


def test_results_are_in_order_though_tasks_end_out_of_order(kind, gates, buffersize):
    made = [gates() for _ in range(4)]
    executor = kind.executor(4)
    size = {"buffersize": 4} if buffersize else {}
    results = executor.map(kind.mark(jobs.pass_gate), *columns(made), timeout=TIMEOUT, **size)
    for gate in reversed(made):
        gate.open()
        gate.wait_for("E")
    assert list(results) == [1, 2, 3, 4]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_result_is_given_while_later_tasks_wait_for_the_taker(kind, gates, buffersize, workers):
    made = [gates() for _ in range(6)]
    executor = kind.executor(workers)
    results = executor.map(kind.mark(jobs.pass_gate), *columns(made), timeout=TIMEOUT, **buffersize)
    for number, gate in enumerate(made, 1):
        gate.open()
        assert next(results) == number
    assert_ended(results)


@pytest.mark.parametrize("blocked", [1, 5, 17])
def test_results_before_a_blocked_task_are_given(kind, gate, blocked):
    executor = kind.executor()
    calls = [*map(giving, range(blocked)), through(gate, 99), *map(giving, range(3))]
    results = executor.map(kind.mark(operator.call), calls, timeout=TIMEOUT)
    assert [next(results) for _ in range(blocked)] == [*range(blocked)]
    gate.open()
    assert list(results) == [99, 0, 1, 2]


@pytest.mark.parametrize("blocked", [0, 7, 19])
def test_one_blocked_task_holds_up_no_other(kind, gates, blocked):
    """None of the others has been put behind it."""
    held, free = gates(), gates()
    free.close()
    made = [free] * 20
    made[blocked] = held
    results = kind.executor(2).map(kind.mark(jobs.pass_gate), *columns(made), timeout=TIMEOUT)
    free.wait_for("E" * 19)
    held.open()
    assert list(results) == [*range(1, 21)]


@pytest.mark.parametrize("count", [2, 6, 40])
def test_neighbours_run_at_the_same_time(kind, count):
    """Each task waits for the one beside it: two workers never have both halves of the map."""
    mine = range(count)
    other = [n ^ 1 for n in mine]
    flags = memoryview(bytearray(count))
    results = kind.executor(2).map(
        kind.mark(jobs.flag_up_and_await),
        itertools.repeat(flags),
        mine,
        other,
        itertools.repeat(TIMEOUT / 3),
    )
    assert all(results)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_as_many_threads_as_there_is_work_for(kind, gate, count):
    executor = kind.executor(4)
    results = executor.map(kind.mark(jobs.pass_gate), *columns([gate] * count))
    gate.wait_started(min(count, 4))
    assert len(executor._threads) == min(count, 4)
    gate.open(count)
    assert list(results) == [*range(1, count + 1)]


@pytest.mark.parametrize("iterable", [list, tuple, iter, lambda items: (n for n in items)])
def test_ten_thousand(kind, iterable):
    executor = kind.executor(4)
    expected = list(map(operator.add, range(10_000), range(0, 20_000, 2)))
    results = executor.map(
        kind.mark(operator.add), iterable(range(10_000)), iterable(range(0, 20_000, 2))
    )
    assert list(results) == expected


def test_buffer_of_a_hundred_and_ten_thousand_items(kind):
    kind.need_buffersize()
    results = kind.executor(4).map(kind.mark(operator.neg), range(10_000), buffersize=100)
    assert list(results) == [-n for n in range(10_000)]


def test_maps_of_several_threads_at_once(kind, buffersize):
    def consume(base):
        barrier.wait(TIMEOUT)
        numbers = range(base, base + 500)
        seen[base] = list(executor.map(kind.mark(operator.neg), numbers, **buffersize))

    executor, seen, barrier = kind.executor(2), {}, threading.Barrier(6)
    threads = [threading.Thread(target=consume, args=(n * 1000,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert seen == {n * 1000: [-m for m in range(n * 1000, n * 1000 + 500)] for n in range(6)}


def test_two_maps_taken_in_turn(kind, buffersize):
    executor = kind.executor(2)
    one, two = (
        executor.map(kind.mark(jobs.add), range(50), [n] * 50, **buffersize) for n in (0, 9)
    )
    assert list(zip(one, two, strict=True)) == [(n, n + 9) for n in range(50)]


def test_map_within_a_map(kind, buffersize):
    """The outer tasks, in threads, map on their own executor, which has a worker to spare."""

    def outer(n):
        return sum(executor.map(kind.mark(jobs.add), range(10), [n] * 10, **buffersize))

    executor = kind.executor(3)
    assert list(executor.map(outer, range(2), timeout=TIMEOUT)) == [45, 55]


def test_map_among_the_items_of_a_map(kind, buffersize):
    executor = kind.executor()
    inner = executor.map(kind.mark(jobs.add), range(20), **buffersize)
    assert list(executor.map(kind.mark(jobs.add), inner, [1] * 20, **buffersize)) == [*range(1, 21)]


def test_map_that_nobody_takes_runs(kind, lines):
    executor = kind.executor(2)
    executor.map(kind.mark(jobs.write_line), [lines.descriptor] * 50, map(str, range(50)))
    gc.collect()
    finish(executor)
    assert sorted(lines.read(), key=int) == [*map(str, range(50))]


@pytest.mark.parametrize("name", KINDS)
def test_map_that_runs_when_the_script_ends(tmp_path, name):
    """What was accepted is done before Python ends."""
    source = """
    import sys
    import jobs, maps
    from harness import Gate

    kind = maps.Kind(sys.argv[1], lambda workers, of, **options: of(workers, **options))
    gate = Gate()
    executor = kind.executor(1)
    executor.submit(kind.mark(jobs.pass_gate), *gate.args)
    results = executor.map(kind.mark(jobs.write_line), [1] * 20, map(str, range(20)))
    gate.open()
    """
    assert_ok(run_script(tmp_path, source, name), *map(str, range(20)))


# --- errors of the function ----------------------------------------------------------------------


def test_error_of_the_function(kind, gate, lines):
    """Results before it are given; what has not started is cancelled, what runs goes on."""
    executor = kind.executor(2)
    error = jobs.CustomError(7, "seven")
    calls = [giving(0), giving(1), raising(error), through(gate), through(gate)]
    calls += [writing(lines, str(n)) for n in range(20)]
    results = executor.map(kind.mark_to_run_on(operator.call), calls)
    gate.wait_started(2)
    assert next(results) == 0
    assert next(results) == 1
    with pytest.raises(jobs.CustomError) as caught:
        next(results)
    assert type(caught.value) is jobs.CustomError
    assert caught.value.args == (7, "seven")
    if kind.tagged:
        assert type(caught.value.__cause__).__name__ == "RemoteTraceback"
        assert "raise_this" in str(caught.value.__cause__)
    else:
        assert caught.value is error
        assert "raise_this" in [entry.name for entry in caught.traceback]
    assert_ended(results)
    assert gate.listen() == "SS"
    gate.open(2)
    finish(executor)
    assert gate.listen().count("E") == 2
    assert lines.read() == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text"),
        StopAsyncIteration("text"),
        TimeoutError("text"),
        CancelledError("text"),
        KeyboardInterrupt("text"),
        SystemExit("text"),
        GeneratorExit("text"),
        BaseException("text"),
        BaseExceptionGroup("text", [KeyboardInterrupt()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_kinds_of_errors(kind, gate, lines, error):
    executor = kind.executor()
    calls = [raising(error), through(gate), writing(lines, "no")]
    results = executor.map(kind.mark(operator.call), calls)
    gate.wait_started()
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        next(results)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert_ended(results)
    gate.open()
    finish(executor)
    assert lines.read() == []


def test_stop_iteration_of_the_function(kind, gate, lines):
    """As out of a generator (PEP 479)."""
    executor = kind.executor()
    calls = [raising(StopIteration("text")), through(gate), writing(lines, "no")]
    results = executor.map(kind.mark(operator.call), calls)
    gate.wait_started()
    with pytest.raises(RuntimeError) as caught:
        next(results)
    assert str(caught.value) == "generator raised StopIteration"
    assert type(caught.value.__cause__) is StopIteration
    assert caught.value.__cause__.args == ("text",)
    assert caught.value.__context__ is caught.value.__cause__
    assert_ended(results)
    gate.open()
    finish(executor)
    assert lines.read() == []


@only(*THREADS)
def test_error_that_is_raised_again_and_again(kind):
    """One object for all tasks: each map raises that very one."""
    error = ValueError("text")
    for _ in range(3):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            list(kind.executor().map(jobs.raise_this, [error]))
        assert caught.value is error


def test_errors_that_come_after_the_first_are_nobodys(kind, recwarn, capfd):
    executor = kind.executor(2)
    results = executor.map(kind.mark(divmod), [1] * 20, [1, *[0] * 19])
    finish(executor)
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert_ended(results)
    assert capfd.readouterr().err == ""
    assert not recwarn.list


def test_error_while_another_is_handled(kind):
    results = kind.executor().map(kind.mark(divmod), [1], [0])
    try:
        raise LookupError("handled")
    except LookupError:
        with pytest.raises(ZeroDivisionError) as caught:
            next(results)
    assert isinstance(caught.value.__context__, LookupError)


def test_function_that_cannot_be_called_with_the_items(kind):
    results = kind.executor().map(kind.mark(jobs.interpreter_id), [1, 2])
    with pytest.raises(TypeError, match=r"interpreter_id\(\) takes 0 positional arguments"):
        next(results)
    assert_ended(results)


def test_shutdown_that_cancels(kind, gate, lines, buffersize):
    executor = kind.executor()
    calls = [through(gate, 1), *[writing(lines, "no")] * 9]
    results = executor.map(kind.mark(operator.call), calls, timeout=TIMEOUT)
    gate.wait_started()
    executor.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert next(results) == 1
    with pytest.raises(CancelledError):
        next(results)
    assert_ended(results)
    finish(executor)
    assert lines.read() == []


def test_initializer_that_fails_after_the_call(kind, gate, caplog, buffersize):
    executor = kind.executor(1, initializer=jobs.pass_gate_and_raise, initargs=gate.args)
    results = executor.map(kind.mark(jobs.identity), range(3), timeout=TIMEOUT, **buffersize)
    gate.open()
    with pytest.raises(BrokenThreadPool):
        next(results)
    assert_ended(results)
    log = []
    with pytest.raises(BrokenThreadPool):
        executor.map(kind.mark(jobs.identity), (log.append(n) for n in range(3)), **buffersize)
    assert log == [0]
    assert list(executor.map(kind.mark(jobs.identity), [], **buffersize)) == []


# --- timeout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, 0.0, -0.5, 0.01, False, -(10**6)])
def test_timeout_of_a_blocked_task(kind, gate, lines, timeout, buffersize):
    executor = kind.executor()
    calls = [through(gate), writing(lines, "no"), writing(lines, "no")]
    results = executor.map(kind.mark(operator.call), calls, timeout=timeout, **buffersize)
    gate.wait_started()
    with pytest.raises(TimeoutError) as caught:
        next(results)
    assert type(caught.value) is TimeoutError
    assert_ended(results)
    gate.open()
    finish(executor)
    assert lines.read() == []


def test_task_that_is_waited_for_is_cancelled_by_the_timeout(kind, gate, lines):
    executor = kind.executor()
    executor.submit(kind.mark(jobs.pass_gate), *gate.args)
    gate.wait_started()
    results = executor.map(kind.mark(operator.call), [writing(lines, "no")] * 3, timeout=0)
    with pytest.raises(TimeoutError):
        next(results)
    gate.open()
    finish(executor)
    assert lines.read() == []


@pytest.mark.parametrize("timeout", [0, -5])
def test_results_that_are_there_are_given_after_the_deadline(kind, gate, timeout):
    """Then comes the one that is not."""
    executor = kind.executor()
    calls = [*map(giving, range(5)), through(gate), giving(5)]
    results = executor.map(kind.mark(operator.call), calls, timeout=timeout)
    gate.wait_started()
    assert [next(results) for _ in range(5)] == [*range(5)]
    with pytest.raises(TimeoutError):
        next(results)
    assert_ended(results)


def test_error_that_is_there_is_raised_after_the_deadline(kind):
    executor = kind.executor()
    results = executor.map(kind.mark(divmod), [1, 1], [1, 0], timeout=-1)
    settle(kind, executor)
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_iterator_does_not_end_before_the_deadline(kind, gate):
    begun = time.monotonic()
    results = kind.executor().map(kind.mark(jobs.pass_gate), *columns([gate]), timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("slow", ["reading", "taking"])
def test_time_counts_from_the_call(kind, gate, slow):
    """One deadline: the time that reading takes, and that passes before a result is taken."""

    def pass_time():
        end = time.monotonic() + limit
        wait_until(lambda: time.monotonic() > end, "the deadline")

    def items():
        yield from [through(gate)] * 2
        if slow == "reading":
            pass_time()

    limit, waited = 0.2, []
    executor = kind.executor()
    for _ in range(5):  # the machine may be slow once
        results = executor.map(kind.mark(operator.call), items(), timeout=limit)
        if slow == "taking":
            pass_time()
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            next(results)
        waited.append(time.monotonic() - begun)
        if waited[-1] < limit:
            break
    assert min(waited) < limit
    gate.close()


class Seconds:
    """A number of seconds of somebody's own make."""

    def __add__(self, other):
        return other + TIMEOUT

    __radd__ = __add__


@pytest.mark.parametrize("timeout", [None, 30, 30.5, True, 1e300, 10**200, Seconds()], ids=repr)
def test_timeouts_that_do_not_come(kind, timeout, buffersize):
    executor = kind.executor()
    results = executor.map(kind.mark(jobs.identity), range(3), timeout=timeout, **buffersize)
    settle(kind, executor)
    if timeout in (1e300, 10**200) and kind.standard:
        assert next(results) == 0  # the standard future can wait for no such time
    else:
        assert list(results) == [0, 1, 2]


@pytest.mark.parametrize("timeout", ["1", b"1", [], {}, object()], ids=repr)
def test_timeout_of_a_wrong_type(kind, timeout, buffersize):
    """The call says so, before it asks for an iterator."""

    class Iterable:
        def __iter__(self):
            raise AssertionError("asked for an iterator")

    with pytest.raises(TypeError):
        kind.executor().map(kind.mark(str), Iterable(), timeout=timeout, **buffersize)


def test_timeout_that_is_no_float(kind):
    with pytest.raises(OverflowError):
        kind.executor().map(kind.mark(str), [1], timeout=10**400)


# --- the end -------------------------------------------------------------------------------------


def close(results):
    assert results.close() is None
    return results


def close_twice(results):
    return close(close(results))


def leave_closing(results):
    with contextlib.closing(results):
        pass
    return results


def throw(results):
    error = LookupError("thrown")
    with pytest.raises(LookupError) as caught:
        results.throw(error)
    assert caught.value is error
    return results


def throw_generator_exit(results):
    with pytest.raises(GeneratorExit):
        results.throw(GeneratorExit())
    return results


def drop(results):
    return None


ends = pytest.mark.parametrize(
    "end", [close, close_twice, leave_closing, throw, throw_generator_exit, drop]
)


@ends
def test_end_in_the_middle(kind, gate, lines, end):
    """What has not started is cancelled, what runs goes on; nobody waits for it."""
    executor = kind.executor()
    calls = [giving(0), through(gate), *[writing(lines, "no")] * 20]
    results = executor.map(kind.mark_to_run_on(operator.call), calls)
    assert next(results) == 0
    gate.wait_started()
    results = end(results)
    assert gate.listen() == "S"
    if results is not None:
        assert_ended(results)
    gate.open()
    finish(executor)
    assert gate.listen() == "SE"
    assert lines.read() == []


@ends
def test_end_before_the_first_result(kind, gate, lines, end):
    """An iterator that was never begun cancels nothing."""
    executor = kind.executor()
    calls = [through(gate), *[writing(lines, "yes")] * 20]
    results = executor.map(kind.mark(operator.call), calls)
    gate.wait_started()
    results = end(results)
    if results is not None:
        assert_ended(results)
    gate.open()
    finish(executor)
    assert lines.read() == ["yes"] * 20


@ends
def test_end_after_the_end(kind, end, buffersize):
    results = kind.executor().map(kind.mark(jobs.identity), range(3), **buffersize)
    assert list(results) == [0, 1, 2]
    assert_ended(results)
    results = end(results)
    if results is not None:
        assert_ended(results)


@ends
def test_end_after_an_error(kind, end, buffersize):
    results = kind.executor().map(kind.mark(divmod), [1, 1], [0, 1], **buffersize)
    with pytest.raises(ZeroDivisionError):
        next(results)
    end(results)


@ends
def test_end_of_a_buffer_reads_no_more(kind, end):
    kind.need_buffersize()
    numbers = itertools.count()
    results = kind.executor().map(kind.mark(jobs.identity), numbers, buffersize=2)
    assert next(results) == 0
    end(results)
    del results
    assert next(numbers) == 3


def test_loop_that_breaks(kind, gate, lines):
    executor = kind.executor()
    calls = [giving(0), giving(1), through(gate), *[writing(lines, "no")] * 20]
    for result in executor.map(kind.mark(operator.call), calls):
        if result == 1:
            gate.wait_started()
            break
    gate.open()
    finish(executor)
    assert lines.read() == []


def test_iterator_that_is_ended_cancels_from_the_last_to_the_first(kind):
    """Workers begin at the other end: none gets a task that is to be cancelled in a moment."""
    executor = kind.executor()
    cancelled = []
    submit = executor.submit

    class Noted:
        def __init__(self, *call):
            self.future = submit(*call)
            self.number = call[-1]

        def result(self, timeout=None):
            return self.future.result(timeout)

        def cancel(self):
            cancelled.append(self.number)
            return self.future.cancel()

    executor.submit = Noted
    for end in (close, throw, drop):
        results = executor.map(kind.mark(jobs.identity), range(5))
        assert next(results) == 0
        end(results)
        del results
        assert cancelled == [0, *([4, 3, 2, 1] if not kind.standard else cancelled[1:])]
        assert sorted(cancelled) == [0, 1, 2, 3, 4]
        cancelled.clear()


# --- the iterator as an object -------------------------------------------------------------------


def test_iterator_is_its_own(kind, buffersize):
    results = kind.executor().map(kind.mark(jobs.identity), range(3), **buffersize)
    assert iter(results) is results
    assert isinstance(results, collections.abc.Iterator)
    assert isinstance(results, collections.abc.Generator)
    with pytest.raises(TypeError):
        len(results)
    with pytest.raises(TypeError):
        copy.copy(results)
    with pytest.raises(TypeError):
        pickle.dumps(results)
    results.close()


def test_send(kind, buffersize):
    results = kind.executor().map(kind.mark(jobs.identity), range(4), **buffersize)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started generator"):
        results.send(5)
    assert results.send(None) == 0
    assert next(results) == 1
    assert results.send(None) == 2
    assert results.send("ignored") == 3
    with pytest.raises(StopIteration):
        results.send(None)
    with pytest.raises(StopIteration):
        results.send(5)


def test_throw_of_what_is_no_exception(kind, buffersize):
    results = kind.executor().map(kind.mark(jobs.identity), range(4), **buffersize)
    assert next(results) == 0
    with pytest.raises(TypeError):
        results.throw("text")
    with pytest.raises(LookupError):
        results.throw(LookupError)
    assert_ended(results)


def test_throw_of_stop_iteration(kind, buffersize):
    results = kind.executor().map(kind.mark(jobs.identity), range(4), **buffersize)
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        results.throw(StopIteration())
    assert_ended(results)


@pytest.mark.parametrize("again", [next, close], ids=["next", "close"])
def test_iterator_that_is_entered_by_its_own_refill(kind, again):
    kind.need_buffersize()

    def items():
        yield 1
        again(results)
        yield 2

    results = kind.executor().map(kind.mark(jobs.identity), items(), buffersize=1)
    with pytest.raises(ValueError, match="already executing"):
        next(results)
    assert_ended(results)


def test_iterator_that_two_threads_enter(kind, gate):
    """The second one is told so, or waits for its own result."""

    def take():
        entering.release()
        try:
            outcomes.append(next(results))
        except ValueError as error:
            outcomes.append(str(error))

    executor, outcomes, entering = kind.executor(), [], threading.Semaphore(0)
    results = executor.map(kind.mark(jobs.pass_gate), *columns([gate] * 2), timeout=TIMEOUT)
    threads = [threading.Thread(target=take, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert entering.acquire(timeout=TIMEOUT)
    gate.wait_started()
    gate.open(2)
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert sorted(map(str, outcomes)) in (["1", "2"], ["1", "generator already executing"])


def test_iterator_that_many_threads_share(kind, buffersize):
    def take():
        barrier.wait(TIMEOUT)
        while True:
            try:
                taken.append(next(results))
            except StopIteration:
                return
            except ValueError as error:
                assert "already executing" in str(error)  # noqa: PT017

    taken, barrier = [], threading.Barrier(3)
    results = kind.executor(2).map(kind.mark(jobs.identity), range(100), **buffersize)
    threads = [threading.Thread(target=take, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert sorted(taken) == [*range(100)]


# --- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("timeout", [None, 30])
def test_ctrl_c_while_a_result_is_waited_for(tmp_path, name, timeout):
    """It ends the iterator: what has not started is cancelled.

    A signal that comes in the moment before a thread waits does not wake it, in CPython, either:
    so it is sent again and again. One that comes before next() leaves the iterator as it was.
    """
    source = """
    import operator, os, signal, sys, threading
    import jobs, maps
    from harness import Gate, Lines

    kind = maps.Kind(sys.argv[1], lambda workers, of, **options: of(workers, **options))
    timeout = None if sys.argv[2] == "None" else int(sys.argv[2])
    gate, lines, armed, over = Gate(), Lines(), [], threading.Event()

    def interrupt(*_):
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    def press():
        while not over.wait(0.01):
            os.kill(os.getpid(), signal.SIGINT)

    def ended():
        try:
            next(results)
        except StopIteration:
            return True

    signal.signal(signal.SIGINT, interrupt)
    executor = kind.executor(1)
    calls = [maps.through(gate), *[maps.writing(lines, "no")] * 9]
    results = executor.map(kind.mark_to_run_on(operator.call), calls, timeout=timeout)
    gate.wait_started()
    thread = threading.Thread(target=press)
    thread.start()
    interrupts, end = 0, False
    while not end:
        try:
            armed.append(True)
            end = ended()
            armed.clear()
        except KeyboardInterrupt:
            interrupts += 1
    over.set()
    thread.join()
    assert interrupts
    gate.open()
    executor.shutdown()
    print(gate.listen(), lines.read())
    """
    assert_ok(run_script(tmp_path, source, name, timeout), "SE []")
