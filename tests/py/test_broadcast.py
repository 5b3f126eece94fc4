"""broadcast(value): a handle that arrives as its value, sent to each interpreter once."""

import asyncio
import copy
import functools
import gc
import pickle
import threading
import weakref

import jobs
import pytest
from broadcast_jobs import (
    Box,
    Counted,
    Tracked,
    Unreadable,
    Unsendable,
    append_and_get,
    cannot_pickle,
    captured,
    hold,
    makes_a_lock_one,
    makes_one,
    makes_one_pickled,
    plain,
    raises_one,
    remember,
    remembered,
    same_first,
)
from harness import TIMEOUT, assert_ok, run_script, wait_until

from aiointerpreters import SendError, broadcast, interpreter

GRID = tuple(tuple((i * j) % 7 == 0 for j in range(20)) for i in range(20))


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


# --- the handle ----------------------------------------------------------------------------------


def test_the_handle():
    value = [1]
    handle = broadcast(value)
    assert handle.value is value
    assert repr(handle).startswith("<broadcast of list at 0x")
    assert broadcast(handle) is handle
    assert handle != broadcast(value)
    assert len({handle, broadcast(value)}) == 2
    assert isinstance(handle, broadcast)
    assert broadcast[int].__origin__ is broadcast
    assert weakref.ref(handle)() is handle
    with pytest.raises(AttributeError):
        handle.value = 1
    with pytest.raises(TypeError):
        broadcast()
    with pytest.raises(TypeError):
        broadcast(1, 2)
    with pytest.raises(TypeError):
        type("Derived", (broadcast,), {})


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_handle_goes_nowhere_else(duplicate):
    with pytest.raises(TypeError, match="only be passed to tasks"):
        duplicate([broadcast(1)] if duplicate is copy.deepcopy else broadcast(1))


@pytest.mark.parametrize("value", [threading.Lock(), [Unsendable()]], ids=["lock", "reduce"])
def test_what_cannot_be_sent(value):
    with pytest.raises(SendError, match="the value of a broadcast") as caught:
        broadcast(value)
    kind = type(value)
    assert caught.value.type_name in (f"{kind.__module__}.{kind.__qualname__}", kind.__qualname__)
    assert caught.value.role == "broadcast"
    assert caught.value.function is None
    assert caught.value.__cause__ is not None


def test_a_handle_in_a_cycle_is_collected():
    holder = Box(None)
    value = [holder]
    holder.content = broadcast(len)
    holder.other = value
    cycle = [broadcast(()), None]
    cycle[1] = cycle
    gone = weakref.ref(holder)
    del holder, value, cycle
    gc.collect()
    assert gone() is None


# --- where it may be ------------------------------------------------------------------------------

PLACES = {
    "argument": lambda h: ((h,), {}),
    "keyword": lambda h: ((), {"key": h}),
    "tuple": lambda h: (((1, h),), {}),
    "list": lambda h: (([h, 2],), {}),
    "dict's value": lambda h: (({"a": {"b": h}},), {}),
    "dict's key": lambda h: (({h: 1},), {}),
    "set": lambda h: (({h, 3},), {}),
    "frozenset": lambda h: ((frozenset([h]),), {}),
    "deep": lambda h: (([({"a": [(h,)]},)],), {}),
    "partial": lambda h: ((functools.partial(jobs.add, h),), {}),
    "beside what is pickled": lambda h: ((h, 1 + 2j, range(3)), {"key": [h]}),
    "object": lambda h: ((Box([h]),), {}),
    "broadcast": lambda h: ((broadcast([h]),), {}),
    "pickled broadcast": lambda h: ((broadcast(Box(h)),), {}),
    "with a view": lambda h: ((memoryview(b"abc"), h, range(1)), {}),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_arrives_as_the_value(executor, place):
    args, kwargs = PLACES[place](broadcast(GRID))
    expected = plain((args, kwargs), lambda handle: handle.value)
    where, arrived = send(executor, captured, *args, **kwargs)
    assert where != 0
    assert arrived == expected


IN_OBJECTS = {"object", "pickled broadcast", "partial"}  # which stay the caller's very objects


@pytest.mark.parametrize("place", [place for place in PLACES if place not in IN_OBJECTS])
def test_it_is_the_value_in_an_untagged_task(executor, place):
    args, kwargs = PLACES[place](broadcast(GRID))
    expected = plain((args, kwargs), lambda handle: handle.value)
    where, arrived = executor.submit(captured, *args, **kwargs).result(TIMEOUT)
    assert (where, arrived) == (0, expected)


@pytest.mark.parametrize("tag", [interpreter, jobs.identity], ids=["tagged", "untagged"])
def test_a_handle_that_is_there_twice_is_one_object(executor, tag):
    handle = broadcast([1])
    assert executor.submit(tag(same_first), handle, (handle, {"x": handle})).result(TIMEOUT)


def test_an_untagged_task_gets_the_very_object(executor):
    value, other = [1], [2]
    handle = broadcast(value)
    assert executor.submit(jobs.identity, handle).result(TIMEOUT) is value
    assert executor.submit(jobs.identity, other).result(TIMEOUT) is other
    got = executor.submit(jobs.identity, [handle, other]).result(TIMEOUT)
    assert got[0] is value
    assert got[1] is other


def test_untagged_containers_keep_their_shape(executor):
    handle = broadcast(7)
    shared = [handle]
    ring = [shared, shared]
    ring.append((ring, handle))
    got = executor.submit(jobs.identity, ring).result(TIMEOUT)
    assert got is not ring
    assert ring[0] is shared
    assert shared == [handle]
    assert got[0] == [7]
    assert got[0] is got[1]
    assert got[2][0] is got
    assert got[2][1] == 7
    without = jobs.cycle()
    assert executor.submit(jobs.identity, without).result(TIMEOUT) is without
    deep = jobs.nest(5000)
    assert executor.submit(jobs.identity, deep).result(TIMEOUT) is deep


def test_untagged_map_and_asyncio(executor):
    handle = broadcast(40)
    assert list(executor.map(jobs.add, [handle, 1], [2, handle])) == [42, 41]

    async def main():
        asyncio.get_running_loop().set_default_executor(executor)
        loop = asyncio.get_running_loop()
        return [
            await asyncio.to_thread(jobs.add, handle, b=handle),
            await asyncio.to_thread(interpreter(jobs.add), handle, b=handle),
            await loop.run_in_executor(None, jobs.add, handle, 1),
            await loop.run_in_executor(None, interpreter(jobs.add), handle, 1),
        ]

    with asyncio.Runner() as runner:
        assert runner.run(main()) == [80, 80, 41, 41]


def test_map(executor):
    handle = broadcast(GRID)
    with executor:
        results = executor.map(interpreter(jobs.capture), [handle] * 300, range(300))
        assert list(results) == [((GRID, i), ()) for i in range(300)]


@pytest.mark.parametrize("tag", [interpreter, jobs.identity], ids=["tagged", "untagged"])
def test_initargs(pool, tag):
    executor = pool(1, initializer=tag(remember), initargs=(broadcast([5]),))
    assert send(executor, remembered) == [5]
    if tag is not interpreter:
        assert executor.submit(remembered).result(TIMEOUT) == [5]
        jobs.STATE = "untouched"


def test_partials(executor):
    handle = broadcast(40)
    assert send(executor, functools.partial(jobs.add, handle), 2) == 42
    assert send(executor, functools.partial(jobs.add, b=handle), 2) == 42
    assert executor.submit(functools.partial(jobs.add, b=handle), 2).result(TIMEOUT) == 42


# --- functions by value ---------------------------------------------------------------------------

BY_VALUE = """
import functools
from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

value = {(1, 2): [3]}
handle = broadcast(value)
pair = [handle, 1]

def reads_global():
    return handle

def reads_container():
    return pair

def has_defaults(a=handle, *, b=handle):
    return a, b, a is b

def closed():
    inner = handle
    return lambda: inner

def helper():
    return handle

def calls_helper():
    return helper() is handle

class Reader:
    got = handle
    def read(self):
        return handle, self.got

def uses_class():
    return Reader().read()

@functools.cache
def cached():
    return handle

with InterpreterThreadPoolExecutor(1) as executor:
    def run(function, *args):
        return executor.submit(interpreter(function), *args).result()

    assert run(reads_global) == value
    assert run(reads_container) == [value, 1]
    assert run(has_defaults) == (value, value, True)
    assert run(closed()) == value
    assert run(calls_helper) is True
    assert run(uses_class) == (value, value)
    assert run(cached) == value
    assert run(lambda arg: arg is handle, handle) is True
    handle = broadcast("anew")
    assert run(reads_global) == "anew"
    print("ok")
"""


def test_functions_by_value(tmp_path):
    assert_ok(run_script(tmp_path, BY_VALUE), "ok")


SENT_BY_VALUE = """
from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

class Point:
    def __init__(self, x):
        self.x = x

def double(n):
    return 2 * n

def use(function, cls, point, n):
    return function(n), cls(n).x, isinstance(point, cls)

with InterpreterThreadPoolExecutor(1) as executor:
    sent = broadcast(double), broadcast(Point), broadcast(Point(1))
    for n in range(3):
        assert executor.submit(interpreter(use), *sent, n).result() == (2 * n, n, True)
        assert executor.submit(use, *sent, n).result() == (2 * n, n, True)
    back = executor.submit(interpreter(lambda point: point), sent[2]).result()
    assert type(back) is Point
    print("ok")
"""


def test_functions_and_classes_are_broadcast(tmp_path):
    assert_ok(run_script(tmp_path, SENT_BY_VALUE), "ok")


# --- sent once, a snapshot ------------------------------------------------------------------------


def test_a_worker_changes_its_own_copy(pool):
    executor = pool(1)
    values = [1]
    handle = broadcast(values)
    values.append(2)
    assert send(executor, append_and_get, handle, 10) == [1, 10]
    assert send(executor, append_and_get, handle, 20) == [1, 10, 20]
    assert values == [1, 2]
    assert send(pool(1), append_and_get, handle, 30) == [1, 30]


@pytest.mark.parametrize("place", ["argument", "object", "list"])
def test_it_is_decoded_once_in_each_interpreter(pool, gates, lines, place):
    executor = pool(2)
    handle = broadcast(Counted(lines.descriptor))
    args, _ = PLACES[place](handle)
    gate = gates()
    held = [executor.submit(interpreter(jobs.pass_gate), *gate.args) for _ in range(2)]
    gate.wait_started(2)  # both interpreters are there
    gate.open(2)
    for future in held:
        future.result(TIMEOUT)
    places = {send(executor, jobs.where, *args)[0] for _ in range(50)}
    assert lines.read() == ["decoded"] * len(places)


def test_messages_on_their_way_keep_it(pool, gate, lines):
    executor = pool(1)
    held = executor.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    handle = broadcast(Counted(lines.descriptor))
    futures = [executor.submit(interpreter(jobs.where), handle) for _ in range(20)]
    del handle
    gate.open()
    held.result(TIMEOUT)
    for future in futures:
        future.result(TIMEOUT)
    assert lines.read() == ["decoded"]


def test_it_works_with_another_executor(pool):
    handle = broadcast(GRID)
    first = pool(1)
    assert send(first, jobs.identity, handle) == GRID
    first.shutdown()
    assert send(pool(1), jobs.identity, handle) == GRID
    future = pool(1).submit(interpreter(jobs.identity), handle)
    assert future.result(TIMEOUT) == GRID


def test_a_handle_is_for_many_threads(executor):
    handle = broadcast(GRID)
    results = []

    def submit():
        results.extend(send(executor, jobs.identity, handle) == GRID for _ in range(50))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == [True] * 200


# --- let go ---------------------------------------------------------------------------------------


def test_idle_interpreters_let_go(pool, gates, lines):
    executor = pool(2)
    handle = broadcast(Tracked(lines.descriptor))
    gate = gates()
    held = [executor.submit(interpreter(hold), handle, *gate.args) for _ in range(2)]
    gate.wait_started(2)  # both have it
    gate.open(2)
    for future in held:
        future.result(TIMEOUT)
    assert lines.read() == []
    del handle
    wait_until(lambda: lines.read() == ["gone", "gone"], "both interpreters let go")


def test_a_busy_interpreter_lets_go_after_its_task(pool, gate, lines):
    executor = pool(1)
    handle = broadcast(Tracked(lines.descriptor))
    future = executor.submit(interpreter(hold), handle, *gate.args)
    gate.wait_started()
    del handle
    gate.open()
    future.result(TIMEOUT)
    wait_until(lambda: lines.read() == ["gone"], "the interpreter lets go")


def test_others_let_go_for_a_home_that_is_busy_with_a_plain_task(pool, gate, lines):
    executor = pool(2, max_interpreters=1)
    handle = broadcast(Tracked(lines.descriptor))
    send(executor, jobs.where, handle)
    plain = [executor.submit(jobs.pass_gate, *gate.args) for _ in range(2)]
    gate.wait_started(2)
    del handle
    gate.open()  # one of the two
    wait_until(lambda: lines.read() == ["gone"], "a worker lets go")
    gate.open()
    for future in plain:
        future.result(TIMEOUT)


def test_nested_handles_are_let_go_together(pool, lines):
    executor = pool(1)
    handle = broadcast([broadcast(Box([broadcast(Tracked(lines.descriptor))]))])
    send(executor, jobs.where, handle)
    assert lines.read() == []
    del handle
    wait_until(lambda: lines.read() == ["gone"], "the innermost value is let go")


def test_an_inner_handle_outlives_the_outer_one(pool, lines):
    executor = pool(1)
    inner = broadcast(Tracked(lines.descriptor))
    send(executor, jobs.where, broadcast([inner]))
    send(executor, jobs.where, inner)
    assert lines.read() == []
    del inner
    wait_until(lambda: lines.read() == ["gone"], "the value is let go")


LETS_GO_OF_FUNCTIONS = """
import gc
import harness
from broadcast_jobs import Tracked
from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

lines = harness.Lines()

def make():
    handle = broadcast(Tracked(lines.descriptor))
    return lambda: handle.is_copy

with InterpreterThreadPoolExecutor(1) as executor:
    function = make()
    assert executor.submit(interpreter(function)).result() is True
    assert lines.read() == []
    del function
    gc.collect()  # a function by value and what is known of it refer to each other
    harness.wait_until(lambda: lines.read() == ["gone"], "it is let go")
    print("ok")
"""


def test_a_function_by_value_lets_go(tmp_path):
    assert_ok(run_script(tmp_path, LETS_GO_OF_FUNCTIONS), "ok")


def test_what_an_interpreter_keeps_ends_with_it(pool, lines):
    executor = pool(1)
    handle = broadcast(Tracked(lines.descriptor))
    send(executor, jobs.where, handle)
    executor.shutdown()
    assert lines.read() == ["gone"]
    del handle


def test_the_handle_lets_go_of_its_value():
    value = Box(1)
    gone = weakref.ref(value)
    handle = broadcast(value)
    del value
    assert gone() is not None
    del handle
    assert gone() is None


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["argument", "object", "list"])
def test_what_cannot_be_decoded_is_tried_again(pool, tmp_path, place):
    executor = pool(1)
    path = tmp_path / "there"
    path.touch()
    args, _ = PLACES[place](broadcast(Unreadable(str(path))))
    for _ in range(2):
        with pytest.raises(SendError, match="not yet"):
            send(executor, jobs.where, *args)
    path.unlink()
    assert send(executor, jobs.where, *args)[0] != 0


# --- in a worker ----------------------------------------------------------------------------------


def test_made_in_a_worker_it_goes_back_as_its_value(executor):
    assert send(executor, makes_one, [1]) == [[1], ([1],)]
    assert send(executor, makes_one_pickled, [1]) == (Box([1]), [1])
    with pytest.raises(LookupError) as caught:
        send(executor, raises_one, [1])
    assert caught.value.args == ([1],)
    assert "only be passed" in send(executor, cannot_pickle)
    # It encodes nothing: what could not be sent is only found out when it is sent.
    assert send(executor, makes_a_lock_one) == "lock"


# --- fork -----------------------------------------------------------------------------------------

FORK = """
import os, sys
import jobs
from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

handle = broadcast([1, 2])
executor = InterpreterThreadPoolExecutor(2)
assert executor.submit(interpreter(jobs.identity), handle).result() == [1, 2]
child = os.fork()
if child == 0:
    ok = executor.submit(interpreter(jobs.identity), handle).result() == [1, 2]
    executor.shutdown()
    del handle
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
del handle
executor.shutdown()
print("ok")
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(tmp_path):
    done = run_script(tmp_path, FORK)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
