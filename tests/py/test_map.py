"""map, step by step: what it does is what CPython's does, in the same order.

Both run on executors whose tasks are done by hand, so that each submit, each wait and each
cancellation can be seen. CPython's own `Executor.map` is the oracle; it has `buffersize` since
3.14.
"""

import concurrent.futures
import gc
import itertools
import sys
import weakref
from types import SimpleNamespace

import jobs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter, interpthread

ORACLE_HAS_BUFFERSIZE = sys.version_info >= (3, 14)


class Failure(Exception):
    pass


class WatchedFuture(concurrent.futures.Future):
    def __init__(self, log, number):
        super().__init__()
        self.log = log
        self.number = number

    def cancel(self):
        self.log.append(("cancel", self.number))
        return super().cancel()

    def result(self, timeout=None):
        self.log.append(("result", self.number, timeout))
        if timeout is not None and timeout < 0:
            raise TimeoutError
        return super().result(0)


class ByHand:
    """Instead of submit: the task is done at once, or its submission fails."""

    def __init__(self, *args, log, failing=(), refusing=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.log = log
        self.failing = failing
        self.refusing = refusing
        self.numbers = itertools.count()

    def submit(self, fn, /, *args, **kwargs):
        number = next(self.numbers)
        self.log.append(("submit", number, args, kwargs))
        if number in self.refusing:
            raise Failure("refused")
        future = WatchedFuture(self.log, number)
        if number in self.failing:
            future.set_exception(Failure(number))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


class Ours(ByHand, InterpreterThreadPoolExecutor):
    pass


class Oracle(ByHand, concurrent.futures.ThreadPoolExecutor):
    pass


def pulled(log, name, items):
    for item in items:
        log.append(("pull", name, item))
        yield item


class Clock:
    """Seconds that pass with each look at the clock."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        self.now += 1
        return self.now


def watched(executor_type, monkeypatch, iterables, *, failing, refusing, close_after, **options):
    """The log of a map that is iterated until it ends, or closed after so many results."""
    for module in (interpthread, concurrent.futures._base):
        monkeypatch.setattr(module, "time", Clock())
    log = []
    with executor_type(1, log=log, failing=failing, refusing=refusing) as executor:
        try:
            results = executor.map(
                lambda *args: ("value", args),
                *[pulled(log, name, items) for name, items in enumerate(iterables)],
                **options,
            )
            for count in itertools.count():
                if count == close_after:
                    results.close()
                log.append(("yield", next(results)))
        except (Failure, TimeoutError, StopIteration) as error:
            log.append((type(error), error.args))
    return log


@settings(max_examples=300, deadline=None)
@given(
    iterables=st.lists(st.lists(st.integers(), max_size=5), max_size=3),
    failing=st.sets(st.integers(0, 5), max_size=2),
    refusing=st.sets(st.integers(0, 5), max_size=1),
    close_after=st.none() | st.integers(0, 5),
    buffersize=st.none() | st.integers(1, 7) | st.just(True)
    if ORACLE_HAS_BUFFERSIZE
    else st.none(),
    timeout=st.none() | st.integers(-1, 9) | st.floats(0, 9),
    chunksize=st.integers(1, 3),
)
def test_same_steps_as_cpython(**options):
    if not ORACLE_HAS_BUFFERSIZE:
        del options["buffersize"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        ours = watched(Ours, monkeypatch, **options)
        assert ours == watched(Oracle, monkeypatch, **options)


def test_buffersize_pulls_as_results_are_taken():
    log = []
    executor = Ours(1, log=log)
    results = executor.map(str, pulled(log, "a", range(10)), buffersize=2)
    assert [entry[0] for entry in log] == ["pull", "submit"] * 2
    del log[:]
    assert next(results) == "0"
    # The next one is submitted before the first is waited for.
    assert log == [
        ("pull", "a", 2),
        ("submit", 2, (2,), {}),
        ("result", 0, None),
        ("cancel", 0),
    ]
    assert list(results) == [str(n) for n in range(1, 10)]


@pytest.mark.parametrize(
    ("buffersize", "error", "text"),
    [
        ("1", TypeError, "buffersize must be an integer or None"),
        (1.0, TypeError, "buffersize must be an integer or None"),
        (0, ValueError, "buffersize must be None or > 0"),
        (-1, ValueError, "buffersize must be None or > 0"),
        (False, ValueError, "buffersize must be None or > 0"),
    ],
)
def test_bad_buffersize(executor, buffersize, error, text):
    with pytest.raises(error) as caught:
        executor.map(str, [1], buffersize=buffersize)
    assert str(caught.value) == text
    if ORACLE_HAS_BUFFERSIZE:
        with concurrent.futures.ThreadPoolExecutor(1) as oracle, pytest.raises(error) as expected:
            oracle.map(str, [1], buffersize=buffersize)
        assert str(expected.value) == text


@pytest.mark.parametrize("buffersize", [None, 1])
def test_taken_future_is_freed_while_its_result_is_out(buffersize):
    executor = Ours(1, log=[])
    made = []
    submit = executor.submit
    executor.submit = lambda *args: made.append(weakref.ref(f := submit(*args))) or f
    results = executor.map(str, range(3), buffersize=buffersize)
    assert next(results) == "0"
    assert made[0]() is None
    assert made[1]() is not None
    results.close()


def fail(_):
    raise jobs.CustomError(1, "text")


@pytest.mark.parametrize("fn", [fail, interpreter(jobs.raise_this)], ids=["untagged", "tagged"])
def test_error_leaves_no_cycle(executor, fn):
    def reference_to_error():
        try:
            next(executor.map(fn, [jobs.CustomError(1, "text")]))
        except jobs.CustomError as error:
            return weakref.ref(error)

    gc.collect()
    gc.disable()
    try:
        assert reference_to_error()() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("buffersize", [None, 2])
def test_iterator_does_not_keep_the_executor(buffersize):
    log = []
    executor = Ours(1, log=log)
    results = executor.map(str, pulled(log, "a", range(5)), buffersize=buffersize)
    assert next(results) == "0"
    reference = weakref.ref(executor)
    del executor
    gc.collect()
    assert reference() is None
    # What was submitted is there, no more is taken.
    assert list(results) == (["1", "2"] if buffersize else ["1", "2", "3", "4"])
    assert len([entry for entry in log if entry[0] == "pull"]) == (3 if buffersize else 5)


def test_iterator_that_is_never_begun_cancels_nothing():
    log = []
    results = Ours(1, log=log).map(str, range(3))
    results.close()
    assert "cancel" not in [entry[0] for entry in log]


def test_more_than_a_bufferful_by_real_workers(executor):
    for fn in (str, interpreter(str)):
        results = executor.map(fn, itertools.count(), buffersize=8)
        assert list(itertools.islice(results, 1000)) == [str(n) for n in range(1000)]
        results.close()


def test_one_deadline_for_all(executor, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(interpthread, "time", SimpleNamespace(monotonic=lambda: now[0]))
    results = executor.map(str, range(3), timeout=30)
    assert next(results) == "0"
    now[0] = 31.0
    # Done or not: what is there past the deadline is handed out, as CPython does.
    concurrent.futures.wait([executor.submit(str)], timeout=30)
    try:
        assert next(results) == "1"
    except TimeoutError:
        assert list(results) == []
