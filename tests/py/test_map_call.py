"""What map takes: functions of all sorts, items of all sorts, options; and when it looks at them.

The kinds of executor are CPython's own, as the reference, and ours, untagged and tagged.
"""

import concurrent.futures
import functools
import inspect
import itertools
import sys
import threading

import jobs
import odd_jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script
from maps import THREADS, assert_ended, finish, only, taking, writing

from aiointerpreters import SendError
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

# --- options -------------------------------------------------------------------------------------


def test_parameters_are_those_of_cpython():
    """Those of 3.14, whose buffersize is here on 3.13, too."""
    ours = inspect.signature(InterpreterThreadPoolExecutor.map).parameters
    shape = [(name, value.kind, value.default) for name, value in ours.items()]
    assert [entry[0] for entry in shape] == [
        *("self", "fn", "iterables", "timeout", "chunksize", "buffersize")
    ]
    standard = inspect.signature(concurrent.futures.ThreadPoolExecutor.map).parameters
    expected = [(name, value.kind, value.default) for name, value in standard.items()]
    assert shape[: len(expected)] == expected
    assert InterpreterThreadPoolExecutor.map.__name__ == "map"
    assert InterpreterThreadPoolExecutor.map.__doc__


def test_call_without_iterables(kind, buffersize):
    assert list(kind.executor().map(kind.mark(str), **buffersize)) == []
    assert list(kind.executor().map(fn=kind.mark(str), **buffersize)) == []


def test_map_of_the_class(kind):
    executor = kind.executor()
    assert list(kind.type.map(executor, kind.mark(str), [1, 2])) == ["1", "2"]


@pytest.mark.parametrize(
    ("args", "keywords", "text"),
    [
        ((), {}, "missing 1 required positional argument: 'fn'"),
        ((str,), {"fn": str}, "got multiple values for argument 'fn'"),
        ((str, [1]), {"other": 1}, "got an unexpected keyword argument 'other'"),
        ((str, [1]), {"iterables": []}, "got an unexpected keyword argument 'iterables'"),
        ((str, 5), {}, "'int' object is not iterable"),
        ((str, [1], None), {}, "'NoneType' object is not iterable"),
    ],
)
def test_bad_calls(kind, args, keywords, text):
    with pytest.raises(TypeError) as caught:
        kind.executor().map(*args, **keywords)
    assert text in str(caught.value)


@pytest.mark.parametrize("chunksize", [1, 7, 10**30, 0, -1, None, "text", 1.5])
def test_chunksize_is_ignored(kind, chunksize, buffersize):
    executor = kind.executor()
    results = executor.map(kind.mark(jobs.identity), range(9), chunksize=chunksize, **buffersize)
    assert list(results) == [*range(9)]


class Index:
    """Not an int, though it can be one."""

    def __index__(self):
        return 2


@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        ("1", TypeError, "buffersize must be an integer or None"),
        (1.0, TypeError, "buffersize must be an integer or None"),
        (Index(), TypeError, "buffersize must be an integer or None"),
        (0, ValueError, "buffersize must be None or > 0"),
        (-1, ValueError, "buffersize must be None or > 0"),
        (False, ValueError, "buffersize must be None or > 0"),
        (-(10**30), ValueError, "buffersize must be None or > 0"),
    ],
    ids=repr,
)
def test_bad_buffersize_is_found_before_anything_is_read(kind, size, error, text):
    kind.need_buffersize()

    def items():
        log.append("read")
        yield 1

    log = []
    with pytest.raises(error) as caught:
        kind.executor().map(kind.mark(str), items(), buffersize=size)
    assert str(caught.value).startswith(text)
    assert log == []


def test_buffersize_is_looked_at_before_the_timeout_and_that_before_the_iterables(kind):
    kind.need_buffersize()
    with pytest.raises(ValueError, match="buffersize"):
        kind.executor().map(kind.mark(str), 5, timeout="text", buffersize=0)
    with pytest.raises(TypeError, match=r"str.*float|float.*str"):
        kind.executor().map(kind.mark(str), 5, timeout="text", buffersize=1)


class Size(int):
    pass


@pytest.mark.parametrize("size", [True, Size(2), sys.maxsize], ids=repr)
def test_unusual_buffersizes(kind, size):
    kind.need_buffersize()
    results = kind.executor().map(kind.mark(jobs.identity), range(9), buffersize=size)
    assert list(results) == [*range(9)]


# --- functions -----------------------------------------------------------------------------------


@only(*THREADS)
@pytest.mark.parametrize("function", [None, 5, "text"])
def test_function_that_cannot_be_called(kind, function, buffersize):
    """next() says so, not the call."""
    results = kind.executor().map(function, [1, 2], **buffersize)
    with pytest.raises(TypeError, match="object is not callable"):
        next(results)
    assert_ended(results)
    assert list(kind.executor().map(function, [], **buffersize)) == []


@pytest.mark.parametrize(
    "function",
    [
        abs,
        jobs.identity,
        jobs.doubled,
        jobs.add_five,
        jobs.Point.of_class,
        jobs.Point(1, 2).total,
        odd_jobs.Unhashable(),
        odd_jobs.Odd(),
        functools.partial(jobs.capture, 1, key=2),
        lambda n: n + 1,
        [].__contains__,
        int,
    ],
)
def test_functions_of_all_sorts(kind, function, buffersize):
    expected = [function(n) for n in range(5)]
    assert list(kind.executor().map(kind.mark(function), range(5), **buffersize)) == expected


@only("tagged")
def test_function_that_cannot_be_sent(kind, buffersize):
    """Every one of its tasks says so, the map the first."""
    lock = threading.Lock()
    results = kind.executor().map(kind.mark(lambda n: (n, lock)), range(3), **buffersize)
    with pytest.raises(SendError) as caught:
        next(results)
    assert caught.value.role == "function"
    assert "<lambda>" in str(caught.value)
    assert_ended(results)


FACTOR = 0


@only("tagged")
def test_function_that_reads_what_the_iterable_rebinds(kind, buffersize):
    """A function that is sent by value reads what there was at its submission."""

    def items(rebind):
        for n in range(6):
            rebind(n * 10)
            yield n

    def rebind_global(value):
        global FACTOR
        FACTOR = value

    def rebind_cell(value):
        nonlocal cell
        cell = value

    def rebind_default(value):
        with_default.__defaults__ = (value,)

    def rebind_object(value):
        callable_object.base = value

    cell = 0
    with_default = lambda n, value=0: (n, value)  # noqa: E731
    callable_object = jobs.Callable(0)
    executor = kind.executor()
    for function, rebind in [
        (lambda n: (n, FACTOR), rebind_global),
        (lambda n: (n, cell), rebind_cell),
        (with_default, rebind_default),
    ]:
        results = executor.map(kind.mark(function), items(rebind), **buffersize)
        assert list(results) == [(n, n * 10) for n in range(6)]
    results = executor.map(kind.mark(callable_object), items(rebind_object), **buffersize)
    assert [base for base, _, _ in results] == [n * 10 for n in range(6)]


def test_function_of_main_that_reads_what_the_iterable_rebinds(tmp_path):
    source = """
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    FACTOR = 0

    def helper(n):
        return n, FACTOR

    @interpreter
    def function(n):
        return helper(n)

    def items():
        global FACTOR, helper
        for n in range(4):
            FACTOR = n * 10
            yield n
        helper = lambda n: "another helper"
        yield 4

    with InterpreterThreadPoolExecutor(1) as executor:
        print(*executor.map(function, items()))
    """
    expected = "(0, 0) (1, 10) (2, 20) (3, 30) another helper"
    assert_ok(run_script(tmp_path, source), expected)


# --- items ---------------------------------------------------------------------------------------


@only("tagged")
def test_item_that_changes_after_it_was_read(kind, buffersize):
    """It was sent as it was read, before the next one."""

    def growing():
        items = []
        for n in range(6):
            items.append(n)
            yield items

    results = kind.executor().map(kind.mark(jobs.identity), growing(), **buffersize)
    assert list(results) == [[*range(n)] for n in range(1, 7)]


@only("tagged")
def test_item_that_changes_as_another_one_is_pickled(kind):
    class Changing:
        def __reduce__(self):
            items.append(len(items))
            return int, ()

    items = []
    results = kind.executor().map(kind.mark(jobs.capture), [items] * 4, [Changing()] * 4)
    assert [len(args[0]) for args, _ in results] == [0, 1, 2, 3]


@only(*THREADS)
def test_items_and_results_are_the_callers_own(kind, buffersize):
    items = [threading.Lock() for _ in range(5)]
    results = kind.executor().map(jobs.identity, items, **buffersize)
    assert all(map(jobs.same, results, items))


@only("tagged")
def test_item_that_cannot_be_sent(kind, gate, lines):
    """Its own task says so, at its place; the map ends there, as at any error."""
    executor = kind.executor()
    items = [0, 1, threading.Lock(), 3, 4]
    results = executor.map(kind.mark(jobs.capture), itertools.count(), items)
    assert next(results) == ((0, 0), ())
    assert next(results) == ((1, 1), ())
    with pytest.raises(SendError) as caught:
        next(results)
    error = caught.value
    submitted = executor.submit(kind.mark(jobs.capture), 2, items[2]).exception(TIMEOUT)
    assert (error.role, error.position, error.type_name) == ("argument", 1, "_thread.lock")
    assert (submitted.role, submitted.position, submitted.type_name, str(submitted)) == (
        *(error.role, error.position, error.type_name, str(error)),
    )
    assert_ended(results)


@only("tagged")
@pytest.mark.parametrize("taken", [False, True], ids=["not taken", "taken"])
def test_items_after_one_that_cannot_be_sent(kind, gate, lines, taken):
    """They are submitted, and run unless the error is taken before that."""
    executor = kind.executor()
    executor.submit(kind.mark(jobs.pass_gate), *gate.args)
    gate.wait_started()
    calls = [threading.Lock(), writing(lines, "after")]
    results = executor.map(kind.mark(jobs.describe), calls)
    writes = executor.map(kind.mark(jobs.write_line), [jobs.Unpicklable(), lines.descriptor], "ab")
    if taken:
        for ending in (results, writes):
            with pytest.raises(SendError):
                next(ending)
    gate.open()
    finish(executor)
    assert lines.read() == ([] if taken else ["b"])


@only("tagged")
def test_result_and_error_that_cannot_be_sent(kind):
    executor = kind.executor()
    for function in (jobs.make_unpicklable, jobs.raise_holding):
        results = executor.map(kind.mark(functools.partial(_ignore, function)), range(2))
        with pytest.raises(SendError):
            next(results)
        assert_ended(results)


def _ignore(function, _):
    return function()


@only("tagged")
def test_memoryviews_are_lent(kind, buffersize):
    data = bytearray(40)
    parts = [memoryview(data)[n : n + 4] for n in range(0, 40, 4)]
    assert (
        list(kind.executor(2).map(kind.mark(jobs.fill), parts, range(10), **buffersize)) == [4] * 10
    )
    assert data == b"".join(bytes([n] * 4) for n in range(10))


def test_context_variables_do_not_follow(kind, buffersize):
    token = jobs.CONTEXT.set("of the caller")
    try:
        results = kind.executor().map(kind.mark(jobs.get_context), range(3), **buffersize)
        assert list(results) == ["default"] * 3
    finally:
        jobs.CONTEXT.reset(token)


def test_many_iterables(kind, gate):
    gate.close()
    sources = [range(n, n + 5) for n in range(200)]
    results = kind.executor().map(kind.mark(taking(gate)), *sources)
    assert list(results) == list(zip(*sources, strict=True))


@pytest.mark.parametrize("outer", [interpreter, lambda function: function])
def test_tagged_and_untagged_maps_at_once(pool, outer):
    """Each on its own side, with the others between."""
    executor = pool(2)
    tagged = executor.map(interpreter(jobs.where), range(100))
    untagged = executor.map(jobs.where, range(100))
    assert 0 not in {where for where, _ in tagged}
    assert {where for where, _ in untagged} == {0}
