"""Arguments that are passed again: recognised by identity, sent to each interpreter once."""

import functools
import gc
import sys
import weakref

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script
from repeat_jobs import (
    Callable,
    Other,
    contains,
    drop,
    first_of,
    is_kept,
    keep,
    members_are_kept,
    same,
)

from aiointerpreters import broadcast, interpreter
from aiointerpreters.executors import InterpreterThreadPoolExecutor

SIZE = 200_000


def fresh(kind: str, seed: int = 0):
    """A new object each time, of some 200 kB there."""
    count = SIZE // 8
    if kind == "bytes":
        return bytes([seed]) * SIZE
    if kind == "str":
        return chr(97 + seed) * SIZE
    if kind == "wide str":
        return chr(0x1F600 + seed) * (SIZE // 4)
    if kind == "frozenset":
        return frozenset(range(seed, seed + count))
    if kind == "tuples":
        return tuple((seed, i, "x") for i in range(count // 4))
    if kind == "all":
        leaves = (None, True, 2**70 + seed, 1.5, 2j, "s", b"b", frozenset([1]), ())
        return tuple((i, leaves) for i in range(count // 4))
    return tuple(range(seed, seed + count))


KINDS = ["bytes", "str", "wide str", "frozenset", "tuple", "tuples", "all"]

MUTABLE = {
    "list": lambda: [fresh("bytes")],
    "dict": lambda: {1: fresh("bytes")},
    "set": lambda: set(fresh("frozenset")),
    "list within": lambda: (fresh("tuple"), []),
    "dict within": lambda: (fresh("tuple"), ({},)),
    "set within": lambda: (fresh("tuple"), set()),
    "handle within": lambda: (fresh("tuple"), broadcast([1])),
    "view within": lambda: (fresh("tuple"), memoryview(bytearray(3))),
    "object within": lambda: (fresh("tuple"), Other()),
    "bytearray": lambda: bytearray(SIZE),
    "str subclass": lambda: jobs.Text("x" * SIZE),
    "tuple subclass": lambda: jobs.Pair(fresh("tuple")),
}


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


def recognised(executor, *args, **kwargs) -> list[bool]:
    """Of which arguments an interpreter gets the very object again, from some call on."""
    for _ in range(3):
        send(executor, keep, *args, **kwargs)
    return send(executor, is_kept, *args, **kwargs)


@pytest.fixture
def single(pool):
    """One interpreter, so that what it keeps can be told from what another keeps."""
    return pool(1)


# --- what is recognised ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_recognised(single, kind):
    value = fresh(kind)
    assert send(single, jobs.identity, value) == value
    assert recognised(single, value) == [True]
    assert send(single, jobs.identity, value) == value
    assert jobs.describe(value) == send(single, jobs.describe, value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_equal_value_is_another(single, kind):
    value, other = fresh(kind), fresh(kind)
    assert value == other
    assert recognised(single, value) == [True]
    send(single, keep, value)
    assert send(single, is_kept, other) == [False]


@pytest.mark.parametrize("kind", MUTABLE)
def test_what_can_be_changed_is_not(single, kind):
    value = MUTABLE[kind]()
    assert recognised(single, value) == [False]


def test_a_list_that_was_met_before_is_none_of_a_tuple(single):
    """A reference to it makes the tuple one that can be changed."""
    changing = []
    value = (fresh("bytes"), changing)
    for number in range(4):
        changing.append(number)
        assert send(single, jobs.capture, changing, value)[0][1][1] == changing


def test_small_arguments_are_not(single):
    assert recognised(single, (1, 2), b"x" * 500, "y" * 500, frozenset([1])) == [False] * 4


def test_the_first_call_is_not_kept(single):
    value = fresh("tuple")
    send(single, keep, value)
    assert send(single, is_kept, value) == [False]


# --- where --------------------------------------------------------------------------------------


def test_several_arguments_and_keywords(single):
    values = [fresh(kind) for kind in KINDS]
    keywords = {"key": fresh("tuple", 1), "other": fresh("bytes", 1)}
    assert all(recognised(single, *values, **keywords))
    assert send(single, jobs.capture, *values, **keywords) == (
        tuple(values),
        tuple(sorted(keywords.items())),
    )


def test_members_of_a_tuple(single):
    value, text = fresh("tuples"), fresh("str")
    for number in range(3):
        send(single, keep, (value, -1000 - number, text))
    assert send(single, members_are_kept, (value, -5000, text)) == [True, False, True]
    assert send(single, jobs.identity, (value, 5, text)) == (value, 5, text)


@pytest.mark.parametrize(
    "other", [Other(), functools.partial(int), range(3)], ids=["object", "partial", "range"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_beside_what_is_pickled(single, kind, other):
    value = fresh(kind)
    first, second = (value, other), (other, value)
    assert recognised(single, *first)[0]
    assert recognised(single, *second)[1]
    arrived = send(single, jobs.identity, first)
    assert arrived[0] == value
    assert type(arrived[1]) is type(other)


def test_with_a_callable_that_is_pickled(single):
    value = fresh("tuple")
    for _ in range(3):
        single.submit(interpreter(Callable()), value).result(TIMEOUT)
    assert send(single, is_kept, value) == [True]


def test_partials(single):
    value = fresh("tuple")
    for _ in range(3):
        single.submit(interpreter(functools.partial(keep, value))).result(TIMEOUT)
    assert send(single, is_kept, value) == [True]


def test_map(single):
    value = fresh("tuples")
    expected = [(value[0], number) for number in range(200)]
    assert list(single.map(interpreter(first_of), [value] * 200, range(200))) == expected
    assert recognised(single, value) == [True]
    pairs = [(value, number) for number in range(200)]
    assert list(single.map(interpreter(jobs.identity), pairs)) == pairs


@pytest.mark.parametrize("kind", ["frozenset", "tuple", "tuples", "all"])
def test_one_object_twice_in_a_call(single, kind):
    value = fresh(kind)
    for _ in range(4):
        assert send(single, same, value, value)
        assert send(single, contains, [value], value)
        assert send(single, contains, (1, [value]), value)
        assert send(single, contains, (value,), value)


def test_each_executor_recognises_for_itself(pool):
    value = fresh("tuple")
    first, second = pool(1), pool(1)
    assert recognised(first, value) == [True]
    send(second, keep, value)
    assert send(second, is_kept, value) == [False]
    assert recognised(second, value) == [True]


def test_an_untagged_task_gets_the_very_object(single):
    value = fresh("tuple")
    for _ in range(3):
        assert single.submit(jobs.identity, value).result(TIMEOUT) is value


# --- bounds ---------------------------------------------------------------------------------------


def test_off(pool):
    executor = pool(1, argument_cache_bytes=0)
    value = fresh("bytes")
    before = sys.getrefcount(value)
    assert recognised(executor, value) == [False]
    send(executor, drop)
    assert sys.getrefcount(value) <= before


@pytest.mark.parametrize("limit", [-1, -(10**30)])
def test_negative(limit):
    with pytest.raises(ValueError, match="argument_cache_bytes must not be negative"):
        InterpreterThreadPoolExecutor(argument_cache_bytes=limit)


@pytest.mark.parametrize("limit", [1.5, "1", None, [], b"1"])
def test_no_int(limit):
    with pytest.raises(TypeError, match="argument_cache_bytes must be an int"):
        InterpreterThreadPoolExecutor(argument_cache_bytes=limit)


def test_as_large_as_one_likes(pool):
    assert recognised(pool(1, argument_cache_bytes=10**30), fresh("bytes")) == [True]


def test_a_value_takes_a_quarter_at_most(pool):
    for limit, expected in ((4 * SIZE + 4096, True), (4 * SIZE - 4096, False)):
        executor = pool(1, argument_cache_bytes=limit)
        assert recognised(executor, fresh("bytes")) == [expected]


def test_the_least_recently_used_goes_first(pool):
    executor = pool(1, argument_cache_bytes=4 * SIZE + 4096)
    values = [fresh("bytes", seed) for seed in range(6)]
    for value in values[:4]:
        assert recognised(executor, value) == [True]
    send(executor, keep, values[0])
    assert recognised(executor, values[4]) == [True]  # and values[1] goes
    send(executor, keep, values[0])
    assert send(executor, is_kept, values[0]) == [True]
    send(executor, keep, values[1])
    assert send(executor, is_kept, values[1]) == [False]


def test_what_goes_is_let_go(pool):
    executor = pool(1, argument_cache_bytes=4 * SIZE + 4096)
    value = fresh("bytes", 9)
    before = sys.getrefcount(value)
    assert recognised(executor, value) == [True]
    assert sys.getrefcount(value) > before
    for seed in range(5):
        assert recognised(executor, fresh("bytes", seed)) == [True]
    gc.collect()
    send(executor, jobs.where)
    assert sys.getrefcount(value) <= before


def test_a_stream_of_values_is_not_kept(pool):
    executor = pool(1, argument_cache_bytes=40 * SIZE)
    values = [fresh("bytes", seed) for seed in range(50)]
    assert list(executor.map(interpreter(len), values)) == [SIZE] * 50
    counts = [sys.getrefcount(value) for value in values]
    held = sum(count > min(counts) for count in counts)
    assert held <= 1  # on its way


def test_many_values(single):
    """More than are kept, all of them right."""
    values = [tuple(range(i, i + 300)) for i in range(1500)]
    for _ in range(3):
        results = single.map(interpreter(first_of), values, range(1500))
        assert list(results) == [(i, i) for i in range(1500)]


def test_an_address_is_never_taken_for_another(single):
    """Objects made one after another where the last one was."""
    for number in range(300):
        value = tuple(range(number, number + 300))
        for _ in range(3):
            assert send(single, first_of, value, 0) == (number, 0)
        del value


# --- its end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["shutdown", "del", "cycle"])
def test_the_end_of_an_executor(end):
    value = fresh("bytes")
    before = sys.getrefcount(value)
    executor = InterpreterThreadPoolExecutor(1)
    assert recognised(executor, value) == [True]
    gone = weakref.ref(executor)
    if end == "shutdown":
        executor.shutdown()
    elif end == "cycle":
        executor.me = executor
    if end != "shutdown":
        threads = list(executor._threads)
        del executor
        gc.collect()
        assert gone() is None
        for thread in threads:
            thread.join(TIMEOUT)
    assert sys.getrefcount(value) <= before


FORK = """
import os
import jobs
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
from test_repeats import fresh, recognised

value = fresh("tuple")
executor = InterpreterThreadPoolExecutor(1)
assert recognised(executor, value) == [True]
child = os.fork()
if child == 0:
    ok = recognised(executor, value) == [True] and recognised(executor, fresh("bytes")) == [True]
    executor.shutdown()
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert recognised(executor, value) == [True]
executor.shutdown()
print("ok")
"""


def test_fork(tmp_path):
    done = run_script(tmp_path, FORK)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


SENT_ONCE = """
import sys
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

grid = tuple(tuple(i * j % 7 == 0 for j in range(130)) for i in range(130))

with InterpreterThreadPoolExecutor(2) as executor:
    task = interpreter(lambda grid, i: grid[i % 130][0])
    assert list(executor.map(task, [grid] * 1000, range(1000))) == [True] * 1000
print("ok")
"""


def test_a_script(tmp_path):
    assert_ok(run_script(tmp_path, SENT_ONCE), "ok")
