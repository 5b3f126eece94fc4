"""Arguments that are passed again: recognised by identity, sent to each interpreter once."""

import functools
import gc
import sys
import weakref

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repeat_jobs import (
    Callable,
    Counter,
    Other,
    contains,
    count_of_points,
    drop,
    first_of,
    is_kept,
    keep,
    members_are_kept,
    same,
    shown,
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


KINDS = ["frozenset", "tuple", "tuples", "all"]

UNKNOWN = {
    "bytes": lambda: fresh("bytes"),
    "str": lambda: fresh("str"),
    "wide str": lambda: fresh("wide str"),
    "large bytes within": lambda: (fresh("tuple"), bytes(SIZE)),
    "large str within": lambda: (fresh("tuple"), (fresh("str"),)),
    "list": lambda: [fresh("tuple")],
    "dict": lambda: {1: fresh("tuple")},
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


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_can_be_changed_or_is_memory_is_not(single, kind):
    value = UNKNOWN[kind]()
    assert recognised(single, value) == [False]


def test_a_list_that_was_met_before_is_none_of_a_tuple(single):
    """A reference to it makes the tuple one that can be changed."""
    changing = []
    value = (fresh("tuple"), changing)
    for number in range(4):
        changing.append(number)
        assert send(single, jobs.capture, changing, value)[0][1][1] == changing


def test_small_arguments_are_not(single):
    assert recognised(single, (1, 2), ("x" * 500,), frozenset([1])) == [False] * 3


def test_the_first_call_is_not_kept(single):
    value = fresh("tuple")
    send(single, keep, value)
    assert send(single, is_kept, value) == [False]


# --- where --------------------------------------------------------------------------------------


def test_several_arguments_and_keywords(single):
    values = [fresh(kind) for kind in KINDS]
    keywords = {"key": fresh("tuple", 1), "other": fresh("frozenset", 1)}
    assert all(recognised(single, *values, **keywords))
    assert send(single, jobs.capture, *values, **keywords) == (
        tuple(values),
        tuple(sorted(keywords.items())),
    )


def test_members_of_a_tuple(single):
    value, other = fresh("tuples"), fresh("frozenset")
    for number in range(3):
        send(single, keep, (value, -1000 - number, other))
    assert send(single, members_are_kept, (value, -5000, other)) == [True, False, True]
    assert send(single, jobs.identity, (value, 5, other)) == (value, 5, other)


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
    value = fresh("tuple")
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
    assert recognised(pool(1, argument_cache_bytes=10**30), fresh("tuple")) == [True]


def test_a_value_takes_a_sixteenth_at_most(pool):
    for limit, expected in ((16 * 3 * SIZE, True), (16 * SIZE // 2, False)):
        executor = pool(1, argument_cache_bytes=limit)
        assert recognised(executor, fresh("tuple")) == [expected]


def test_the_least_recently_used_goes_first(pool):
    executor = pool(1)
    values = [fresh("tuple", seed) for seed in range(13)]
    for value in values[:12]:
        assert recognised(executor, value) == [True]
    send(executor, keep, values[0])
    assert recognised(executor, values[12]) == [True]  # and values[1] goes
    send(executor, keep, values[0])
    assert send(executor, is_kept, values[0]) == [True]
    send(executor, keep, values[1])
    assert send(executor, is_kept, values[1]) == [False]


def test_more_values_than_are_kept(pool):
    executor = pool(1)
    values = [fresh("tuple", seed) for seed in range(50)]
    before = [sys.getrefcount(value) for value in values]
    assert list(executor.map(interpreter(len), values * 3)) == [len(values[0])] * 150
    send(executor, drop)
    held = [value for value, count in zip(values, before, strict=True) if is_held(value, count)]
    assert len(held) <= 12


def is_held(value, before: int) -> bool:
    return sys.getrefcount(value) > before + 2  # those of the caller and the loop


@pytest.mark.parametrize("sights", [1, 2, 3])
@pytest.mark.parametrize("beside", [None, Other()], ids=["native", "pickled"])
def test_what_the_caller_has_dropped_goes_with_the_next_call(single, sights, beside):
    inner = frozenset(range(500))
    value, gone = (inner, *range(500)), weakref.ref(inner)
    for _ in range(sights):
        send(single, keep, value, beside)
    del value, inner
    send(single, drop)
    assert gone() is None


def test_a_stream_of_values_is_not_kept(single):
    """Each is released before the one after the next is made."""
    values = weakref.WeakSet()
    for number in range(300):
        value = frozenset(range(number, number + 300))
        values.add(value)
        assert send(single, len, (value, number)) == 2
        del value
        assert len(values) <= 1


def test_many_values(single):
    """More than are kept, all of them right."""
    values = [tuple(range(i, i + 300)) for i in range(1500)]
    for _ in range(3):
        results = single.map(interpreter(first_of), values, range(1500))
        assert list(results) == [(i, i) for i in range(1500)]


# --- identity -------------------------------------------------------------------------------------


def test_an_address_is_never_taken_for_another(single):
    """Objects made one after another where the last one was."""
    for number in range(300):
        value = tuple(range(number, number + 300))
        for _ in range(3):
            assert send(single, first_of, value, 0) == (number, 0)
        del value


@pytest.mark.parametrize("kind", [tuple, frozenset])
@pytest.mark.parametrize("beside", [None, Other()], ids=["native", "pickled"])
def test_what_takes_the_place_of_an_immutable_value_is_none(single, kind, beside):
    """Of the same size, with members at the same addresses, and one that can be changed."""
    parts = [*map(str, range(10**6, 10**6 + 999))]
    for _ in range(20):
        value = kind([*parts, "abc"])
        assert send(single, count_of_points, value, beside) == 0
        del value
        point = Counter()
        value = kind([*parts, point])
        for count in range(3):
            point.count = count
            assert send(single, count_of_points, value, beside) == count
        del value


def test_a_release_that_submits(single):
    """Releasing a frozenset may call back, and what it calls may submit."""
    others = [fresh("tuple", seed) for seed in range(40)]
    called = []

    def submit(_):
        called.append([send(single, first_of, other, 1)[0] for other in others])

    values = [frozenset(range(seed, seed + 300)) for seed in range(12)]
    references = [weakref.ref(value, submit) for value in values]
    for _ in range(2):
        for value in values:
            assert send(single, len, value) == 300
    del values, value
    send(single, drop)
    assert called == [[other[0] for other in others]] * 12
    assert all(reference() is None for reference in references)


def test_the_release_at_shutdown_may_submit(pool):
    executor = pool(1)
    refused = []

    def submit(_):
        with pytest.raises(RuntimeError, match="shutdown"):
            executor.submit(interpreter(len), fresh("tuple"))
        refused.append(True)

    value = frozenset(range(300))
    reference = weakref.ref(value, submit)
    assert recognised(executor, value) == [True]
    del value
    assert reference() is not None
    executor.shutdown()
    assert refused == [True]


@pytest.fixture(scope="module")
def both():
    """With a cache, and without."""
    with (
        InterpreterThreadPoolExecutor(1) as cached,
        InterpreterThreadPoolExecutor(1, argument_cache_bytes=0) as uncached,
    ):
        yield cached, uncached


def reachable(values) -> list:
    """The objects in values that can be changed, each once."""
    found, seen, pending = [], {}, list(values)
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        match item:
            case list() | tuple():
                pending += item
            case dict():
                pending += [*item.keys(), *item.values()]
            case set() | frozenset():
                pending += sorted(item, key=repr)
            case Counter():
                pending.append(item.count)
        if type(item) in (list, dict, set, bytearray, Counter):
            found.append(item)
    return found


def change(item, number: int) -> None:
    match item:
        case list():
            item.append(number)
        case bytearray():
            item[:] = b"%d" % number
        case dict():
            item[number] = number
        case set():
            item.add(number)
        case Counter():
            item.count = (number, item.count)


def parts_of(values):
    return st.one_of(
        st.lists(values, max_size=3),
        st.lists(values, max_size=3).map(tuple),
        st.lists(values, max_size=3).map(lambda parts: (*parts, *range(200))),
        st.dictionaries(st.integers(0, 9), values, max_size=3),
        values.map(lambda part: Counter(part)),
    )


values_to_change = st.recursive(
    st.one_of(
        st.integers(),
        st.text(max_size=3),
        st.sets(st.integers(), max_size=3),
        st.frozensets(st.integers(), max_size=3),
        st.binary(max_size=3).map(bytearray),
        st.integers(0, 5).map(lambda seed: frozenset(range(seed, seed + 300))),
        st.integers(0, 5).map(lambda seed: tuple(range(seed, seed + 300))),
    ),
    parts_of,
    max_leaves=12,
)


def where_another_was(both, value) -> tuple:
    """A tuple with the value, likely to be where an immutable one was that has been sent."""
    members = [*range(200)]
    holding = [*members]
    holding[7] = value
    decoy = tuple(members)
    for executor in both:
        send(executor, shown, decoy)
    del decoy
    return tuple(holding)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=st.lists(values_to_change, min_size=1, max_size=3),
    picks=st.lists(st.integers(0, 100), min_size=4, max_size=4),
    alone=st.booleans(),
)
def test_whatever_is_changed_arrives(both, values, picks, alone):
    """Everything that can be changed in the arguments is, between calls: what arrives is the same
    with a cache and without."""
    if not alone:
        values.append(where_another_was(both, values[0]))
    for number, pick in enumerate(picks):
        arrived, expected = (send(executor, shown, *values) for executor in both)
        assert arrived == expected
        changing = reachable(values)
        for item in changing if pick % 3 else changing[pick % 7 :: 7]:
            change(item, number)


# --- its end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["shutdown", "del", "cycle"])
def test_the_end_of_an_executor(end):
    value = fresh("tuple")
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
    ok = all(recognised(executor, value) + recognised(executor, fresh("frozenset")))
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
