"""What a map keeps alive, and for how long: results, items, futures, frames, its executor.

The kinds of executor are CPython's own, as the reference, and ours, untagged and tagged.
"""

import gc
import operator
import weakref

import jobs
import pytest
from harness import TIMEOUT, wait_until
from maps import OURS, THREADS, giving, only, settle, through


@pytest.fixture(autouse=True)
def without_collector():
    """What goes has to go by its count of references."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def gone(reference, what):
    """Wait until a worker, too, has let go."""
    wait_until(lambda: reference() is None, f"{what} is freed", TIMEOUT / 3)


def test_result_that_is_out_is_the_takers_alone(kind, buffersize):
    results = kind.executor().map(kind.mark(jobs.Point), range(4), range(4), **buffersize)
    references = []
    for n in range(3):
        result = next(results)
        assert result == jobs.Point(n, n)
        references.append(weakref.ref(result))
        del result
        gone(references[-1], "a result")
    results.close()


def test_results_that_are_not_taken_go_with_the_iterator(kind):
    executor = kind.executor()
    points = [jobs.Point(n, n) for n in range(4)]
    references = [weakref.ref(point) for point in points]
    results = executor.map(kind.mark(jobs.identity), points)
    del points
    settle(kind, executor)
    if not kind.tagged:
        assert all(reference() is not None for reference in references)
    assert next(results) == jobs.Point(0, 0)
    del results
    for reference in references:
        gone(reference, "a result")


@only(*OURS)
def test_items_go_once_their_tasks_have_run(kind):
    """CPython's iterator keeps the last one, in the zip that it has read from; ours does not."""
    executor = kind.executor()
    points = [jobs.Point(n, n) for n in range(4)]
    references = [weakref.ref(point) for point in points]
    results = executor.map(kind.mark(jobs.describe), points)
    del points
    for reference in references:
        gone(reference, "an item")
    assert len(list(results)) == 4


@only("tagged")
def test_items_go_once_they_have_been_sent(kind, gate):
    executor = kind.executor()
    executor.submit(kind.mark(jobs.pass_gate), *gate.args)
    gate.wait_started()
    points = [jobs.Point(n, n) for n in range(4)]
    references = [weakref.ref(point) for point in points]
    results = executor.map(kind.mark(jobs.identity), points)
    del points
    assert [reference() for reference in references] == [None] * 4
    gate.open()
    assert list(results) == [jobs.Point(n, n) for n in range(4)]


@only(*OURS)
def test_items_of_a_buffer_go_once_their_tasks_have_run(kind):
    """CPython's iterator keeps the last item that it has read; ours does not."""
    references = []

    def items():
        for n in range(9):
            point = jobs.Point(n, n)
            references.append(weakref.ref(point))
            yield point
            del point

    results = kind.executor().map(kind.mark(jobs.describe), items(), buffersize=2)
    next(results)
    assert len(references) == 3
    gone(references[0], "an item")
    gone(references[1], "an item")
    results.close()


def test_iterables_go_with_the_end(kind, buffersize):
    class Items:
        def __init__(self):
            self.numbers = iter(range(5))

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.numbers)

    executor = kind.executor()
    for ends in (list, lambda results: (next(results), results.close())):
        items = Items()
        results = executor.map(kind.mark(jobs.identity), items, **buffersize)
        reference = weakref.ref(items)
        del items
        ends(results)
        gone(reference, "the iterable")


def test_function_goes_with_the_end(kind, buffersize):
    executor = kind.executor()

    def function(n):
        return n

    reference = weakref.ref(function)
    results = executor.map(kind.mark(function), range(5), **buffersize)
    del function
    assert list(results) == [*range(5)]
    if not kind.tagged:
        gone(reference, "the function")


def test_iterator_can_be_referred_to_weakly(kind, buffersize):
    results = kind.executor().map(kind.mark(jobs.identity), range(5), **buffersize)
    reference = weakref.ref(results)
    next(results)
    assert reference() is results
    del results
    assert reference() is None


def test_executor_goes_while_the_iterator_lives(kind, gate):
    """The work is done all the same."""
    executors = [kind.type(1)]
    calls = [through(gate, 1), giving(2), giving(3)]
    results = executors[0].map(kind.mark(operator.call), calls, timeout=TIMEOUT)
    gate.wait_started()
    reference = weakref.ref(executors.pop())
    gone(reference, "the executor")
    gate.open()
    assert list(results) == [1, 2, 3]


def test_iterator_goes_while_the_executor_lives(kind, gate, buffersize):
    executor = kind.executor()
    results = executor.map(kind.mark(operator.call), [giving(1), through(gate, 2)], **buffersize)
    assert next(results) == 1
    gate.wait_started()
    reference = weakref.ref(results)
    del results
    assert reference() is None
    gate.open()


@only(*THREADS)
def test_cycle_of_an_iterator_and_its_items_is_collected(kind):
    """An iterable that knows the iterator which reads it."""
    kind.need_buffersize()

    class Items:
        def __iter__(self):
            return self

        def __next__(self):
            return 1

    executor, items = kind.executor(), Items()
    items.results = executor.map(jobs.identity, items, buffersize=2)
    next(items.results)
    settle(kind, executor)
    reference = weakref.ref(items)
    del items
    assert reference() is not None
    gc.collect()
    gone(reference, "the iterable")


# --- errors --------------------------------------------------------------------------------------


def raised_by(results):
    """What next() raises, as a weak reference."""
    try:
        next(results)
    except BaseException as error:
        return weakref.ref(error)
    raise AssertionError("nothing was raised")


def test_error_of_the_function_leaves_no_cycle(kind, buffersize):
    executor = kind.executor()
    results = executor.map(kind.mark(jobs.raise_fresh), range(3), **buffersize)
    gone(raised_by(results), "the error")


def timeouts():
    """How many such errors there are; they cannot be referred to weakly."""
    return sum(type(value) is TimeoutError for value in gc.get_objects())


def test_timeout_leaves_no_cycle(kind, gate, buffersize):
    executor = kind.executor()
    results = executor.map(kind.mark(operator.call), [through(gate)], timeout=0, **buffersize)
    gate.wait_started()
    before = timeouts()
    with pytest.raises(TimeoutError):
        next(results)
    assert timeouts() == before


def test_cancellation_leaves_no_cycle(kind, gate):
    executor = kind.executor()
    executor.submit(kind.mark(jobs.pass_gate), *gate.args)
    gate.wait_started()
    results = executor.map(kind.mark(jobs.identity), range(3), timeout=TIMEOUT)
    executor.shutdown(wait=False, cancel_futures=True)
    assert raised_by(results)() is None


def test_error_of_a_refill_leaves_no_cycle(kind):
    kind.need_buffersize()

    def items():
        yield 1
        raise jobs.CustomError(1, "text")

    results = kind.executor().map(kind.mark(jobs.identity), items(), buffersize=1)
    assert raised_by(results)() is None


@pytest.mark.parametrize("wanted", ["error", "results"])
def test_results_after_an_error_go(kind, wanted):
    """Neither the error nor the iterator that has ended keeps them."""
    executor = kind.executor()
    point = jobs.Point(1, 2)
    reference = weakref.ref(point)
    calls = [jobs.raise_fresh, giving(point)]
    results = executor.map(kind.mark(operator.call), calls)
    del calls, point
    settle(kind, executor)
    with pytest.raises(jobs.CustomError):
        next(results)
    if wanted == "error":
        del results
    gone(reference, "the result")
