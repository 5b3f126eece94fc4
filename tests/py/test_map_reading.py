"""map reads its iterables as zip does, and submits each call before it reads on.

The kinds of executor are CPython's own, as the reference, and ours, untagged and tagged.
"""

import functools
import gc
import itertools
import operator
import os
import queue
import threading
import weakref

import jobs
import pytest
from harness import TIMEOUT
from maps import OURS, THREADS, assert_ended, finish, giving, only, settle, taking, through, writing


def logged(log, name, items):
    """Read the items and say so, and say when they are over."""
    for item in items:
        log.append((name, item))
        yield item
    log.append((name, "end"))


# --- what is read, and when ----------------------------------------------------------------------


def test_all_is_read_before_map_returns(kind):
    log = []
    results = kind.executor().map(kind.mark(jobs.identity), logged(log, "a", range(5)))
    assert log == [*(("a", n) for n in range(5)), ("a", "end")]
    assert list(results) == [*range(5)]


@pytest.mark.parametrize("lengths", [*itertools.product(range(4), repeat=3)])
def test_iterables_are_read_in_turn_until_one_ends(shared, lengths):
    """An item of an iterable before the one that ends is read and lost, as by zip."""
    logs = [], []
    sources = [[logged(log, n, range(m)) for n, m in enumerate(lengths)] for log in logs]
    expected = list(zip(*sources[0], strict=False))
    assert list(shared.map(lambda *args: args, *sources[1])) == expected
    assert logs[0] == logs[1]


def test_all_iterators_are_made_before_anything_is_read(kind):
    class Iterable:
        def __init__(self, name):
            self.name = name

        def __iter__(self):
            log.append(("iter", self.name))
            return logged(log, self.name, [1])

    log = []
    results = kind.executor().map(kind.mark(jobs.add), Iterable("a"), Iterable("b"))
    assert log == [("iter", "a"), ("iter", "b"), ("a", 1), ("b", 1), ("a", "end")]
    assert list(results) == [2]


def test_nothing_is_read_if_an_iterator_cannot_be_made(kind, buffersize):
    class Iterable:
        def __iter__(self):
            raise LookupError("no iterator")

    executor, log = kind.executor(), []
    with pytest.raises(LookupError, match="no iterator"):
        executor.map(kind.mark(jobs.add), logged(log, "a", [1]), Iterable(), **buffersize)
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        executor.map(kind.mark(jobs.add), logged(log, "a", [1]), 3, **buffersize)
    with pytest.raises(TypeError):
        executor.map(kind.mark(jobs.add), logged(log, "a", [1]), jobs.Callable(1), **buffersize)
    assert log == []


def test_reading_is_done_by_the_thread_that_calls(kind):
    def items():
        for _ in range(5):
            readers.append(threading.get_ident())
            yield 1

    readers = []
    list(kind.executor().map(kind.mark(jobs.identity), items()))
    assert readers == [threading.get_ident()] * 5


def test_reading_is_done_by_the_thread_that_takes(kind):
    kind.need_buffersize()

    def items():
        while True:
            readers.append(threading.get_ident())
            yield 1

    def take():
        takers.append(threading.get_ident())
        next(results)

    readers, takers = [], []
    results = kind.executor().map(kind.mark(jobs.identity), items(), buffersize=2)
    for _ in range(3):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(TIMEOUT)
    assert readers == [threading.get_ident()] * 2 + takers
    assert len(takers) == 3
    results.close()


def test_no_length_is_asked_for(kind, buffersize):
    class Lengthless(list):
        def __len__(self):
            raise AssertionError("asked for a length")

        __length_hint__ = __len__

    class Iterator:
        def __init__(self):
            self.numbers = iter(range(5))

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.numbers)

        def __length_hint__(self):
            raise AssertionError("asked for a length")

    for items in (Lengthless(range(5)), Iterator()):
        results = kind.executor().map(kind.mark(jobs.identity), items, **buffersize)
        assert list(results) == [*range(5)]


class Skipping(list):
    """A list whose iterator is not the list's."""

    def __iter__(self):
        return iter(self[::2])


class SkippingTuple(tuple):
    def __iter__(self):
        return iter(self[::2])


def test_subclass_of_a_builtin_is_read_as_it_says(kind, buffersize):
    for items in (Skipping(range(6)), SkippingTuple(range(6))):
        results = kind.executor().map(kind.mark(jobs.identity), items, **buffersize)
        assert list(results) == [0, 2, 4]


@pytest.mark.parametrize("first", [True, False], ids=["list first", "list last"])
def test_list_that_grows_and_shrinks_while_it_is_read(kind, first):
    """By what another of the iterables does."""

    def change():
        for n in range(100):
            if n < 10:
                items.append(n)
            elif n == 12:
                del items[15:]
            yield 0

    def reads(read):
        nonlocal items
        items = [*range(-10, 0)]
        return list(read((items, change()) if first else (change(), items)))

    items = []
    expected = reads(lambda sources: zip(*sources, strict=False))
    assert len(expected) == 15
    executor = kind.executor()
    assert reads(lambda its: executor.map(kind.mark(jobs.capture), *its)) == [
        (pair, ()) for pair in expected
    ]


def test_list_that_changes_between_results(kind):
    """What is not read yet is read as it is then."""
    kind.need_buffersize()
    items = [0, 1]
    results = kind.executor().map(kind.mark(jobs.identity), items, buffersize=1)
    assert next(results) == 0
    items += [2, 3]
    assert next(results) == 1
    items[3] = 33
    assert next(results) == 2
    del items[2:]
    assert next(results) == 33
    assert_ended(results)


def test_dict_that_changes_while_it_is_read(kind):
    def change():
        yield 0
        items["new"] = 0
        yield 0

    items = {"a": 1, "b": 2}
    with pytest.raises(RuntimeError, match="changed size"):
        kind.executor().map(kind.mark(jobs.capture), change(), items)


def test_iterator_that_goes_on_after_its_end_is_asked_at_each_result(kind):
    kind.need_buffersize()

    class Resuming:
        def __init__(self):
            self.script = iter([1, 2, StopIteration, StopIteration, 3, StopIteration])

        def __iter__(self):
            return self

        def __next__(self):
            step = next(self.script)
            log.append(step)
            if step is StopIteration:
                raise StopIteration
            return step

    log = []
    results = kind.executor().map(kind.mark(jobs.identity), Resuming(), buffersize=4)
    assert log == [1, 2, StopIteration]
    assert next(results) == 1
    assert log == [1, 2, StopIteration, StopIteration]
    assert next(results) == 2
    assert log == [1, 2, StopIteration, StopIteration, 3]
    assert next(results) == 3
    assert_ended(results)


# --- each call is submitted before the next item is read -----------------------------------------


class Next:
    def __init__(self, read):
        self.numbers = map(read, range(4))

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.numbers)


class Indexed:
    def __init__(self, read):
        self.read = read

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 4:
            raise IndexError
        return self.read(index)


def generator(read):
    for n in range(4):
        yield read(n)


def generator_that_delegates(read):
    yield from generator(read)


def called_until(read):
    counter = itertools.count()
    return iter(lambda: n if (n := next(counter)) == 4 else read(n), 4)


READERS = {
    "generator": generator,
    "generator expression": lambda read: (read(n) for n in range(4)),
    "yield from": generator_that_delegates,
    "__next__": Next,
    "__getitem__": Indexed,
    "iterator over __getitem__": lambda read: iter(Indexed(read)),
    "reversed": lambda read: reversed(Indexed(lambda n: read(3 - n))),
    "iter(callable, sentinel)": called_until,
    "map": lambda read: map(read, range(4)),
    "filter": lambda read: filter(lambda n: read(n) >= 0, range(4)),
    "zip": lambda read: zip(generator(read), strict=True),
    "enumerate": lambda read: enumerate(generator(read)),
    "chain": lambda read: itertools.chain(generator(read)),
    "islice": lambda read: itertools.islice(generator(read), 9),
    "starmap": lambda read: itertools.starmap(read, zip(range(4), strict=True)),
    "takewhile": lambda read: itertools.takewhile(lambda n: read(n) >= 0, range(4)),
    "accumulate": lambda read: itertools.accumulate(range(4), lambda _, n: read(n)),
    "groupby": lambda read: (len(str(n)) for n, _ in itertools.groupby(range(4), read)),
    "tee": lambda read: itertools.tee(generator(read))[0],
}


def expecting(gate):
    """A function to read with: item n is there once n tasks have run."""

    def read(n):
        gate.wait_for("E" * n)
        return n

    return read


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_item_that_waits_for_the_tasks_before_it(kind, gate, reader):
    gate.close()
    executor = kind.executor(2)
    results = executor.map(kind.mark(taking(gate)), reader(expecting(gate)))
    assert len(list(results)) == 4
    assert gate.listen().count("E") == 4


@pytest.mark.parametrize("reader", [generator, called_until, Indexed])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_item_that_waits_among_other_iterables(kind, gate, reader, place):
    gate.close()
    sources = [range(9), [*"abcdefg"]]
    sources.insert(place, reader(expecting(gate)))
    results = kind.executor(2).map(kind.mark(taking(gate)), *sources)
    assert len(list(results)) == 4


@pytest.mark.parametrize("reader", [generator, called_until, Indexed])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_item_that_waits_within_the_buffer(kind, gate, reader, size):
    kind.need_buffersize()
    gate.close()
    executor = kind.executor(2)
    results = executor.map(kind.mark(taking(gate)), reader(expecting(gate)), buffersize=size)
    assert len(list(results)) == 4


def test_end_of_an_iterable_that_waits_for_all_tasks(kind, gate, buffersize):
    gate.close()

    def items():
        yield from range(3)
        gate.wait_for("EEE")

    results = kind.executor(2).map(kind.mark(taking(gate)), items(), **buffersize)
    assert list(results) == [(0,), (1,), (2,)]


def test_file_whose_next_line_a_task_writes(kind):
    """An iterator with no Python code, whose next item is not there until the task has run."""
    reading, writing_end = os.pipe()
    # Ends the file if no task does.
    guard = threading.Timer(TIMEOUT, os.dup2, (os.open(os.devnull, os.O_WRONLY), writing_end))
    guard.start()
    with open(reading, "rb", buffering=0) as file:
        os.write(writing_end, b"1\n")
        results = kind.executor().map(
            kind.mark(jobs.write_line), itertools.repeat(writing_end, 3), file, timeout=TIMEOUT
        )
        assert list(results) == [None] * 3
        assert guard.is_alive()
    guard.cancel()
    guard.join()
    for descriptor in (writing_end, guard.args[0]):
        os.close(descriptor)


@only(*THREADS)
def test_queue_that_tasks_fill(kind):
    items = queue.SimpleQueue()
    items.put(0)

    def step(n):
        items.put(n + 1)
        return n

    source = iter(functools.partial(items.get, timeout=TIMEOUT), 5)
    results = kind.executor().map(step, source, timeout=TIMEOUT)
    assert list(results) == [*range(5)]


class Expecting:
    """Is sent once so many tasks have run."""

    def __init__(self, gate, count):
        self.gate = gate
        self.count = count

    def __reduce__(self):
        self.gate.wait_for("E" * self.count)
        return int, (self.count,)


class ExpectingState:
    def __init__(self, gate, count):
        self.wait = functools.partial(gate.wait_for, "E" * count)

    def __reduce__(self):
        return jobs.Point, (1, 2), self.__getstate__()

    def __getstate__(self):
        self.wait()
        return {"x": 5}


@only("tagged")
@pytest.mark.parametrize("argument", [Expecting, ExpectingState])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [{"key": (value,)}]])
@pytest.mark.parametrize("buffered", [None, 1, 3])
def test_argument_whose_pickling_waits_for_the_tasks_before_it(
    kind, gate, argument, wrap, buffered
):
    """No Python code runs as the items are read, only as they are sent."""
    gate.close()
    items = [wrap(argument(gate, n)) for n in range(4)]
    results = kind.executor(2).map(
        kind.mark(taking(gate)), items, buffersize=buffered, timeout=TIMEOUT
    )
    assert len(list(results)) == 4


def test_submits_and_maps_between_the_items_keep_their_places(kind, lines):
    """One worker does all in the order in which it was asked for."""

    def items():
        for n in range(4):
            yield f"item {n}"
            executor.submit(write, fd, f"submit {n}")
            executor.map(write, [fd, fd], [f"map {n}.0", f"map {n}.1"])

    executor, fd, write = kind.executor(), lines.descriptor, kind.mark(jobs.write_line)
    list(executor.map(write, itertools.repeat(fd), items()))
    finish(executor)
    assert lines.read() == [
        line for n in range(4) for line in (f"item {n}", f"submit {n}", f"map {n}.0", f"map {n}.1")
    ]


def test_map_then_submit_then_map_on_one_worker(kind, lines):
    executor, fd, write = kind.executor(), lines.descriptor, kind.mark(jobs.write_line)
    for n in range(0, 40, 20):
        executor.map(write, [fd] * 19, [str(n + m) for m in range(19)])
        executor.submit(write, fd, str(n + 19))
    finish(executor)
    assert lines.read() == [str(n) for n in range(40)]


# --- buffersize ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 10, 11, True, 10**9])
def test_so_many_are_read_at_the_call_and_one_with_each_result(kind, size):
    kind.need_buffersize()
    log = []
    executor = kind.executor()
    results = executor.map(kind.mark(jobs.identity), logged(log, "a", range(10)), buffersize=size)
    for taken in range(11):
        expected = [("a", n) for n in range(10)] + [("a", "end")]
        assert log == expected[: size + taken]
        assert next(results, "end") == (taken if taken < 10 else "end")


@pytest.mark.parametrize("size", [1, 2])
def test_next_item_is_submitted_before_a_result_is_waited_for(kind, gates, size):
    """The bufferful goes on once the task after it has run."""
    kind.need_buffersize()
    held, free = gates(), gates()
    free.close()
    calls = [*[through(held, n) for n in range(1, size + 1)], through(free, 8), giving(9)]
    executor = kind.executor(size + 1)
    results = executor.map(kind.mark(operator.call), calls, buffersize=size, timeout=TIMEOUT)

    def release():
        free.wait_for("E")
        held.close()

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    assert list(results) == [*range(1, size + 1), 8, 9]
    thread.join(TIMEOUT)


def test_tasks_of_a_buffer_run_at_the_same_time(kind, gates):
    kind.need_buffersize()
    made = [gates() for _ in range(3)]
    executor = kind.executor(3)
    calls = (through(gate, n) for n, gate in enumerate(made, 1))
    results = executor.map(kind.mark(operator.call), calls, buffersize=3, timeout=TIMEOUT)
    for gate in reversed(made):
        gate.wait_started()
        gate.open()
    assert list(results) == [1, 2, 3]


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_executor_that_is_dropped_between_results(kind, taken):
    """No more is read, what was submitted is given. CPython's iterator keeps the executor from
    the first refill on; ours does not."""
    kind.need_buffersize()
    if kind.standard and taken:
        pytest.skip("the standard iterator keeps its executor")
    numbers = itertools.count()
    executors = [kind.type(1)]
    results = executors[0].map(kind.mark(jobs.identity), numbers, buffersize=2)
    for n in range(taken):
        assert next(results) == n
    reference = weakref.ref(executors.pop())
    gc.collect()
    assert reference() is None
    assert list(results) == [taken, taken + 1]
    assert next(numbers) == taken + 2


def test_executor_that_is_shut_down_between_results(kind, gate, lines):
    """The refill fails, and with it the map: what has not started is cancelled."""
    kind.need_buffersize()
    executor = kind.executor()
    calls = [giving(0), through(gate, 1), *[writing(lines, str(n)) for n in range(9)]]
    results = executor.map(kind.mark(operator.call), iter(calls), buffersize=4)
    assert next(results) == 0
    gate.wait_started()
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        next(results)
    assert_ended(results)
    gate.open()
    finish(executor)
    assert lines.read() == []


def test_executor_that_is_shut_down_when_all_has_been_read(kind, buffersize):
    executor = kind.executor()
    results = executor.map(kind.mark(jobs.identity), range(2), **buffersize)
    finish(executor)
    assert list(results) == [0, 1]


# --- an iterable that raises ---------------------------------------------------------------------

errors = pytest.mark.parametrize(
    "error",
    [ValueError("bad"), StopAsyncIteration("bad"), KeyboardInterrupt("bad"), SystemExit("bad")],
    ids=lambda error: type(error).__name__,
)


def failing(items, error):
    yield from items
    raise error


@errors
def test_error_of_an_iterable_at_the_call(kind, gate, lines, error):
    """It is the call's; what has been submitted runs, but for tagged calls after a Ctrl-C."""
    executor = kind.executor()
    executor.submit(kind.mark(jobs.pass_gate), *gate.args)
    gate.wait_started()
    items = failing(["0", "1"], error)
    with pytest.raises(type(error)) as caught:
        executor.map(kind.mark(jobs.write_line), itertools.repeat(lines.descriptor), items)
    assert caught.value is error
    gate.open()
    finish(executor)
    is_dropped = kind.tagged and isinstance(error, KeyboardInterrupt)
    assert lines.read() == ([] if is_dropped else ["0", "1"])


@errors
def test_error_of_an_iterable_later(kind, gate, lines, error):
    """It is that of next(), before the result; what has not started is cancelled."""
    kind.need_buffersize()
    executor = kind.executor()
    calls = [giving(0), through(gate, 1), writing(lines, "a"), writing(lines, "b")]
    results = executor.map(kind.mark(operator.call), failing(calls, error), buffersize=3)
    assert next(results) == 0
    gate.wait_started()
    with pytest.raises(type(error)) as caught:
        next(results)
    assert caught.value is error
    assert_ended(results)
    gate.open()
    finish(executor)
    assert lines.read() == []


def test_stop_iteration_of_an_iterable_is_its_end(kind, buffersize):
    def read(n):
        if n == 3:
            raise StopIteration("really")
        return n

    executor = kind.executor()
    results = executor.map(kind.mark(jobs.identity), map(read, range(4)), **buffersize)
    assert list(results) == [0, 1, 2]


def test_stop_iteration_of_a_generator_is_an_error(kind):
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        kind.executor().map(kind.mark(jobs.identity), failing([1], StopIteration()))


def test_builtin_iterator_that_fails(kind, lines):
    executor = kind.executor()
    write = kind.mark(functools.partial(jobs.write_line, lines.descriptor))
    with pytest.raises(ValueError, match="invalid literal"):
        executor.map(write, map(int, ["1", "2", "three", "4"]))
    finish(executor)
    assert lines.read() == ["1", "2"]


# --- a submission that fails ---------------------------------------------------------------------


@pytest.mark.parametrize("last", [0, 1, 5])
def test_iterable_that_shuts_the_executor_down(kind, lines, last):
    def items():
        yield from map(str, range(last))
        executor.shutdown(wait=False)
        log.append("shut down")
        yield "refused"
        log.append("read on")

    executor, log = kind.executor(2), []
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(kind.mark(jobs.write_line), itertools.repeat(lines.descriptor), items())
    assert log == ["shut down"]
    finish(executor)
    assert sorted(lines.read()) == [*map(str, range(last))]


def test_executor_that_is_shut_down_refuses_the_first_item(kind, buffersize):
    log = []
    executor = kind.executor()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(kind.mark(str), logged(log, "a", range(3)), **buffersize)
    assert log == [("a", 0)]


def test_executor_that_is_shut_down_takes_a_map_of_nothing(kind, buffersize):
    executor = kind.executor()
    executor.shutdown()
    assert list(executor.map(kind.mark(str), [], **buffersize)) == []
    assert list(executor.map(kind.mark(str), **buffersize)) == []


@only("tagged")
@pytest.mark.parametrize("position", [0, 1, 4])
def test_argument_whose_pickling_shuts_the_executor_down(kind, lines, position):
    class Argument:
        def __reduce__(self):
            executor.shutdown(wait=False)
            return str, ("refused",)

    executor = kind.executor()
    items = [*map(str, range(position)), Argument(), "not reached"]
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(kind.mark(jobs.write_line), [lines.descriptor] * 9, items)
    finish(executor)
    assert lines.read() == [*map(str, range(position))]


@only(*OURS)
def test_thread_that_cannot_be_started(kind, monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    executor, log = kind.executor(2), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.map(kind.mark(jobs.identity), logged(log, "a", range(3)))
    assert log == [("a", 0)]
    assert list(executor.map(kind.mark(jobs.identity), range(3))) == [0, 1, 2]


# --- submit is the executor's own ----------------------------------------------------------------


class Duck:
    """As much of a future as map needs."""

    def __init__(self, log, value):
        self.log = log
        self.value = value

    def result(self, *args, **kwargs):
        self.log.append(("result", args, kwargs))
        return self.value

    def cancel(self):
        self.log.append(("cancel", self.value))


def test_futures_of_another_make(kind):
    log = []
    executor = kind.executor()
    executor.submit = lambda fn, *args: Duck(log, args)
    results = executor.map(kind.mark(str), "abc", range(5))
    assert next(results) == ("a", 0)
    assert log == [("result", (None,), {}), ("cancel", ("a", 0))]
    del log[:]
    results.close()
    assert log == [("cancel", ("c", 2)), ("cancel", ("b", 1))]


def counted(submit, calls):
    def count(self, fn, /, *args, **kwargs):
        calls.append((fn, args, kwargs))
        return submit(self, fn, *args, **kwargs)

    return count


@pytest.mark.parametrize("how", ["subclass", "mixin", "sub-subclass"])
def test_subclass_that_overrides_submit(kind, pool, how, buffersize):
    if buffersize:
        kind.need_buffersize(submit_is_ours=False)
    calls = []
    base = kind.type
    overriding = counted(base.submit, calls)
    if how == "mixin":
        made = type("Both", (type("Mixin", (), {"submit": overriding}), base), {})
    else:
        made = type("Sub", (base,), {"submit": overriding})
    if how == "sub-subclass":
        made = type("SubSub", (made,), {})
    function = kind.mark(jobs.add)
    assert list(pool(1, of=made).map(function, range(5), range(9), **buffersize)) == [
        *range(0, 10, 2)
    ]
    assert calls == [(function, (n, n), {}) for n in range(5)]


def test_submit_of_the_instance(kind, buffersize):
    if buffersize:
        kind.need_buffersize(submit_is_ours=False)
    calls = []
    executor = kind.executor()
    submit = counted(type(executor).submit, calls)
    executor.submit = functools.partial(submit, executor)
    assert list(executor.map(kind.mark(jobs.identity), range(5), **buffersize)) == [*range(5)]
    assert len(calls) == 5
    del executor.submit
    assert list(executor.map(kind.mark(jobs.identity), range(5), **buffersize)) == [*range(5)]
    assert len(calls) == 5


@pytest.mark.parametrize("depth", [0, 1])
def test_submit_of_the_class_that_is_replaced(kind, monkeypatch, buffersize, depth):
    if buffersize:
        kind.need_buffersize(submit_is_ours=False)
    calls = []
    executor = kind.executor()
    owner = type(executor).__mro__[0 if kind.standard else depth]
    monkeypatch.setattr(owner, "submit", counted(owner.submit, calls), raising=False)
    assert list(executor.map(kind.mark(jobs.identity), range(5), **buffersize)) == [*range(5)]
    assert len(calls) == 5
    monkeypatch.undo()
    assert list(executor.map(kind.mark(jobs.identity), range(5), **buffersize)) == [*range(5)]
    assert len(calls) == 5


def test_overriding_submit_that_fails(kind, lines):
    """At the call it ends the call, and what was submitted before runs."""
    executor = kind.executor()
    submit = executor.submit
    numbers = itertools.count()

    def submit_three(fn, /, *args):
        if next(numbers) == 3:
            raise LookupError("no more")
        return submit(fn, *args)

    executor.submit = submit_three
    with pytest.raises(LookupError, match="no more"):
        executor.map(kind.mark(jobs.write_line), [lines.descriptor] * 5, "abcde")
    del executor.submit
    settle(kind, executor)
    assert lines.read() == ["a", "b", "c"]


# --- destructors and initializers among the items ------------------------------------------------


@only(*THREADS)
def test_list_that_goes_when_its_iterator_ends(kind):
    """And lets go of an item that shuts the executor down: all is submitted by then."""

    class Closer:
        def __del__(self):
            executor.shutdown(wait=False)

    executor = kind.executor(2)
    items = iter([Closer(), *range(19)])
    assert len(list(executor.map(lambda _: None, items))) == 20


def test_iterable_that_initializes_the_executor_anew(kind):
    executor = kind.executor()

    class Iterable:
        def __iter__(self):
            executor.__init__(1)
            return iter([1, 2, 3])

    if kind.standard:
        assert list(executor.map(kind.mark(jobs.identity), Iterable())) == [1, 2, 3]
    else:  # what it was before has been shut down
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.map(kind.mark(jobs.identity), Iterable())
    assert executor.submit(kind.mark(jobs.identity), 5).result(TIMEOUT) == 5
